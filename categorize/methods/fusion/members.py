"""The runs that a fusion is made of: found, compared by their manifests, loaded, and what they predict of rows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from categorize.data.splits import LoadedData
from categorize.errors import UserError
from categorize.labels import LabelSet
from categorize.methods.fusion.section import FusionModel
from categorize.methods.trained import trained_predictor
from categorize.metrics.decision import DecisionRule
from categorize.prediction.predictor import TrainedPredictor, columns_of
from categorize.prediction.tables import gold_and_predictions
from categorize.predictions import FloatArray, Predictions
from categorize.recipe.decision_sections import CausalPredictionSection, PredictionSection
from categorize.recipe.label_sections import LabelsSection
from categorize.recipe.nodes import compose, to_plain
from categorize.recipe.problems import Problems
from categorize.runs.folder import DECISION_RULE, LABEL_SET, RECIPE, Run

HELD_OUT = ("validation", "test")
VALIDATION = "predictions/validation.parquet"


def open_members(section: FusionModel, labels: LabelsSection) -> list[Run]:
    """The members, compared with each other by what their manifests say; nothing else is read.

    Raises:
        UserError: one is missing, not finished, a fusion itself or named twice, or was made for another task, other
            labels or other held-out rows.
    """
    runs: list[Run] = []
    for one in section.member_sections:
        where = f"model.members: {one.run}"
        if not Path(one.run).exists():
            raise UserError(f"{where}: no such run folder; train it first, or name where it is")
        run = Run.open(one.run)
        if run.method == "fusion":
            raise UserError(f"{where}: is a fusion itself, fitted on validation already; name its members instead")
        if any(run.path.samefile(other.path) for other in runs):
            raise UserError(f"{where}: is named twice; keep one, with a weight if it is to count more")
        if run.manifest["task"] != labels.task:
            raise UserError(f"{where}: predicts {run.manifest['task']}, but labels.task is {labels.task}")
        if runs:
            first = runs[0].manifest
            _check_same(where, run, str(runs[0].path), first["labels"], first.get("split_fingerprints", {}))
        runs.append(run)
    return runs


def check_rows(runs: Sequence[Run], data: LoadedData) -> None:
    """Raises UserError where the members were made for other labels or held-out rows than this recipe's."""
    for run in runs:
        _check_same(f"model.members: {run.path}", run, "this recipe", data.label_set.names, data.splits.fingerprints)


def _check_same(where: str, run: Run, other: str, labels: Sequence[str], fingerprints: dict[str, str]) -> None:
    own = run.manifest["labels"]
    if odd := sorted(set(own) ^ set(labels)):
        who = "it" if odd[0] in own else other
        raise UserError(f"{where}: its labels are not those of {other}: {who} alone has {odd[0]!r}; use one label set")
    for split in HELD_OUT:
        found, wanted = run.manifest.get("split_fingerprints", {}).get(split), fingerprints.get(split)
        if found != wanted:
            raise UserError(
                f"{where}: its {split} split ({str(found)[:12]}) is not that of {other} ({str(wanted)[:12]}), so "
                "that one may have been trained on rows that judge the other; train all on the same data section"
            )


def relative_path(run: Run, fusion: Path) -> str:
    """Where a member is, seen from the fusion's folder, so that both can move together."""
    return Path(os.path.relpath(run.path.absolute(), fusion.absolute())).as_posix()


def load_member(run: Run, section: PredictionSection | None, trust_remote_code: bool = False) -> TrainedPredictor:
    """The predictor of a member, answering as its own recipe says, in the batches of `section`.

    Its probabilities are without the curves of its own decision rule: these were bent to the validation rows, where
    they would look surer than they are.
    """
    section = section or PredictionSection()
    batches = {name: getattr(section, name) for name in PredictionSection.model_fields}
    written = compose((run.path / RECIPE).read_text(encoding="utf-8"), RECIPE, Problems())
    prediction = to_plain(written).get("prediction") if written is not None else None
    own = {key: value for key, value in (prediction or {}).items() if key not in batches}
    predictor = trained_predictor(run, CausalPredictionSection(**batches, **own), None, trust_remote_code)
    predictor.decision_rule = replace(predictor.decision_rule, curves=None, reject=None)
    return predictor


def stored_predictions(run: Run, documents: pa.Table) -> Predictions | None:
    """What the run left of these documents, of its validation split; None where it has to predict them anew: they are
    not all there, or bent by curves."""
    rule = DecisionRule.load(run.path / DECISION_RULE)
    if not run.has(VALIDATION) or rule.curves is not None or rule.reject is not None:
        return None
    _, found = gold_and_predictions(pq.read_table(run.path / VALIDATION), LabelSet.load(run.path / LABEL_SET))
    position = {name: i for i, name in enumerate(found.ids)}
    wanted = documents.column("id").to_pylist()
    if len(position) != len(found) or any(name not in position for name in wanted):
        return None
    return found.take([position[name] for name in wanted])


def member_scores(predictions: Predictions, own: LabelSet, label_set: LabelSet) -> FloatArray:
    """What a member says of each cell [n, labels] in the order of `label_set`: its probabilities, its score, or 1 for
    the labels that it wrote. NaN where it says nothing: answers that are not valid, labels that it does not know."""
    valid = predictions.is_valid[:, None]
    if label_set.is_regression:
        return np.where(valid, np.asarray(predictions.score, dtype=np.float64)[:, None], np.nan)
    cells = predictions.probabilities
    if cells is None:
        assert predictions.decided is not None
        cells = own.encode(predictions.decided)
    return np.where(valid, columns_of(label_set, cells, own), np.nan)
