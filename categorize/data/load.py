"""`load_data`: from the `data` and `labels` sections of a recipe to splits of rows, a label set and a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from categorize.data import split_file as stored
from categorize.data.cleaning_report import CleaningTrace
from categorize.data.columns import Extracted, extract, missing_spellings, raw_values, split_cell
from categorize.data.gold import Gold, build_rows, read_gold
from categorize.data.input_spec import InputSpec
from categorize.data.raw import Source
from categorize.data.readers import SPLIT_NAMES, read_source
from categorize.data.report import DataReport, describe
from categorize.data.rows import fingerprint, first_seen, struct_of
from categorize.data.splits import NAMES, Fractions, assign, make_units, unit_keys
from categorize.errors import UserError
from categorize.labels import LabelSet
from categorize.recipe.sections import DataSection, LabelsSection, RecipeBase

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
    """

    train: pa.Table
    validation: pa.Table
    test: pa.Table
    unlabeled: pa.Table
    fingerprints: dict[str, str]
    assignment: pa.Table

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


@dataclass(frozen=True)
class LoadedData:
    """What a recipe's `data` and `labels` sections amount to."""

    label_set: LabelSet
    input_spec: InputSpec
    splits: Splits
    report: DataReport


def load_recipe_data(recipe: RecipeBase, *, resplit: bool = False, write: bool = True) -> LoadedData:
    """`load_data` of a recipe, with the assignment of its split stored beside the outputs; raises as that does."""
    file = default_split_file(recipe.data, Path(recipe.output_path).parent)
    return load_data(recipe.data, recipe.labels, split_file=file, resplit=resplit, write=write)


def load_data(
    data: DataSection,
    labels: LabelsSection,
    *,
    split_file: Path | None = None,
    resplit: bool = False,
    write: bool = True,
) -> LoadedData:
    """Read the source, split it, read the labels and count everything that is unusual.

    Args:
        split_file: where the assignment is stored, see `default_split_file`; None: nowhere, cut anew.
        resplit: forget the stored assignment.
        write: whether the assignment is stored; only rank 0 of a distributed start does.

    Raises:
        UserError: see `readers`, `columns`, `splits`; no row is labelled, all texts are empty, or there is one class.
    """
    input_spec = InputSpec.from_section(data)
    fractions = Fractions(data.splits.test, data.splits.validation, data.splits.seed)
    source = read_source(data)
    parts = _extract(source, data)
    missing = missing_spellings(labels)
    values = [v for _, rows in parts for v in raw_values(rows.cells, data.label_separator, missing)]
    keys = [key for _, rows in parts for key in _keys(rows, data)]
    official = [name for name, rows in parts for _ in range(len(rows))]
    known = {} if resplit or split_file is None else stored.read_assignment(split_file, data)
    assigned, cut = _assign(official, keys, values, fractions, known)

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
    tables = _tables(everything, final, texts)
    if data.columns.label is not None:
        _check_training_rows(tables["train"], label_set, data, _name(parts))
    # Stored last: a recipe that cannot work leaves nothing behind.
    if split_file is not None and write and stored.is_main_process() and (resplit or cut.keys() - known.keys()):
        stored.write_assignment(split_file, data, {**known, **cut})
    pairs = [(key, split) for key, split in zip(keys, assigned, strict=True) if split != "unlabeled"]
    splits = Splits(
        **tables,
        fingerprints={name: fingerprint(table) for name, table in tables.items()},
        assignment=stored.assignment_table([key for key, _ in pairs], [split for _, split in pairs]),
    )
    report = describe(_name(parts), source.notes, everything, final, tables, label_set, gold, data, trace.report())
    return LoadedData(label_set, input_spec, splits, report)


Part = tuple[str, Extracted]  # an official split (or Source.ALL) and its columns


def _extract(source: Source, data: DataSection) -> list[Part]:
    """The columns of each table, with `fields` of one type: a column that a split file lacks is null there."""
    parts: list[Part] = []
    for name, raw in source.tables.items():
        prefix = f"{name}-" if source.is_split else ""
        rows = extract(raw, data, id_prefix=prefix, need_label=name != "unlabeled")
        if name == "unlabeled":
            rows = replace(rows, cells=[None] * len(rows))
        parts.append((name, rows))
    columns = first_seen(field.name for _, rows in parts for field in rows.fields.type)
    return [(name, replace(rows, fields=_with_columns(rows.fields, columns))) for name, rows in parts]


def _with_columns(fields: pa.StructArray, columns: Sequence[str]) -> pa.StructArray:
    there = {child.name for child in fields.type}
    nulls = pa.nulls(len(fields), pa.string())
    return struct_of({name: fields.field(name) if name in there else nulls for name in columns}, len(fields))


def _keys(rows: Extracted, data: DataSection) -> list[str]:
    # The cells, not `rows.documents`: a row whose document cell is empty is split by its text.
    documents = rows.fields.field(data.columns.document).to_pylist() if data.columns.document is not None else None
    return unit_keys(rows.content_keys, documents, rows.groups if data.columns.group is not None else None)


def _name(parts: Sequence[Part]) -> str:
    return ", ".join(rows.name for _, rows in parts)


def _assign(
    official: Sequence[str],
    keys: Sequence[str],
    values: Sequence[tuple[str, ...] | None],
    fractions: Fractions,
    known: dict[str, int],
) -> tuple[list[str], dict[str, int]]:
    """The split of each row, and the assignment of the units that were cut here.

    Official splits stay as published; one that is not given is cut from train.
    """
    given = set(official)
    splits = ["unlabeled" if v is None else name for name, v in zip(official, values, strict=True)]
    fractions = replace(
        fractions,
        test=0.0 if "test" in given else fractions.test,
        validation=0.0 if "validation" in given else fractions.validation,
    )
    if fractions.test == 0.0 and fractions.validation == 0.0:
        return ["train" if split == Source.ALL else split for split in splits], {}
    pool = [i for i, split in enumerate(splits) if split in (Source.ALL, "train")]
    units = make_units([keys[i] for i in pool], [values[i] for i in pool])
    of_unit = assign(units, fractions, known)
    for i, unit in zip(pool, units.of_row.tolist(), strict=True):
        splits[i] = NAMES[of_unit[unit]]
    return splits, dict(zip(units.keys, of_unit.tolist(), strict=True))


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
    """The gold of all parts, counted together."""
    total = Gold()
    start = 0
    for _, rows in parts:
        gold = read_gold(rows, label_set, data.label_separator, assigned[start : start + len(rows)])
        start += len(rows)
        total.labels += gold.labels
        total.scores += gold.scores
        total.missing += gold.missing
        total.unknown += gold.unknown
        total.dropped += gold.dropped
    return total


def _rows(parts: Sequence[Part], texts: Sequence[str], gold: Gold) -> pa.Table:
    tables = []
    start = 0
    for _, rows in parts:
        end = start + len(rows)
        tables.append(build_rows(rows, texts[start:end], Gold(gold.labels[start:end], gold.scores[start:end])))
        start = end
    return pa.concat_tables(tables).combine_chunks()


def _tables(rows: pa.Table, splits: Sequence[str], texts: Sequence[str]) -> dict[str, pa.Table]:
    """Rows by split. Train leaves out empty texts, which teach nothing; an evaluation keeps them."""
    of_row = np.array(splits)
    has_text = np.array([bool(text) for text in texts], dtype=bool)
    return {
        name: rows.take(pa.array(np.flatnonzero((of_row == name) & (has_text | (name != "train")))))
        for name in SPLIT_NAMES
    }


def _check_training_rows(train: pa.Table, label_set: LabelSet, data: DataSection, name: str) -> None:
    """Raises UserError where nothing could be learned: no labelled row, or one class only."""
    column = data.columns.label
    if not train.num_rows:
        raise UserError(
            f"{name}: no row of train has both a text and a label in {column!r}; label some rows, or see labels.missing"
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
