"""Rows of a source in blocks, in input order: memory stays flat however large the file is.

csv, tsv, JSON lines, Parquet (a file, or a folder of parts) and raw danmu are read block by block; json, xlsx and
datasets are read whole and handed on in blocks. Rows are those of `splits.load_data`, with the same texts, fields and
ids, before anything is split, sampled or left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from categorize.data.columns import as_strings, check_column, extract, trimmed
from categorize.data.gold import read_gold
from categorize.data.input_spec import InputSpec
from categorize.data.raw_stream import RawStream
from categorize.data.reading.files import open_file
from categorize.data.reading.raw import SPLIT_NAMES, RawTable, Source
from categorize.data.reading.shaping import Shaping
from categorize.data.rows import fields_of, new_rows, struct_of, with_columns
from categorize.data.seen import SeenIds
from categorize.data.source import STREAMS, is_file, read_source
from categorize.errors import UserError
from categorize.labels import LabelSet
from categorize.recipe.data_sections import DataSection, SourceFiles
from categorize.recipe.wording import quote


@dataclass(frozen=True)
class Piece:
    """Raw rows that follow each other.

    Attributes:
        shard: which shard they belong to, from 0.
        split: of the source, or `Source.ALL`.
    """

    shard: int
    split: str
    raw: RawTable

    def __len__(self) -> int:
        return len(self.raw)


class RowStream:
    """All rows of a source, block by block, with `rows.schema`; can be read again.

    Args:
        data: of the recipe; `splits`, `dedupe` and `sample` say nothing here.
        label_set: reads the gold of rows that have a label; without, the gold of all is unknown.
        input_spec: prepares texts; that of `data` by default.
        outputs: folder beside whose runs raw danmu are kept.
        texts: whether texts are prepared and hashed; without, `text` is empty, for a reader that makes it from `fields`
            anyway, and nothing is told of equal texts.
        hashes: whether `content_hash` is made, for a reader that finds equal texts otherwise.

    Attributes:
        columns: names of the raw columns, those of all files.
        notes: what the user should know, once the last block was taken.

    Raises:
        UserError: as `load_data` does. An id that comes twice is found where it comes again.

    >>> _ = Path("new.jsonl").write_text('{"text": "one"}\\n{"text": " two ", "by": "me"}\\n')
    >>> stream = RowStream(DataSection(source="new.jsonl"))
    >>> stream.columns, [table.select(["id", "text"]).to_pylist() for table in stream]
    (['text', 'by'], [[{'id': '1', 'text': 'one'}, {'id': '2', 'text': 'two'}]])
    """

    def __init__(
        self,
        data: DataSection,
        label_set: LabelSet | None = None,
        *,
        input_spec: InputSpec | None = None,
        outputs: str | Path = "outputs",
        texts: bool = True,
        hashes: bool = True,
    ) -> None:
        self.data, self.label_set, self._texts, self._hashes = data, label_set, texts, texts and hashes
        self.input_spec = input_spec or InputSpec.from_section(data)
        self.parts = _open(data, outputs)
        self.columns: list[str] = list(dict.fromkeys(name for part in self.parts.values() for name in part.kinds))
        self._check_label()
        self._given = 0  # rows of the part that is being read
        self._reading: RawStream | None = None
        self._last: tuple[str, int] | None = None  # document of the last row, and how many rows of it came

    def _check_label(self) -> None:
        """A label column that the recipe names is there; the default one may be missing."""
        label = self.data.columns.label_column
        if self.label_set is None or label is None or "label" not in self.data.columns.model_fields_set:
            return
        for split, part in self.parts.items():
            if split != "unlabeled":
                names = pa.table({name: pa.array([], kind) for name, kind in part.kinds.items()})
                check_column(label, "data.columns.label", RawTable(names, part.name, np.empty(0, np.int64)))

    @property
    def notes(self) -> list[str]:
        """What the user should know of the files, once the last block was taken."""
        return [note for part in self.parts.values() for note in part.notes]

    @property
    def rows(self) -> int | None:
        """How many rows there are, where that is known before they are read."""
        counts = [part.rows for part in self.parts.values()]
        return None if None in counts else sum(count or 0 for count in counts)

    def done(self) -> float:
        """Share of the source that was read, 0 to 1."""
        parts = list(self.parts.values())
        if self._reading is None:
            return 0.0
        return (parts.index(self._reading) + self._reading.done(self._given)) / len(parts)

    def digest(self) -> str:
        """BLAKE2b of the content of all files, 32 hex digits."""
        digests = [f"{split} {part.digest()}" for split, part in self.parts.items()]
        return hashlib.blake2b("\n".join(digests).encode(), digest_size=16).hexdigest()

    @property
    def name(self) -> str:
        """The files or the dataset."""
        return ", ".join(part.name for part in self.parts.values())

    def blocks(self) -> Iterator[pa.Table]:
        """All rows, in blocks."""
        return map(self.prepare, self.pieces())

    def __iter__(self) -> Iterator[pa.Table]:
        return self.blocks()

    def pieces(self, shard_rows: int | None = None, whole_documents: bool = False) -> Iterator[Piece]:
        """All raw rows in order, cut where a shard ends; ids are checked.

        Args:
            shard_rows: rows of a shard; None: all are one.
            whole_documents: a shard ends where a document does.
        """
        shard = filled = 0
        self._last = None
        seen = SeenIds()
        document: str | None = None  # of the last row
        for split, part in self.parts.items():
            self._given, self._reading = 0, part
            for raw in part:
                self._check_ids(raw, seen)
                named = self.data.columns.document if whole_documents else None
                documents = (
                    trimmed(as_strings(raw.table[named])).to_pylist() if named in raw.table.column_names else None
                )
                start = 0
                while start < len(raw):
                    end = len(raw) if shard_rows is None else min(len(raw), start + max(shard_rows - filled, 0))
                    if documents is not None and end < len(raw):
                        before = documents[end - 1] if end else document
                        while end < len(raw) and documents[end] is not None and documents[end] == before:
                            end += 1
                    if end > start:
                        part_of = RawTable(raw.table.slice(start, end - start), raw.name, raw.row_numbers[start:end])
                        filled += end - start
                        self._given += end - start
                        yield Piece(shard, split, part_of)
                    if end < len(raw):
                        shard, filled = shard + 1, 0
                    start = end
                document = documents[-1] if documents else None

    def prepare(self, piece: Piece) -> pa.Table:
        """Rows of a piece as `load_data` makes them; pieces come in order, some may be left out."""
        raw, columns = piece.raw, self.data.columns
        labelled = (
            self.label_set is not None and piece.split != "unlabeled" and columns.label_column in raw.table.column_names
        )
        data = (
            self.data
            if labelled
            else self.data.model_copy(update={"columns": columns.model_copy(update={"label": None})})
        )
        rows = extract(
            raw,
            data,
            id_prefix=self._prefix(piece.split),
            need_label=False,
            elsewhere=frozenset(self.columns),
            hashed=self._hashes,
        )
        there, nulls = fields_of(rows), pa.nulls(len(raw), pa.string())
        fields = {name: there.field(name) if name in raw.table.column_names else nulls for name in self.columns}
        rows = with_columns(rows, {"fields": struct_of(fields, len(raw)), "position": self._positions(rows)})
        found = new_rows(rows, self.input_spec.texts(fields_of(rows)) if self._texts else [""] * len(raw))
        if labelled and self.label_set is not None:
            gold = read_gold(rows, self.label_set, self.data.label_separator)
            found = with_columns(
                found,
                {"gold": gold.labels, "gold_score": gold.scores},
            )
        return found

    def _prefix(self, split: str) -> str:
        return "" if split == Source.ALL else f"{split}-"

    def _positions(self, rows: pa.Table) -> Any:
        """Positions in the documents, where the first one began in an earlier piece."""
        positions = rows["position"].combine_chunks()
        if self.data.columns.document is None or not rows.num_rows:
            return positions
        documents = np.array(rows["document_id"].to_pylist(), dtype=object)
        counted = positions.to_numpy().copy()
        if self._last is not None:
            counted[documents == self._last[0]] += self._last[1]
        self._last = documents[-1], int(counted[-1]) + 1
        return pa.array(counted, pa.int32())

    def _check_ids(self, raw: RawTable, seen: SeenIds) -> None:
        """Raises UserError where an id came in an earlier block; `extract` looks within one."""
        column = self.data.columns.id
        if column is None or column not in raw.table.column_names:
            return
        ids = [cell or "" for cell in as_strings(raw.table[column]).to_pylist()]
        for at in seen.add(ids):
            file, first = self._first_place(ids[at])
            number = int(raw.row_numbers[at])
            if ids[at] and (file, first) != (raw.name, number):
                of_file = f" of {file}" if file != raw.name else ""
                both = f"{quote(ids[at])} (rows {first}{of_file} and {number})"
                raise UserError(f"{raw.name}: ids come twice: {both}; make them unique or leave out data.columns.id")

    def _first_place(self, row_id: str) -> tuple[str, int]:
        """File and row where an id stands first."""
        for part in self.parts.values():
            for raw in RawStream(part.source):
                where = pa.compute.index(as_strings(raw.table[self.data.columns.id]), row_id).as_py()
                if where >= 0:
                    return raw.name, int(raw.row_numbers[where])
        raise AssertionError(row_id)


def stream_rows(
    data: DataSection,
    label_set: LabelSet | None = None,
    *,
    input_spec: InputSpec | None = None,
    outputs: str | Path = "outputs",
) -> RowStream:
    """The rows of a source block by block, see `RowStream`."""
    return RowStream(data, label_set, input_spec=input_spec, outputs=outputs)


def _open(data: DataSection, outputs: str | Path) -> dict[str, RawStream]:
    """The files of a source by split; what cannot be read in blocks is read now."""
    source = data.source
    if isinstance(source, SourceFiles) and data.format != "danmu":
        paths = {name: getattr(source, name) for name in SPLIT_NAMES}
        return {
            name: RawStream(open_file(path, data, f"data.source.{name}"))
            for name, path in paths.items()
            if path is not None
        }
    if isinstance(source, str) and data.format in STREAMS:
        opened, shaping = resolve_name(STREAMS[data.format])(source, data, outputs), Shaping.of(data)
        shaped = shaping.table(opened) if isinstance(opened, RawTable) else replace(opened, shaping=shaping)
        return {Source.ALL: RawStream(shaped)}
    if isinstance(source, str) and is_file(data):
        return {Source.ALL: RawStream(open_file(source, data))}
    read = read_source(data, outputs)
    streams = {split: RawStream(table) for split, table in read.tables.items()}
    return streams
