"""Every row of the split with what each run said of it, the most telling first; beside errors the nearest training rows
and tags that say what kind of error it is."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow as pa

from categorize.analysis.disagreements import differing
from categorize.analysis.inputs import Inputs
from categorize.analysis.neighbours import SAME, SEARCHED, Neighbours, lists_of, majority, nearest
from categorize.predictions import BoolArray, IntArray

NO_CLOSE_ROW = "no close row"
DISAGREE = "neighbours disagree"
AS_PREDICTED = "neighbours have the predicted label"
CONTRADICTED = "the same text has another label in train"
TOP_3 = "right label in the top 3"
EVERY_MODEL = "wrong in every model"
APART = "models disagree"
INVALID_ANSWER = "no valid answer"
LABEL_ERROR = "likely label error"
NEAR_TAGS = (CONTRADICTED, NO_CLOSE_ROW, DISAGREE, AS_PREDICTED)  # of rows whose neighbours were looked up
TAGS = (EVERY_MODEL, APART, INVALID_ANSWER, TOP_3, LABEL_ERROR, CONTRADICTED, NO_CLOSE_ROW, DISAGREE, AS_PREDICTED)
NEIGHBOUR_TYPE = pa.list_(pa.struct({"text": pa.string(), "label": pa.string(), "similarity": pa.float64()}))


def telling_order(inputs: Inputs) -> IntArray:
    """Positions of the rows: those that most runs have wrong first, among them those that they were surest of."""
    severity = np.max([one.severity for one in inputs.outcomes], axis=0)
    return np.lexsort((-severity, -inputs.wrong.sum(axis=1)))


def rows_table(inputs: Inputs, label_errors: Collection[str] = ()) -> pa.Table:
    """Columns id, document_id, group, text, gold, of each run `predicted:<run>`, `confidence:<run>` and `wrong:<run>`,
    then `tag` (several may hold), `neighbours`, `seen_in_train`, and the metadata columns that are looked at.

    Neighbours and the tags that need them are of the first 5,000 rows that a run has wrong. What a tag says of a run is
    of `Inputs.blamed`.

    Args:
        label_errors: ids of rows whose gold is in doubt.
    """
    order = telling_order(inputs)
    searched = order[inputs.wrong[order].any(axis=1)][:SEARCHED]
    found = nearest(inputs, searched) if len(searched) else None
    tags: list[list[str]] = [[] for _ in inputs.known]
    neighbours: list[list[dict[str, Any]]] = [[] for _ in inputs.known]
    for tag, at in _tagged(inputs, label_errors).items():
        for i in np.flatnonzero(at):
            tags[i].append(tag)
    if found is not None:
        near_tags = _near_tags(inputs, searched, found)
        for i, of_row, near in zip(searched.tolist(), near_tags, lists_of(inputs, found), strict=True):
            tags[i] += of_row
            neighbours[i] = near
    rank = {tag: i for i, tag in enumerate(TAGS)}
    answer = pa.float64() if inputs.label_set.is_regression else pa.list_(pa.string())
    rows = inputs.rows
    columns: dict[str, Any] = {name: rows[name] for name in ("id", "document_id", "group", "text")}
    columns["gold"] = rows["gold_score" if inputs.label_set.is_regression else "gold"]
    for one in inputs.outcomes:
        columns[f"predicted:{one.name}"] = pa.array(one.names(inputs.label_set), answer)
        columns[f"confidence:{one.name}"] = pa.array(one.confidence, pa.float64(), from_pandas=True)
        columns[f"wrong:{one.name}"] = pa.array(one.wrong)
    columns["tag"] = pa.array([sorted(one, key=rank.__getitem__) for one in tags], pa.list_(pa.string()))
    columns["neighbours"] = pa.array(neighbours, NEIGHBOUR_TYPE)
    overlap = [inputs.overlap[i] for i in inputs.known] if len(inputs.overlap) else [None] * len(inputs.known)
    columns["seen_in_train"] = pa.array(overlap, pa.string())
    fields = rows["fields"].combine_chunks()
    there = {child.name for child in fields.type}
    for name in inputs.columns:
        if name in there:
            columns[name if name not in columns else f"data.{name}"] = pa.chunked_array([fields.field(name)])
    return pa.table(columns).take(pa.array(order))


def _tagged(inputs: Inputs, label_errors: Collection[str]) -> dict[str, BoolArray]:
    """The tags that need no neighbours, and the rows that have them."""
    wrong = inputs.wrong
    ids = inputs.rows["id"].to_pylist()
    found: dict[str, Any] = {
        LABEL_ERROR: np.array([one in set(label_errors) for one in ids], dtype=bool) if label_errors else None
    }
    if len(inputs.runs) > 1:
        found[EVERY_MODEL] = wrong.all(axis=1)
        if not inputs.label_set.is_regression:
            found[APART] = differing(inputs)
    if not inputs.label_set.is_regression:
        found[TOP_3] = _in_the_top(inputs)
    found[INVALID_ANSWER] = np.stack([~one.valid for one in inputs.outcomes], axis=1).any(axis=1)
    return found


def _in_the_top(inputs: Inputs, k: int = 3) -> BoolArray:
    """[rows]; the run that is wrong has the gold among its k most probable labels (of several labels, all of them)."""
    found = np.zeros(len(inputs.known), dtype=bool)
    if len(inputs.label_set) <= k:
        return found
    for r, one in enumerate(inputs.outcomes):
        if (probabilities := one.aligned.probabilities) is None:
            continue
        top = np.argpartition(-np.nan_to_num(probabilities, nan=-1.0), k - 1, axis=1)[:, :k]
        hits = np.take_along_axis(inputs.truth, top, axis=1).sum(axis=1)
        in_top = one.wrong & one.valid & (hits > 0) & (hits == inputs.truth.sum(axis=1))
        found |= in_top & (inputs.blamed == r)
    return found


def _near_tags(inputs: Inputs, rows: IntArray, found: Neighbours) -> list[list[str]]:
    """Tags of some rows by their neighbours; of a regression these have scores, which do not agree or disagree."""
    if inputs.label_set.is_regression:
        return [[NO_CLOSE_ROW] if far else [] for far in found.is_far.tolist()]
    trained = [frozenset(one or ()) for one in inputs.train["gold"].to_pylist()]
    gold = [frozenset(one) for one in inputs.rows["gold"].to_pylist()]
    said = [[frozenset(one or ()) for one in outcome.names(inputs.label_set)] for outcome in inputs.outcomes]
    tags = []
    for n, i in enumerate(rows.tolist()):
        near = [(s, trained[j]) for s, j in zip(found.similarity[n], found.position[n], strict=True) if s > 0]
        of_row = []
        if any(s >= SAME and label != gold[i] for s, label in near):
            of_row.append(CONTRADICTED)
        if found.is_far[n]:
            of_row.append(NO_CLOSE_ROW)
        elif not (most := majority([label for _, label in near])):
            of_row.append(DISAGREE)
        elif most != gold[i] and said[inputs.blamed[i]][i] == most:
            of_row.append(AS_PREDICTED)
        tags.append(of_row)
    return tags


def error_counts(inputs: Inputs, table: pa.Table) -> dict[str, Any]:
    """`rows`; for each run how many are `wrong`, of how many of these neighbours were looked up (`searched`), and how
    many have each tag (`tags`)."""
    tags = table["tag"].to_pylist()
    wrong = {one.name: table[f"wrong:{one.name}"].to_numpy() for one in inputs.outcomes}
    counts = {
        name: {tag: n for tag in TAGS if (n := sum(tag in tags[i] for i in np.flatnonzero(at)))}
        for name, at in wrong.items()
    }
    return {
        "rows": table.num_rows,
        "wrong": {name: int(at.sum()) for name, at in wrong.items()},
        "searched": {name: int(at[:SEARCHED].sum()) for name, at in wrong.items()},
        "tags": counts,
    }
