"""`load_data`: from the `data` and `labels` sections of a recipe to splits of rows, a label set and a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from categorize.data.cleaning.report import CleaningTrace
from categorize.data.columns import (
    OPTIONAL,
    Extracted,
    extract,
    missing_spellings,
    raw_values,
    split_cell,
    text_columns,
    trimmed,
)
from categorize.data.gold import Faults, Gold, build_rows, read_gold
from categorize.data.input_spec import InputSpec
from categorize.data.reading.raw import SPLIT_NAMES, Source
from categorize.data.report import DataReport, describe
from categorize.data.rows import fingerprint, first_seen, struct_of
from categorize.data.source import read_source
from categorize.data.splitting import split_file as stored
from categorize.data.splitting.assignment import RowsToSplit, assign_rows
from categorize.data.splitting.near import NearTexts
from categorize.data.splitting.selection import reasons_to_leave
from categorize.data.splitting.shares import Fractions, unit_keys
from categorize.data.splitting.times import parse_date, read_times
from categorize.errors import UserError
from categorize.labels import LabelSet
from categorize.processes import is_main_process
from categorize.recipe.data_sections import DataSection
from categorize.recipe.sections import LabelsSection, PromptSection, RecipeBase
from categorize.recipe.template import Template

default_split_file = stored.default_split_file


@dataclass(frozen=True)
class Splits:
    """The rows of each split, with `rows.schema`.

    Attributes:
        train: labelled rows with a text.
        validation, test: labelled rows, those with an empty text too: an evaluation drops nothing.
        unlabeled: rows without a label, or with one that `labels.unknown: drop` made unlabelled.
        fingerprints: of each split, see `rows.fingerprint`; equal for the same rows in any order.
        assignment: (key, split) of every unit.
        near_train: content hashes of held-out texts that are nearly a training text, without being one.
    """

    train: pa.Table
    validation: pa.Table
    test: pa.Table
    unlabeled: pa.Table
    fingerprints: dict[str, str]
    assignment: pa.Table
    near_train: frozenset[str] = field(default_factory=frozenset)

    def __getitem__(self, name: str) -> pa.Table:
        """A split by name. Raises KeyError for a name that is none."""
        if name not in SPLIT_NAMES:
            raise KeyError(name)
        table: pa.Table = getattr(self, name)
        return table

    def seen_in_train(self, name: str) -> npt.NDArray[np.bool_]:
        """Bool [rows of the split]: whether the row's text stands in train too, as groups and official splits allow."""
        train = set(self.train["content_hash"].to_pylist())
        return np.array([key in train for key in self[name]["content_hash"].to_pylist()], dtype=bool)

    def likeness_to_train(self, name: str) -> list[str | None]:
        """For each row of a split: "exact" where its text stands in train, "near" where nearly the same text does."""
        keys = self[name]["content_hash"].to_pylist()
        return [
            "exact" if seen else "near" if key in self.near_train else None
            for key, seen in zip(keys, self.seen_in_train(name).tolist(), strict=True)
        ]


@dataclass(frozen=True)
class LoadedData:
    """What a recipe's `data` and `labels` sections amount to.

    Attributes:
        left_out: rows of the source that are in no split, with `rows.schema` and a column `reason`.
        ids: of all rows, in the order of the source, distinct: an id that several published splits hold has its split
            before it, `test-17`.
        places: the split that each of them is in; None where it is left out.
    """

    label_set: LabelSet
    input_spec: InputSpec
    splits: Splits
    report: DataReport
    left_out: pa.Table
    ids: list[str]
    places: list[str | None]


def load_recipe_data(recipe: RecipeBase, *, resplit: bool = False, write: bool = True) -> LoadedData:
    """`load_data` of a recipe, with the assignment of its split stored beside the outputs.

    Raises:
        UserError: as `load_data` does; the recipe's `prompt.template` names a column that a split lacks.
    """
    outputs = Path(recipe.output_path).parent
    file = default_split_file(recipe.data, outputs)
    loaded = load_data(recipe.data, recipe.labels, split_file=file, resplit=resplit, write=write, outputs=outputs)
    prompt: PromptSection | None = getattr(recipe, "prompt", None)
    named = Template.parse(prompt.template).columns if prompt is not None else []
    for name in ("train", "validation", "test"):
        columns = loaded.input_spec.fields(loaded.splits[name])
        for column in named:
            if column not in columns:
                raise UserError(
                    f"prompt.template: {{{column}}} names no column of the {name} rows; columns: "
                    f"{', '.join(map(repr, columns))}"
                )
    return loaded


def load_data(
    data: DataSection,
    labels: LabelsSection,
    *,
    split_file: Path | None = None,
    resplit: bool = False,
    write: bool = True,
    outputs: str | Path = "outputs",
) -> LoadedData:
    """Read the source, split it, read the labels and count everything that is unusual.

    Args:
        split_file: where the assignment is stored, see `default_split_file`; None: nowhere, cut anew.
        resplit: forget the stored assignment.
        write: whether the assignment is stored; only rank 0 of a distributed start does.
        outputs: folder beside whose runs raw danmu are kept, see `source.read_source`.

    Raises:
        UserError: see `source`, `columns`, `splitting`; no row is labelled, all texts are empty, or there is one class.
    """
    input_spec = InputSpec.from_section(data)
    if data.splits.folds is None:
        Fractions(data.splits.test, data.splits.validation, data.splits.seed)  # refuses shares before rows are read
    source = read_source(data, outputs)
    parts, lacking = _extract(source, data)
    missing = missing_spellings(labels)
    values = [v for _, rows in parts for v in raw_values(rows.cells, data.label_separator, missing)]
    near, node_of_row = _near(parts, values, data)
    known = {} if resplit or split_file is None else stored.read_assignment(split_file, data)
    to_split = _to_split(parts, values, data, near, node_of_row)
    assignment = assign_rows(to_split, data, known)
    assigned = assignment.splits

    label_set = LabelSet.from_section(labels, _found(parts, assigned, labels, data) if labels.names is None else ())
    gold = _read_gold(parts, assigned, label_set, data)
    trace = CleaningTrace(input_spec.cleaning)
    texts = [text for _, rows in parts for text in input_spec.texts(rows.fields, trace)]
    if not any(texts):
        raise UserError(
            f"{_name(parts)}: every text is empty after cleaning; check data.columns.text and data.cleaning"
        )
    final = [
        split if names is not None or score is not None else "unlabeled"
        for split, names, score in zip(assigned, gold.labels, gold.scores, strict=True)
    ]
    everything = _rows(parts, texts, gold)
    reasons = reasons_to_leave(everything, final, data, node_of_row, near)
    tables = _tables(everything, final, reasons)
    if data.columns.label is not None:
        _check_training_rows(tables["train"], label_set, data, _name(parts))
    # Stored last: a recipe that cannot work leaves nothing behind.
    is_new = bool(assignment.stored.keys() - known.keys())  # after --resplit nothing is known
    if split_file is not None and write and is_main_process() and is_new:
        stored.write_assignment(split_file, data, {**known, **assignment.stored})
    pairs = [(key, split) for key, split in zip(to_split.keys, assigned, strict=True) if split != "unlabeled"]
    splits = Splits(
        **tables,
        fingerprints={name: fingerprint(table) for name, table in tables.items()},
        assignment=stored.assignment_table([key for key, _ in pairs], [split for _, split in pairs]),
        near_train=_near_train(tables, everything, final, reasons, near, node_of_row),
    )
    ids, shared = _distinct(everything["id"].to_pylist(), to_split.official)
    notes = [*source.notes, *lacking, *assignment.notes, *shared]
    report = describe(_name(parts), notes, everything, final, tables, label_set, gold, data, trace.report())
    report.warnings.extend(assignment.warnings)
    report.add_near(splits.near_train, tables, data, set(to_split.official))
    report.left_out.update(Counter(reason for reason in reasons if reason is not None))
    gone = [row for row, reason in enumerate(reasons) if reason is not None]
    left_out = everything.take(pa.array(gone, pa.int64()))
    left_out = left_out.append_column("reason", pa.array([reasons[row] for row in gone], pa.string()))
    places = [split if reason is None else None for split, reason in zip(final, reasons, strict=True)]
    return LoadedData(label_set, input_spec, splits, report, left_out, ids, places)


Part = tuple[str, Extracted]  # an official split (or Source.ALL) and its columns


def _distinct(ids: list[str], official: Sequence[str]) -> tuple[list[str], list[str]]:
    """Ids that tell rows of all splits apart, and what to say about those that several published splits hold."""
    repeated = {row_id: n for row_id, n in Counter(ids).items() if n > 1}
    if not repeated:
        return ids, []
    first = next(iter(repeated))
    note = (
        f"{len(repeated)} ids come in more than one split, such as {first!r}: they tell rows apart within a split alone"
    )
    return [f"{split}-{i}" if i in repeated else i for i, split in zip(ids, official, strict=True)], [note]


def _extract(source: Source, data: DataSection) -> tuple[list[Part], list[str]]:
    """The columns of each table, with `fields` of one type: a column that a split file lacks is null there. With notes
    on those that the recipe names."""
    parts: list[Part] = []
    notes: list[str] = []
    everywhere = frozenset(name for raw in source.tables.values() for name in raw.table.column_names)
    named = {key: getattr(data.columns, key) for key in OPTIONAL}
    for name, raw in source.tables.items():
        prefix = f"{name}-" if source.is_split else ""
        rows = extract(raw, data, id_prefix=prefix, need_label=name != "unlabeled", elsewhere=everywhere)
        for key, value in named.items():
            for column in [value] if isinstance(value, str) else value or []:
                if column not in raw.table.column_names:
                    notes.append(f"{rows.name} has no column {column!r} (data.columns.{key}): it counts as empty there")
        if name == "unlabeled":
            rows = replace(rows, cells=[None] * len(rows))
        parts.append((name, rows))
    columns = first_seen(field.name for _, rows in parts for field in rows.fields.type)
    return [(name, replace(rows, fields=_with_columns(rows.fields, columns))) for name, rows in parts], notes


def _with_columns(fields: pa.StructArray, columns: Sequence[str]) -> pa.StructArray:
    there = {child.name for child in fields.type}
    nulls = pa.nulls(len(fields), pa.string())
    return struct_of({name: fields.field(name) if name in there else nulls for name in columns}, len(fields))


def _keys(rows: Extracted, data: DataSection) -> list[str]:
    # The cells, not `rows.documents`: a row whose document cell is empty is split by its text.
    documents = trimmed(rows.fields.field(data.columns.document)) if data.columns.document is not None else None
    return unit_keys(rows.content_keys, documents, rows.groups if data.columns.group is not None else None)


def _name(parts: Sequence[Part]) -> str:
    return ", ".join(rows.name for _, rows in parts)


def _near(
    parts: Sequence[Part], values: Sequence[tuple[str, ...] | None], data: DataSection
) -> tuple[NearTexts | None, list[int] | None]:
    """The labelled texts compared, and the place of each row's text among them (-1: not labelled); or nothing."""
    if data.splits.near_duplicates == "off" and data.dedupe != "near":
        return None, None
    columns = text_columns(data.columns)
    place: dict[str, int] = {}
    texts: list[str] = []
    of_row: list[int] = []
    start = 0
    for _, rows in parts:
        cells = [rows.fields.field(column).to_pylist() for column in columns]
        for row, key in enumerate(rows.content_keys):
            if values[start + row] is None:
                of_row.append(-1)
                continue
            if key not in place:
                place[key] = len(texts)
                texts.append("\n".join(column[row] or "" for column in cells))
            of_row.append(place[key])
        start += len(rows)
    near = NearTexts.of(texts)
    nodes = near.node.tolist()
    return near, [nodes[at] if at >= 0 else -1 for at in of_row]


def _to_split(
    parts: Sequence[Part],
    values: Sequence[tuple[str, ...] | None],
    data: DataSection,
    near: NearTexts | None,
    node_of_row: list[int] | None,
) -> RowsToSplit:
    """What decides about the split of the rows."""
    keys = [key for _, rows in parts for key in _keys(rows, data)]
    official = [name for name, rows in parts for _ in range(len(rows))]
    joined: dict[str, str] = {}
    if data.splits.near_duplicates == "group" and near is not None and node_of_row is not None:
        component = near.components_of_nodes().tolist()
        first: dict[int, str] = {}
        for key, node in sorted((key, node) for key, node in zip(keys, node_of_row, strict=True) if node >= 0):
            joined[key] = first.setdefault(component[node], key)
    times, dates = None, False
    if (column := data.splits.by_time) is not None:
        cells = [cell for _, rows in parts for cell in rows.fields.field(column).to_pylist()]
        times = read_times(cells, lambda row: _where(parts, row), "data.splits.by_time")
        dates = any(parse_date(cell) is not None for cell in cells if cell)
    groups = None
    if (named := data.columns.group or data.columns.document) is not None:
        groups = [cell for _, rows in parts for cell in trimmed(rows.fields.field(named))]
    return RowsToSplit(official, keys, values, joined, times, dates, groups)


def _where(parts: Sequence[Part], row: int) -> str:
    """A row of all parts together, as messages name it."""
    for _, rows in parts:
        if row < len(rows):
            return f"{rows.name}: {rows.where(row)}"
        row -= len(rows)
    raise IndexError(row)


def _near_train(
    tables: dict[str, pa.Table],
    rows: pa.Table,
    splits: Sequence[str],
    reasons: Sequence[str | None],
    near: NearTexts | None,
    node_of_row: list[int] | None,
) -> frozenset[str]:
    """Content hashes of held-out texts that are nearly a text of train, and not one."""
    if near is None or node_of_row is None:
        return frozenset()
    inside = np.zeros(near.nodes, dtype=bool)
    for split, reason, node in zip(splits, reasons, node_of_row, strict=True):
        if split == "train" and reason is None and node >= 0:
            inside[node] = True
    reached = near.reached(inside)
    train = set(tables["train"]["content_hash"].to_pylist())
    return frozenset(
        key
        for key, split, node in zip(rows["content_hash"].to_pylist(), splits, node_of_row, strict=True)
        if split in ("validation", "test") and node >= 0 and reached[node] and key not in train
    )


def _found(parts: Sequence[Part], assigned: Sequence[str], labels: LabelsSection, data: DataSection) -> list[str]:
    """Labels that the training rows hold, as written."""
    cells = [cell for _, rows in parts for cell in rows.cells]
    found: dict[str, None] = {}
    for cell in dict.fromkeys(cell for cell, split in zip(cells, assigned, strict=True) if split == "train"):
        if isinstance(cell, str):
            values = split_cell(cell, data.label_separator) if labels.task == "multi_label" else (cell,)
        else:
            values = cell
        found.update(dict.fromkeys(values or ()))
    return list(found)


def _read_gold(parts: Sequence[Part], assigned: Sequence[str], label_set: LabelSet, data: DataSection) -> Gold:
    """The gold of all parts, counted together. Raises UserError, of all parts at once."""
    total, faults = Gold(), Faults()
    start = 0
    for _, rows in parts:
        gold = read_gold(rows, label_set, data.label_separator, assigned[start : start + len(rows)], faults)
        start += len(rows)
        total.labels += gold.labels
        total.scores += gold.scores
        total.missing += gold.missing
        total.unknown += gold.unknown
        total.dropped += gold.dropped
    faults.raise_if_any(label_set)
    return total


def _rows(parts: Sequence[Part], texts: Sequence[str], gold: Gold) -> pa.Table:
    tables = []
    start = 0
    for _, rows in parts:
        end = start + len(rows)
        tables.append(build_rows(rows, texts[start:end], Gold(gold.labels[start:end], gold.scores[start:end])))
        start = end
    return pa.concat_tables(tables).combine_chunks()


def _tables(rows: pa.Table, splits: Sequence[str], reasons: Sequence[str | None]) -> dict[str, pa.Table]:
    """Rows by split, without those that are left out for a reason."""
    of_row = np.array(splits)
    stays = np.array([reason is None for reason in reasons], dtype=bool)
    return {name: rows.take(pa.array(np.flatnonzero((of_row == name) & stays))) for name in SPLIT_NAMES}


def _check_training_rows(train: pa.Table, label_set: LabelSet, data: DataSection, name: str) -> None:
    """Raises UserError where nothing could be learned: no labelled row, or one class only."""
    column = data.columns.label
    if not train.num_rows:
        raise UserError(
            f"{name}: no row of train has both a text and a label in {column!r}; label some rows, or see labels.missing"
        )
    if not train["weight"].to_numpy().any():
        raise UserError(
            f"{name}: every row of train has the weight 0 in {data.columns.weight!r}; there is nothing to learn from"
        )
    if label_set.is_regression:
        if len(set(train["gold_score"].to_pylist())) == 1:
            raise UserError(f"{name}: every score of train is {train['gold_score'][0]}; there is nothing to learn")
        return
    classes = {tuple(names) for names in train["gold"].to_pylist()}
    if len(classes) == 1:
        only = ", ".join(next(iter(classes))) or "no label"
        raise UserError(
            f"{name}: every row of train has the class {only!r}; a classifier needs rows of two classes or more"
        )
