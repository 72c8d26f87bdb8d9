"""A review from its sheet to its conclusions.

`<run>.review/` lies beside the run, which may be made anew: it holds what people wrote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from categorize.errors import UserError
from categorize.labeling.review import label_studio, sheets
from categorize.labeling.review.estimates import estimates, lines_of
from categorize.labeling.review.labelled import (
    GOLD,
    REVIEWED,
    Vote,
    label_sets_of_run,
    read_labelled,
    rewrite_with,
    votes,
)
from categorize.labeling.review.sampling import Drawn, draw
from categorize.labels import LabelSet, UnknownLabel
from categorize.prompts.parsing import NONE
from categorize.recipe.labeling_sections import Review
from categorize.recipe.wording import counted
from categorize.runs.folder import Run
from categorize.writing import disk_errors, json_text, whole_file, whole_folder, write_whole

SAMPLE, CORRECTED = "sample.parquet", "reviewed.parquet"
SHOWN_FAULTS = 3


def review_folder(run: Path) -> Path:
    """Where the review of a run is."""
    return run.parent / f"{run.name}.review"


# ---------------------------------------------------------------- out
def write_review(run_path: Path, size: int, section: Review, seed: int, overwrite: bool = False) -> list[str]:
    """Draw a sample of a labelled run and write the sheets; returns what to say.

    Raises:
        UserError: the run is not finished, has no label to review, or a review of it is there already.
    """
    run, folder = Run.open(run_path).path, review_folder(run_path)
    if folder.exists() and not overwrite:
        raise UserError(
            f"{folder}: a review is here, with what people may have written; take it back with --reviewed FILE, or "
            "draw anew with --overwrite"
        )
    table, label_sets = read_labelled(run), label_sets_of_run(run)
    first = next(iter(label_sets))
    known = [source in (GOLD, REVIEWED) for source in table["source"].to_pylist()]
    given = {name: votes(table, name) for name in label_sets}
    if all(known):
        raise UserError(f"{run}: every row has a label that people gave; there is nothing to review")
    drawn = draw(given[first], size, seed, known)
    suspects = _suspects(table, known, set(drawn.rows.tolist()), section.suspects)
    rows = np.concatenate([drawn.rows, suspects])
    shown = sheets.Shown(
        ids=_take(table["id"], rows),
        texts=_take(table["text"], rows),
        labels={} if section.blind else {name: [given[name][i] for i in rows] for name in label_sets},
        beside=_beside(section.beside, _take(table["id"], rows), label_sets),
        context={} if section.groups is None else {section.groups: _take(_column(table, section.groups, run), rows)},
    )
    sample = _drawable(table, drawn, given, suspects)
    with disk_errors(folder), whole_folder(folder) as staged:
        pq.write_table(sample, staged / SAMPLE)
        sheets.write_sheets(staged, shown, label_sets)
        label_studio.write_tasks(staged, shown, label_sets)
    files = ", ".join(sorted(one.name for one in folder.iterdir() if one.suffix != ".parquet"))
    more = f" and {len(suspects)} of low confidence" if len(suspects) else ""
    return [
        f"review: {len(drawn.rows)} random rows{more} of {table.num_rows:,}, by label in "
        f"{counted(len(drawn.strata), 'part')}",
        f"written: {folder}/ ({files})",
        f"then: python run_label.py RECIPE --reviewed {folder / 'review.xlsx'}",
    ]


def _drawable(table: pa.Table, drawn: Drawn, given: Mapping[str, Sequence[Vote]], suspects: Any) -> pa.Table:
    """All rows that could be drawn, and the suspects: what conclusions are made of, whatever becomes of the run."""
    chance = dict(zip(drawn.rows.tolist(), drawn.chance.tolist(), strict=True))
    extra = set(suspects.tolist())
    rows = np.flatnonzero(drawn.stratum >= 0).tolist()
    return pa.table(
        {
            "id": pa.array(_take(table["id"], rows), pa.string()),
            "stratum": pa.array([drawn.strata[drawn.stratum[i]] for i in rows], pa.string()).dictionary_encode(),
            "chance": pa.array([chance.get(i) for i in rows], pa.float64()),
            "suspect": pa.array([i in extra for i in rows], pa.bool_()),
            **{name: pa.array([sheets.cell(values[i]) for i in rows], pa.string()) for name, values in given.items()},
        }
    )


def _suspects(table: pa.Table, known: Sequence[bool], drawn: set[int], size: int) -> Any:
    """Positions of the rows of the lowest confidence beside those that were drawn."""
    confidence = table["confidence"].to_numpy(zero_copy_only=False).astype(np.float64)
    rising = np.argsort(confidence, kind="stable")
    order = [i for i in rising.tolist() if not known[i] and i not in drawn and not np.isnan(confidence[i])]
    return np.array(order[:size], dtype=np.int64)


def _beside(other: str | None, ids: Sequence[str], label_sets: Mapping[str, LabelSet]) -> dict[str, list[Vote]]:
    if other is None:
        return {}
    run = Run.open(other).path
    table = read_labelled(run)
    at = {one: i for i, one in enumerate(table["id"].to_pylist())}
    found: dict[str, list[Vote]] = {}
    for name in label_sets:
        if name not in table.column_names:
            raise UserError(f"labeling.review.beside: {run}: has no labels {name!r}; columns: {table.column_names}")
        given = votes(table, name)
        found[f"{name} ({run.name})"] = [given[at[one]] if one in at else None for one in ids]
    return found


def _take(column: Any, rows: Any) -> list[str]:
    return [str(value) if value is not None else "" for value in column.take(pa.array(rows)).to_pylist()]


def _column(table: pa.Table, name: str, run: Path) -> pa.ChunkedArray:
    if name not in table.column_names:
        raise UserError(
            f"labeling.review.groups: {name!r} is not a column of {run}/labels: {', '.join(table.column_names)}"
        )
    return table[name]


# ---------------------------------------------------------------- back
def take_reviewed(run_path: Path, file: Path, section: Review) -> list[str]:
    """Read a filled-in sheet, put the corrections into the run's table as gold, and say what follows for all labels.

    What people wrote is kept in the review's folder, and laid over the table again when the run is made anew. Reading
    back the same or a longer sheet is no mistake: the estimates are always of the labels as they were drawn.

    Raises:
        UserError: no review was drawn, a row is not of it, or a cell says what is not a label.
    """
    run, folder = Run.open(run_path).path, review_folder(run_path)
    if not (folder / SAMPLE).is_file():
        raise UserError(
            f"{folder}: no review was drawn here; write the sheet first: python run_label.py RECIPE --review 300"
        )
    sample, label_sets = pq.read_table(folder / SAMPLE), label_sets_of_run(run)
    truth = _read(file, sample, label_sets)
    if not truth:
        raise UserError(f"{file}: no row is filled in; write ok or the right label into the column reviewed")
    lines, report = _conclude(run, sample, truth, label_sets, section)
    corrected = {**read_corrections(run_path, label_sets), **truth}
    with disk_errors(folder):
        with whole_file(folder / CORRECTED) as staged:
            pq.write_table(_as_table(corrected, label_sets), staged)
        write_whole(folder / "report.json", json_text(report))
        write_whole(folder / "report.md", "\n".join(["# Review of " + run.name, "", "```", *lines, "```", ""]))
        changed = rewrite_with(run, corrected, label_sets, report)
    return [
        *lines,
        f"merged: {len(truth):,} reviewed rows as gold, {changed:,} of them with another label; written: "
        f"{folder / 'report.md'}, {folder / 'report.json'}, {run}/labels",
    ]


def reapply(run_path: Path) -> list[str]:
    """Lay earlier corrections over a run's table that was made anew; returns what to say.

    Corrections that the present label sets cannot hold are left out, and counted.
    """
    if not (review_folder(run_path) / CORRECTED).is_file():
        return []
    label_sets = label_sets_of_run(run_path)
    corrected = read_corrections(run_path, label_sets)
    rewrite_with(run_path, corrected, label_sets)
    lost = pq.read_metadata(review_folder(run_path) / CORRECTED).num_rows - len(corrected)
    more = f"; {lost:,} reviewed labels are not in the label set any more and were left out" if lost else ""
    return [f"{len(corrected):,} reviewed rows keep what people said of them{more}"]


def _read(file: Path, sample: pa.Table, label_sets: Mapping[str, LabelSet]) -> dict[str, dict[str, Vote]]:
    read = label_studio.read_tasks if file.suffix == ".json" else sheets.read_sheet
    written = read(file, label_sets)
    in_sheet = pc.or_(pc.is_valid(sample["chance"]), sample["suspect"])
    given = {row["id"]: row for row in sample.filter(in_sheet).to_pylist()}
    truth: dict[str, dict[str, Vote]] = {}
    faults: list[str] = []
    for one, columns in written.items():
        if one not in given:
            faults.append(f"id {one} is not in the sheet that was drawn")
            continue
        try:
            truth[one] = {
                name: read_vote(given[one][name] if said == sheets.OK else said, label_sets[name])
                for name, said in columns.items()
            }
        except (UnknownLabel, ValueError) as error:
            faults.append(f"id {one}: {str(error)!r} is not one of the labels")
    if faults:
        more = f"; and {len(faults) - SHOWN_FAULTS} more" if len(faults) > SHOWN_FAULTS else ""
        raise UserError(
            f"{file}: {'; '.join(faults[:SHOWN_FAULTS])}{more}; nothing was merged, fix the rows and read again"
        )
    return truth


def read_vote(written: str | list[str], label_set: LabelSet) -> Vote:
    """Labels of a cell. Raises UnknownLabel, or ValueError for what is not a number."""
    if label_set.is_regression:
        return (f"{float(str(written)):.6g}",)
    words = written if isinstance(written, list) else written.replace("；", ";").split(";")
    words = [word.strip() for word in words if word.strip()]
    if words == [NONE] and NONE not in label_set.index:
        if label_set.is_multi_label:
            return ()
        raise UnknownLabel(NONE)
    found: list[str] = []
    for word in words:
        name = label_set.resolve(word) if label_set.knows(word) else None
        if name is None:
            raise UnknownLabel(word)
        found.append(name)
    if not found or (len(found) > 1 and not label_set.is_multi_label):
        raise UnknownLabel("; ".join(words))
    return tuple(name for name in label_set.names if name in found)


def _conclude(
    run: Path,
    sample: pa.Table,
    truth: Mapping[str, Mapping[str, Vote]],
    label_sets: Mapping[str, LabelSet],
    section: Review,
) -> tuple[list[str], dict[str, Any]]:
    """Lines and figures, of all rows that could be drawn and the labels that they had then."""
    ids = sample["id"].to_pylist()
    at_random = pc.is_valid(sample["chance"]).to_pylist()
    reviewed = np.array([drawn and one in truth for one, drawn in zip(ids, at_random, strict=True)], dtype=bool)
    if not reviewed.any():
        return ["no row of the random sample was reviewed: nothing can be said of all labels"], {}
    stratum = np.asarray(sample["stratum"].combine_chunks().indices, dtype=np.int64)
    groups = None
    if section.groups is not None:
        table = read_labelled(run, None)
        values = dict(zip(table["id"].to_pylist(), _column(table, section.groups, run).to_pylist(), strict=True))
        groups = [values.get(one) for one in ids]
    lines: list[str] = []
    report: dict[str, Any] = {}
    for name, label_set in label_sets.items():
        given = [read_vote(said, label_set) if said else None for said in sample[name].to_pylist()]
        said = [truth[one][name] if one in truth else None for one in ids]
        report[name] = estimates(label_set, given, said, reviewed, stratum, groups)
        lines += [*lines_of(name, report[name]), ""]
    return lines, report


# ---------------------------------------------------------------- kept
def read_corrections(run_path: Path, label_sets: Mapping[str, LabelSet]) -> dict[str, dict[str, Vote]]:
    """What people said so far of rows of a run. Rows whose labels the present sets do not hold are left out."""
    file = review_folder(run_path) / CORRECTED
    if not file.is_file():
        return {}
    kept: dict[str, dict[str, Vote]] = {}
    for row in pq.read_table(file).to_pylist():
        try:
            kept[row["id"]] = {name: read_vote(row[name], label_set) for name, label_set in label_sets.items()}
        except (KeyError, UnknownLabel, ValueError):
            continue
    return kept


def _as_table(corrected: Mapping[str, Mapping[str, Vote]], label_sets: Mapping[str, LabelSet]) -> pa.Table:
    columns = {name: [sheets.cell(row[name]) for row in corrected.values()] for name in label_sets}
    return pa.table({"id": list(corrected), **columns})
