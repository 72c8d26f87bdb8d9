"""How scores are made of sums: what is taken away is a plain mean over rows in any order, with it or without, with
lengths divided or not is what wins by more than chance, and whoever reloads the run uses that again."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit, softmax

from categorize.data.splits import load_recipe_data
from categorize.errors import UserError
from categorize.labels import Label, LabelSet
from categorize.loading import load_predictor
from categorize.methods.sft.model import Causal, CausalSettings
from categorize.methods.sft.predictor import CausalPredictor
from categorize.methods.sft.scoring import (
    Prior,
    Scoring,
    as_trained,
    choice,
    first_by_hash,
    leaning,
    scoring_by,
    sums_of,
    tried,
)
from categorize.recipe.decision_sections import CausalPredictionSection
from categorize.runs.folder import Run, RunWriter
from tests.engines.test_scoring import LABELS, build_model, build_prompt, naive
from tests.recipes import SftRecipe
from tests.session.test_sft_run import check_reloaded, folder, sft

Tiny = Callable[..., Path]
__all__ = ["folder"]
UNLIKE = LabelSet("single_label", (Label("positive"), Label("very very negative"), Label("bad")))  # in their lengths
WAYS = [Scoring(prior, divided) for prior in get_args(Prior) for divided in (False, True)]
WORDS = ["good", "bad", "fine", "movie", "text", "label", "a", "b", "真的", "太好了", "讨厌", "x"]


def texts(count: int, seed: int) -> list[str]:
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(WORDS, size=5)) + f" {i}" for i in range(count)]


def build(completion: str = "names", label_set: Any = LABELS, **section: Any) -> CausalPredictor:
    prompt = build_prompt("chatml", completion, label_set)
    causal = Causal(build_model("qwen2", prompt.tokenizer), prompt.tokenizer, CausalSettings(512))
    return CausalPredictor(causal, prompt, CausalPredictionSection(mode="scoring", **section))


def loaded(place: Path, validation: list[str], labels: list[str], label_set: LabelSet = LABELS) -> tuple[Any, Any]:
    """A recipe and its data, with these rows for validation."""
    files = {"train": zip("ab", label_set.names, strict=False), "validation": zip(validation, labels, strict=True)}
    for name, rows in files.items():
        with (place / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *rows])
    recipe = SftRecipe.model_validate(
        {
            "kind": "sft", "name": "x", "model": {"name_or_path": "none"}, "labels": {"names": label_set.names},
            "data": {"source": {"train": str(place / "train.csv"), "validation": str(place / "validation.csv")}},
        }
    )  # fmt: skip
    return recipe, load_recipe_data(recipe, write=False)


@pytest.mark.parametrize("normalized", [False, True])
def test_what_is_taken_away_is_the_plain_mean_over_rows_in_any_order(tmp_path: Path, normalized: bool) -> None:
    predictor = build(length_normalization=normalized)
    several = texts(6, 0)
    _, data = loaded(tmp_path, [*several, several[0]], [LABELS.names[0]] * 7)
    rows = data.splits.validation
    found = leaning(predictor, first_by_hash(rows))
    backwards = leaning(predictor, first_by_hash(rows.take(pa.array(range(len(rows)))[::-1])))
    assert found == pytest.approx(backwards, abs=1e-5)
    sums = naive(
        predictor.causal.model, predictor.prompt, [predictor.prompt.encode({"text": t}) for t in several], True
    )
    np.testing.assert_allclose([found[name] for name in LABELS.names], sums.mean(axis=0), atol=1e-4)
    predictor.causal.settings.leaning.update(found)
    lengths = [len(predictor.prompt.completions[name]) if normalized else 1 for name in LABELS.names]
    ours = scoring_by(predictor, Scoring("batch", normalized)).engine.outputs(
        [predictor.prompt.encode({"text": t}) for t in several]
    )
    expected = softmax((sums - sums.mean(axis=0)) / lengths, axis=1)
    np.testing.assert_allclose(softmax(ours, axis=1), expected, atol=1e-4)


def options_of(predictor: CausalPredictor, **section: Any) -> list[Scoring]:
    return tried(CausalPredictionSection(**section), predictor.engine.scorer.plan)


@pytest.mark.parametrize("wins", WAYS, ids=[one.name for one in WAYS])
def test_the_way_to_scores_that_validation_speaks_for_is_chosen(
    tmp_path: Path, wins: Scoring, capsys: pytest.CaptureFixture[str]
) -> None:
    predictor, names, rows = build(label_set=UNLIKE), UNLIKE.names, texts(80, 1)
    _, data = loaded(tmp_path, rows, [names[0]] * len(rows), UNLIKE)
    predictor.causal.settings.leaning.update(leaning(predictor, first_by_hash(data.splits.validation)))
    encoded = predictor.prompt.encode_all([{"text": text} for text in rows])
    right = scoring_by(predictor, wins).engine.outputs(encoded).argmax(axis=1)
    recipe, data = loaded(tmp_path, rows, [names[i] for i in right], UNLIKE)
    options = options_of(predictor, prior="auto", length_normalization="auto")
    chosen, reached = choice(predictor, recipe, data, options)
    assert len(options) == len(reached) == 6 and reached[f"{wins.name}_macro_f1"] == max(reached.values()) == 1
    assert chosen == wins
    line = f"prediction.prior: {wins.prior}, prediction.length_normalization: {str(wins.length_normalization).lower()},"
    assert line in capsys.readouterr().out


def test_a_difference_that_may_be_chance_changes_nothing(tmp_path: Path) -> None:
    predictor, rows = build(), texts(12, 2)
    draw = np.random.default_rng(3)
    recipe, data = loaded(tmp_path, rows, [LABELS.names[i] for i in draw.integers(len(LABELS), size=len(rows))])
    predictor.causal.settings.leaning.update(leaning(predictor, first_by_hash(data.splits.validation)))
    options = options_of(predictor, prior="auto", length_normalization="auto")
    chosen, reached = choice(predictor, recipe, data, options)
    assert chosen == Scoring("none", False) and len({*reached.values()}) > 1


def test_validation_goes_through_the_model_once_however_many_ways_are_tried(tmp_path: Path) -> None:
    predictor, rows = build(), texts(12, 2)
    recipe, data = loaded(tmp_path, rows, [LABELS.names[0]] * len(rows))
    predictor.causal.settings.leaning.update(leaning(predictor, first_by_hash(data.splits.validation)))
    passes = []
    predictor.causal.model.register_forward_hook(lambda *_: passes.append(1))
    sums_of(predictor, data.splits.validation)
    predictor.engine.sums(predictor.engine.scorer.content_free())
    once = len(passes)
    choice(predictor, recipe, data, options_of(predictor, prior="auto", length_normalization="auto"))
    assert len(passes) == 2 * once > 0


@pytest.mark.parametrize(("completion", "prior"), [("codes", "none"), ("codes", "auto"), ("yes_no", "contextual")])
def test_labels_of_one_length_are_not_compared_with_and_without(
    completion: str, prior: str, capsys: pytest.CaptureFixture[str]
) -> None:
    several = LabelSet("multi_label", LABELS.labels) if completion == "yes_no" else LABELS
    found = options_of(build(completion, several), prior=prior, length_normalization="auto")
    assert [one.length_normalization for one in found] == [False] * (3 if prior == "auto" else 1)
    assert "length_normalization: false, for all labels have equally many tokens" in capsys.readouterr().out


def test_what_a_run_was_trained_with_holds_unless_another_is_written(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run", "kind: sft\n")
    writer.write_json("run.json", {})
    run = Run(writer.path)
    settings = CausalSettings(512, prior="contextual", length_normalization=True)
    auto = CausalPredictionSection(prior="auto", length_normalization="auto")
    for section in (None, CausalPredictionSection(), auto):
        found = as_trained(section, settings, run)
        assert (found.prior, found.length_normalization) == ("contextual", True)
    other = as_trained(CausalPredictionSection(prior="none", length_normalization=False), settings, run)
    assert (other.prior, other.length_normalization) == ("none", False)
    with pytest.raises(UserError, match=r"^prediction\.prior: batch: .* was not trained with it"):
        as_trained(CausalPredictionSection(prior="batch"), settings, run)
    (writer.path / "run.json").unlink()
    with pytest.raises(UserError, match=r"^prediction\.prior: batch: .* is not finished"):
        as_trained(CausalPredictionSection(prior="batch"), settings, Run(writer.path, writer.path / "checkpoint-1"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prior", "completion"), [("batch", "names"), ("contextual", "names"), ("auto", "names"), ("batch", "yes_no")]
)
def test_a_reloaded_run_predicts_with_the_prior_that_it_was_reported_with(
    folder: Path, tiny: Tiny, prior: str, completion: str
) -> None:
    normalization = {"contextual": True, "auto": "auto"}
    prediction = {"prior": prior, **({"length_normalization": normalization[prior]} if prior in normalization else {})}
    more: dict[str, Any] = {"prompt": {"completion": completion}, "prediction": prediction}
    names = ["good", "bad"]
    if completion == "yes_no":
        names = ["good", "bad", "late"]
        more |= {
            "data": {"columns": {"id": "id", "text": "text", "label": "moods"}},
            "labels": {"task": "multi_label", "names": names},
        }
    manifest = sft(folder, "one", tiny("qwen2", chat=True, scale=5), **more, training={"num_train_epochs": 1})
    used = manifest["prediction"]["prior"]
    assert used == prior or (prior == "auto" and len(manifest["prediction"]["scoring_on_validation"]) == 6)
    settings = json.loads((folder / "outputs/one/causal.json").read_text())
    normalized = manifest["prediction"]["length_normalization"]
    assert settings["prior"] == used and settings["length_normalization"] is normalized
    assert set(settings["leaning"]) == ({*names} if used == "batch" else set())
    trained, _ = check_reloaded(folder / "outputs/one")
    plain = load_predictor(str(folder / "outputs/one"), section=CausalPredictionSection(prior="none"))
    asked = [one.predict_texts(["yyyy 7", "nnnn 9", "x"]).probabilities for one in (trained, plain)]
    assert used == "none" or np.abs(asked[0] - asked[1]).max() > 1e-6
    if used == "batch":
        away = [settings["leaning"][name] for name in names]
        if completion == "yes_no":
            expected = expit(np.log(asked[1]) - np.log1p(-asked[1]) - away)
        else:
            expected = softmax(np.log(asked[1]) - away, axis=1)
        np.testing.assert_allclose(asked[0], expected, atol=1e-5)


def test_a_model_as_published_takes_the_mean_of_training_rows(tiny: Tiny, tmp_path: Path) -> None:
    _, data = loaded(tmp_path, texts(6, 4), [LABELS.names[0]] * 6)
    rows, model = data.splits.validation, str(tiny("qwen2", chat=True, scale=5))
    batch, plain = (CausalPredictionSection(mode="scoring", prior=prior) for prior in ("batch", "none"))
    asked = load_predictor(model, label_set=LABELS, section=plain).predict_rows(rows).probabilities
    found = load_predictor(model, label_set=LABELS, section=batch, examples=rows).predict_rows(rows).probabilities
    logs = np.log(asked)
    np.testing.assert_allclose(found, softmax(logs - logs.mean(axis=0), axis=1), atol=1e-4)
    for section, message in (
        (batch, "is the mean of training rows"),
        (CausalPredictionSection(prior="auto"), r"prior: auto: is chosen"),
        (CausalPredictionSection(length_normalization="auto"), r"length_normalization: auto: is chosen"),
    ):
        with pytest.raises(UserError, match=message):
            load_predictor(model, label_set=LABELS, section=section)
