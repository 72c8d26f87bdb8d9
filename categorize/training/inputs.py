"""The rows that a method learns from and is watched on: training and validation rows, cut into segments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from categorize.data.segment_counts import SegmentCounts
from categorize.data.segments.tokens import TokenCounter
from categorize.processes import print0

if TYPE_CHECKING:
    from categorize.data.splits import LoadedData


@dataclass(frozen=True)
class Inputs:
    """Rows as the model reads them.

    Attributes:
        counts: documents and segments of each split; empty where documents are read whole.
    """

    train: pa.Table
    validation: pa.Table
    counts: dict[str, SegmentCounts] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """What the cut made, for the terminal."""
        return [line for split, count in self.counts.items() for line in count.lines(split)]

    def announce(self) -> None:
        """Print the lines, from the first process only."""
        for line in self.lines():
            print0(f"  {line}")

    def details(self) -> dict[str, Any]:
        """The same for the manifest."""
        counts = {split: count.to_dict() for split, count in self.counts.items()}
        return {"segments": counts} if counts else {}


def training_inputs(data: LoadedData, tokens: TokenCounter) -> Inputs:
    """The training and validation rows of loaded data, counted by the tokens of the model that will read them."""
    spec = data.input_spec
    tables = {name: spec.expand(data.splits[name], tokens) for name in ("train", "validation")}
    counts = {}
    if spec.is_cut:
        counts = {
            name: SegmentCounts.of(spec, data.splits[name], table, tokens)
            for name, table in tables.items()
            if table.num_rows
        }
    return Inputs(tables["train"], tables["validation"], counts)
