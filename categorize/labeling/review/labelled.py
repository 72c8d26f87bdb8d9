"""The labelled table of a run, as review reads and corrects it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from categorize.data.export.folder import SPREADSHEET
from categorize.errors import UserError
from categorize.labeling.dataset_card import write_card
from categorize.labeling.label_sets import LABEL
from categorize.labeling.spreadsheet import write_spreadsheets
from categorize.labels import LabelSet
from categorize.runs.contents import LABEL_SETS, LABELS, README
from categorize.runs.folder import LABEL_SET, Run
from categorize.writing import whole_file

GOLD, REVIEWED = "gold", "reviewed"  # sources of labels that people gave

Vote = tuple[str, ...] | None


def parts(run: Path) -> list[Path]:
    """The files of a run's labelled table, in order.

    Raises:
        UserError: the folder holds none.
    """
    found = sorted((run / LABELS).glob("part-*.parquet"))
    if not found:
        raise UserError(
            f"{run}: no labelled table here ({LABELS}/part-*.parquet); label first: python run_label.py RECIPE"
        )
    return found


def read_labelled(run: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of all parts, in input order; of some columns, where they are named."""
    return pa.concat_tables([pq.read_table(file, columns=columns) for file in parts(run)], promote_options="default")


def label_sets_of_run(run: Path) -> dict[str, LabelSet]:
    """The label sets of a labelling run, by the names of their columns.

    Raises:
        UserError: a file of them is damaged.
    """
    if several := sorted((run / LABEL_SETS).glob("*.json")):
        found = {file.stem: LabelSet.load(file) for file in several}
        order = pq.read_schema(parts(run)[0]).names  # as the table has them
        return dict(sorted(found.items(), key=lambda one: order.index(one[0])))
    return {LABEL: LabelSet.load(run / LABEL_SET)}


def votes(table: pa.Table, column: str) -> list[Vote]:
    """A label column as one tuple of names a row; None where the row has no label."""
    return [
        None if value is None else tuple(value) if isinstance(value, list) else (str(value),)
        for value in table[column].to_pylist()
    ]


def rewrite_with(
    run: Path,
    corrected: Mapping[str, Mapping[str, Vote]],
    label_sets: Mapping[str, LabelSet],
    concluded: Mapping[str, Any] | None = None,
) -> int:
    """Put reviewed labels into a run's table, part by part, each whole or not at all; returns how many rows changed a
    label.

    Args:
        corrected: of each row id, of each label column, what it is now.
        concluded: of each label column, what a review of these labels found, see `estimates`.
    """
    changed = 0
    for file in parts(run):
        table = pq.read_table(file)
        at = [(i, one) for i, one in enumerate(table["id"].to_pylist()) if one in corrected]
        if not at:
            continue
        sources = table["source"].to_pylist()
        columns: dict[str, list[Any]] = {name: table[name].to_pylist() for name in label_sets}
        for i, one in at:
            new = {name: _cell(corrected[one][name], label_set) for name, label_set in label_sets.items()}
            changed += any(columns[name][i] != value for name, value in new.items())
            sources[i] = REVIEWED
            for name, value in new.items():
                columns[name][i] = value
        for name, values in {**columns, "source": sources}.items():
            position = table.column_names.index(name)
            table = table.set_column(
                position, table.schema.field(name), pa.array(values, table.schema.field(name).type)
            )
        with whole_file(file) as staged:
            pq.write_table(table, staged, compression="zstd")
    for sheet in (run / SPREADSHEET).glob("labeled.*"):  # the spreadsheets say what the table says
        name, label_set = next(iter(label_sets.items()))
        write_spreadsheets(run, parts(run), name, label_set, sheet.suffix[1:])
    if (run / README).is_file():  # and the card, too
        write_card(run, Run.open(run).manifest, label_sets, str(run), concluded or {})
    return changed


def _cell(vote: Vote, label_set: LabelSet) -> Any:
    if vote is None:
        return None
    if label_set.is_multi_label:
        return list(vote)
    return float(vote[0]) if label_set.is_regression else vote[0]
