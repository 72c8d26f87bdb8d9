"""The chunks of documents: segments as the recipe cuts them, what is longer than the encoder reads in windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from categorize.data.rows import codes
from categorize.data.segments.cuts import Document, cut_documents
from categorize.data.segments.tokens import TokenCounter
from categorize.predictions import IntArray
from categorize.recipe.data_sections import Segments

SHOWN = 120  # characters of an example


@dataclass(frozen=True)
class DocumentChunks:
    """Chunks of n documents.

    Attributes:
        ids: of the documents, in order of first appearance.
        texts: the distinct chunks of all of them.
        chunks: for each document the positions of its chunks in `texts`, in its order; at least one.
        left_out: chunks of each document beyond the most that are read, [n].
    """

    ids: list[str]
    texts: list[str]
    chunks: list[IntArray]
    left_out: IntArray

    def to_dict(self) -> dict[str, int | float]:
        """Counts for the manifest."""
        counts = [len(chunks) for chunks in self.chunks]
        left_out = {"left_out": int(self.left_out.sum()), "documents_cut": int(np.count_nonzero(self.left_out))}
        return {"documents": len(counts), "chunks": sum(counts), "median": float(np.median(counts)), **left_out}

    def example(self) -> list[str]:
        """Chunks of a document, and the first one as it is read, for a dry run."""
        counts = np.array([len(chunks) for chunks in self.chunks])
        text = self.texts[self.chunks[0][0]]
        shown = f"{text[:SHOWN]!r}{' ...' if len(text) > SHOWN else ''}"
        return [
            f"chunks a document: median {np.median(counts):g}, most {counts.max():,}; {self.left_out.sum():,} chunks "
            f"of {np.count_nonzero(self.left_out):,} documents would be left out (model.max_chunks)",
            f"example of a chunk, the first of {counts[0]:,} of a document: {shown}",
        ]

    def line(self, split: str) -> str | None:
        """What was left out, for the terminal; None where nothing was."""
        if not self.left_out.any():
            return None
        return (
            f"warning: {split}: {self.left_out.sum():,} chunks of {np.count_nonzero(self.left_out):,} documents are "
            f"left out, which have more than model.max_chunks"
        )


def document_chunks(
    rows: pa.Table, tokens: TokenCounter, max_chunks: int | None = None, keep: str = "first"
) -> DocumentChunks:
    """The chunks of documents from their rows, which are segments or, where nothing was cut, whole texts.

    A row with more tokens than the encoder has room for becomes windows of that many.
    """
    ids, of_row = codes(rows["document_id"].to_pylist())
    texts = rows["text"].to_pylist()
    parts = windows(list(dict.fromkeys(texts)), tokens)
    members: list[list[str]] = [[] for _ in ids]
    for document, text in zip(of_row.tolist(), texts, strict=True):
        members[document] += parts[text]
    kept = [[chunks[i] for i in chosen(len(chunks), max_chunks, keep)] for chunks in members]
    position = {text: i for i, text in enumerate(dict.fromkeys(text for chunks in kept for text in chunks))}
    return DocumentChunks(
        ids,
        list(position),
        [np.array([position[text] for text in chunks], dtype=np.int64) for chunks in kept],
        np.array([len(all_of_it) - len(chunks) for all_of_it, chunks in zip(members, kept, strict=True)]),
    )


def windows(texts: Sequence[str], tokens: TokenCounter) -> dict[str, list[str]]:
    """For each text its windows of at most `tokens.room`; itself where it fits."""
    if tokens.room is None or not texts:
        return {text: [text] for text in texts}
    long = [text for text, n in zip(texts, tokens.lengths(texts).tolist(), strict=True) if n > tokens.room]
    cut = cut_documents([Document(text, [text]) for text in long], Segments(by="tokens"), tokens)
    of_long = {text: [part.text for part in parts] for text, parts in zip(long, cut, strict=True)}
    return {text: of_long.get(text, [text]) for text in texts}


def chosen(count: int, most: int | None, keep: str) -> list[int]:
    """Which of a document's chunks are read, rising.

    >>> chosen(10, 4, "first"), chosen(10, 4, "spread"), chosen(3, 4, "spread")
    ([0, 1, 2, 3], [0, 3, 6, 9], [0, 1, 2])
    """
    if most is None or count <= most:
        return list(range(count))
    if keep == "first" or most == 1:
        return list(range(most))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]
