"""Worked examples by similarity: like the row, of several labels, never the row itself; a run shows them again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from categorize.data.splitting.near import NearTexts
from categorize.engines.label_scoring import LabelScorer
from categorize.engines.shared_prefix import SharedPrefix
from categorize.errors import UserError
from categorize.evaluate import evaluate
from categorize.features.shots import RetrievedPrompt, ShotSets
from categorize.labels import Label, LabelSet
from categorize.methods.registry import METHODS
from categorize.methods.sft.model import load_causal
from categorize.prompts.messages import PromptSettings
from categorize.prompts.tokens import PromptFormat
from categorize.recipe.command import main
from categorize.recipe.sections import PromptSection, RetrievalSection
from tests.session.test_sft_run import check_reloaded, sft, write_easy

Tiny = Callable[..., Path]
LABELS = LabelSet("single_label", (Label("good"), Label("poor"), Label("late")))
TOPICS = ("the parcel came in a torn box", "this screen flickers when it is dark", "my coffee has gone cold")
WHO = ("anna", "boris", "carla", "dmitri", "elena", "farid", "greta", "hugo", "irina", "jonas")
TEXTS = [f"{topic}, says {name} {name[::-1]}" for topic in TOPICS for name in WHO]
GOLD = [[LABELS.names[(i % 10) % 3]] for i in range(len(TEXTS))]


def rows(texts: list[str], gold: list[list[str] | None]) -> pa.Table:
    """Labelled rows as a split has them, of the columns that are read."""
    found = {"text": texts, "fields": [{"text": text} for text in texts], "gold": gold}
    return pa.table({**found, "gold_score": pa.nulls(len(texts), pa.float64())})


def choose(k: int = 4, clusters: int = 3, table: pa.Table | None = None) -> ShotSets:
    section = PromptSection(retrieval=RetrievalSection(k=k, clusters=clusters))
    return ShotSets.choose(section, rows(TEXTS, GOLD) if table is None else table, LABELS)


def near(one: str, other: str) -> bool:
    """By the comparison of the splits, beside our own."""
    compared = NearTexts.of([one, other])
    return bool(compared.node[0] == compared.node[1] or len(compared.pairs))


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_examples_are_like_the_row_and_not_all_of_one_label(k: int) -> None:
    shots = choose(k)
    for topic in TOPICS:
        chosen = shots.sets[shots.of([f"{topic}, says nobody at all"])[0]]
        assert len(chosen) == k and all(shot["text"].startswith(topic) for shot in chosen)
        assert max(Counter(shot["label"] for shot in chosen).values()) <= -(-k // 2)
        assert all([shot["label"]] == GOLD[TEXTS.index(shot["text"])] for shot in chosen)


def test_no_row_is_shown_itself_or_its_like() -> None:
    shots = choose()
    asked = [*TEXTS, *(f"  {text.upper()}!!!" for text in TEXTS)]
    chosen = [shots.sets[i] for i in shots.of(asked)]
    assert sum(len(one) for one in chosen) == 4 * len(asked), "every row has examples"
    assert not [shot for text, one in zip(asked, chosen, strict=True) for shot in one if near(text, shot["text"])]
    assert {int(i) % 2 for i in shots.of(TEXTS)} == {0, 1}, "examples of the first set have the second"


def test_a_row_with_its_like_in_both_sets_has_no_examples() -> None:
    one, other = choose(1, 1).sets[:2]
    shots = ShotSets(choose(1, 1).featurizer, choose(1, 1).centroids, [one, [{**other[0], "text": one[0]["text"]}]])
    assert list(shots.sets[shots.of([one[0]["text"]])[0]]) == []


def test_the_examples_of_a_row_do_not_depend_on_the_rows_beside_it() -> None:
    shots = choose()
    assert [int(shots.of([text])[0]) for text in TEXTS] == shots.of(TEXTS).tolist()
    assert choose().sets == shots.sets


def test_texts_that_are_labelled_in_two_ways_and_long_ones_are_no_examples() -> None:
    twice, long = TEXTS[0].upper(), " ".join(TEXTS)
    table = rows([*TEXTS, twice, long], [*GOLD, ["poor"], ["good"]])
    shown = {shot["text"] for one in choose(10, 3, table).sets for shot in one}
    assert len(shown) > 10 and not shown & {TEXTS[0], twice, long}


@pytest.mark.parametrize("table", [rows([], []), rows(TEXTS, [None] * len(TEXTS)), rows(TEXTS, [[]] * len(TEXTS))])
def test_without_labelled_rows_there_is_nothing_to_choose(table: pa.Table) -> None:
    with pytest.raises(UserError, match=r"^prompt.retrieval: no training row is labelled; write prompt.shots"):
        choose(table=table)


@pytest.fixture(scope="module")
def asked(tiny: Tiny) -> tuple[RetrievedPrompt, object]:
    causal = load_causal(str(tiny("llama", chat=True, scale=3)), dtype=torch.float32, max_length=500)
    return RetrievedPrompt(PromptFormat(PromptSettings("How?"), LABELS, causal.tokenizer, 500), choose(2)), causal.model


def test_a_row_stands_behind_its_examples_and_its_answer_is_left_open(asked: tuple[RetrievedPrompt, object]) -> None:
    prompt, _ = asked
    gold = [None if i % 2 else one for i, one in enumerate(GOLD)]
    encoded = prompt.encode_all([{"text": text} for text in TEXTS], gold=gold)
    for text, labels, row in zip(TEXTS, gold, encoded, strict=True):
        read = prompt.tokenizer.decode(row.prompt_ids)
        shots = prompt.shots.sets[prompt.shots.of([text])[0]]
        places = [read.index(part) for shot in shots for part in (shot["text"], shot["label"])]
        assert places == sorted(places) and places[-1] < read.index(text)
        assert row.completion_ids == (prompt.completion_ids(labels[0]) if labels else ())
        assert row == prompt.encode({"text": text}, labels)


def test_rows_of_a_cluster_share_a_prefix_that_is_computed_once(asked: tuple[RetrievedPrompt, object]) -> None:
    prompt, model = asked
    encoded = prompt.encode_all([{"text": text} for text in TEXTS])
    prefixes = {row.prefix_ids for row in encoded}
    assert len(prefixes) == len(set(prompt.shots.of(TEXTS))) > 3
    passes = []
    hook = model.register_forward_pre_hook(  # type: ignore[attr-defined]
        lambda _, args, given: passes.append("attention_mask" in given), with_kwargs=True
    )
    shared, whole = (LabelScorer(prompt, SharedPrefix(model, torch.device("cpu"), one)) for one in (True, False))
    with torch.inference_mode():
        found = shared.in_batches(encoded, 8, 10**6)
        assert passes.count(False) == len(prefixes)
        np.testing.assert_allclose(found, whole.in_batches(encoded, 8, 10**6), atol=2e-5)
        np.testing.assert_allclose(shared.in_batches(encoded, 64, 8192), found, atol=2e-5)
    hook.remove()
    assert np.ptp(found, axis=1).min() > 0.01


# ---------------------------------------------------------------- by the entry scripts
RETRIEVAL = {"system": "Mood of the text.", "retrieval": {"k": 2, "clusters": 4}}


def test_a_tuned_model_is_asked_with_the_examples_of_its_training(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_easy(tmp_path / "rows.csv", 60)
    once = {"num_train_epochs": 1}
    sft(tmp_path, "one", tiny("qwen2", chat=True), "model.max_length=300", prompt=RETRIEVAL, training=once)
    assert "texts of 2 answers in 4 clusters" in capsys.readouterr().out
    run = tmp_path / "outputs/one"
    predictor, _ = check_reloaded(run)
    assert isinstance(predictor.inner.prompt, RetrievedPrompt)
    kept = {file.suffix for file in run.iterdir() if file.name.startswith("shots")}
    assert kept == {".json", ".safetensors"}
    assert len(json.loads((run / "shots.json").read_text())) == 8


def evaluation(folder: Path, model: Path | str, label: str) -> int:
    (folder / "rows.csv").write_text(
        "text,label\n" + "".join(f'"{text}",{labels[0]}\n' for text, labels in zip(TEXTS, GOLD, strict=True))
    )
    (folder / "none.csv").write_text("text,label\n" + "".join(f"row {i},\n" for i in range(9)))
    (folder / "eval.yaml").write_text(
        f"kind: eval\nname: x\noutput_dir: out\ndata:\n  source: {{train: {label}.csv, test: rows.csv}}\n"
        "labels: {names: [good, poor, late]}\nprompt: {retrieval: {k: 2, clusters: 3}}\n"
        f"evaluation: {{runs: [{{run: {model}, name: base}}], bootstrap: 0}}\n"
    )
    return main("run_eval.py", "eval", evaluate, METHODS, ["eval.yaml"])


def test_a_model_as_published_is_compared_with_examples_of_the_training_rows(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert evaluation(tmp_path, tiny("llama", chat=True), "rows") == 0
    comparison = json.loads((tmp_path / "out/report.json").read_text())
    notes = next(one["notes"] for one in comparison["runs"] if one["name"] == "base")
    assert any("in 3 clusters" in note for note in notes)


def test_an_evaluation_without_labelled_training_rows_ends_before_a_model_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert evaluation(tmp_path, "no/such", "none") == 2
    error = capsys.readouterr().err
    assert "no row of train has both a text and a label" in error and error.count("\n") == 1 and "no/such" not in error
