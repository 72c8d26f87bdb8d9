"""Fits a fusion on validation: never on training rows, which its members know by heart."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pyarrow as pa

from categorize.data.splits import LoadedData
from categorize.labels import LabelSet
from categorize.methods.fusion.combination import Fusion, Member, Pool
from categorize.methods.fusion.section import FusionModel
from categorize.methods.fusion.weights import Weighed, cross_calibrated, least_squares, search, stack
from categorize.methods.members import (
    check_rows,
    load_member,
    member_scores,
    open_members,
    places_of,
    stored_predictions,
    validation_gold,
)
from categorize.metrics.curves import Curves
from categorize.nn.device import free_memory
from categorize.predictions import FloatArray
from categorize.processes import print0
from categorize.recipe.sections import SeqclsRecipe
from categorize.runs.contents import fingerprint
from categorize.runs.folder import LABEL_SET, Run, RunWriter
from categorize.training.fit_summary import FitOptions, FitSummary


def fit(recipe: SeqclsRecipe, data: LoadedData, writer: RunWriter, options: FitOptions) -> FitSummary:
    """Calibrate the members and weigh them, by what they predict of the validation rows."""
    section = recipe.model
    assert isinstance(section, FusionModel)
    start = time.perf_counter()
    runs, documents, gold = _look(recipe, data)
    known = ~np.isnan(gold).any(axis=1)
    cells = np.stack([_cells(run, data, documents, recipe, options) for run in runs])[:, known]
    gold = gold[known]
    pool, weighed, curves = fused(section, data.label_set, cells, gold)
    places = places_of(runs, writer, section.copy_members)
    members = tuple(
        Member(place, fingerprint(run), weight, curve)
        for place, run, weight, curve in zip(places, runs, weighed.weights, curves, strict=True)
    )
    writer.write_json(Fusion.file_name, Fusion(pool, members, weighed.intercept).to_dict())
    for run, weight in zip(runs, weighed.weights, strict=True):
        print0(f"  {run.manifest['name']} ({run.method}): weight {weight:.3f}")
    if weighed.held_out is not None and weighed.equal is not None:
        shown = f"{section.objective} on rows that they were not chosen on"
        print0(f"  {shown}: {abs(weighed.held_out):.4f}, of equal weights {abs(weighed.equal):.4f}")
    seconds = time.perf_counter() - start
    parameters = [run.manifest.get("parameters") or 0 for run in runs]
    details = {
        "pool": pool,
        "weights": {str(run.path): round(w, 4) for run, w in zip(runs, weighed.weights, strict=True)},
    }
    rows = int(known.sum())
    return FitSummary(
        len(runs),
        sum(parameters),
        seconds,
        rows,
        details=details,
        rows_an_epoch=rows,
        members=tuple({"path": one.path, "fingerprint": one.fingerprint} for one in members),
    )


def fused(
    section: FusionModel, label_set: LabelSet, cells: FloatArray, gold: FloatArray
) -> tuple[Pool, Weighed, list[Curves | None]]:
    """How cells [members, n, labels] are joined to gold [n, labels]: the pool, weights, and curves of each member."""
    given = [one.weight for one in section.member_sections]
    total = sum(weight or 0.0 for weight in given)
    if label_set.is_regression:
        fixed = Weighed([(weight or 0.0) / total for weight in given]) if total else None
        return "scores", fixed or least_squares(cells, gold), [None] * len(cells)
    curves: list[Curves | None] = [None] * len(cells)
    if section.calibration != "none":
        curves = [Curves.fit(section.calibration, label_set.names, one, gold) for one in cells]
    if total:
        return section.combine, Weighed([(weight or 0.0) / total for weight in given]), curves
    if section.calibration != "none":
        cells = cross_calibrated(label_set, section.calibration, cells, gold)
    if section.combine == "stacking":
        return "stacking", stack(label_set, cells, gold), curves
    print0("choosing the weights of the members on validation")
    return section.combine, search(label_set, section.combine, section.objective, cells, gold), curves


def preview(recipe: SeqclsRecipe, data: LoadedData, options: FitOptions) -> list[str]:
    """The members, and what has to be predicted."""
    runs, documents, _ = _look(recipe, data)
    lines = []
    for run in runs:
        stored = stored_predictions(run, documents) is not None
        validation = "its predictions of validation are there" if stored else "validation is to be predicted"
        lines.append(f"member {run.path} ({run.method}): {validation}")
    return lines


def _look(recipe: SeqclsRecipe, data: LoadedData) -> tuple[list[Run], pa.Table, FloatArray]:
    """The members, and the validation documents with their gold. Raises UserError where nothing could be fitted."""
    assert isinstance(recipe.model, FusionModel)
    runs = open_members(recipe.model.runs, recipe.labels)
    check_rows(runs, data)
    return runs, *validation_gold(data)


def _cells(run: Run, data: LoadedData, documents: pa.Table, recipe: SeqclsRecipe, options: FitOptions) -> FloatArray:
    """What a member says of the validation documents, [n, labels]."""
    found: Any = stored_predictions(run, documents)
    if found is None:
        print0(f"predicting validation with {run.path}")
        member = load_member(run, recipe.prediction, options.trust_remote_code)
        found = member.predict_rows(data.splits.validation)
        del member
        free_memory()
    return member_scores(found, LabelSet.load(run.path / LABEL_SET), data.label_set)
