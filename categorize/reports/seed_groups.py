"""Runs of one recipe under several seeds, in an evaluation: found by their folder, compared by their mean."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from categorize.errors import UserError
from categorize.recipe.decision_sections import RunReference

SEEDS = "seeds.json"


def seeds_folder(output: str | Path) -> Path:
    """Where the runs of a recipe with `seeds` go, by its `output_dir`."""
    return Path(f"{output}_seeds")


def expanded(references: Sequence[RunReference]) -> tuple[list[RunReference], dict[str, list[str]]]:
    """Each reference, or the runs of all seeds where it names a recipe's folder that has such.

    Returns:
        The references, and the names of the runs by the name that they have together.

    Raises:
        UserError: a `seeds.json` cannot be read, or two of them have one name.
    """
    found: list[RunReference] = []
    groups: dict[str, list[str]] = {}
    for one in references:
        path = _summary(Path(one.run).expanduser())
        if path is None:
            found.append(one)
            continue
        try:
            summary = json.loads(path.read_text(encoding="utf-8"))
            seeds, name = [int(run["seed"]) for run in summary["runs"]], one.name or str(summary["name"])
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(f"{path}: not the summary of several seeds; train the recipe again") from None
        runs = [
            one.model_copy(update={"run": str(path.parent / f"seed_{seed}"), "name": f"{name}, seed {seed}"})
            for seed in seeds
        ]
        found += runs
        if name in groups:
            raise UserError(f"evaluation.runs: two runs are named {name!r}; give each a name of its own (name: ...)")
        groups[name] = [str(run.name) for run in runs]
    return found, groups


def _summary(folder: Path) -> Path | None:
    places = (folder / SEEDS, *(() if folder.exists() else (seeds_folder(folder) / SEEDS,)))
    return next((place for place in places if place.is_file()), None)
