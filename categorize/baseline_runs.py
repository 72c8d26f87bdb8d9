"""The TF-IDF baseline of an evaluation: a linear model on n-grams, learned from the training rows of the evaluation's
own data in seconds, and kept for the next evaluation of the same rows.

It is a run as any other (docs/training.md), in `baselines/` beside the outputs, so that it has a decision rule and a
speed as the runs have that it stands beside.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from categorize.data.splits import LoadedData
from categorize.data.splitting.split_file import default_split_file
from categorize.errors import UserError
from categorize.methods.registry import METHODS
from categorize.recipe.command import Command
from categorize.recipe.decision_sections import RunReference
from categorize.recipe.load import LoadedRecipe, load_recipe
from categorize.recipe.scalars import dump
from categorize.recipe.sections import EvalRecipe
from categorize.runs.folder import is_run
from categorize.train import train
from categorize.training.beginning import trained_on
from categorize.writing import disk_errors, write_whole

TFIDF = "TF-IDF baseline"
MOST_ROWS = 50_000  # of training: more cost minutes, and a baseline little
VERSION = 1  # of the recipe below


def tfidf_baseline(loaded: LoadedRecipe, data: LoadedData, held_out: Sequence[str] = ()) -> RunReference:
    """The run, trained where it is not there yet.

    Args:
        loaded: an evaluation.
        data: what its `data` section amounts to.
        held_out: labels that it must not learn, since the runs that it stands beside did not.

    Raises:
        UserError: it cannot be trained, such as without labelled rows.
    """
    evaluation = loaded.recipe
    assert isinstance(evaluation, EvalRecipe)
    recipe = _recipe(evaluation, loaded.resolved, data, held_out)
    told = json.dumps([VERSION, recipe, trained_on(data)], sort_keys=True, ensure_ascii=False)
    root = Path(evaluation.output_path).parent / "baselines"
    folder = root / f"tfidf-{hashlib.sha256(told.encode()).hexdigest()[:12]}"
    if is_run(folder):
        print(f"  {TFIDF}: trained before, {folder}", flush=True)
        return RunReference(run=str(folder), name=TFIDF, engine="torch")
    rows = min(data.splits.train.num_rows, MOST_ROWS)
    print(f"  {TFIDF}: training on {rows:,} rows, {folder}", flush=True)
    file, log = root / f"{folder.name}.yaml", root / f"{folder.name}.log"
    with disk_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        write_whole(file, f"# The baseline of {evaluation.name}\n{dump({**recipe, 'output_dir': str(folder)})}")
    try:
        with log.open("w", encoding="utf-8") as stream, contextlib.redirect_stdout(stream):
            train(Command(load_recipe(file, methods=METHODS), overwrite=True))
    except UserError as error:
        raise UserError(f"{error}; or leave the baseline out with evaluation.baselines: [majority]") from error
    return RunReference(run=str(folder), name=TFIDF, engine="torch")


def _recipe(
    evaluation: EvalRecipe, resolved: dict[str, Any], data: LoadedData, held_out: Sequence[str]
) -> dict[str, Any]:
    """A training recipe with the data and the labels of the evaluation."""
    section, labels = dict(resolved["data"]), dict(resolved.get("labels") or {})
    stored = default_split_file(evaluation.data, Path(evaluation.output_path).parent)
    section["splits"] = {**(section.get("splits") or {}), "file": str(stored)}
    is_known = labels.get("names") is not None or data.label_set.is_regression  # else a sample might lack a label
    if data.splits.train.num_rows > MOST_ROWS and is_known and evaluation.evaluation.split != "train":
        section.setdefault("sample", {"rows": MOST_ROWS, "splits": ["train"]})
    if held_out:
        labels["held_out"] = list(held_out)
    recipe = {"kind": "seqcls", "name": "tfidf_baseline", "data": section, "model": {"method": "tfidf"}}
    if labels:
        recipe["labels"] = labels
    if data.label_set.is_multi_label and data.splits.validation.num_rows:
        recipe["decision"] = {"thresholds": "global"}
    return {**recipe, "seed": evaluation.seed}
