"""`python -m categorize.decide`: the rule of a finished run is fitted anew, as if trained with that section."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from categorize import load_predictor
from categorize.decide import main as decide
from categorize.methods.registry import METHODS
from categorize.metrics.progress import flat
from categorize.recipe.command import main
from categorize.runs.folder import Run
from categorize.train import train
from tests.recipes import load_recipe
from tests.session.collections import write_collection, write_recipe

Tiny = Callable[..., Path]
SEVERAL = {"labels": {"task": "multi_label", "names": ["good", "bad", "late"]}}
MOODS = {"columns": {"id": "id", "text": "text", "label": "moods"}, "label_separator": ";"}

ANEW = ("decision.thresholds=global", "decision.calibration=platt")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_rows()
    return tmp_path


def write_rows(rows: int = 240) -> None:
    """Rows whose labels are wrong so often that no rule gets all of them right."""
    path = write_collection(Path("rows.csv"), rows=rows)
    lines = list(csv.DictReader(path.open(encoding="utf-8")))
    swapped = {"good": "bad", "bad": "good"}
    for i, line in enumerate(lines):
        if i % 7 in (2, 5):
            line["mood"] = swapped.get(line["mood"], "")
            line["moods"] = ";".join(swapped.get(one, one) for one in line["moods"].split(";"))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, lines[0].keys())
        writer.writeheader()
        writer.writerows(lines)


def trained(name: str, *overrides: str, **sections: Any) -> Path:
    write_recipe(Path("mine.yaml"), **sections)
    chosen = ["mine.yaml", "name=one", f"output_dir=outputs/{name}", *overrides]
    assert main("run_seqcls.py", "seqcls", train, METHODS, chosen) == 0
    return Path("outputs") / name


def state(run: Path) -> dict[str, str]:
    """Every file of a folder with what it holds."""
    files = (file for file in run.rglob("*") if file.is_file())
    return {str(file.relative_to(run)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def check_alike(run: Path, other: Path) -> None:
    """Rule, measures, predictions and recipe of one run are those of the other; so is what it predicts."""
    for name in ("decision_rule.json", "metrics.json", "README.md"):
        texts = [(one / name).read_text().replace(str(run), str(other)) for one in (run, other)]
        # How long a training took, and in how much memory, is its own.
        mine, its = (re.sub(r"^\| (time|peak memory) \|.*$", "", text, flags=re.MULTILINE) for text in texts)
        assert mine == its, name
    for split in ("validation", "test"):
        path = f"predictions/{split}.parquet"
        assert pq.read_table(run / path).equals(pq.read_table(other / path))
    recipes = [yaml.safe_load((one / "recipe.yaml").read_text(encoding="utf-8")) for one in (run, other)]
    assert {**recipes[0], "output_dir": None} == {**recipes[1], "output_dir": None}
    texts = ["good movie a a 1", "bad text bad c b 3", "讨厌 不 好看", "late"]
    predicted = [load_predictor(str(one)).predict_texts(texts) for one in (run, other)]
    assert predicted[0].decided == predicted[1].decided
    np.testing.assert_array_equal(predicted[0].probabilities, predicted[1].probabilities)


@pytest.mark.parametrize(
    "chosen",
    [("thresholds=global",), ("thresholds=per_label", "calibration=platt"), ("thresholds=0.9", "fallback=top")],
    ids=" ".join,
)
def test_several_labels_are_decided_as_a_run_of_that_section_from_the_start(
    folder: Path, chosen: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    sections = {"model": {"method": "tfidf"}, "training": None, "data": MOODS, **SEVERAL}
    overrides = [f"decision.{one}" for one in chosen]
    run, other = trained("old", "decision.thresholds=0.6", **sections), trained("new", *overrides, **sections)
    before = json.loads((run / "run.json").read_text())
    before_measures = json.loads((run / "metrics.json").read_text())
    (weights,) = run.glob("*.safetensors")
    inode = weights.stat().st_ino
    assert (run / "decision_rule.json").read_text() != (other / "decision_rule.json").read_text()
    capsys.readouterr()
    assert decide([str(run), *overrides]) == 0
    shown = capsys.readouterr().out
    assert "before: threshold 0.6" in shown
    for which in (before_measures, json.loads((other / "metrics.json").read_text())):
        for split in ("validation", "test"):
            assert f"{flat(which[split])['macro_f1']:.4f}" in shown
    check_alike(run, other)
    after = json.loads((run / "run.json").read_text())
    assert {name: value for name, value in after.items() if name != "decided"} == before
    assert weights.stat().st_ino == inode  # not written twice
    # And back: nothing of the first rule was lost.
    assert decide([str(run), "decision.thresholds=0.6", *(f"{one.split('=')[0]}=null" for one in overrides[1:])]) == 0
    assert json.loads((run / "decision_rule.json").read_text())["thresholds"] == [0.6] * 3


def test_a_single_label_run_is_calibrated_anew(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sections = {"model": {"method": "tfidf"}, "training": None}
    run, other = trained("old", **sections), trained("new", "decision.calibration=isotonic", **sections)
    assert decide([str(run), "decision.calibration=isotonic"]) == 0
    check_alike(run, other)
    other = trained("plain", "decision.calibration=none", **sections)
    assert decide([str(run), "decision.calibration=none"]) == 0  # from calibrated predictions to plain ones
    assert "predicting validation and test anew" in capsys.readouterr().out
    check_alike(run, other)


def test_a_head_is_decided_by_the_predictions_that_it_keeps(
    folder: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    more = {"model": {"name_or_path": str(tiny("bert"))}, "data": MOODS, **SEVERAL}
    run = trained("old", "training.keep_checkpoints=true", **more)
    other = trained("new", "training.keep_checkpoints=true", "decision.thresholds=per_label", **more)
    capsys.readouterr()
    assert decide([str(run), "decision.thresholds=per_label"]) == 0
    assert "anew" not in capsys.readouterr().out  # no weights were read
    check_alike(run, other)
    assert sorted(state(run)) == sorted(state(other))  # checkpoints too
    assert not run.with_name("old.incomplete").exists()


def test_a_dry_run_and_a_copy_leave_the_run_as_it_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sections = {"model": {"method": "tfidf"}, "training": None, "data": MOODS, **SEVERAL}
    run, other = trained("old", **sections), trained("new", *ANEW, **sections)
    before = state(run)
    assert decide([str(run), *ANEW, "--dry-run"]) == 0
    assert "left as it is" in capsys.readouterr().out
    assert decide([str(run), *ANEW, "--output", "elsewhere/copy"]) == 0
    assert state(run) == before
    assert sorted(path.name for path in Path("outputs").iterdir()) == ["new", "old", "splits"]
    copy = Path("elsewhere/copy")
    assert load_recipe(copy / "recipe.yaml").recipe.output_path == "elsewhere/copy"
    check_alike(copy, other)


@pytest.mark.parametrize("moment", ["files are copied", "the old run moves away", "the new run moves in"])
def test_a_kill_leaves_the_old_run_and_the_same_command_goes_through(
    folder: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    sections = {"model": {"method": "tfidf"}, "training": None, "data": MOODS, **SEVERAL}
    run, other = trained("old", **sections), trained("new", *ANEW, **sections)
    (run / "checkpoints/checkpoint-1").mkdir(parents=True)
    (run / "checkpoints/checkpoint-1/weights").write_text("kept")
    before = state(run)
    if (child := os.fork()) == 0:
        rename = Path.rename

        def dying(path: Path, target: Path) -> Path:
            if moment == "the old run moves away" or path.name == "old.incomplete":
                os._exit(9)
            return rename(path, target)

        if moment == "files are copied":
            monkeypatch.setattr(shutil, "copytree", lambda *_, **__: os._exit(9))
        monkeypatch.setattr(Path, "rename", dying)
        os._exit(decide([str(run), *ANEW]))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert state(Run.open(run).path) == before
    assert (run.with_name("old.incomplete") / "decision_rule.json").read_text() == (
        other / "decision_rule.json"
    ).read_text()
    assert decide([str(run), *ANEW]) == 0
    assert (run / "checkpoints/checkpoint-1/weights").read_text() == "kept"
    check_alike(run, other)


def test_what_cannot_be_decided_is_told_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tfidf: dict[str, Any] = {"model": {"method": "tfidf"}, "training": None}
    run = trained("old", **tfidf)
    unvalidated = trained("unvalidated", "data.splits.validation=0", **tfidf)
    scores = {"data": {"columns": {"id": "id", "text": "text", "label": "score"}}}
    rated = trained("rated", **tfidf, **scores, labels={"task": "regression", "names": None})
    held = {one: state(one) for one in (run, unvalidated, rated)}

    def refused(*arguments: str) -> str:
        capsys.readouterr()
        assert decide(list(arguments)) == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1 and line.startswith("error: ")
        return line

    assert "name what the rule is fitted by" in refused(str(run))
    assert "model.C=3: only keys of decision" in refused(str(run), "model.C=3")
    assert "command line: decision.calibration" in refused(str(run), "decision.calibration=often")
    assert "decision.treshold" in refused(str(run), "decision.treshold=0.4")
    assert "no such run folder" in refused("outputs/none", "decision.calibration=none")
    assert "has no validation rows" in refused(str(unvalidated), "decision.calibration=none")
    assert "a regression gives scores" in refused(str(rated), "decision.calibration=none")
    assert "holds a run already" in refused(str(run), "decision.calibration=none", "--output", str(rated))
    waiting = run.with_name("old.incomplete") / "checkpoints/checkpoint-3"
    waiting.mkdir(parents=True)
    assert "a training that was interrupted waits here" in refused(str(run), "decision.calibration=none")
    assert waiting.exists()
    shutil.rmtree(waiting.parent.parent)
    manifest = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**manifest, "kind": "label"}))
    assert "a run of kind label has no decision rule" in refused(str(run), "decision.calibration=none")
    (run / "run.json").write_text(json.dumps(manifest, ensure_ascii=False, indent=2) + "\n")
    assert {one: state(one) for one in held} == held
    write_rows(300)
    assert "are not those of the data now" in refused(str(run), "decision.calibration=none")


def test_a_fusion_is_decided_anew_and_a_copy_that_would_lose_its_members_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    members = [
        str(trained(name, model={"method": "tfidf", **features}, training=None))
        for name, features in (("words", {}), ("characters", {"char_ngrams": [1, 3], "word_ngrams": None}))
    ]
    sections = {"model": {"method": "fusion", "members": members}, "training": None}
    run, other = trained("old", **sections), trained("new", "decision.calibration=temperature", **sections)
    capsys.readouterr()
    assert decide([str(run), "decision.calibration=temperature", "--output", "elsewhere/copy"]) == 2
    assert "is made of other runs, which a copy would not find" in capsys.readouterr().err
    assert decide([str(run), "decision.calibration=temperature"]) == 0
    check_alike(run, other)


@pytest.mark.parametrize("aggregation", ["vote", "mean"])
def test_documents_in_segments_are_decided_as_training_did(folder: Path, aggregation: str) -> None:
    data = {**MOODS, "segments": {"by": "tokens", "max_tokens": 3, "stride": 1, "aggregation": aggregation}}
    sections = {"model": {"method": "tfidf"}, "training": None, "data": data, **SEVERAL}
    run, other = trained("old", "decision.thresholds=0.6", **sections), trained("new", *ANEW, **sections)
    assert (run / "decision_rule.json").read_text() != (other / "decision_rule.json").read_text()
    assert decide([str(run), *ANEW]) == 0
    check_alike(run, other)


def test_generated_answers_have_nothing_to_decide_by(
    folder: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    write_recipe(
        Path("chat.yaml"),
        kind="sft",
        model={"name_or_path": str(tiny("qwen2", chat=True)), "max_length": 200},
        prompt={"system": "Mood of the text."},
        training={"max_steps": 1, "activation_checkpointing": False},
        prediction={"mode": "generation", "max_new_tokens": 2},
    )
    assert main("run_sft.py", "sft", train, METHODS, ["chat.yaml"]) == 0
    before = state(Path("outputs/chat"))
    capsys.readouterr()
    assert decide(["outputs/chat", "decision.calibration=none"]) == 2
    assert "its answers are generated, without probabilities" in capsys.readouterr().err
    assert state(Path("outputs/chat")) == before


def test_a_merged_run_stays_what_it_is(folder: Path, tiny: Tiny) -> None:
    more = {"model": {"name_or_path": str(tiny("bert"))}, "adapter": {"type": "lora"}, "data": MOODS, **SEVERAL}
    run = trained("old", "--merge", "decision.fallback=top", "training.num_train_epochs=1", **more)
    merged = run.with_name("old_merged")
    before = state(merged)
    assert decide([str(merged), "decision.fallback=top"]) == 0  # the rule that it has
    after = state(merged)
    assert {name for name in before if before[name] != after[name]} == {"run.json", "recipe.yaml"}
    assert len(load_predictor(str(merged)).predict_texts(["good movie"])) == 1


def test_rejection_by_the_texts_comes_and_goes(folder: Path, tiny: Tiny) -> None:
    sections = {"model": {"method": "tfidf"}, "training": None}
    chosen = ["decision.reject.by=similarity", f"decision.reject.encoder={tiny('bert')}", "decision.reject.keep=0.8"]
    run, other = trained("old", **sections), trained("new", *chosen, **sections)
    plain = state(run)
    assert decide([str(run), *chosen]) == 0
    check_alike(run, other)
    assert (run / "scope.safetensors").read_bytes() == (other / "scope.safetensors").read_bytes()
    assert decide([str(run), "decision=null"]) == 0
    changed = {name for name, held in state(run).items() if held != plain.get(name)}
    assert state(run).keys() == plain.keys() and changed == {"run.json", "recipe.yaml"}
