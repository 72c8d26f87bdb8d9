"""How often teachers agree with the gold of rows that they were asked about (`labeling.rows: all`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from categorize.labeling.exchange import Stored
from categorize.labeling.job import Job
from categorize.labeling.joining import raters_of
from categorize.labeling.label_sets import LABEL
from categorize.labeling.rows import known_gold
from categorize.labeling.silver import accuracy_by_position
from categorize.labeling.table import Decides
from categorize.labels import LabelSet
from categorize.metrics.corrected import wilson

JOINED = "joined"


@dataclass
class _Compared:
    """Labels of one teacher, or of all together, beside the gold of the same texts."""

    right: list[bool] = field(default_factory=list)
    apart: list[float] = field(default_factory=list)  # of scores
    positions: list[int] = field(default_factory=list)
    items: list[int] = field(default_factory=list)
    without_label: int = 0

    def add(self, names: tuple[str, ...] | None, gold: Any, stored: Stored | None = None) -> None:
        if names is None:
            self.without_label += 1
        elif isinstance(gold, float):
            self.apart.append(abs(float(names[0]) - gold))
        else:
            self.right.append(frozenset(names) == frozenset(gold))
            self.positions.append(stored.position if stored is not None else 0)
            self.items.append(stored.items if stored is not None else 1)

    def report(self, label_set: LabelSet) -> dict[str, Any]:
        if label_set.is_regression:
            error = float(np.mean(self.apart)) if self.apart else None
            return {"texts": len(self.apart), "without_label": self.without_label, "mean_absolute_error": error}
        found: dict[str, Any] = {"texts": len(self.right), "without_label": self.without_label}
        if self.right:
            one = wilson(sum(self.right), len(self.right))
            found |= {"accuracy": one.value, "low": one.low, "high": one.high}
        if max(self.items, default=1) > 1:
            found["by_position"] = accuracy_by_position(self.positions, self.items, self.right)
        return found


def against_gold(job: Job, decide: Decides) -> dict[str, Any]:
    """Accuracy of each teacher, and of the labels in the table, on the texts that have a gold label; empty where none
    was asked about. A text counts once, however often it comes, with the first gold that it has.

    Args:
        decide: what the table says of texts, see `finish.decides`.
    """
    label_set = job.label_sets.get(LABEL)
    if label_set is None or len(job.label_sets) > 1:
        return {}
    votes = [vote for vote in job.votes if vote.sample is None]
    sheets = {name: _Compared() for name in (*raters_of(votes), *([JOINED] if len(votes) > 1 else []))}
    seen = np.zeros(job.looked.rows, dtype=bool)  # by number of the text
    start = 0
    for block in job.rows.blocks():
        code = job.looked.code[start : start + block.num_rows]
        at = np.flatnonzero(known_gold(block) & (code >= 0))
        at = at[np.sort(np.unique(code[at], return_index=True)[1])]
        at = at[~seen[code[at]]]
        seen[code[at]] = True
        keys = job.looked.keys_at(at + start)
        start += block.num_rows
        if not keys:
            continue
        golds = [
            names if names is not None else score
            for names, score in zip(*(block[name].take(at).to_pylist() for name in ("gold", "gold_score")), strict=True)
        ]
        for vote, sheet in zip(votes, sheets.values(), strict=False):
            found = job.ledger.find(vote.variant, keys)
            for key, gold in zip(keys, golds, strict=True):
                stored = found.get(key)
                sheet.add(None if stored is None or stored.labels is None else stored.labels[0], gold, stored)
        if JOINED in sheets:
            verdicts = decide(keys)
            for key, gold in zip(keys, golds, strict=True):
                verdict = verdicts.get(key)
                sheets[JOINED].add(None if verdict is None or verdict.labels is None else verdict.labels[0], gold)
    return {name: sheet.report(label_set) for name, sheet in sheets.items()} if seen.any() else {}


def gold_lines(report: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The figures for the terminal."""
    lines = []
    for name, one in report.items():
        without = f"; {one['without_label']:,} more have no label" if one["without_label"] else ""
        if one.get("mean_absolute_error") is not None:
            said = f"off by {one['mean_absolute_error']:.3g} on average"
        elif "accuracy" in one:
            said = f"{one['accuracy']:.1%} right [{one['low']:.1%}, {one['high']:.1%}]"
        else:
            said = "no label to compare"
        lines.append(f"against gold, {name}: {said}, of {one['texts']:,} texts{without}")
    return lines
