"""Every shipped training recipe takes two optimizer steps, with only a tiny model and a handful of rows put in."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from categorize.label_rules import RuleBroken
from categorize.labels import LabelSet
from categorize.methods.registry import METHODS
from categorize.recipe.command import main
from categorize.recipe.label_sections import LabelsSection
from categorize.recipe.load import peek_kind
from categorize.train import train
from tests.recipes import load_recipe

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = {"seqcls": "run_seqcls.py", "sft": "run_sft.py"}
RECIPES = sorted(path for path in (ROOT / "recipes").glob("*.yaml") if peek_kind(path) in SCRIPTS)
ARCHITECTURES = {
    "bert-base": "bert",
    "roberta": "roberta",
    "bge-": "bert",
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


def models_in(value: Any, path: tuple[str, ...] = ("model",)) -> Iterator[tuple[str, Any]]:
    """Keys of the `model` section that name models, by dotted path, each with its value."""
    if isinstance(value, dict) and "name_or_path" not in value:
        for key, inner in value.items():
            yield from models_in(inner, (*path, key))
    elif isinstance(value, dict | list) and "name_or_path" in json.dumps(value):
        yield ".".join(path), value


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_takes_two_optimizer_steps(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, static_model: Path
) -> None:
    from tests.tiny_models import build_tiny

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CATEGORIZE_EMBEDDINGS_CACHE", str(tmp_path / "kept"))
    loaded = load_recipe(path)
    recipe = loaded.recipe
    if hasattr(recipe.model, "members"):
        pytest.skip("joins runs that other recipes leave; tests/methods/test_fusion.py and test_cascade.py train some")
    kind = str(peek_kind(path))
    label_set = LabelSet.from_section(recipe.labels)
    names = [name for name in label_set.names if stands_by_itself(name, recipe.labels)]
    golds = [str(1 + i) for i in range(5)] if label_set.is_regression else names
    columns, auxiliary = recipe.data.columns, list(getattr(recipe.training, "auxiliary", None) or ())
    with (tmp_path / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([columns.id or "id", columns.text or "text", columns.label or "label", *auxiliary])
        for i in range(60):
            rest = [str(i % 4) for _ in auxiliary]
            writer.writerow([f"r{i}", f"{TEXTS[i % 6]} {i}", golds[i % len(golds)], *rest])
    corpus = [*TEXTS, *loaded.text.split("\n")] * 2

    def stand_in(section: dict[str, Any]) -> dict[str, Any]:
        place = static_model
        if section.get("type") != "static":
            name = architecture(section["name_or_path"])
            place = tmp_path / f"model_{name}"
            if not place.exists():
                build_tiny(place, name, chat=kind == "sft", width=64, corpus=corpus)
        return {**section, "name_or_path": str(place)}

    overrides = ["data.source=rows.csv", *(["search=null"] if "search" in loaded.resolved else [])]
    for key, value in models_in(loaded.resolved["model"]):
        several = value if isinstance(value, list) else [value]
        found = [stand_in(one) if "name_or_path" in one else one for one in several]
        overrides.append(f"{key}={json.dumps(found if isinstance(value, list) else found[0])}")
    steps = "training" in METHODS.of(recipe).uses
    overrides += ["training.max_steps=2"] if steps else []
    assert main(SCRIPTS[kind], kind, train, METHODS, [str(path), *overrides]) == 0
    manifest = json.loads((tmp_path / recipe.output_path / "run.json").read_text())
    if steps:
        assert manifest["details"]["steps"] == 2
        assert manifest["parameters_trained"] > 0
