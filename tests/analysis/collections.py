"""Small evaluations with a known truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from categorize.analysis.inputs import Inputs, RunOutput
from categorize.data.rows import schema
from categorize.labels import Label, LabelSet
from categorize.metrics.measures import measure
from categorize.predictions import Predictions

YES_NO = LabelSet("single_label", (Label("yes"), Label("no")))
ABC = LabelSet("single_label", tuple(Label(name) for name in "abc"))


def table(texts: Sequence[str], gold: Sequence[Any], fields: dict[str, Sequence[str | None]] | None = None) -> pa.Table:
    """Rows of these texts and labels (lists of names, or scores), with raw columns."""
    fields = fields or {}
    rows = [
        {
            "id": f"r{i}",
            "document_id": f"r{i}",
            "text": text,
            "fields": {name: cells[i] for name, cells in fields.items()},
            "content_hash": text,
            "gold": one if isinstance(one, list) else None,
            "gold_score": one if isinstance(one, float) else None,
        }
        for i, (text, one) in enumerate(zip(texts, gold, strict=True))
    ]
    return pa.Table.from_pylist(rows, schema(list(fields)))


def output(label_set: LabelSet, gold: Sequence[Any], name: str, said: Sequence[Any], **options: Any) -> RunOutput:
    """What a run said of the rows: a list of names, None where not valid, or a score."""
    ids = [f"r{i}" for i in range(len(said))]
    if label_set.is_regression:
        scores = np.array([np.nan if one is None else one for one in said], dtype=float)
        predictions = Predictions(ids, score=scores, decided=[[]] * len(said), valid=~np.isnan(scores))
        encoded = label_set.encode([None] * len(gold), gold)
    else:
        valid = np.array([one is not None for one in said])
        probabilities = options.pop("probabilities", None)
        predictions = Predictions(ids, probabilities, decided=[one or [] for one in said], valid=valid)
        encoded = label_set.encode(gold)
    return RunOutput(name, predictions, measure(label_set, encoded, predictions), **options)


def inputs(
    label_set: LabelSet,
    texts: Sequence[str],
    gold: Sequence[Any],
    runs: dict[str, Sequence[Any]] | Sequence[RunOutput],
    train: pa.Table | None = None,
    fields: dict[str, Sequence[str | None]] | None = None,
    **options: Any,
) -> Inputs:
    """An evaluation of these rows."""
    rows = table(texts, gold, fields)
    outputs = [output(label_set, gold, *one) for one in runs.items()] if isinstance(runs, dict) else runs
    encoded = label_set.encode_rows(rows)
    columns = options.pop("columns", list(fields or {}))
    return Inputs(
        label_set, "test", rows, encoded, rows if train is None else train, outputs, columns=columns, **options
    )
