"""Labels of any number of rows by a student: shards that complete by rename, made by one process or several.

There is no ledger of requests: a shard that is there is finished. A start that was killed, at whatever moment, is gone
on with by the same command: finished shards stay, the others are made again.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from categorize.data.stream import Piece, RowStream
from categorize.errors import UserError
from categorize.labeling.dataset_card import Counted, write_card
from categorize.labeling.place import KIND, is_another_kind
from categorize.labeling.progress import EVERY, duration
from categorize.labeling.student import answer, identity_of
from categorize.labeling.student_table import LABEL, gold_table, student_table
from categorize.labeling.table import ABOUT
from categorize.labels import LabelSet
from categorize.processes import is_main_process, print0, rank, world_size
from categorize.recipe.sections import LabelRecipe
from categorize.runs.contents import LABELS, STATUS
from categorize.runs.folder import LABEL_SET, RECIPE, Run, RunWriter, disk_errors, incomplete_path, is_run
from categorize.writing import json_text, whole_file

if TYPE_CHECKING:
    import pyarrow as pa

    from categorize.prediction.predictor import TrainedPredictor

Watch = Callable[[dict[str, Any]], None]

STATE = "student.json"  # what the shards of an interrupted run were made of
RESTART = "--restart begins anew"
_LABELS_SHOWN = 30
_PREVIEWED, _SHOWN = 1000, 5  # rows of a dry run
_WAIT = 0.2  # seconds between two looks for the shards of other processes


def label_in_bulk(
    recipe: LabelRecipe,
    recipe_text: str,
    predictor: TrainedPredictor,
    *,
    overwrite: bool = False,
    restart: bool = False,
    watch: Watch | None = None,
) -> list[str]:
    """Label all rows of a recipe by a student and leave a finished run; gives what to say at the end.

    The processes of a launch share out the shards; the first one finishes the run, and the others have nothing to say.

    Args:
        recipe_text: resolved, for the run.
        predictor: see `student.load_student`.
        overwrite: replace a finished run.
        restart: make all shards anew.
        watch: is told how far the work is, every few seconds.

    Raises:
        UserError: the data or the output folder is at fault, or an interrupted run there was made by another student,
            of other rows, or cut otherwise.
    """
    started = time.monotonic()
    stream = _stream(recipe, predictor)
    final = Path(recipe.output_path)
    staged = incomplete_path(final)
    writer = None
    if is_main_process():
        identity = _identity(recipe, predictor, stream)
        if not restart and not overwrite and (known := _finished(final, identity)) is not None:
            return [f"{final}: labelled before: {known:,} rows in {final / LABELS}; {RESTART}"]
        writer = _begin(final, recipe_text, identity, overwrite or restart, restart)
    _meet()
    work = _Work(recipe, stream, predictor, staged / LABELS, watch)
    try:
        with _little_collecting():
            shards = work.run()
    except BaseException as error:
        work.tell("failed" if isinstance(error, Exception) else "stopped")
        raise
    if writer is None:
        return []
    while missing := [i for i in range(shards) if not part(staged / LABELS, i).exists()]:
        time.sleep(_WAIT * min(len(missing), 5))  # other processes make them; a launcher ends all where one fails
    return _finish(writer, recipe, predictor, work, identity, time.monotonic() - started)


def preview_student(recipe: LabelRecipe, predictor: TrainedPredictor) -> list[str]:
    """Label the first rows for a dry run: what they look like, and how long all would take."""
    stream = _stream(recipe, predictor)
    work = _Work(recipe, stream, predictor, Path())
    rows = stream.prepare(next(stream.pieces())).slice(0, _PREVIEWED)
    start = time.monotonic()
    table = work.label(rows)
    rate = table.num_rows / max(time.monotonic() - start, 1e-9)
    lines = [f"{stream.name}: columns {', '.join(stream.columns)}"]
    for row in table.select(["id", "text", LABEL, "source", "confidence"]).slice(0, _SHOWN).to_pylist():
        lines.append("  " + "  ".join(f"{name}={value!r}" for name, value in row.items()))
    total = stream.rows
    estimate = "how many rows there are shows when they are read"
    if total is not None:
        estimate = f"{total:,} rows would take about {duration(total / rate)}"
    return [*lines, f"{rate:,.0f} rows/s in one process; {estimate}", "dry run: nothing was written"]


def _stream(recipe: LabelRecipe, predictor: TrainedPredictor) -> RowStream:
    """The rows of a recipe, with gold where rows keep it; texts are prepared by the run that reads them."""
    keeps_gold = recipe.labeling.rows == "unlabeled" and recipe.data.columns.label is not None
    named = recipe.labels.names is not None
    return RowStream(
        recipe.data,
        (LabelSet.from_section(recipe.labels) if named else predictor.label_set) if keeps_gold else None,
        input_spec=predictor.input_spec,
        outputs=Path(recipe.output_path).parent,
        texts=predictor.input_spec.is_cut,
    )


def part(folder: Path, shard: int) -> Path:
    """The file of a shard."""
    return folder / f"part-{shard:05d}.parquet"


# ---------------------------------------------------------------- beginning and going on
def _identity(recipe: LabelRecipe, predictor: TrainedPredictor, stream: RowStream) -> dict[str, str]:
    """What shards must have in common to be one table, a digest each."""
    facts = identity_of(predictor, recipe) | {"name": predictor.name}
    cut = {
        "columns": recipe.data.columns.model_dump(),
        "rows": recipe.labeling.rows,
        "gold": recipe.labels.model_dump(),
        "separator": recipe.data.label_separator,
        "shard_rows": recipe.labeling.shard_rows,
    }
    return {"student": _digest(facts), "source": stream.digest(), "settings": _digest(cut)}


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


_CHANGED = {
    "student": "the student is another one, or was trained again",
    "source": "the rows of data.source were changed",
    "settings": "data.columns, labels, labeling.rows or labeling.shard_rows were changed",
}


def _finished(final: Path, identity: dict[str, str]) -> int | None:
    """Rows of a finished run of the same identity."""
    if not is_run(final):
        return None
    manifest = Run.open(final).manifest
    return int(manifest["rows"]) if manifest.get("identity") == identity else None


def _begin(final: Path, recipe_text: str, identity: dict[str, str], overwrite: bool, restart: bool) -> RunWriter:
    """The run's place: that of an interrupted start where there is one, with its finished shards. A start that failed
    before its first shard was finished left nothing to go on with, and is not in the way."""
    staged = incomplete_path(final)
    stored = staged / STATE
    resumes = _holds_shards(staged) and not restart
    if resumes:
        before = json.loads(stored.read_text(encoding="utf-8"))
        if changed := [why for key, why in _CHANGED.items() if before.get(key) != identity[key]]:
            raise UserError(f"{staged}: an interrupted run is here, and {' and '.join(changed)}; {RESTART}")
        (staged / RECIPE).write_text(recipe_text, encoding="utf-8")  # what else it says makes no other shards
    writer = RunWriter(final, recipe_text, resume=resumes, overwrite=overwrite, holds_work=_holds_work)
    writer.write_json(STATE, identity)
    writer.stage(f"{LABELS}/any")
    return writer


def _holds_shards(folder: Path) -> bool:
    return (folder / STATE).is_file() and any((folder / LABELS).glob("part-*"))


def _holds_work(folder: Path) -> bool:
    return _holds_shards(folder) or is_another_kind(folder)


def _meet() -> None:
    """Wait until the first process of a launch has made the folder ready. What follows needs no group: a process may
    take hours longer than another."""
    if world_size() == 1:
        return
    from accelerate import PartialState

    state = PartialState()
    state.wait_for_everyone()
    state.destroy_process_group()
    PartialState._reset_state()


@contextmanager
def _little_collecting() -> Iterator[None]:
    """Rows make no cycles: looking for them in every block, and through all that is loaded, costs some per cent."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


# ---------------------------------------------------------------- the work of one process
class _Work:
    """The shards of one process, and how far it is."""

    def __init__(
        self,
        recipe: LabelRecipe,
        stream: RowStream,
        predictor: TrainedPredictor,
        folder: Path,
        watch: Watch | None = None,
    ) -> None:
        self.watch = watch
        self.recipe, self.stream, self.predictor = recipe, stream, predictor
        self.folder, self.teacher = folder, recipe.labeling.all_teachers[0].name or predictor.name
        self.passed = self.kept = self.made = 0  # rows: all so far, of shards that were there, of shards made here
        self._start = self._shown = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the work began."""
        return time.monotonic() - self._start

    def run(self) -> int:
        """Make what is lacking; gives the number of shards that there are."""
        rows = self.recipe.labeling.shard_rows
        whole = self.recipe.data.columns.document is not None
        shards = 0
        self.tell("labelling")
        for shard, pieces in groupby(self.stream.pieces(rows, whole), key=lambda piece: piece.shard):
            shards = shard + 1
            mine, there = shard % world_size() == rank(), part(self.folder, shard).exists()
            if mine and not there:
                self._make(shard, pieces)
                continue
            for piece in pieces:
                self.passed += len(piece)
                self.kept += len(piece) if there else 0
        self.show()
        return shards

    def _make(self, shard: int, pieces: Iterator[Piece]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        from categorize.prediction.predictor import batches_of, whole_documents

        path = part(self.folder, shard)
        self.predictor.remember()  # within a shard: made again, it comes out the same
        batches = (batch for piece in pieces for batch in batches_of(self.stream.prepare(piece)))
        with disk_errors(path), whole_file(path) as temporary:
            with ExitStack() as closing, ThreadPoolExecutor(1) as pool:
                written: pq.ParquetWriter | None = None
                writing: Future[None] | None = None  # of the last block, while the next one is labelled
                for rows in whole_documents(batches):
                    table = self.label(rows)
                    if written is None:
                        # Dictionaries of columns whose values differ cost more than they save.
                        repeated = [name for name in (LABEL, *ABOUT.names) if pa.types.is_string(table[name].type)]
                        written = pq.ParquetWriter(
                            temporary, table.schema, compression="zstd", use_dictionary=repeated or False
                        )
                        closing.callback(written.close)
                    if writing is not None:
                        writing.result()
                    writing = pool.submit(written.write_table, table)
                    self.passed += rows.num_rows
                    self.made += rows.num_rows
                    if time.monotonic() - self._shown >= EVERY:
                        self.show()
                if writing is not None:
                    writing.result()
            with temporary.open("rb") as file:
                os.fsync(file.fileno())

    def label(self, rows: pa.Table) -> pa.Table:
        """The table of labels for rows of whole documents; those whose document has a gold label keep it."""
        import pyarrow as pa

        kept = self._documents_with_gold(rows)
        if kept is None:
            return self._student(rows)
        gold, others = rows.filter(kept), rows.filter(pa.compute.invert(kept))
        parts = [gold_table(gold, self.predictor.input_spec, self.predictor.label_set)]
        parts += [self._student(others)] if others.num_rows else []
        order = pa.concat_arrays(
            [pa.compute.indices_nonzero(kept), pa.compute.indices_nonzero(pa.compute.invert(kept))]
        )
        return pa.concat_tables(parts).take(pa.compute.sort_indices(order))

    def _student(self, rows: pa.Table) -> pa.Table:
        return student_table(rows, answer(self.predictor, rows), self.predictor.label_set, self.teacher)

    def _documents_with_gold(self, rows: pa.Table) -> pa.Array | None:
        """Bool [rows]: whether the row's document has a gold label; None where none has."""
        import pyarrow as pa

        known = pa.compute.or_(rows["gold"].is_valid(), rows["gold_score"].is_valid())
        if not pa.compute.any(known).as_py():
            return None
        documents = rows["document_id"].filter(known).combine_chunks()
        found = pa.compute.is_in(rows["document_id"], value_set=documents)
        return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found

    def show(self) -> None:
        """Say how far the work is; of several processes, the first says it of all."""
        self._shown = time.monotonic()
        if not is_main_process() or not self.made:
            return
        status = self.tell("labelling" if self.stream.done() < 1 else "finished")
        several = f" in {world_size()} processes" if world_size() > 1 else ""
        left = "unknown" if status["seconds_left"] is None else duration(status["seconds_left"])
        print0(
            f"{self.passed:,} rows ({status['share']:.1%}), {status['rows_per_second']:,.0f} rows/s{several}, "
            f"{left} left"
        )
        with whole_file(self.folder.parent / STATUS) as file:
            file.write_text(json_text(status), encoding="utf-8")

    def tell(self, state: str) -> dict[str, Any]:
        """How far the work is, for who watches and for `status.json`."""
        share, seconds = self.stream.done(), self.seconds
        begun = share * self.kept / max(self.passed, 1)  # of the source, before this start
        status = {
            "state": state,
            "rows": self.passed,
            "share": round(share, 4),
            "rows_per_second": round((self.passed - self.kept) / max(seconds, 1e-9), 1),
            "seconds": round(seconds, 1),
            "seconds_left": round(seconds * (1 - share) / max(share - begun, 1e-9)) if share else None,
        }
        if self.watch is not None:
            self.watch(status)
        return status


# ---------------------------------------------------------------- the end
def _finish(
    writer: RunWriter,
    recipe: LabelRecipe,
    predictor: TrainedPredictor,
    work: _Work,
    identity: dict[str, str],
    seconds: float,
) -> list[str]:
    """Count what the shards hold, put the run in place, and say what there is."""
    counts = Counted.of(writer.path / LABELS, [LABEL])
    sources, labels, rows = counts.sources, counts.labels[LABEL], counts.rows
    with disk_errors(writer.path):
        predictor.label_set.save(writer.stage(LABEL_SET))
        (writer.path / STATE).unlink()
    manifest = {
        "name": recipe.name,
        "kind": KIND,
        "method": "labeling",
        "teachers": [work.teacher],
        "student": recipe.labeling.all_teachers[0].model_dump(mode="json"),
        "label_sets": {LABEL: predictor.label_set.fingerprint},
        "rows": rows,
        "sources": dict(sources),
        "labels": {LABEL: dict(labels)},
        "identity": identity,
        "notes": predictor.notes,
        "rows_this_start": rows - work.kept,
        "seconds": round(seconds, 2),
        "rows_per_second": round((rows - work.kept) / max(work.seconds, 1e-9), 1),
    }
    with disk_errors(writer.path):
        write_card(writer.path, manifest, {LABEL: predictor.label_set}, str(writer.final))
    run = writer.commit(manifest)
    lines = [*work.stream.notes, f"{rows:,} rows: " + ", ".join(f"{name} {n:,}" for name, n in sources.most_common())]
    if labels:
        shown = ", ".join(f"{name} {count:,}" for name, count in labels.most_common(_LABELS_SHOWN))
        lines.append(f"{LABEL}: {shown}" + (", ..." if len(labels) > _LABELS_SHOWN else ""))
    if sources["failed"]:
        lines.append(f"{sources['failed']:,} rows have no valid answer: their label is empty and valid is false")
    if work.kept:
        lines.append(f"{work.kept:,} rows were labelled by an earlier start")
    lines.append(f"{seconds:.1f} s, {manifest['rows_per_second']:,} rows/s   table: {run.path / LABELS}")
    return lines
