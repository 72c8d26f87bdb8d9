"""A run that is asked by a prompt scores any labels; others say that they cannot."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from categorize import load_predictor
from categorize.errors import UserError
from categorize.labels import Label, LabelSet
from categorize.prompts.messages import SYSTEMS, PromptSettings
from categorize.prompts.tokens import PromptFormat
from tests.engines.test_scoring import naive

SAVED = Path(__file__).parents[1] / "runs/saved"
OTHERS = LabelSet("single_label", (Label("text"), Label("good"), Label("label")))
TEXTS = ["good", "bad text", ""]


def test_a_causal_run_scores_labels_that_it_was_not_trained_on() -> None:
    predictor = load_predictor(str(SAVED / "sft"), base=str(SAVED / "llama"), label_set=OTHERS)
    found = predictor.predict_texts(TEXTS)
    inner = predictor.inner
    asked = PromptFormat(
        PromptSettings(SYSTEMS["single_label"], "{text} label"),
        OTHERS,
        inner.causal.tokenizer,
        30,  # type: ignore[attr-defined]
    )
    rows = [asked.encode({"text": text}) for text in TEXTS]
    scores = np.exp(naive(inner.causal.model, asked, rows, end=False))  # type: ignore[attr-defined]
    np.testing.assert_allclose(found.probabilities, scores / scores.sum(axis=1, keepdims=True), atol=1e-5)
    assert found.decided == [[OTHERS.names[i]] for i in scores.argmax(axis=1)]
    assert predictor.label_set == OTHERS and "scores labels that it was not trained on (3)" in predictor.notes
    assert predictor.decision_rule.labels == tuple(OTHERS.names)


@pytest.mark.parametrize(("name", "base"), [("tfidf", None), ("head", "bert"), ("sft", "llama")])
def test_the_labels_of_the_training_change_nothing_in_any_order(name: str, base: str | None) -> None:
    where = str(SAVED / base) if base else None
    own = load_predictor(str(SAVED / name), base=where)
    turned = LabelSet(own.label_set.task, tuple(reversed(own.label_set.labels)))
    again = load_predictor(str(SAVED / name), base=where, label_set=turned)
    assert again.label_set == own.label_set and again.notes == own.notes
    np.testing.assert_array_equal(again.predict_texts(TEXTS).probabilities, own.predict_texts(TEXTS).probabilities)


@pytest.mark.parametrize(("name", "base"), [("tfidf", None), ("head", "bert")])
def test_a_run_whose_labels_are_fixed_refuses_others_in_one_line(name: str, base: str | None) -> None:
    with pytest.raises(UserError, match=rf"{name}: predicts the labels of its training alone \(good, bad\)") as error:
        load_predictor(str(SAVED / name), base=str(SAVED / base) if base else None, label_set=OTHERS)
    assert "\n" not in str(error.value)


def test_labels_of_another_task_are_refused() -> None:
    several = LabelSet("multi_label", OTHERS.labels)
    with pytest.raises(UserError, match=r"sft: predicts single_label, the labels are for multi_label"):
        load_predictor(str(SAVED / "sft"), base=str(SAVED / "llama"), label_set=several)


@pytest.mark.parametrize("run", ["sft", "sft.incomplete/checkpoints/checkpoint-5"])
def test_an_evaluation_still_compares_on_the_labels_of_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], run: str
) -> None:
    """Other labels are scored where they are asked for by name, never because an evaluation has others."""
    from categorize.evaluate import evaluate
    from categorize.methods.registry import METHODS
    from categorize.recipe.command import main

    monkeypatch.chdir(tmp_path)
    shutil.copytree(SAVED / "sft", tmp_path / run)
    if run != "sft":  # interrupted, so that no manifest tells its labels beforehand
        shutil.copytree(SAVED / "sft", tmp_path / "sft.incomplete", dirs_exist_ok=True)
        (tmp_path / "sft.incomplete/run.json").unlink()
        (tmp_path / run / "run.json").unlink()
        pq.write_table(pa.table({"id": ["1"]}), tmp_path / "sft.incomplete/splits.parquet")
        (tmp_path / run / "trainer_state.json").write_text('{"global_step": 5, "max_steps": 10}')
        (tmp_path / run / "complete.json").write_text("{}")
    (tmp_path / "rows.csv").write_text("text,label\n" + "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(40)))
    (tmp_path / "eval.yaml").write_text(
        "kind: eval\nname: x\noutput_dir: out\ndata: {source: rows.csv, columns: {text: text, label: label}}\n"
        f"evaluation: {{runs: [{{run: {run}, base: {SAVED / 'llama'}}}]}}\n"
    )
    assert main("run_eval.py", "eval", evaluate, METHODS, ["eval.yaml"]) == 2
    assert f"{run}: its labels are not the evaluation's: only the run has 'bad', 'good'" in capsys.readouterr().err
