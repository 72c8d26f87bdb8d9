"""Tables of loaded data for the terminal and for the datasheet: where the rows went, lengths, duplicates."""

from __future__ import annotations

from collections import Counter

import numpy as np

from categorize.data.reading.raw import SPLIT_NAMES
from categorize.data.report import LABELLED_SPLITS
from categorize.data.splits import LoadedData

Table = list[list[str]]


def row_counts(data: LoadedData) -> dict[str, int]:
    """Where the rows went: read = purged + not labelled + rejected, and so on down."""
    report = data.report
    purged = sum(data.splits[name].num_rows for name in LABELLED_SPLITS)
    return {
        "read": report.rows,
        "rejected (in no split)": data.left_out.num_rows,
        **{f"  {reason}": count for reason, count in report.left_out.items()},
        "unlabeled": data.splits.unlabeled.num_rows,
        "purged (labelled, in a split)": purged,
    }


def length_table(data: LoadedData) -> Table:
    """Characters of the texts of each split."""
    table = [["characters", "rows", "median", "mean", "95%", "longest"]]
    for name in SPLIT_NAMES:
        lengths = text_lengths(data, name)
        if len(lengths):
            median, high = np.percentile(lengths, [50, 95])
            numbers = (median, lengths.mean(), high, lengths.max())
            table.append([name, f"{len(lengths):,}", *(f"{number:,.0f}" for number in numbers)])
    return table


def text_lengths(data: LoadedData, split: str) -> np.ndarray:  # type: ignore[type-arg]
    """Characters of each text of a split, [rows]."""
    return np.array([len(text) for text in data.splits[split]["text"].to_pylist()], dtype=np.int64)


def duplicate_table(data: LoadedData) -> Table:
    """Texts that come again: in their own split, and in train."""
    table = [["duplicates", "rows", "distinct texts", "repeats", "in train", "nearly in train"]]
    for name in SPLIT_NAMES:
        keys = data.splits[name]["content_hash"].to_pylist()
        if not keys:
            continue
        distinct, likeness = len(set(keys)), Counter(data.splits.train_overlap(name))
        exact = f"{likeness['exact']:,}" if name != "train" else "-"
        # Rows that nobody has labelled are not compared.
        near = f"{likeness['near']:,}" if name not in ("train", "unlabeled") else "-"
        table.append([name, f"{len(keys):,}", f"{distinct:,}", f"{len(keys) - distinct:,}", exact, near])
    return table
