"""`python -m categorize.compare`: recipes of any size on one task, and which of them validation recommends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from categorize.compare import LADDER, main, plan
from categorize.recipe.sections import SeqclsRecipe
from tests.session.collections import write_collection, write_recipe

TASK = """
data: {source: rows.csv, columns: {text: text, label: mood}, splits: {near_duplicates: 'off'}}
labels: {names: [good, bad]}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_collection(tmp_path / "rows.csv")
    (tmp_path / "task.yaml").write_text(TASK, encoding="utf-8")
    return tmp_path


def rung(folder: Path, name: str, **model: object) -> Path:
    return write_recipe(
        folder / f"{name}.yaml", model={"method": "tfidf", **model}, training=None, data={"source": "elsewhere.csv"}
    )


def test_a_rung_reads_the_data_and_labels_of_the_task(folder: Path) -> None:
    (child,) = plan(Path("task.yaml"), [rung(folder, "words", C=2.0)], Path("outputs/cmp"))
    recipe = child.recipe.recipe
    assert isinstance(recipe, SeqclsRecipe)
    assert recipe.data.source == "rows.csv" and recipe.labels.names == ["good", "bad"]
    assert recipe.model.C == 2.0 and child.output == Path("outputs/cmp/words")  # type: ignore[attr-defined]


def test_every_recipe_of_the_ladder_suits_the_shipped_tasks(root: Path, folder: Path) -> None:
    paths = [root / "recipes" / name for name in LADDER]
    assert len(plan(root / "recipes/tasks/gender_comments.yaml", paths, folder / "cmp")) == len(LADDER)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing.yaml"], "no such file; name a task"),
        (["words.yaml"], "is a recipe (kind: seqcls), not a task"),
        (["task.yaml", "--with", "eval.yaml"], "kind eval trains nothing"),
        (["task.yaml", "--with", "words.yaml", "--minutes", "x"], "--minutes"),
    ],
)
def test_what_cannot_be_compared_is_told_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    rung(folder, "words")
    write_recipe(folder / "eval.yaml", kind="eval", evaluation={"runs": ["a"]}, training=None)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1


@pytest.mark.slow
def test_the_smallest_rung_that_is_not_shown_to_be_worse_is_recommended(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_collection(folder / "rows.csv", rows=600)
    constant = rung(folder, "constant", char_ngrams=[1, 1], max_features=1)
    missing = write_recipe(folder / "missing.yaml", model={"name_or_path": "nowhere/model"}, training=None)
    ladder = [str(one) for one in (constant, rung(folder, "small"), missing, rung(folder, "large", C=3.0))]
    assert main(["task.yaml", "--with", *ladder, "--output", "outputs/cmp"]) == 0
    said = capfd.readouterr().out
    assert "recommended: small" in said
    assert "failed: " in said and "missing" in said.split("failed: ")[1]
    comparison = json.loads((folder / "outputs/cmp/comparison/report.json").read_text())
    compared = [one["name"] for one in comparison["runs"]]
    assert "small" in compared and "large" in compared and "missing" not in compared
    before = (folder / "outputs/cmp/small/run.json").stat().st_mtime_ns
    # Once more with no time at all: what is finished is kept and compared.
    assert main(["task.yaml", "--with", *ladder[1:2], ladder[3], "--output", "outputs/cmp", "--minutes", "0"]) == 0
    assert (folder / "outputs/cmp/small/run.json").stat().st_mtime_ns == before
    assert (folder / "outputs/cmp/recommendation.md").read_text().startswith("# Which way")
