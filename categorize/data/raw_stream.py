"""The raw columns of one file in blocks, all with the same columns: what `stream` and whoever labels a file read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa

from categorize.data.reading.files import SourceFile
from categorize.data.reading.raw import LIST_OF_STRINGS, Block, RawTable, TableBuilder, as_kind

ROWS = 10_000  # of a block of a table that is in memory


class RawStream:
    """The raw columns of one file or table, in blocks that all have the same columns; can be read again.

    Attributes:
        kinds: type of each column, string or list<string>.
        rows: how many there are, where that is known before they are read.
        notes: what the user should know, once the last block was taken.
    """

    def __init__(self, source: SourceFile | RawTable) -> None:
        self.source = source
        self.notes: list[str] = []
        self._held: list[Block] | None = None
        self._is_read = False  # to its end, at least once
        if isinstance(source, RawTable):
            self.rows: int | None = len(source)
            self.kinds = {column.name: column.type for column in source.table.schema}
            return
        source.file.is_silent = True
        if source.form in ("json", "xlsx", "dta", "sav"):
            self._held = list(source.blocks())
        self.kinds, rows = {}, 0
        for head in self._heads(source):
            rows += len(head.numbers)
            for name, kind in _kinds(head).items():
                if kind == LIST_OF_STRINGS or name not in self.kinds:
                    self.kinds[name] = kind
        is_known = not (source.form in ("csv", "tsv") or source.is_zipped_parquet or source.shaping.where)
        if source.is_of_documents or source.form == "text":
            rows = len(source.parts)
        self.rows = rows if is_known else None

    @property
    def name(self) -> str:
        """The file or dataset."""
        return self.source.name

    def _heads(self, source: SourceFile) -> Iterator[Block]:
        """Blocks that together have every column: JSON lines have to be read for it, others tell at once."""
        first = next(source.blocks()) if self._held is None else None  # raises for what is broken at its beginning
        if self._held is not None:
            yield from self._held
        elif source.form in ("jsonl", "fasttext"):
            yield from source.blocks()
        elif source.form == "parquet" and not source.is_zipped_parquet:
            import pyarrow.parquet as pq

            for path in source.parts:
                with pq.ParquetFile(path) as stored:
                    columns = source.shaping.head(source.changed(stored.schema_arrow.empty_table()))
                    yield Block(source.name, columns, range(stored.metadata.num_rows))
        elif first is not None:
            yield first

    def __iter__(self) -> Iterator[RawTable]:
        return (raw for _, raw in self.pairs())

    def pairs(self) -> Iterator[tuple[Block, RawTable]]:
        """Blocks as the format has them, and as raw tables.

        Raises:
            UserError: see `source.read_source`.
        """
        source = self.source
        if isinstance(source, RawTable):
            for start in range(0, len(source), ROWS):
                table, numbers = source.table.slice(start, ROWS), source.row_numbers[start : start + ROWS]
                yield Block(source.name, table, numbers), RawTable(table, source.name, numbers)
            self.notes = list(source.notes)
            return
        builder = None
        broken: tuple[str, ...] = ()
        for block in self._held if self._held is not None else source.blocks():
            builder = builder or TableBuilder(block.name)
            builder.add_block(block)
            raw = builder.take()
            there, size = set(raw.table.column_names), len(raw)
            columns = {
                name: as_kind(raw.table[name].combine_chunks(), kind) if name in there else pa.nulls(size, kind)
                for name, kind in self.kinds.items()
            }
            broken = raw.notes
            yield block, replace(raw, table=pa.table(columns))
        self.notes = [*source.file.notes, *broken]
        self._is_read = True

    def done(self, rows: int) -> float:
        """Share of it that was read when so many rows were given; 0 to 1."""
        if self._is_read:
            return 1.0
        if self.rows is not None or isinstance(self.source, RawTable):
            return rows / max(self.rows or 0, 1)
        return self.source.file.position() / max(self.source.file.size, 1)

    def digest(self) -> str:
        """BLAKE2b of its content, 32 hex digits."""
        total = hashlib.blake2b(digest_size=16)
        if isinstance(self.source, RawTable):
            for batch in self.source.table.to_batches(max_chunksize=ROWS):
                total.update(repr(batch.to_pylist()).encode("utf-8", "surrogatepass"))
            return total.hexdigest()
        for path in self.source.parts:
            with path.open("rb") as file:
                while piece := file.read(1 << 22):
                    total.update(piece)
        return total.hexdigest()


def _kinds(block: Block) -> dict[str, pa.DataType]:
    if isinstance(block.columns, pa.Table):
        types = {column.name: column.type for column in block.columns.schema}
        lists = {
            n for n, t in types.items() if pa.types.is_nested(t) and not (pa.types.is_struct(t) or pa.types.is_map(t))
        }
    else:
        types = dict.fromkeys(block.columns)
        lists = {name for name, values in block.columns.items() if list in set(map(type, values))}
    return {name: LIST_OF_STRINGS if name in lists else pa.string() for name in types}
