"""Every shipped training recipe takes two optimizer steps, with only a tiny model and a handful of rows put in."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from categorize.label_rules import RuleBroken
from categorize.labels import LabelSet
from categorize.methods.registry import METHODS
from categorize.recipe.command import main
from categorize.recipe.load import peek_kind
from categorize.recipe.sections import LabelsSection
from categorize.train import train
from tests.recipes import load_recipe

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = {"seqcls": "run_seqcls.py", "sft": "run_sft.py"}
RECIPES = sorted(path for path in (ROOT / "recipes").glob("*.yaml") if peek_kind(path) in SCRIPTS)
ARCHITECTURES = {
    "bert-base": "bert",
    "ModernBERT": "modernbert",
    "longformer": "longformer",
    "bigbird": "bigbird",
    "Qwen2.5": "qwen2",
    "Qwen3": "qwen3",
    "Llama": "llama",
}
TEXTS = ["She plays so well", "这个 视频 太 好 看 了", "not for me at all", "good movie", "first!", "what is this song"]


def architecture(name: str) -> str:
    """The tiny stand-in of a model by the family in its name."""
    return next(tiny for family, tiny in ARCHITECTURES.items() if family in name)


def stands_by_itself(name: str, labels: LabelsSection) -> bool:
    """Whether a row may have this label alone."""
    try:
        return bool(LabelSet.from_section(labels).settle([name]))
    except RuleBroken:
        return False


def test_there_are_recipes_to_check() -> None:
    assert len(RECIPES) >= 10


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_takes_two_optimizer_steps(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.tiny_models import build_tiny

    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(path).recipe
    if hasattr(recipe.model, "members"):
        pytest.skip("joins runs that other recipes leave; tests/methods/test_fusion.py trains some")
    kind = str(peek_kind(path))
    names = [name for name in LabelSet.from_section(recipe.labels).names if stands_by_itself(name, recipe.labels)]
    columns = recipe.data.columns
    with (tmp_path / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([columns.id, columns.text, columns.label])
        for i in range(60):
            writer.writerow([f"r{i}", f"{TEXTS[i % 6]} {i}", names[i % len(names)]])
    overrides = ["data.source=rows.csv"]
    if not hasattr(recipe.model, "name_or_path"):  # no network, no optimizer
        assert main(SCRIPTS[kind], kind, train, METHODS, [str(path), *overrides]) == 0
        assert (tmp_path / recipe.output_path / "run.json").is_file()
        return
    corpus = [*TEXTS, *(path.parent / "tasks").joinpath("gender_comments.yaml").read_text().split("\n")] * 2
    build_tiny(tmp_path / "model", architecture(recipe.model.name_or_path), chat=kind == "sft", width=64, corpus=corpus)
    overrides += ["model.name_or_path=./model", "training.max_steps=2"]
    assert main(SCRIPTS[kind], kind, train, METHODS, [str(path), *overrides]) == 0
    manifest = json.loads((tmp_path / recipe.output_path / "run.json").read_text())
    assert manifest["details"]["steps"] == 2
    assert manifest["parameters_trained"] > 0
