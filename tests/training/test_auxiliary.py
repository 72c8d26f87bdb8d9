"""Further scores of a regression: learned beside the first, measured each by itself, saved with the run."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch.nn import functional

from categorize import load_predictor
from categorize.labels import Label, LabelSet
from categorize.methods.head.fit import scaled_to
from categorize.methods.head.model import HeadSettings
from categorize.methods.registry import METHODS
from categorize.metrics.scores import regression_scores
from categorize.nn.head_output import Auxiliary, head_output
from categorize.predictions import Predictions
from categorize.recipe.command import main
from categorize.recipe.loss_sections import loss_of
from categorize.train import train
from categorize.training.checkpoints import mark_complete
from tests.session.collections import write_recipe

SCORE = LabelSet("regression", (Label("score"),))


def test_the_loss_is_the_weighted_sum_over_known_scores() -> None:
    further = (Auxiliary("arousal", 0.5), Auxiliary("dominance", 2.0))
    output = head_output(SCORE, objective=loss_of("huber", "regression"), auxiliary=further)
    assert output.names == ["score", "arousal", "dominance"]
    generator = torch.Generator().manual_seed(0)
    logits, targets = (torch.randn(6, 3, generator=generator, dtype=torch.float64) * 2 for _ in range(2))
    targets[0, 1] = targets[2, 2] = float("nan")
    logits.requires_grad_()
    losses = output.row_losses(logits, targets)
    expected = torch.zeros(6, dtype=torch.float64)
    for row in range(6):
        for column, weight in enumerate((1.0, 0.5, 2.0)):
            if not targets[row, column].isnan():
                expected[row] += weight * functional.huber_loss(logits[row, column], targets[row, column])
    torch.testing.assert_close(losses, expected)
    (gradient,) = torch.autograd.grad(losses.sum(), logits)
    assert gradient.isfinite().all()
    assert gradient[0, 1] == gradient[2, 2] == 0


def test_scores_are_scaled_by_what_is_known_and_come_back_in_the_units_of_the_data() -> None:
    targets = np.array([[1.0, 10.0], [3.0, np.nan], [5.0, 30.0]])
    settings = scaled_to(HeadSettings(8, auxiliary=[{"name": "arousal", "weight": 0.5, "mean": 0, "std": 1}]), targets)
    assert settings.auxiliary == [{"name": "arousal", "weight": 0.5, "mean": 20.0, "std": 10.0}]
    output = settings.output(SCORE)
    scaled = output.scaled(targets)
    np.testing.assert_allclose(np.nanmean(scaled, axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(np.nanstd(scaled, axis=0), 1)
    read = output.predictions(["1", "2", "3"], np.nan_to_num(scaled))
    np.testing.assert_allclose(read.score, targets[:, 0])
    assert read.auxiliary is not None
    np.testing.assert_allclose(read.auxiliary["arousal"], [10.0, 20.0, 30.0])
    both = Predictions.concatenate([read.take([2]), read.take([0])])
    assert both.auxiliary is not None
    assert both.auxiliary["arousal"].tolist() == [30.0, 10.0]


def write_scores(path: Path, hole: str = "") -> None:
    """90 rows whose words tell valence and arousal."""
    rng = np.random.default_rng(0)
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "text", "mood", "arousal"])
        for i in range(90):
            valence, arousal = rng.integers(0, 3, size=2).tolist()
            text = f"{['bad', 'fair', 'good'][valence]} and {['calm', 'awake', 'wild'][arousal]}"
            rows.writerow([i, text, valence, hole if i == 7 else 10 * arousal])


def recipe_for(folder: Path, tiny: Callable[..., Path], **sections: Any) -> Path:
    training = {"auxiliary": {"arousal": 1.0}, "num_train_epochs": 3, "per_device_train_batch_size": 8, "use_cpu": True}
    given = {"model": {"name_or_path": str(tiny("bert")), "max_length": 16}, "training": training, **sections}
    path = write_recipe(folder / "r.yaml", **given)
    path.write_text(path.read_text().replace("labels:\n  names:\n  - good\n  - bad\n", "labels: {task: regression}\n"))
    return path


def run(*arguments: str) -> int:
    return main("run_seqcls.py", "seqcls", train, METHODS, list(arguments))


@pytest.mark.parametrize("cut", [False, True])
def test_each_score_is_measured_and_predicted_again_by_the_reloaded_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tiny: Callable[..., Path],
    cut: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_scores(tmp_path / "rows.csv")
    segments = ["data.segments={by: tokens, max_tokens: 6}"] if cut else []
    assert run(str(recipe_for(tmp_path, tiny)), *segments) == 0
    metrics = json.loads(Path("outputs/r/metrics.json").read_text())
    for split in ("validation", "test"):
        table = pq.read_table(f"outputs/r/predictions/{split}.parquet")
        measured = metrics[split]["auxiliary"]["arousal"]
        lines = csv.DictReader(Path("rows.csv").read_text().splitlines())
        gold = {row["id"]: float(row["arousal"] or "nan") for row in lines}
        known = [i for i, name in enumerate(table["id"].to_pylist()) if not np.isnan(gold[name])]
        wanted = np.array([gold[name] for name in table["id"].to_pylist()])[known]
        again = regression_scores(wanted, table["score of arousal"].to_numpy()[known])
        assert measured == {"rows": len(known), **again}
    assert "of auxiliary arousal:  pearson" in capsys.readouterr().out
    found = load_predictor("outputs/r").predict_texts(table["text"].to_pylist())
    assert found.auxiliary is not None
    np.testing.assert_allclose(found.auxiliary["arousal"], table["score of arousal"].to_numpy(), rtol=1e-5, atol=1e-5)
    assert json.loads(Path("outputs/r/head.json").read_text())["auxiliary"][0]["mean"] == pytest.approx(10, abs=3)


@pytest.mark.parametrize("change", ["auxiliary", "spelling"])
def test_an_interrupted_run_is_not_continued_on_other_auxiliary_scores(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tiny: Callable[..., Path],
    change: str,
) -> None:
    def stop(checkpoint: Path) -> None:
        mark_complete(checkpoint)
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    write_scores(tmp_path / "rows.csv")
    path = str(recipe_for(tmp_path, tiny))
    steps = ["training.save_strategy=steps", "training.save_steps=4", "training.eval_strategy=no"]
    with monkeypatch.context() as patch:
        patch.setattr("categorize.training.step_batches.mark_complete", stop)
        assert run(path, *steps) == 130
    header, *rows = Path("rows.csv").read_text().splitlines()
    cells = [row.split(",") for row in rows]
    for row in cells:
        row[-1] = {"auxiliary": {"20": "21"}, "spelling": {"20": "20.0"}}[change].get(row[-1], row[-1])
    Path("rows.csv").write_text("\n".join([header, *map(",".join, cells)]) + "\n")
    capsys.readouterr()
    assert run(path, *steps, "--resume") == (2 if change == "auxiliary" else 0)
    assert ("rows.csv was changed since; undo the change" in capsys.readouterr().err) == (change == "auxiliary")


def test_columns_that_cannot_be_scores_are_named_before_a_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny: Callable[..., Path]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_scores(tmp_path / "rows.csv", hole="high")
    path = str(recipe_for(tmp_path, tiny))
    assert run(path, "training.auxiliary={arousl: 1}", "model.name_or_path=" + str(tiny("bert"))) == 2
    assert "the data has no column 'arousl'; did you mean arousal?; columns: " in capsys.readouterr().err
    assert run(path) == 2
    assert "training.auxiliary: 1 rows hold no number in column 'arousal': 7: 'high'" in capsys.readouterr().err
    assert run(path, "labels.missing=['', high]", "training.num_train_epochs=1") == 0
    for more, said in (
        ("labels.task=single_label", "training.auxiliary: is for scores"),
        ("model={method: tfidf}", "training: is not read by model.method tfidf"),
        ("model.method=chunks", "training.auxiliary: needs outputs for further scores, which model.method chunks"),
    ):
        assert run(path, more) == 2
        assert said in capsys.readouterr().err
