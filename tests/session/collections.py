"""Small labelled collections on disk and the recipes that read them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import yaml

GOOD = ["good movie", "好看 喜欢", "fine text good", "真的 太 好 了", "good good label"]
BAD = ["bad movie", "讨厌 不 好看", "bad text bad", "不 喜欢 这个 视频", "bad bad label"]


def write_collection(path: Path, rows: int = 120) -> Path:
    """A CSV with id, text, mood (good, bad or nothing), moods (several), score."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "mood", "moods", "score"])
        for i in range(rows):
            good = i % 3 != 0
            text = f"{(GOOD if good else BAD)[i % 5]} {chr(97 + i % 26)} {chr(97 + i // 26)} {i}"
            mood = "" if i % 20 == 19 else "good" if good else "bad"
            moods = ";".join(["good"] * good + ["bad"] * (not good) + ["late"] * (i % 26 < 13))
            writer.writerow([f"r{i}", text, mood, moods, f"{3.5 + i % 2 / 4 if good else 1.5}"])
    return path


def write_recipe(path: Path, **sections: Any) -> Path:
    """A complete seqcls recipe beside the data, in the current folder; `sections` go over it, None takes one away."""
    recipe: dict[str, Any] = {
        "kind": "seqcls",
        "name": path.stem,
        "data": {"source": "rows.csv", "columns": {"id": "id", "text": "text", "label": "mood"}},
        "labels": {"names": ["good", "bad"]},
        "training": {"num_train_epochs": 2, "per_device_train_batch_size": 8, "learning_rate": 5e-3, "use_cpu": True},
    }
    for name, value in sections.items():
        if value is None:
            recipe.pop(name, None)
            continue
        recipe[name] = {**recipe[name], **value} if isinstance(value, dict) and name in recipe else value
    path.write_text(yaml.safe_dump(recipe, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return path
