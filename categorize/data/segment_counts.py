"""How many segments documents became, for the terminal and the manifest of a run."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from categorize.data.segments.stamps import stamps

if TYPE_CHECKING:
    from categorize.data.input_spec import InputSpec
    from categorize.data.segments.tokens import TokenCounter


@dataclass(frozen=True)
class SegmentCounts:
    """Documents of a split and the segments that they became."""

    by: str  # how they were cut
    limit: int | None  # most tokens of a segment; None for no limit
    documents: int
    segments: int
    median: float  # segments of a document
    most: int
    without_stamps: int = 0  # documents without a time stamp, which a cut by minutes leaves whole

    @classmethod
    def of(cls, spec: InputSpec, rows: pa.Table, segments: pa.Table, tokens: TokenCounter) -> SegmentCounts:
        """Counts of rows and what `InputSpec.expand` made of them."""
        from categorize.data.segments.cuts import limit_of

        counts = list(Counter(segments["document_id"].to_pylist()).values()) or [0]
        by, limit, documents = spec.segments.by, limit_of(spec.segments, tokens), len(rows["document_id"].unique())
        texts = spec.raw_documents(rows)["text"].to_pylist() if by == "minutes" else []
        bare = sum(not any(stamps(text)) for text in texts)
        return cls(by, limit, documents, segments.num_rows, float(np.median(counts)), max(counts), bare)

    def lines(self, split: str) -> list[str]:
        """For the terminal."""
        limit = f", at most {self.limit:,} tokens" if self.limit is not None else ""
        lines = [
            f"{split}: {self.documents:,} documents in {self.segments:,} segments ({self.by}{limit}); "
            f"median {self.median:g} a document, most {self.most:,}"
        ]
        if self.without_stamps:
            bare = f"{self.without_stamps:,} documents have no time stamp and were not cut there"
            lines.append(f"warning: {split}: {bare}")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)
