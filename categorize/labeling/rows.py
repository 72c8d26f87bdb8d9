"""The rows of a labelling job: one look at the source, which finds equal texts and keeps the rows in a file.

Memory holds 16 bytes a row, the key of its text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from categorize.data.rows import fields_of
from categorize.data.stream import RowStream
from categorize.errors import UserError
from categorize.labeling.exchange import Item
from categorize.labels import LabelSet
from categorize.recipe.sections import LabelRecipe

KEPT = ["id", "document_id", "text", "fields", "gold", "gold_score"]  # columns that the table of labels is made of
ITEM = "item"
AT_ONCE = 2048  # texts whose examples are chosen together; requests in flight wait meanwhile
NO_KEY = bytes(16)
ShotsOf = Callable[[Sequence[str]], npt.NDArray[np.int64]]


class Renders(Protocol):
    """What rows need of a prompt: see `labeling.prompt.LabelingPrompt`."""

    @property
    def columns(self) -> list[str]:
        """Fields of a row that its item depends on."""
        ...

    def item(self, fields: Mapping[str, str]) -> Item:
        """A row as the prompt shows it."""
        ...


class JobRows(Protocol):
    """Rows with `data.rows.schema`, in input order, the same each time they are read."""

    @property
    def name(self) -> str:
        """Of the source, for messages."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """On the source, for the user; whole once all rows were read."""
        ...

    def blocks(self) -> Iterator[pa.Table]:
        """All rows, in blocks."""
        ...


def job_rows(recipe: LabelRecipe, label_set: LabelSet | None) -> JobRows:
    """The rows of a recipe's source.

    Args:
        label_set: that the label column is read with; None: it is not read.

    Raises:
        UserError: the source cannot be read, or lacks the column that a review is to compare groups of.
    """
    stream = RowStream(recipe.data, label_set, outputs=Path(recipe.output_path).parent, hashes=False)
    groups = recipe.labeling.review.groups
    if groups is not None and groups not in (*stream.columns, "document_id") and not groups.startswith("data."):
        named = ", ".join(map(repr, stream.columns))
        raise UserError(f"labeling.review.groups: {stream.name} has no column {groups!r}; columns: {named}")
    return stream


# ---------------------------------------------------------------- the look at all rows
@dataclass(frozen=True)
class Survey:
    """One look at all rows.

    Attributes:
        keys: uint8 [rows, 16], of each row's item; zeros where it has none.
        gold, empty: bool [rows]: labelled rows that are not asked about; rows without a text.
        code: int32 [rows]: number of the row's distinct text in order of first appearance; -1 where it has none.
        first: bool [rows]: whether its text appears for the first time.
    """

    keys: npt.NDArray[np.uint8]
    gold: npt.NDArray[np.bool_]
    empty: npt.NDArray[np.bool_]
    code: npt.NDArray[np.int32]
    first: npt.NDArray[np.bool_]

    @property
    def rows(self) -> int:
        """All rows."""
        return len(self.keys)

    @property
    def distinct(self) -> int:
        """Distinct texts to ask about."""
        return int(self.first.sum())

    def line(self) -> str:
        """What there is, for people."""
        gold, empty, asked = int(self.gold.sum()), int(self.empty.sum()), int((self.code >= 0).sum())
        parts = [f"{self.distinct:,} distinct texts"]
        parts += [f"{asked - self.distinct:,} rows repeat one"] * (asked > self.distinct)
        parts += [f"{gold:,} rows have a label and keep it"] * bool(gold)
        parts += [f"{empty:,} rows have no text"] * bool(empty)
        return f"{self.rows:,} rows: {', '.join(parts)}"

    def keys_at(self, at: npt.NDArray[np.int64]) -> list[bytes]:
        """Keys of some rows."""
        whole = self.keys[at].tobytes()
        return [whole[i : i + 16] for i in range(0, len(whole), 16)]

    def share(self, at: npt.NDArray[np.int64], process: int, processes: int) -> npt.NDArray[np.int64]:
        """Those of the rows that one process of a launch sees to, dealt out by their keys."""
        return at if processes == 1 else at[self.keys[at, 0].astype(int) % processes == process]


def survey(rows: JobRows, prompt: Renders, spool: Path, *, keep_gold: bool) -> tuple[Survey, SpooledRows]:
    """Look at all rows, and keep them in a file as they are now: a long job ends with the rows that it began with.

    Args:
        spool: the file, in a folder that exists.
        keep_gold: rows that have a label are not asked about.

    Raises:
        UserError: there are no rows, the source cannot be read, or the file cannot be written.
    """
    keys, gold, empty = bytearray(), [], []
    with spooling(spool) as write:
        for block in rows.blocks():
            labelled = known_gold(block) if keep_gold else np.zeros(block.num_rows, dtype=bool)
            blank = np.array([not (text or "").strip() for text in block["text"].to_pylist()], dtype=bool) & ~labelled
            items = items_of(block, prompt, ~(labelled | blank))
            keys += b"".join([item.key if item is not None else NO_KEY for item in items])
            texts = pa.array([item.text if item is not None else None for item in items], pa.string())
            write(block.select(KEPT).append_column(ITEM, texts))
            gold.append(labelled)
            empty.append(blank)
    if not gold:
        raise UserError(f"{rows.name}: there are no rows to label")
    found = np.frombuffer(bytes(keys), dtype=np.uint8).reshape(-1, 16)
    has_gold, is_empty = np.concatenate(gold), np.concatenate(empty)
    asked = ~(has_gold | is_empty)
    code = np.full(len(found), -1, dtype=np.int32)
    first = np.zeros(len(found), dtype=bool)
    if asked.any():
        buffers = [None, pa.py_buffer(found[asked])]
        binary = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), int(asked.sum()), buffers)
        code[asked] = binary.dictionary_encode().indices.to_numpy()
        seen = np.maximum.accumulate(code)
        first = asked & (code > np.concatenate([[-1], seen[:-1]]))
    return Survey(found, has_gold, is_empty, code, first), SpooledRows(spool)


def known_gold(block: pa.Table) -> npt.NDArray[np.bool_]:
    """Bool [rows]: whether a row has a label, or truly none."""
    return np.asarray(pa.compute.or_(block["gold"].is_valid(), block["gold_score"].is_valid()))


def items_of(block: pa.Table, prompt: Renders, wanted: npt.NDArray[np.bool_]) -> list[Item | None]:
    """Rows of a block as items; None for those that are not wanted."""
    fields = fields_of(block)
    there = {child.name for child in fields.type} & set(prompt.columns) - {"text"}
    columns = {name: fields.field(name).to_pylist() for name in there}
    columns["text"] = block["text"].to_pylist()
    names = list(columns)
    return [
        prompt.item(dict(zip(names, values, strict=True))) if is_wanted else None
        for is_wanted, *values in zip(wanted.tolist(), *columns.values(), strict=True)
    ]


def items_at(
    rows: SpooledRows, looked: Survey, at: npt.NDArray[np.int64], shots: ShotsOf | None = None
) -> Iterator[Item]:
    """The items of these rows, in order.

    Args:
        shots: the set of examples of each text; items of like sets then follow each other for a while.
    """
    start = 0
    for block in rows.blocks():
        begin, end = np.searchsorted(at, (start, start + block.num_rows))
        if begin < end:
            taken = block.take(pa.array(at[begin:end] - start))
            keys, texts = looked.keys_at(at[begin:end]), taken[ITEM].to_pylist()
            if shots is None:
                yield from map(Item, keys, texts)
            else:
                yield from _by_set(keys, texts, taken["text"].to_pylist(), shots)
        start += block.num_rows


def _by_set(keys: Sequence[bytes], shown: Sequence[str], texts: Sequence[str], shots: ShotsOf) -> Iterator[Item]:
    for start in range(0, len(keys), AT_ONCE):
        numbers = shots(texts[start : start + AT_ONCE])
        for i in np.argsort(numbers, kind="stable"):
            yield Item(keys[start + i], shown[start + i], 0, int(numbers[i]))


# ---------------------------------------------------------------- rows as they were at the look
@dataclass(frozen=True)
class SpooledRows:
    """The rows of a job in a file, with `KEPT` columns and the text of each row's item."""

    path: Path

    def blocks(self) -> Iterator[pa.Table]:
        """All rows, in blocks."""
        with pa.OSFile(str(self.path)) as file, pa.ipc.open_file(file) as reader:
            for i in range(reader.num_record_batches):
                yield pa.Table.from_batches([reader.get_batch(i)])


@contextmanager
def spooling(path: Path) -> Iterator[Callable[[pa.Table], None]]:
    """A function that writes blocks into a new file; raises UserError where that fails."""
    with ExitStack() as stack:
        writer: pa.RecordBatchFileWriter | None = None

        def write(table: pa.Table) -> None:
            nonlocal writer
            try:
                if writer is None:
                    options = pa.ipc.IpcWriteOptions(compression="lz4")
                    sink = stack.enter_context(pa.OSFile(str(path), "wb"))
                    writer = stack.enter_context(pa.ipc.new_file(sink, table.schema, options=options))
                writer.write_table(table.combine_chunks())
            except OSError as error:
                raise UserError(f"{path}: the rows cannot be kept for the job ({error}); free the disk") from error

        yield write
