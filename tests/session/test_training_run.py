"""From a recipe to a finished run, in this process: every task and method leaves a folder that predicts what it
reported."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from categorize import load_predictor
from categorize.errors import UserError
from categorize.evaluate import evaluate
from categorize.methods.registry import METHODS
from categorize.recipe.command import main
from categorize.reports.report import load_report
from categorize.reports.write import prediction_files
from categorize.train import train
from tests.session.collections import write_collection, write_recipe

Tiny = Callable[..., Path]
FILES = {
    "recipe.yaml",
    "run.json",
    "label_set.json",
    "input.json",
    "decision_rule.json",
    "metrics.json",
    "README.md",
    "splits.parquet",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_collection(tmp_path / "rows.csv")
    return tmp_path


def run(*argv: str) -> int:
    return main("run_seqcls.py", "seqcls", train, METHODS, list(argv))


def compare(*argv: str) -> int:
    return main("run_eval.py", "eval", evaluate, METHODS, list(argv))


def check_run(path: Path, task: str) -> dict[str, Any]:
    """The folder is whole, holds no pickle, and a reloaded predictor gives the predictions that the run wrote."""
    assert {file.name for file in path.iterdir()} >= FILES
    pickles = [file for file in path.rglob("*") if file.suffix in (".bin", ".pkl", ".pt")]
    assert all("checkpoints" in file.parts for file in pickles)
    # A colleague may read what the umask lets him read: weights too, which safetensors writes for their owner alone.
    assert {file.stat().st_mode for file in path.rglob("*") if file.is_file()} == {
        (path / "recipe.yaml").stat().st_mode
    }
    assert not path.with_name(path.name + ".incomplete").exists()
    written = pq.read_table(path / "predictions/test.parquet")
    assert written.column_names[:12] == [
        "id", "document_id", "text", "group", "gold", "gold_score", "predicted", "score", "valid",
        "probabilities", "raw", "seen_in_train",
    ]  # fmt: skip
    again = load_predictor(str(path)).predict_texts(written["text"].to_pylist())
    if task == "regression":
        np.testing.assert_allclose(again.score, written["score"].to_numpy(), rtol=1e-5)
    else:
        np.testing.assert_allclose(again.probabilities, np.array(written["probabilities"].to_pylist()), atol=1e-6)
        assert [list(names) for names in again.decided or []] == written["predicted"].to_pylist()
    metrics = json.loads((path / "metrics.json").read_text())
    assert metrics["test"]["rows"] == written.num_rows
    manifest = json.loads((path / "run.json").read_text())
    assert manifest["task"] == task
    assert manifest["parameters_trained"] > 0
    return dict(metrics["test"])


@pytest.mark.parametrize("adapter", [None, "lora"])
@pytest.mark.parametrize("architecture", ["bert", "qwen2"])
def test_a_single_label_head_learns_and_predicts_what_it_reported(
    folder: Path, tiny: Tiny, architecture: str, adapter: str | None
) -> None:
    sections: dict[str, Any] = {"adapter": {"type": adapter}} if adapter else {}
    recipe = write_recipe(folder / "one.yaml", model={"name_or_path": str(tiny(architecture))}, **sections)
    assert run(str(recipe), "training.num_train_epochs=6", "training.learning_rate=1e-2") == 0
    metrics = check_run(folder / "outputs/one", "single_label")
    assert metrics["accuracy"] > 0.9


def test_a_multi_label_head_with_tuned_thresholds(folder: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_recipe(
        folder / "many.yaml",
        model={"name_or_path": str(tiny("bert"))},
        data={"columns": {"id": "id", "text": "text", "label": "moods"}},
        labels={"task": "multi_label", "names": ["good", "bad", "late"]},
        decision={"thresholds": "per_label", "fallback": "top"},
        training={"class_weights": "balanced", "num_train_epochs": 6, "learning_rate": 1e-2, "use_cpu": True},
    )
    assert run(str(recipe)) == 0
    weights = json.loads((folder / "outputs/many/run.json").read_text())["details"]["class_weights"]
    assert weights["bad"] > 1.5 > weights["good"]  # negatives / positives: a third of the rows are bad
    shown = f"weights of labels in the loss: bad {weights['bad']:.3g}, late "
    assert shown in capsys.readouterr().out
    assert run(str(recipe), "output_dir=outputs/other", "--dry-run") == 0
    assert shown in capsys.readouterr().out
    metrics = check_run(folder / "outputs/many", "multi_label")
    assert metrics["macro"]["f1"] > 0.8
    assert "samples" in metrics


@pytest.mark.parametrize("method", ["head", "tfidf"])
def test_a_regression_predicts_in_the_units_of_the_data(folder: Path, tiny: Tiny, method: str) -> None:
    model = {"name_or_path": str(tiny("bert"))} if method == "head" else {"method": "tfidf"}
    training = {} if method == "head" else {"training": None}
    recipe = write_recipe(
        folder / "score.yaml",
        model=model,
        data={"columns": {"id": "id", "text": "text", "label": "score"}},
        labels={"task": "regression", "names": None, "minimum": 1.0, "maximum": 5.0},
        **training,
    )
    overrides = ["training.num_train_epochs=8", "training.learning_rate=1e-2"] if method == "head" else []
    assert run(str(recipe), *overrides) == 0
    metrics = check_run(folder / "outputs/score", "regression")
    assert metrics["pearson"] > 0.8
    assert metrics["rmse"] < 0.7


def test_a_decoder_head_may_read_a_prompt(folder: Path, tiny: Tiny) -> None:
    recipe = write_recipe(
        folder / "prompted.yaml",
        model={"name_or_path": str(tiny("qwen2", chat=True)), "max_length": 256, "head_init": "label_tokens"},
        prompt={"system": "Say the mood.", "template": "{text}"},
    )
    assert run(str(recipe)) == 0
    check_run(folder / "outputs/prompted", "single_label")
    begun = json.loads((folder / "outputs/prompted/run.json").read_text())["details"]["head"]
    assert begun.startswith("the head begins as the output layer's rows of label tokens: good from 'g'")
    assert json.loads((folder / "outputs/prompted/prompt.json").read_text())["system"] == "Say the mood."


def test_tfidf_and_a_linear_probe_and_their_comparison(
    folder: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = str(tiny("bert"))
    assert run(str(write_recipe(folder / "linear.yaml", model={"method": "tfidf"}, training=None))) == 0
    check_run(folder / "outputs/linear", "single_label")
    assert run(str(write_recipe(folder / "probe.yaml", model={"name_or_path": encoder, "freeze": True}))) == 0
    check_run(folder / "outputs/probe", "single_label")
    recipe = write_recipe(
        folder / "table.yaml",
        kind="eval",
        evaluation={"runs": ["outputs/linear", "outputs/probe", encoder]},
        training=None,
    )
    capsys.readouterr()
    assert compare(str(recipe)) == 0
    shown = capsys.readouterr().out
    assert "majority label" in shown
    assert "probe: linear probe" in shown
    assert "randomly initialised head (bert.pooler, classifier)" in shown
    differences = shown.partition("Difference from ")[2].partition("F1 by label")[0]
    for measured in ("accuracy", "macro-F1", "weighted-F1"):
        assert differences.count(f" {measured} ") == 2, "of each run but the best one"
    written = (folder / "outputs/table/report.json").read_text()
    assert load_report(folder / "outputs/table/report.json").to_json() == written
    table = json.loads(written)
    by_name = {one["name"]: one["metrics"]["accuracy"] for one in table["runs"]}
    assert by_name["linear"] == json.loads((folder / "outputs/linear/metrics.json").read_text())["test"]["accuracy"]
    for one in (one for one in table["runs"] if one["method"] != "baseline"):
        predictions = pq.read_table(folder / "outputs/table" / one["predictions"])
        right = [a == b for a, b in zip(*predictions.select(["predicted", "gold"]).to_pydict().values(), strict=True)]
        assert sum(right) / len(right) == pytest.approx(by_name[one["name"]]), one["name"]


def test_the_predictions_of_runs_with_like_names_do_not_share_a_file() -> None:
    assert prediction_files(["a b", "a_b", "A/b", "注册"]) == {
        "a b": "predictions/a_b.parquet",
        "a_b": "predictions/a_b-2.parquet",
        "A/b": "predictions/A_b-3.parquet",
        "注册": "predictions/注册.parquet",
    }


def test_an_evaluation_refuses_a_run_that_was_split_otherwise(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(write_recipe(folder / "linear.yaml", model={"method": "tfidf"}, training=None))) == 0
    recipe = write_recipe(folder / "table.yaml", kind="eval", evaluation={"runs": ["outputs/linear"]}, training=None)
    capsys.readouterr()
    assert compare(str(recipe), "data.splits.seed=7") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: outputs/linear: its test split") and error.count("\n") == 1
    # What has a name that is taken, or other labels, is said before anything is predicted, and not blamed on the split.
    others = {"evaluation": {"runs": [{"run": "outputs/linear", "name": "majority label"}]}}
    assert compare(str(write_recipe(folder / "named.yaml", kind="eval", training=None, **others))) == 2
    out, error = capsys.readouterr()
    assert error.startswith("error: evaluation.runs: 'majority label' is what the table calls the baseline")
    assert "documents/s" not in out
    assert compare(str(folder / "named.yaml"), "evaluation.baselines=[]") == 0
    capsys.readouterr()
    labels = {"names": [{"name": "Good", "aliases": ["good"]}, "bad"]}
    assert compare(str(write_recipe(folder / "spelt.yaml", kind="eval", labels=labels, training=None, **others))) == 2
    told = "its labels are not the evaluation's: only the run has 'good'; only the evaluation has 'Good';"
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("second", ["outputs/linearr", "outputs/other"])
def test_an_evaluation_looks_at_all_runs_before_it_predicts_with_the_first(
    folder: Path, capsys: pytest.CaptureFixture[str], second: str
) -> None:
    model = {"model": {"method": "tfidf"}, "training": None}
    assert run(str(write_recipe(folder / "linear.yaml", **model))) == 0
    assert run(str(write_recipe(folder / "other.yaml", **model)), "data.splits.seed=7") == 0
    recipe = write_recipe(
        folder / "t.yaml", kind="eval", evaluation={"runs": ["outputs/linear", second]}, training=None
    )
    capsys.readouterr()
    assert compare(str(recipe)) == 2
    out, error = capsys.readouterr()
    assert error.startswith(f"error: {second}: ") and "documents/s" not in out
    assert not (folder / "outputs/t").exists()


@pytest.mark.parametrize("flags", [[], ["--dry-run"]])
def test_a_source_without_labels_is_refused(
    folder: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    recipe = write_recipe(folder / "r.yaml", model={"name_or_path": str(tiny("bert"))})
    assert run(str(recipe), "data.columns.label=null", *flags) == 2
    assert "error: rows.csv: no row has a label; name the column" in capsys.readouterr().err


def test_a_run_without_its_manifest_is_not_read_as_somebody_elses_model(folder: Path, tiny: Tiny) -> None:
    """Its text preparation, its decision rule and the check of its split would be lost without a word."""
    assert run(str(write_recipe(folder / "r.yaml", model={"name_or_path": str(tiny("bert"))}))) == 0
    unfinished = (folder / "outputs/r").rename(folder / "outputs/r.incomplete")
    (unfinished / "run.json").unlink()
    with pytest.raises(UserError, match=r"r\.incomplete: not a run folder \(run\.json is missing\)"):
        load_predictor(str(unfinished))


def test_an_adapter_trained_elsewhere_is_loaded_on_the_base_that_is_named(folder: Path, tiny: Tiny) -> None:
    """A plain peft folder, with the base under a path that no longer exists."""
    import shutil

    base = shutil.copytree(tiny("bert"), folder / "base")
    recipe = write_recipe(folder / "one.yaml", model={"name_or_path": "base"}, adapter={"type": "lora"})
    assert run(str(recipe)) == 0
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(folder / "outputs/one" / name, elsewhere)
    base.rename(folder / "moved")
    run_predictor = load_predictor("outputs/one", base="moved")
    foreign = load_predictor("elsewhere", base="moved", label_set=run_predictor.label_set)
    texts = ["good movie", "讨厌 这个 视频"]
    expected = run_predictor.predict_texts(texts)
    np.testing.assert_allclose(foreign.predict_texts(texts).probabilities, expected.probabilities, atol=1e-6)
    assert foreign.notes[0] == "adapter on moved"


def test_an_output_folder_with_another_run_is_refused_unless_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = str(write_recipe(folder / "linear.yaml", model={"method": "tfidf"}, training=None))
    assert run(recipe) == 0
    before = (folder / "outputs/linear/run.json").read_bytes()
    capsys.readouterr()
    assert run(recipe) == 2
    assert "outputs/linear: output_dir holds a finished run" in capsys.readouterr().err
    assert (folder / "outputs/linear/run.json").read_bytes() == before
    assert run(recipe, "--overwrite", "seed=1") == 0
    assert json.loads((folder / "outputs/linear/run.json").read_text())["seed"] == 1


def test_a_folder_of_other_files_is_never_written_to(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "outputs/linear").mkdir(parents=True)
    (folder / "outputs/linear/thesis.docx").write_text("mine")
    recipe = str(write_recipe(folder / "linear.yaml", model={"method": "tfidf"}, training=None))
    assert run(recipe, "--overwrite") == 2
    assert "holds files that do not belong to a run" in capsys.readouterr().err
    assert (folder / "outputs/linear/thesis.docx").read_text() == "mine"


def test_a_dry_run_shows_data_lengths_and_costs_and_writes_nothing(
    folder: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = str(write_recipe(folder / "one.yaml", model={"name_or_path": str(tiny("bert")), "max_length": 6}))
    assert run(recipe, "--dry-run") == 0
    shown = capsys.readouterr().out
    for part in (
        "tokens a row: median",
        "rows that would be cut:",
        "example as the model reads it: [CLS]",
        "parameters:",
        "optimizer steps:",
        "memory, measured:",
        "nothing was trained",
    ):
        assert part in shown
    assert not (folder / "outputs").exists()


def test_a_missing_model_is_said_before_data_is_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = str(write_recipe(folder / "one.yaml", model={"name_or_path": "./nowhere"}, data={"source": "nothing.csv"}))
    assert run(recipe) == 2
    error = capsys.readouterr().err
    assert error == "error: ./nowhere: no such model folder; give a folder that exists or a Hub id (owner/name)\n"
    assert not (folder / "outputs/one").exists()


def test_tensorboard_s_files_are_not_part_of_the_checkpoints(folder: Path, tiny: Tiny) -> None:
    pytest.importorskip("tensorboardX")
    recipe = str(write_recipe(folder / "one.yaml", model={"name_or_path": str(tiny("bert"))}))
    assert run(recipe, "training.report_to=tensorboard", "training.max_steps=2", "training.logging_steps=1") == 0
    found = list((folder / "outputs/one").rglob("events.out.tfevents.*"))
    assert found and {file.parent for file in found} == {folder / "outputs/one/logs/tensorboard"}
    assert {"train/loss", "train/learning_rate", "eval/macro_f1"} <= {tag for file in found for tag in tags(file)}


def tags(file: Path) -> set[str]:
    """Names of the scalars in an event file: records of length, checksum, event, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    data, at, found = file.read_bytes(), 0, set()
    while at < len(data):
        size = int.from_bytes(data[at : at + 8], "little")
        found |= {value.tag for value in Event.FromString(data[at + 12 : at + 12 + size]).summary.value}
        at += size + 16
    return found


@pytest.mark.parametrize(("umask", "mode"), [(0o027, 0o640), (0o002, 0o664)])
def test_a_run_is_as_open_as_the_umask_says(folder: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        assert run(str(write_recipe(folder / "one.yaml", model={"method": "tfidf"}, training=None))) == 0
    finally:
        os.umask(before)
    entries = [folder / "outputs", folder / "outputs/one", *(folder / "outputs/one").rglob("*")]
    assert {entry.stat().st_mode & 0o777 for entry in entries if entry.is_file()} == {mode}
    assert {entry.stat().st_mode & 0o777 for entry in entries if entry.is_dir()} == {0o777 & ~umask}


def test_weights_that_only_their_owner_may_read_are_said_to_be_such() -> None:
    """Runs of older versions have them; safetensors would say that there is no such file."""
    with tempfile.TemporaryDirectory() as place:  # pytest's own folders are closed to others
        run = Path(place) / "run"
        run.mkdir()
        Path(place).chmod(0o755)
        (run / "run.json").write_text("{}")
        (run / "model.safetensors").touch(mode=0o600)
        user, nobody = os.geteuid(), 65534
        if user == 0:
            os.seteuid(nobody)
        else:
            (run / "model.safetensors").chmod(0)
        try:
            with pytest.raises(UserError, match=rf"you may not read it; .*: chmod -R go\+rX {run}$"):
                load_predictor(str(run))
        finally:
            os.seteuid(user)
