"""The runs that another run is made of (a fusion, a cascade): found, compared by their manifests, loaded, and what
they predict of rows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from categorize.data.columns import text_columns
from categorize.data.rows import fields_of, struct_of, with_columns
from categorize.data.splits import LoadedData
from categorize.errors import UserError
from categorize.labels import LabelSet
from categorize.methods.registry import METHODS
from categorize.methods.trained import trained_predictor
from categorize.metrics.decision import DecisionRule
from categorize.nn.shared_bases import bases_loaded_once
from categorize.prediction.predictor import TrainedPredictor, columns_of
from categorize.prediction.tables import gold_and_predictions
from categorize.predictions import FloatArray, Predictions
from categorize.processes import print0
from categorize.recipe.decision_sections import CausalPredictionSection, PredictionSection
from categorize.recipe.label_sections import LabelsSection
from categorize.recipe.nodes import compose, to_plain
from categorize.recipe.problems import Problems
from categorize.runs.contents import MEMBERS, copy_into, find_members, member_names
from categorize.runs.folder import DECISION_RULE, LABEL_SET, RECIPE, Run, RunWriter

HELD_OUT = ("validation", "test")
VALIDATION = "predictions/validation.parquet"


def open_members(paths: Sequence[str], labels: LabelsSection) -> list[Run]:
    """The members, compared with each other by what their manifests say; nothing else is read.

    Raises:
        UserError: one is missing, not finished, made of runs itself or named twice, or was made for another task,
            other labels or other held-out rows.
    """
    runs: list[Run] = []
    for path in paths:
        where = f"model.members: {path}"
        if not Path(path).exists():
            raise UserError(f"{where}: no such run folder; train it first, or name where it is")
        run = Run.open(path)
        if run.manifest.get("members"):
            why = f"is a {run.method} itself, fitted on validation already"
            raise UserError(f"{where}: {why}; name its members instead")
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


def relative_path(run: Run, whole: Path) -> str:
    """Where a member is, seen from the folder of the run that it is part of, so that both can move together."""
    return Path(os.path.relpath(run.path.absolute(), whole.absolute())).as_posix()


def places_of(runs: Sequence[Run], writer: RunWriter, copied: bool) -> list[str]:
    """Where the members are, seen from the run's folder; inside, once they are copied there."""
    if not copied:
        return [relative_path(run, writer.final) for run in runs]
    places = [f"{MEMBERS}/{name}" for name in member_names([run.path for run in runs])]
    for place, run in zip(places, runs, strict=True):
        print0(f"  copying {run.path} to {place}")
        copy_into(writer, place, run)
    return places


def validation_gold(data: LoadedData) -> tuple[pa.Table, FloatArray]:
    """The validation documents with their gold [n, labels]. Raises UserError where nothing could be fitted on them."""
    documents = data.input_spec.documents(data.splits.validation)
    gold = data.label_set.encode_rows(documents)
    if not (~np.isnan(gold)).all(axis=1).any():
        raise UserError(
            "model.members: what joins them is fitted on labelled validation rows, and there are none; raise "
            "data.splits.validation for the members and for this run (their training rows would not do: they know them)"
        )
    return documents, gold


def readable(rows: pa.Table, member: TrainedPredictor) -> pa.Table:
    """The rows with the member's text column: where the whole reads another one, its text stands in."""
    columns, fields = text_columns(member.input_spec.columns), fields_of(rows)
    there = {child.name: fields.field(child.name) for child in fields.type}
    if len(columns) > 1 or columns[0] in there:
        return rows
    text = rows["text"].combine_chunks()
    return with_columns(rows, {"fields": struct_of({**there, columns[0]: text}, rows.num_rows)})


def load_member(run: Run, section: PredictionSection | None, trust_remote_code: bool = False) -> TrainedPredictor:
    """The predictor of a member, answering as its own recipe says, in the batches of `section` and by its engine where
    that computes such a run.

    Its probabilities are without the curves of its own decision rule: these were bent to the validation rows, where
    they would look surer than they are.
    """
    section = section or PredictionSection()
    batches = {name: getattr(section, name) for name in PredictionSection.model_fields}
    if section.engine not in METHODS.of_run(run).engines:
        batches["engine"] = "torch"
    written = compose((run.path / RECIPE).read_text(encoding="utf-8"), RECIPE, Problems())
    prediction = to_plain(written).get("prediction") if written is not None else None
    own = {key: value for key, value in (prediction or {}).items() if key not in batches}
    predictor = trained_predictor(run, CausalPredictionSection(**batches, **own), None, trust_remote_code)
    predictor.decision_rule = replace(predictor.decision_rule, curves=None, reject=None)
    return predictor


def load_members(
    run: Run, listed: Sequence[dict[str, str]], section: PredictionSection | None, base: str | None, trust: bool
) -> list[TrainedPredictor]:
    """The predictors of a run's members, by path and fingerprint, each loaded as `load_member` does.

    Raises:
        UserError: a member is gone, or was trained again; a base is given, of which such a run has several.
    """
    if base is not None:
        raise UserError(f"{run.path}: a {run.method} has several models, so that one base cannot be told; leave it out")
    with bases_loaded_once():
        return [load_member(one, section, trust) for one in find_members(run, listed).values()]


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
