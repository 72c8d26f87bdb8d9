"""What a run holds from the start, whatever its method, and what must be the same where it is continued."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pyarrow.parquet as pq

from categorize.data.auxiliary import auxiliary_scores
from categorize.data.splits import LoadedData
from categorize.errors import UserError
from categorize.processes import is_main_process
from categorize.runs.folder import FINGERPRINTS, INPUT, LABEL_SET, SPLITS, RunWriter
from categorize.writing import disk_errors

_TRAINED_ON = b"trained_on"  # in the metadata of the assignment


def write_beginning(writer: RunWriter, data: LoadedData, auxiliary: Sequence[str] = ()) -> None:
    """Label set, input spec and assignment of rows to splits.

    Args:
        auxiliary: columns of further scores that are learned.
    """
    if not is_main_process():
        return

    with disk_errors(writer.path):
        data.label_set.save(writer.stage(LABEL_SET))
        data.input_spec.save(writer.stage(INPUT))
        known = {_TRAINED_ON: trained_on(data, auxiliary), FINGERPRINTS: json.dumps(data.splits.fingerprints)}
        assignment = data.splits.assignment.replace_schema_metadata(known)
        pq.write_table(assignment, writer.stage(SPLITS))


def trained_on(data: LoadedData, auxiliary: Sequence[str] = ()) -> str:
    """SHA-256 of what an interrupted training hangs on: the training and validation rows in their order, with gold,
    auxiliary scores and weight. The fingerprint of a split does not tell orders apart, but batches are drawn by
    position."""
    import hashlib

    total = hashlib.sha256()
    for rows in (data.splits.train, data.splits.validation):
        columns = ("id", "content_hash", "gold", "gold_score", "weight")
        for row in zip(*(rows.column(name).to_pylist() for name in columns), strict=True):
            total.update(f"{row!r}\n".encode("utf-8", "surrogatepass"))
        if auxiliary:
            total.update(repr(auxiliary_scores(rows, auxiliary, data.label_set).tolist()).encode())
    return total.hexdigest()


def check_same_rows(writer: RunWriter, data: LoadedData, auxiliary: Sequence[str] = ()) -> None:
    """Refuse to continue a training on other rows than it began with: a source that was edited in between.

    Raises:
        UserError: rows, their order, labels, auxiliary scores or weights are not those of the interrupted run.
    """
    stored = writer.path / SPLITS
    if not is_main_process() or not stored.is_file():
        return
    before = (pq.read_schema(stored).metadata or {}).get(_TRAINED_ON)
    if before is not None and before.decode() != trained_on(data, auxiliary):
        raise UserError(
            f"{writer.path}: the interrupted run trained on other rows, or on the same with other labels or in another "
            f"order: {data.report.source} was changed since; undo the change, or start anew with --overwrite"
        )


def check_labelled(data: LoadedData) -> None:
    """Refuse a source without labels, which loads as well: there is nothing to learn from."""
    if not data.splits.train.num_rows:
        raise UserError(
            f"{data.report.source}: no row has a label; name the column that holds the labels as data.columns.label"
        )
