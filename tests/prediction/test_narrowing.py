"""A causal model that is asked about the candidates of each row: what it scores, and that it answers nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from categorize import load_predictor
from categorize.data.input_spec import InputSpec
from categorize.engines.scoring_plan import ScoringPlan
from categorize.errors import UserError
from categorize.evaluate import evaluate
from categorize.labels import Label, LabelSet
from categorize.methods.registry import METHODS
from categorize.methods.sft.model import Causal, CausalSettings
from categorize.methods.sft.narrowing import NarrowedPredictor, asked, build_narrower
from categorize.methods.sft.predictor import CausalPredictor
from categorize.metrics.decision import DecisionRule
from categorize.predictions import Predictions
from categorize.prompts.messages import SYSTEMS, PromptSettings
from categorize.prompts.tokens import PromptFormat
from categorize.recipe.command import main
from categorize.recipe.decision_sections import CandidatesSection, CausalPredictionSection
from tests.engines.test_scoring import build_model
from tests.tiny_tokenizers import build_tokenizer

SAVED = Path(__file__).parents[1] / "runs/saved"
WORDS = ["good", "bad", "movie", "text", "label", "okay", "ok", "not good", "nice", "fine text"]
PLAIN = PromptSettings("Say what it is.")
LISTED = PromptSettings(SYSTEMS["single_label"])


@pytest.fixture(scope="module")
def causal() -> Causal:
    tokenizer = build_tokenizer("plain")
    return Causal(build_model("llama", tokenizer), tokenizer, CausalSettings(max_length=256, dtype="float32"))


def labels(names: list[str], task: Any = "single_label") -> LabelSet:
    return LabelSet(task, tuple(Label(name) for name in names))


def predict(predictor: Any, texts: list[str]) -> Predictions:
    rows = InputSpec().rows_from_texts(texts).to_batches()
    return Predictions.concatenate(predictor.predict(rows))


def narrowed(causal: Causal, prompt: PromptSettings, label_set: LabelSet, top: int, **keys: Any) -> Any:
    section = CausalPredictionSection(candidates=CandidatesSection(top=top, **keys))
    return asked(causal, prompt, 256, label_set, section)


@pytest.mark.parametrize("prompt", [PLAIN, LISTED, PromptSettings(SYSTEMS["single_label"], completion="codes")])
def test_no_answer_is_outside_the_label_set_and_no_other_label_is_scored(
    causal: Causal, prompt: PromptSettings
) -> None:
    @settings(max_examples=8, deadline=None)
    @given(
        st.lists(st.sampled_from(WORDS), min_size=3, max_size=10, unique=True),
        st.lists(st.sampled_from([*WORDS, "", "xyz"]), min_size=1, max_size=4),
        st.sampled_from(["similarity", "lexical"]),
    )
    def holds(names: list[str], texts: list[str], by: str) -> None:
        label_set = labels(names)
        found = predict(narrowed(causal, prompt, label_set, 2, by=by), texts)
        assert found.probabilities is not None
        assert ((~np.isnan(found.probabilities)).sum(axis=1) == 2).all()
        np.testing.assert_allclose(np.nansum(found.probabilities, axis=1), 1.0)
        decided = DecisionRule.default(label_set).apply(found).decided
        assert decided is not None and all(len(row) == 1 and row[0] in names for row in decided)

    holds()


def test_generated_answers_name_candidates_alone(causal: Causal) -> None:
    label_set = labels(WORDS, "multi_label")
    prompt = PromptSettings(SYSTEMS["multi_label"])
    predictor = narrowed(causal, prompt, label_set, 3)
    texts = ["good movie", "fine text", "bad"]
    found = predict(predictor, texts)
    chosen = predictor.candidates(InputSpec().rows_from_texts(texts).to_batches()[0])
    assert found.decided is not None and found.raw is not None
    for names, row in zip(found.decided, chosen, strict=True):
        assert set(names) <= {WORDS[i] for i in row}


def test_without_a_list_of_labels_candidates_have_the_scores_of_the_whole_set(causal: Causal) -> None:
    label_set, texts = labels(WORDS), ["good movie", "fine text", "good movie", "label"]
    whole = predict(CausalPredictor(causal, PromptFormat(PLAIN, label_set, causal.tokenizer, 256)), texts)
    found = predict(narrowed(causal, PLAIN, label_set, 4), texts)
    assert whole.probabilities is not None and found.probabilities is not None
    kept = np.where(np.isnan(found.probabilities), np.nan, whole.probabilities)
    np.testing.assert_allclose(found.probabilities, kept / np.nansum(kept, axis=1, keepdims=True), rtol=1e-4)


def test_a_yes_or_no_a_label_is_that_of_the_whole_set(causal: Causal) -> None:
    label_set, texts = labels(WORDS, "multi_label"), ["good movie", "fine text", "label"]
    prompt = PromptSettings("Say what it is.", completion="yes_no")
    whole = predict(CausalPredictor(causal, PromptFormat(prompt, label_set, causal.tokenizer, 256)), texts)
    found = predict(narrowed(causal, prompt, label_set, 4), texts).probabilities
    assert whole.probabilities is not None and found is not None
    assert ((~np.isnan(found)).sum(axis=1) == 4).all()
    np.testing.assert_allclose(found, np.where(np.isnan(found), np.nan, whole.probabilities), rtol=1e-4)


def test_with_a_list_of_labels_a_row_is_asked_as_if_its_candidates_were_the_set(causal: Causal) -> None:
    label_set, texts = labels(WORDS), ["good movie", "fine text", "bad", "not good"]
    predictor = narrowed(causal, LISTED, label_set, 3)
    found = predict(predictor, texts)
    chosen = predictor.candidates(InputSpec().rows_from_texts(texts).to_batches()[0])
    for row, (text, at) in enumerate(zip(texts, chosen, strict=True)):
        subset = label_set.subset(WORDS[i] for i in at)
        alone = predict(CausalPredictor(causal, PromptFormat(LISTED, subset, causal.tokenizer, 256)), [text])
        np.testing.assert_allclose(found.probabilities[row, at], alone.probabilities[0], rtol=1e-4)  # type: ignore[index]


def test_as_many_candidates_as_labels_narrow_nothing(causal: Causal) -> None:
    assert isinstance(narrowed(causal, LISTED, labels(WORDS), 10), CausalPredictor)
    assert isinstance(narrowed(causal, LISTED, labels(WORDS), 9), NarrowedPredictor)


def test_more_labels_than_a_prompt_or_codes_hold_are_told_with_the_way_out_and_can_be_narrowed(causal: Causal) -> None:
    many = labels([f"{a} {b} {i}" for i in range(40) for a, b in pairwise(WORDS)])
    with pytest.raises(UserError, match=r"max_length is 256; .* narrowed for each row by prediction.candidates"):
        asked(causal, LISTED, 256, many)
    with pytest.raises(UserError, match=r"or narrow the labels of each row by prediction.candidates"):
        asked(causal, PromptSettings("x", completion="codes"), 256, labels([f"n{i}" for i in range(900)]))
    assert predict(narrowed(causal, LISTED, many, 3), ["good bad 7"]).probabilities is not None


def test_a_run_chooses_candidates_and_one_of_other_labels_is_refused(causal: Causal) -> None:
    own = load_predictor(str(SAVED / "tfidf"))
    section = CandidatesSection(by=str(SAVED / "tfidf"))
    assert build_narrower(section, own.label_set).label_set == own.label_set
    with pytest.raises(UserError, match="predicts other labels than those asked for; train it on these"):
        build_narrower(section, labels(WORDS))
    with pytest.raises(UserError, match=r"prediction.candidates.by: nowhere: no such run folder"):
        build_narrower(CandidatesSection(by="nowhere"), labels(WORDS))


def test_a_saved_run_is_narrowed_by_the_recipe() -> None:
    section = CausalPredictionSection(candidates=CandidatesSection(top=2))
    others = labels(["text", "good", "label"])
    predictor = load_predictor(str(SAVED / "sft"), base=str(SAVED / "llama"), label_set=others, section=section)
    found = predictor.predict_texts(["good", "bad text", ""])
    assert found.decided is not None and all(row[0] in others.names for row in found.decided)


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=1, max_size=8, unique_by=tuple))
def test_the_plan_of_scores_holds_every_label_behind_a_context_that_begins_with_it(answers: list[list[int]]) -> None:
    names = [str(i) for i in range(len(answers))]
    completions = {name: (*ids, 9) for name, ids in zip(names, answers, strict=True)}
    prompt: Any = SimpleNamespace(yes_no=False, label_set=SimpleNamespace(names=names), completions=completions)
    plan = ScoringPlan.of(prompt)
    whole = [tuple(ids) for ids in answers]
    ends = any(a != b and b[: len(a)] == a for a in whole for b in whole)
    for ids, (context, tokens) in zip(whole, plan.labels, strict=True):
        assert tokens == ((*ids, 9) if ends else ids)
        assert plan.contexts[context][: len(tokens) - 1] == tokens[:-1]
    assert not any(a != b and b[: len(a)] == a for a in plan.contexts for b in plan.contexts)


def test_too_few_names_in_a_text_are_filled_up_by_frequency_and_counted(causal: Causal) -> None:
    label_set, texts = labels(WORDS), ["a bad movie label", "bad", "xyz", "bad"]
    known = replace(causal, settings=replace(causal.settings, label_counts={"nice": 9, "ok": 30, "bad": 1}))
    for model, filled, said in (
        (known, ["ok", "nice"], "most frequent labels in training"),
        (causal, ["good", "movie"], "first labels of the list"),
    ):
        predictor = narrowed(model, PLAIN, label_set, 3, by="lexical")
        chosen = [
            {WORDS[i] for i in row} for row in predictor.candidates(InputSpec().rows_from_texts(texts).to_batches()[0])
        ]
        assert chosen[0] == {"bad", "movie", "label"}
        assert chosen[1] == chosen[2] == chosen[3] == {"bad", *filled}
        assert predict(predictor, texts).usage.filled_rows == 3 and said in predictor.filling


@pytest.mark.slow
def test_an_evaluation_tells_how_many_texts_were_filled_up_from_its_training_rows(
    tiny: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, rows in (("train", ["x,poor", "y,poor", "z,late"]), ("test", ["good,good", "it,poor", "that,late"])):
        Path(f"{name}.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    recipe = {
        "kind": "eval",
        "name": "x",
        "output_dir": "out",
        "data": {"source": {"train": "train.csv", "test": "test.csv"}},
        "labels": {"names": ["good", "late", "odd", "poor"]},
        "prediction": {"candidates": {"by": "lexical", "top": 2}},
        "evaluation": {"runs": [{"run": str(tiny("llama", chat=True)), "name": "base"}], "bootstrap": 0},
    }
    Path("eval.yaml").write_text(json.dumps(recipe))
    assert main("run_eval.py", "eval", evaluate, METHODS, ["eval.yaml"]) == 0
    runs = json.loads(Path("out/report.json").read_text())["runs"]
    notes = next(one["notes"] for one in runs if one["name"] == "base")
    wanted = "3 texts had fewer than 2 candidates that stand out; filled up by the most frequent labels in training"
    assert wanted in notes
