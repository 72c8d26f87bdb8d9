"""Students for tests: TF-IDF runs, trained once a session, and recipes that label by them."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

import yaml

from categorize.methods.registry import METHODS
from categorize.recipe.command import main
from categorize.train import train
from tests.session.collections import write_recipe

WORDS = {
    "good": ["好看", "喜欢", "great", "fine"],
    "bad": ["难看", "讨厌", "awful", "poor"],
    "odd": ["奇怪", "strange", "嗯"],
}
KINDS = ("single", "multi", "score")


def comment(source: random.Random, label: str | None = None) -> str:
    """A short comment; of a label, or of words of all."""
    words = WORDS[label] if label is not None else [word for some in WORDS.values() for word in some]
    return " ".join(
        [*source.choices(words, k=2), source.choice(["视频", "movie", "这个", "了"]), str(source.randint(0, 9))]
    )


def write_rows(path: Path, header: list[str], rows: list[list[Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def train_student(folder: Path, kind: str) -> Path:
    """A run of a kind: one label of three with codes, several labels, or a score."""
    source = random.Random(3)
    rows = []
    for i in range(150):
        label = ("good", "bad", "odd")[i % 3]
        cell = {"single": label, "multi": f"{label};odd" if i % 4 == 0 else label, "score": str(i % 3 + i % 7 / 10)}[
            kind
        ]
        rows.append([comment(source, label), cell])
    data = write_rows(folder / "train.csv", ["text", "mood"], rows)
    of_kind: dict[str, dict[str, Any]] = {
        "single": {"names": list(WORDS), "codes": {"0": "good", "1": "bad"}},
        "multi": {"task": "multi_label", "names": list(WORDS)},
        "score": {"task": "regression", "names": None, "minimum": 0, "maximum": 3},
    }
    labels = of_kind[kind]
    recipe = write_recipe(
        folder / f"{kind}.yaml",
        model={"method": "tfidf"},
        training=None,
        output_dir=str(folder / kind),
        data={"source": str(data), "columns": {"text": "text", "label": "mood", "id": None},
              "splits": {"near_duplicates": "off", "file": str(folder / f"{kind}.parquet")}},
        labels=labels,
    )  # fmt: skip
    assert main("run_seqcls.py", "seqcls", train, METHODS, [str(recipe)]) == 0
    return folder / kind


def write_label_recipe(path: Path, run: Path, source: str, **sections: Any) -> Path:
    """A recipe that labels a source by a run; `sections` go over it."""
    recipe: dict[str, Any] = {
        "kind": "label",
        "name": path.stem,
        "data": {"source": source, "columns": {"text": "text", "label": None}},
        "labeling": {"teacher": {"type": "run", "run": str(run), "name": "mine"}, "shard_rows": 50},
    }
    for name, value in sections.items():
        recipe[name] = {**recipe[name], **value} if isinstance(value, dict) and name in recipe else value
    path.write_text(yaml.safe_dump(recipe, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return path
