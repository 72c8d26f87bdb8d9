"""`look_closer`: what an evaluation says of its runs beyond the measures, as plain data."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import pyarrow as pa

from categorize.analysis.changed import ablations, invariance
from categorize.analysis.confusion import confusion, labels_by_error
from categorize.analysis.counts import counts
from categorize.analysis.disagreements import disagreements
from categorize.analysis.inputs import Inputs
from categorize.analysis.label_errors import label_errors
from categorize.analysis.registry import advise
from categorize.analysis.residuals import residuals
from categorize.analysis.rows import error_counts, rows_table
from categorize.analysis.segments import slices, weak_segments
from categorize.analysis.shift import shift
from categorize.analysis.telling import findings
from categorize.analysis.training_label_errors import training_label_errors
from categorize.analysis.traits import conditions, word_conditions

LISTED = 500  # likely label errors


class Closer(NamedTuple):
    """What was found, as JSON takes it, and every row with what the runs said of it; None without gold."""

    found: dict[str, Any]
    rows: pa.Table | None


def look_closer(inputs: Inputs, ignore: Collection[str] = ()) -> Closer:
    """Confusions, errors with their nearest training rows, disagreements, likely label errors, error rates by trait,
    weak segments, shift, and advice.

    Args:
        ignore: codes of checks that give no advice.

    Returns:
        `found` has the keys `best`, `confusion`, `labels`, `residuals`, `errors`, `disagreements`, `label_errors`
        (the first 500; `label_errors_found` are all), `train_label_errors` (likewise, `train_label_errors_found`; where
        `inputs.search_train` asks for it), `slices`, `weak_segments`, `shift`, `invariance`, `ablations`,
        `counts`, `findings` and `advice`, without those that say nothing here; docs/evaluation.md
        describes each. `rows` are those of `rows.rows_table`, the most telling first.

    Raises:
        UserError: the model of `evaluation.features` is missing.

    >>> import numpy as np
    >>> from categorize.data.rows import schema
    >>> from categorize.analysis.inputs import RunOutput
    >>> from categorize.labels import Label, LabelSet
    >>> from categorize.predictions import Predictions
    >>> labels = LabelSet("single_label", (Label("yes"), Label("no")))
    >>> texts = ["yes please", "no thanks", "no no"]
    >>> golds = [["yes"], ["no"], ["no"]]
    >>> rows = [
    ...     {"id": str(i), "document_id": str(i), "text": text, "gold": gold, "fields": {}, "content_hash": text}
    ...     for i, (text, gold) in enumerate(zip(texts, golds))
    ... ]
    >>> table = pa.Table.from_pylist(rows, schema())
    >>> run = RunOutput("always yes", Predictions(["0", "1", "2"], decided=[["yes"]] * 3))
    >>> closer = look_closer(Inputs(labels, "test", table, labels.encode(golds), table, [run]))
    >>> closer.found["confusion"]["runs"]["always yes"]["pairs"]
    [{'gold': 'no', 'predicted': 'yes', 'rows': 2, 'of_gold': 1.0, 'of_predicted': 0.6666666666666666}]
    >>> closer.rows.select(["id", "wrong:always yes"]).to_pylist()[0]
    {'id': '1', 'wrong:always yes': True}
    """
    if not len(inputs.known):
        return Closer({}, None)
    traits, doubtful = conditions(inputs), label_errors(inputs)
    table = rows_table(inputs, [one["id"] for one in doubtful or ()])
    in_train = training_label_errors(inputs)
    every: dict[str, Any] = {
        "best": inputs.best,
        "confusion": confusion(inputs),
        "labels": labels_by_error(inputs),
        "residuals": residuals(inputs),
        "errors": error_counts(inputs, table),
        "disagreements": disagreements(inputs),
        "label_errors": doubtful[:LISTED] if doubtful is not None else None,
        "label_errors_found": len(doubtful) if doubtful is not None else None,
        "train_label_errors": in_train[0][:LISTED] if in_train is not None else None,
        "train_label_errors_found": len(in_train[0]) if in_train is not None else None,
        "slices": slices(inputs, traits) if traits else None,
        "weak_segments": weak_segments(inputs, [*traits, *word_conditions(inputs)]),
        "shift": shift(inputs),
        "invariance": invariance(inputs),
        "ablations": ablations(inputs, inputs.resamples),
        "counts": counts(inputs),
    }
    found = {key: value for key, value in every.items() if value is not None}
    found["findings"] = [*findings(inputs, found), *inputs.left_out]
    if in_train is not None:
        doubted, looked_at = in_train
        found["findings"].append(f"the labels of {len(doubted):,} of {looked_at:,} training rows are in doubt")
    found["advice"] = [one.to_dict() for one in advise(inputs, found, ignore)]
    return Closer(found, table)
