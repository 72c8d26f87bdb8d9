"""`seeds` in a recipe: a run for each, their mean and spread, and one line for all of them in an evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest

from categorize.reports.report import load_report
from tests.recipes import load_recipe
from tests.session.collections import write_collection, write_recipe
from tests.session.test_training_run import compare, run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_collection(tmp_path / "rows.csv", 240)
    return tmp_path


def recipe(folder: Path, **sections: Any) -> str:
    """Few balanced rows, drawn by the seed."""
    path = write_recipe(folder / "mine.yaml", model={"method": "tfidf"}, training=None, seeds=[1, 2, 3], **sections)
    with path.open("a", encoding="utf-8") as file:
        file.write("training: {balance: downsample}\n")
    return str(path)


@pytest.mark.slow
def test_each_seed_is_a_run_and_an_evaluation_compares_their_mean(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(recipe(folder)) == 0
    shown = capfd.readouterr().out
    assert "mean ± sd" in shown and "seed 2, of 3: outputs/mine_seeds/seed_2" in shown
    summary = json.loads(Path("outputs/mine_seeds/seeds.json").read_text())
    assert summary["seeds"] == [1, 2, 3] and not Path("outputs/mine").exists()
    scores = [json.loads(Path(f"outputs/mine_seeds/seed_{n}/metrics.json").read_text())["test"] for n in (1, 2, 3)]
    found = [one["log_loss"] for one in scores]
    assert len(set(found)) == 3
    assert summary["mean"]["log_loss"] == pytest.approx(fmean(found))
    assert summary["sd"]["log_loss"] == pytest.approx(stdev(found))
    recipes = [load_recipe(f"outputs/mine_seeds/seed_{n}/recipe.yaml").recipe for n in (1, 2, 3)]
    assert [(one.seed, one.name) for one in recipes] == [(n, f"mine_seed_{n}") for n in (1, 2, 3)]
    assert len(list(Path("outputs/splits").iterdir())) == 1

    words = str(write_recipe(folder / "words.yaml", model={"method": "lexical"}, training=None))
    assert run(words) == 0
    evaluation = {"runs": ["outputs/mine", "outputs/words"], "bootstrap": 100}
    told: dict[str, Any] = {"kind": "eval", "training": None, "evaluation": evaluation}
    assert compare(str(write_recipe(folder / "table.yaml", **told))) == 0
    out = " ".join(capfd.readouterr().out.split())
    comparison = load_report("outputs/table/report.json").comparison
    assert [one.name for one in comparison.runs][1:] == ["mine, seed 1", "mine, seed 2", "mine, seed 3", "words"]
    (group,) = comparison.seeds
    assert (group.name, group.runs) == ("mine", ("mine, seed 1", "mine, seed 2", "mine, seed 3"))
    assert group.mean["log_loss"] == pytest.approx(fmean(found)) and group.sd["log_loss"] == pytest.approx(stdev(found))
    low, high = group.intervals["accuracy"] or (0, 0)
    assert low <= group.mean["accuracy"] <= high
    assert {one.run for one in comparison.differences} | {comparison.differences[0].reference} == {"mine", "words"}
    assert "Mean ± standard deviation over seeds" in out and f"mine 3 {group.mean['accuracy']:.3f} ±" in out
    twice = "evaluation.runs=[outputs/mine_seeds, {run: outputs/words, name: mine}]"
    assert compare(str(folder / "table.yaml"), "--overwrite", twice) == 2
    assert "two runs are named 'mine'" in capfd.readouterr().err
    assert compare(str(folder / "table.yaml"), "--overwrite", "evaluation.runs=[outputs/mine_seeds]") == 0


def test_runs_that_differ_in_their_seed_alone_are_compared_by_their_mean(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, lines = recipe(folder), []
    for seed, more in ((1, ()), (2, ()), (3, ("model.C=9.0",))):
        name = f"words_seed_{seed}"
        assert run(path, "seeds=null", f"seed={seed}", f"name={name}", *more) == 0
        lines.append({"run": f"outputs/{name}"})
    told: dict[str, Any] = {"kind": "eval", "training": None, "evaluation": {"runs": lines, "bootstrap": 50}}
    assert compare(str(write_recipe(folder / "table.yaml", **told))) == 0
    comparison = load_report("outputs/table/report.json").comparison
    (group,) = comparison.seeds
    assert (group.name, group.runs) == ("words", ("words_seed_1", "words_seed_2"))  # the third has another C
    found = [one.numbers["log_loss"] for one in comparison.runs if one.name in group.runs]
    assert len(set(found)) == 2 and group.sd["log_loss"] == pytest.approx(stdev(found))
    assert {one.run for one in comparison.differences} <= {"words", "words_seed_3"}
    assert "Mean ± standard deviation over seeds" in " ".join(capfd.readouterr().out.split())


@pytest.mark.slow
def test_finished_seeds_are_kept_and_another_recipe_is_refused(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = recipe(folder)
    assert run(path, "seeds=[1, 2]") == 0
    before = Path("outputs/mine_seeds/seed_1/run.json").stat().st_mtime_ns
    assert run(path) == 0
    assert capfd.readouterr().out.count("finished before") == 2
    assert Path("outputs/mine_seeds/seed_1/run.json").stat().st_mtime_ns == before
    assert len(json.loads(Path("outputs/mine_seeds/seeds.json").read_text())["runs"]) == 3
    assert run(path, "model.C=9.0") == 2
    assert "was made with another recipe" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["seeds=[1]"], "at least 2"),
        (["seeds=[1, 1]"], "names a seed twice"),
        (["hub={repo_id: me/mine}"], "hub: cannot go with seeds"),
        (
            ["--merge"],
            "merge one of the finished runs: python run_seqcls.py outputs/mine_seeds/seed_N/recipe.yaml",
        ),
    ],
)
def test_what_several_seeds_cannot_do_is_refused(
    folder: Path, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(recipe(folder), *arguments) == 2
    assert told in capsys.readouterr().err


def test_a_dry_run_tells_the_seeds_and_trains_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(recipe(folder), "--dry-run") == 0
    assert "seeds: 3 runs, in outputs/mine_seeds" in capsys.readouterr().out
    assert not Path("outputs").exists()
