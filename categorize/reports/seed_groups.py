"""Runs of one recipe under several seeds, in an evaluation: found by their folder, or by recipes that differ in
the seed alone, and compared by their mean."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from categorize.errors import UserError
from categorize.methods.registry import METHODS
from categorize.recipe.decision_sections import RunReference
from categorize.recipe.load import load_recipe
from categorize.recipe.sections import TrainedRecipe
from categorize.runs.folder import RECIPE, Run, is_run

SEEDS = "seeds.json"
OF_A_SEED = {"name", "output_dir", "seed", "seeds"}  # what the recipes of one model with several seeds differ in


def seeds_folder(output: str | Path) -> Path:
    """Where the runs of a recipe with `seeds` go, by its `output_dir`."""
    return Path(f"{output}_seeds")


def expanded(references: Sequence[RunReference]) -> tuple[list[RunReference], dict[str, list[str]]]:
    """Each reference, or the runs of all seeds where it names a recipe's folder that has such. Runs that are listed one
    by one belong together where their recipes and training rows differ in nothing but the seed.

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
    return _alike(found, groups)


def _alike(
    references: Sequence[RunReference], groups: dict[str, list[str]]
) -> tuple[list[RunReference], dict[str, list[str]]]:
    """The same with the groups of runs that were listed one by one; runs of one name are told apart by their seeds."""
    found, grouped = list(references), {name for names in groups.values() for name in names}
    alike: dict[str, list[tuple[int, int, str]]] = {}  # place in the list, seed and name of each run
    for at, one in enumerate(found):
        if one.name not in grouped and (told := _apart_from_the_seed(one)) is not None:
            key, seed, name = told
            alike.setdefault(key, []).append((at, seed, one.name or name))
    for runs in alike.values():
        if len(runs) < 2 or len({seed for _, seed, _ in runs}) < len(runs):
            continue
        names = [name for _, _, name in runs]
        if len(set(names)) < len(names):
            names = [f"{name}, seed {seed}" for _, seed, name in runs]
        for (at, _, _), name in zip(runs, names, strict=True):
            found[at] = found[at].model_copy(update={"name": name})
        # "bert seed 1" and "bert seed 2" are "bert" together.
        shared = {re.sub(r"[\s,_(=-]*(seed)?[\s,_(=-]*\d+\)?$", "", name) for name in names}
        taken = {one.name for one in found} | set(groups) | {""}
        together = shared.pop() if len(shared) == 1 else names[0]
        groups[together if together not in taken else f"{names[0]}, {len(names)} seeds"] = names
    return found, groups


def _apart_from_the_seed(one: RunReference) -> tuple[str, int, str] | None:
    """What a run was made of beside its seed, as text, then its seed and its name; None where this is not a trained run
    of this machine."""
    folder = Path(one.run).expanduser()
    if not is_run(folder) or not (folder / RECIPE).is_file():
        return None
    try:
        recipe = load_recipe(folder / RECIPE, environment={}, methods=METHODS).recipe
        manifest = Run.open(folder).manifest
    except UserError:  # of another version: it stands by itself, and what is wrong is told when it is loaded
        return None
    if not isinstance(recipe, TrainedRecipe):
        return None
    made_of = recipe.model_dump(mode="json", exclude=OF_A_SEED)
    key = json.dumps([made_of, manifest.get("split_fingerprints"), one.base, one.mode], sort_keys=True, default=str)
    return key, recipe.seed, str(manifest["name"])


def _summary(folder: Path) -> Path | None:
    places = (folder / SEEDS, *(() if folder.exists() else (seeds_folder(folder) / SEEDS,)))
    return next((place for place in places if place.is_file()), None)
