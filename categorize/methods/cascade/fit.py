"""Chooses the thresholds of a cascade on validation, where every member answers every row."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pyarrow as pa

from categorize.data.splits import LoadedData
from categorize.errors import UserError
from categorize.labels import LabelSet
from categorize.methods.cascade.section import CascadeModel
from categorize.methods.cascade.stages import Cascade, Stage, choose, loss_bound, margins
from categorize.methods.members import (
    check_rows,
    load_member,
    member_scores,
    open_members,
    places_of,
    readable,
    validation_gold,
)
from categorize.metrics.calibration import fit_temperature
from categorize.nn.device import free_memory
from categorize.predictions import FloatArray
from categorize.processes import print0
from categorize.recipe.sections import SeqclsRecipe
from categorize.runs.contents import fingerprint, member_names
from categorize.runs.folder import LABEL_SET, Run, RunWriter
from categorize.training.fit_summary import FitOptions, FitSummary

_WARM = 16  # rows that are predicted before the time is taken


def fit(recipe: SeqclsRecipe, data: LoadedData, writer: RunWriter, options: FitOptions) -> FitSummary:
    """Let every member answer the validation rows, and choose from which margin on each is trusted."""
    section = recipe.model
    assert isinstance(section, CascadeModel)
    start = time.perf_counter()
    runs, gold = _look(recipe, data)
    known = ~np.isnan(gold).any(axis=1)
    answered = [_answer(run, data, recipe, options, last=number == len(runs) - 1) for number, run in enumerate(runs)]
    cells, costs = [one[known] for one, _ in answered], [cost for _, cost in answered]
    stages, told = stages_of(section, runs, cells, gold[known], costs, places_of(runs, writer, section.copy_members))
    writer.write_json(Cascade.file_name, Cascade(tuple(stages)).to_dict())
    for one in told:
        print0(
            f"  {one['stage']}: answers {one['coverage']:.1%} of validation, accuracy {one['accuracy']:.4f}, "
            f"{one['seconds_a_row'] * 1e3:.3g} ms a row; loses {one['loss']:.4f}, at most {one['loss_bound']:.4f}"
        )
    alone = sum(one["reached"] * one["seconds_a_row"] for one in told)
    print0(f"  all together {alone * 1e3:.3g} ms a row; the last one alone {costs[-1] * 1e3:.3g}")
    if told[-1]["coverage"] == 1.0:
        print0("  no earlier member is sure enough of any row: raise model.max_loss, or give more validation rows")
    rows = int(known.sum())
    return FitSummary(
        len(runs) - 1,
        sum(run.manifest.get("parameters") or 0 for run in runs),
        time.perf_counter() - start,
        rows,
        details={"stages": told, "max_loss": section.max_loss, "confidence": section.confidence},
        rows_an_epoch=rows,
        members=tuple({"path": one.path, "fingerprint": one.fingerprint} for one in stages),
    )


def stages_of(
    section: CascadeModel,
    runs: list[Run],
    cells: list[FloatArray],
    gold: FloatArray,
    costs: list[float],
    places: list[str],
) -> tuple[list[Stage], list[dict[str, Any]]]:
    """The stages, and what is told of each on validation: shares of the rows that it is asked about and answers, its
    accuracy on these, and what is lost there against the last stage.

    Args:
        cells: of each member [n, labels], probabilities as it gives them.
        gold: [n, labels].
    """
    rows, truth = len(gold), gold.argmax(axis=1)
    earlier = len(cells) - 1
    # Each of the earlier stages may lose its part, and be wrong about that in its part of the cases.
    part, sure = section.max_loss / earlier, 1 - (1 - section.confidence) / earlier
    sure = section.confidence if section.confidence == 0.5 else sure
    temperatures = [fit_temperature(one, gold, multi_label=False) for one in cells]
    answers = [np.nan_to_num(one, nan=-1.0).argmax(axis=1) for one in cells]
    right = [(answer == truth) & ~np.isnan(one).all(axis=1) for answer, one in zip(answers, cells, strict=True)]
    left = np.ones(rows, dtype=bool)
    stages: list[Stage] = []
    told: list[dict[str, Any]] = []
    names = member_names([run.path for run in runs])
    for number, run in enumerate(runs):
        stage = Stage(names[number], places[number], fingerprint(run), temperatures[number], 0.0)
        margin = margins(stage.calibrated(cells[number]))
        if number < earlier:
            threshold = choose(margin[left], right[number][left], right[-1][left], rows, part, sure)
            stage = Stage(stage.name, stage.path, stage.fingerprint, stage.temperature, threshold)
        own = left & (margin >= stage.threshold) if number < earlier else left
        lost = int((own & right[-1] & ~right[number]).sum())
        gained = int((own & right[number] & ~right[-1]).sum())
        told.append(
            {
                "stage": stage.name,
                "threshold": stage.threshold,
                "reached": float(left.mean()),
                "coverage": float(own.mean()),
                "accuracy": float(right[number][own].mean()) if own.any() else 0.0,
                "loss": (lost - gained) / rows,
                "loss_bound": loss_bound(lost, gained, rows, sure) if number < earlier and own.any() else 0.0,
                "seconds_a_row": costs[number],
            }
        )
        stages.append(stage)
        left = left & ~own
    return stages, told


def preview(recipe: SeqclsRecipe, data: LoadedData, options: FitOptions) -> list[str]:
    """The members, and how many rows each has to answer."""
    runs, _ = _look(recipe, data)
    rows = data.splits.validation.num_rows
    return [f"stage {number}: {run.path} ({run.method}), to answer {rows} rows" for number, run in enumerate(runs, 1)]


def _look(recipe: SeqclsRecipe, data: LoadedData) -> tuple[list[Run], FloatArray]:
    """The members, and the gold of the validation documents. Raises UserError where nothing could be chosen."""
    assert isinstance(recipe.model, CascadeModel)
    runs = open_members(recipe.model.runs, recipe.labels)
    check_rows(runs, data)
    return runs, validation_gold(data)[1]


def _answer(
    run: Run, data: LoadedData, recipe: SeqclsRecipe, options: FitOptions, last: bool
) -> tuple[FloatArray, float]:
    """What a member says of the validation documents, [n, labels], and the seconds that a row takes.

    Raises UserError for an earlier one that gives no probabilities: it is as sure of all rows.
    """
    print0(f"predicting validation with {run.path}")
    member = load_member(run, recipe.prediction, options.trust_remote_code)
    rows: pa.Table = readable(data.splits.validation, member)
    member.predict_rows(rows.slice(0, _WARM))
    start = time.perf_counter()
    found = member.predict_rows(rows)
    seconds = (time.perf_counter() - start) / max(len(found), 1)
    if found.probabilities is None and not last:
        raise UserError(
            f"model.members: {run.path}: gives no probabilities, so that nothing tells which rows it is sure of; put "
            "it last, or train it with prediction.mode: scoring"
        )
    del member
    free_memory()
    return member_scores(found, LabelSet.load(run.path / LABEL_SET), data.label_set), seconds
