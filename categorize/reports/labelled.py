"""A labelling run among the runs of a comparison: what its teacher says of the split's rows, and which rows people
reviewed.

Where nobody reviewed a row, its gold may be the teacher's own label, and the figure says how far the two agree, not how
good the teacher is. So a teacher is ranked on reviewed rows alone, by its label from before the review.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from categorize.errors import UserError
from categorize.labeling.label_sets import LABEL
from categorize.labeling.place import KIND
from categorize.labeling.review.labelled import GOLD, REVIEWED, Vote, label_sets_of_run, read_labelled, votes
from categorize.labeling.review.story import SAMPLE, read_vote, review_folder
from categorize.labels import LabelSet, UnknownLabel
from categorize.predictions import Predictions
from categorize.recipe.decision_sections import RunReference
from categorize.reports.predicted import RunPredictions
from categorize.reports.split import EvaluatedSplit
from categorize.runs.folder import Run, is_run

METHOD = "teacher"


def labelling_run(run: str) -> Run | None:
    """The labelling run that a folder holds; None where it holds something else."""
    folder = Path(run).expanduser()
    return found if is_run(folder) and (found := Run.open(folder)).manifest.get("kind") == KIND else None


def labels_of_run(run: Run) -> LabelSet:
    """The label set of a labelling run. Raises UserError where it has several."""
    label_sets = label_sets_of_run(run.path)
    if list(label_sets) != [LABEL]:
        raise UserError(
            f"{run.path}: labels by several label sets ({', '.join(label_sets)}); a comparison reads runs with one"
        )
    return label_sets[LABEL]


def teacher_predictions(run: Run, reference: RunReference, split: EvaluatedSplit) -> RunPredictions:
    """What a labelling run says of the split's documents; a document that it has no label of its own for is not valid.

    Raises:
        UserError: its table has none of the rows.
    """
    label_set, name = split.label_set, reference.name or str(run.manifest["name"])
    table = read_labelled(run.path, ["id", "source", LABEL])
    ids, source = table["id"].to_pylist(), table["source"].to_pylist()
    before = _before_review(run.path, label_set)
    said: dict[str, Vote] = {}
    reviewed: set[str] = set()
    for one, of_row, vote in zip(ids, source, votes(table, LABEL), strict=True):
        if of_row == REVIEWED and one in before:
            reviewed.add(one)
            said[one] = before[one]
        elif of_row not in (GOLD, REVIEWED):  # these are what people say, not the teacher
            said[one] = vote
    documents = split.documents["id"].to_pylist()
    if not said.keys() & set(documents):
        raise UserError(
            f"{reference.run}: labels none of the {len(documents):,} rows of the {split.name} split, by their ids; "
            f"evaluate on the rows that it labelled (data.source: {reference.run}/labels), or take it out of "
            "evaluation.runs"
        )
    given = [said.get(one) for one in documents]
    valid = np.array([vote is not None for vote in given])
    if label_set.is_regression:
        score = np.array([float(vote[0]) if vote else np.nan for vote in given])
        predictions = Predictions(documents, score=score, decided=[[] for _ in documents], valid=valid)
    else:
        predictions = Predictions(documents, decided=[list(vote or ()) for vote in given], valid=valid)
    by_people = np.array([one in reviewed for one in documents])
    note = "its figures here are its agreement with the gold, which may be its own labels: it is not ranked"
    if not by_people.any():
        note += "; review rows of this split to rank it (run_label.py RECIPE --review 300)"
    return RunPredictions(
        name,
        predictions,
        None,
        False,
        (note,),
        {"method": METHOD, "money_per_document": _price(run)},
        reviewed=by_people,
    )


def _price(run: Run) -> float | None:
    """What the teacher took for a distinct text; None where it took nothing."""
    money, texts = (run.manifest.get("spent") or {}).get("money"), run.manifest.get("distinct")
    return money / texts if money and texts else None


def _before_review(run: Path, label_set: LabelSet) -> dict[str, Vote]:
    """The labels of the rows that a review was drawn from, as they were then."""
    file = review_folder(run) / SAMPLE
    if not file.is_file():
        return {}
    sample = pq.read_table(file, columns=["id", LABEL])
    found: dict[str, Vote] = {}
    for one, cell in zip(sample["id"].to_pylist(), sample[LABEL].to_pylist(), strict=True):
        try:
            found[one] = read_vote(cell, label_set) if cell else None
        except (UnknownLabel, ValueError):  # the label set has changed
            continue
    return found
