"""`load_data`: from the `data` and `labels` sections of a recipe to splits of rows, a label set and a report."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from categorize.data.cleaning.report import CleaningTrace
from categorize.data.columns import (
    OPTIONAL,
    check_column,
    extract,
    label_cells,
    missing_spellings,
    named_columns,
    raw_values,
    split_cell,
    text_columns,
    trimmed,
)
from categorize.data.gold import read_gold
from categorize.data.input_spec import InputSpec
from categorize.data.label_hints import label_hints
from categorize.data.reading.raw import LIST_OF_STRINGS, SPLIT_NAMES, Source
from categorize.data.report import DataReport, describe
from categorize.data.rows import COLUMN_TYPES, coded, coded_rows, fields_of, fingerprint, struct_of, taken, with_columns
from categorize.data.source import read_source
from categorize.data.splitting import split_file as stored
from categorize.data.splitting.assignment import assign_rows
from categorize.data.splitting.near import NearTexts
from categorize.data.splitting.selection import reasons_to_leave
from categorize.data.splitting.shares import NAMES, UNASSIGNED, Fractions, known_splits, unit_keys
from categorize.errors import UserError
from categorize.labels import LabelSet
from categorize.processes import is_main_process
from categorize.recipe.data_sections import GOLD_SOURCES, DataSection
from categorize.recipe.label_sections import LabelsSection
from categorize.recipe.sections import PromptSection, RecipeBase
from categorize.recipe.template import Template
from categorize.recipe.wording import quote

default_split_file = stored.default_split_file
LABELLED_TABLE = {"source", "duplicate_of", "teacher"}  # columns by which the table of a labelling run is known


@dataclass(frozen=True)
class Splits:
    """The rows of each split, with `rows.schema`. Held-out ones may have an empty text: an evaluation drops nothing."""

    train: pa.Table  # labelled rows with a text
    validation: pa.Table
    test: pa.Table
    unlabeled: pa.Table  # rows without a label, or with one that `labels.unknown: drop` made unlabelled
    fingerprints: dict[str, str]  # of each split, see `rows.fingerprint`; equal for the same rows in any order
    assignment: pa.Table  # (key, split) of every unit
    near_train: frozenset[str] = frozenset()  # content hashes of held-out texts that are nearly one of train

    def __getitem__(self, name: str) -> pa.Table:
        """A split by name. Raises KeyError for any other name."""
        if name not in SPLIT_NAMES:
            raise KeyError(name)
        table: pa.Table = getattr(self, name)
        return table

    def seen_in_train(self, name: str) -> npt.NDArray[np.bool_]:
        """Bool [rows of the split]: whether the row's text stands in train too, as groups and official splits allow."""
        seen = pa.compute.is_in(self[name]["content_hash"], value_set=self.train["content_hash"])
        return np.asarray(seen.to_numpy())

    def train_overlap(self, name: str) -> list[str | None]:
        """For each row of a split: "exact" where its text stands in train, "near" where nearly the same text does."""
        keys = self[name]["content_hash"].to_pylist()
        return [
            "exact" if seen else "near" if key in self.near_train else None
            for key, seen in zip(keys, self.seen_in_train(name).tolist(), strict=True)
        ]


@dataclass(frozen=True)
class LoadedData:
    """What a recipe's `data` and `labels` sections amount to."""

    label_set: LabelSet
    input_spec: InputSpec
    splits: Splits
    report: DataReport
    left_out: pa.Table  # rows of the source that are in no split, with `rows.schema` and a column `reason`
    # All rows in the order of the source: `id`, distinct (one that several published splits hold has its split before
    # it, `test-17`), and `split`, null where the row is left out.
    places: pa.Table


def load_recipe_data(recipe: RecipeBase, *, resplit: bool = False, write: bool = True) -> LoadedData:
    """`load_data` of a recipe, with the assignment of its split stored beside the outputs.

    Raises UserError as it does, and where the recipe's `prompt.template` names a column that a split lacks.
    """
    outputs = Path(recipe.output_path).parent
    file = default_split_file(recipe.data, outputs)
    loaded = load_data(recipe.data, recipe.labels, split_file=file, resplit=resplit, write=write, outputs=outputs)
    prompt: PromptSection | None = getattr(recipe, "prompt", None)
    named = Template.parse(prompt.template).columns if prompt is not None else []
    for name in ("train", "validation", "test"):
        columns = loaded.input_spec.fields(loaded.splits[name])
        if other := [column for column in named if column not in columns]:
            there = ", ".join(map(repr, columns))
            raise UserError(f"prompt.template: {{{other[0]}}} names no column of the {name} rows; columns: {there}")
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

    >>> lines = [f"comment {i},{'good' if i % 3 else 'bad'}" for i in range(60)]
    >>> _ = Path("comments.csv").write_text("\\n".join(["text,label", *lines]))
    >>> data = load_data(DataSection(source="comments.csv"), LabelsSection())
    >>> data.label_set.names, data.report.split_rows
    (['bad', 'good'], {'train': 42, 'validation': 6, 'test': 12, 'unlabeled': 0})
    >>> data.splits.test.select(["id", "text", "gold"]).slice(0, 1).to_pylist()
    [{'id': '...', 'text': 'comment ...', 'gold': [...]}]
    """
    input_spec = InputSpec.from_section(data)
    if data.splits.folds is None:
        Fractions(data.splits.test, data.splits.validation, data.splits.seed)  # refuses shares before rows are read
    source = read_source(data, outputs)
    name = ", ".join(raw.name for raw in source.tables.values())
    rows, lacking = _extract(source, data)
    notes = [*source.notes, *lacking]
    # Keys are compared often: once they are encoded, that takes no time.
    rows = with_columns(rows, {"content_hash": rows["content_hash"].dictionary_encode(null_encoding="encode")})
    del source  # its tables: rows have copies of what they need
    cells, code = label_cells(rows)
    values = pa.array(raw_values(cells, data.label_separator, missing_spellings(labels)), LIST_OF_STRINGS)
    rows = with_columns(rows, {"values": taken(values, code), "key": _keys(rows, data)})
    rows = with_columns(rows, {"silver": _silver(rows, data)})
    near, rows = _near(rows, data)
    pa.default_memory_pool().release_unused()  # what reading and comparing took and does not need again
    known = {} if resplit or split_file is None else stored.read_assignment(split_file, data)
    assignment = assign_rows(rows, data, known, near)
    cut = pa.array([*NAMES, "unlabeled"]).take(pa.array(assignment.splits))
    rows = with_columns(rows, {"split": cut})

    label_set = LabelSet.from_section(labels, _found(rows, labels, data) if labels.names is None else ())
    gold = read_gold(rows, label_set, data.label_separator)
    trace = CleaningTrace(input_spec.cleaning)
    texts = input_spec.texts(fields_of(rows), trace)
    if not pa.compute.any(pa.compute.not_equal(texts, "")).as_py():
        raise UserError(f"{name}: every text is empty after cleaning; check data.columns.text and data.cleaning")
    known_gold = pa.compute.or_(gold.labels.is_valid(), gold.scores.is_valid())
    rows = with_columns(
        rows,
        {
            "text": texts,
            "gold": gold.labels,
            "gold_score": gold.scores,
            "split": pa.compute.if_else(known_gold, rows["split"], "unlabeled"),
        },
    )
    trained = label_set.without(labels.held_out)
    reasons = reasons_to_leave(rows, data, near, labels.held_out)
    rows = with_columns(rows, {"reason": pa.array(reasons, pa.string())})
    place = pa.compute.if_else(rows["reason"].is_null(), rows["split"], None)
    if data.columns.label_column is not None:
        train = rows.select(["gold", "gold_score", "weight"]).filter(pa.compute.equal(place, "train"))
        _check_training_rows(train, trained, data, name)
    near_train = _near_train(rows, near)
    ids, shared = _distinct_ids(rows)
    notes += [*assignment.notes, *shared, *_on_silver(rows, data)]
    hints = label_hints(rows, label_set, labels, data)
    warnings = [*assignment.warnings, *_unmarked_silver(rows, data), *hints]
    report = describe(name, notes, warnings, rows, near_train, label_set, gold, data, trace.report)
    # Stored last: a recipe that cannot work leaves nothing behind.
    is_new = (known_splits(assignment.keys, known) == UNASSIGNED).any()  # after --resplit nothing is known
    if split_file is not None and write and is_main_process() and is_new:
        stored.write_assignment(split_file, data, known, assignment.keys, assignment.numbers)
    placed = pa.table({"key": rows["key"], "split": cut})
    placed = stored.assignment_table(placed.filter(pa.compute.not_equal(cut, "unlabeled")))
    final = with_columns(rows, {"content_hash": rows["content_hash"].cast(pa.string())}).select(list(COLUMN_TYPES))
    left_out = final.append_column("reason", rows["reason"]).filter(rows["reason"].is_valid())
    del rows, cells, code, values, texts, gold, assignment, near  # room for the copies of the splits
    tables = {split: pa.table({}) for split in SPLIT_NAMES}
    for column in COLUMN_TYPES:  # one by one, so that no two copies of all are held
        whole, final = final[column], final.drop_columns(column)
        for split, table in tables.items():
            tables[split] = with_columns(table, {column: whole.filter(pa.compute.equal(place, split))})
    del whole, final
    splits = Splits(
        **tables,
        fingerprints={name: fingerprint(table) for name, table in tables.items()},
        assignment=placed,
        near_train=near_train,
    )
    return LoadedData(trained, input_spec, splits, report, left_out, pa.table({"id": ids, "split": place}))


def _extract(source: Source, data: DataSection) -> tuple[pa.Table, list[str]]:
    """The rows of all files as one table, with `official`; a column that a file lacks is null there. With notes on
    those that the recipe names."""
    parts: list[pa.Table] = []
    notes: list[str] = []
    everywhere = dict.fromkeys(name for raw in source.tables.values() for name in raw.table.column_names)
    if data.silver is not None and data.silver.column not in everywhere:
        check_column(data.silver.column, "data.silver.column", next(iter(source.tables.values())))
    named = named_columns(data.columns)
    for split, raw in source.tables.items():
        prefix = f"{split}-" if source.is_split else ""
        rows = extract(raw, data, id_prefix=prefix, need_label=split != "unlabeled", elsewhere=frozenset(everywhere))
        there, nulls = set(raw.table.column_names), pa.nulls(len(raw), pa.string())
        notes += [
            f"{raw.name} has no column {column!r} (data.columns.{key}): it counts as empty there"
            for key in OPTIONAL
            for column in named[key]
            if column not in there
        ]
        fields = {name: fields_of(rows).field(name) if name in there else nulls for name in everywhere}
        more = {"fields": struct_of(fields, len(raw)), "official": pa.repeat(split, len(raw))}
        if split == "unlabeled":
            more |= {"label_text": nulls, "label_list": pa.nulls(len(raw), LIST_OF_STRINGS)}
        parts.append(with_columns(rows, more))
    return pa.concat_tables(parts).combine_chunks(), notes


def _keys(rows: pa.Table, data: DataSection) -> pa.ChunkedArray:
    # The cells, not `document_id`: a row whose document cell is empty is split by its text.
    fields = fields_of(rows)
    documents = trimmed(fields.field(data.columns.document)) if data.columns.document is not None else None
    groups = rows["group"] if data.columns.group is not None else None
    return unit_keys(rows["content_hash"], documents, groups)


def _silver(rows: pa.Table, data: DataSection) -> pa.Array:
    """Which rows have a machine's label, as `data.silver` tells."""
    if data.silver is None:
        return pa.array(np.zeros(rows.num_rows, dtype=bool))
    sources = trimmed(fields_of(rows).field(data.silver.column))
    by_people = pa.compute.is_in(sources, value_set=pa.array([*data.silver.gold, None], pa.string()))
    labelled = rows["values"].combine_chunks().is_valid()
    return pa.compute.and_(labelled, pa.compute.invert(by_people))


def _on_silver(rows: pa.Table, data: DataSection) -> list[str]:
    """How many rows have a machine's label, and how many of them train."""
    if data.silver is None:
        return []
    silver = rows.filter(rows["silver"])
    train = pa.compute.equal(silver.filter(silver["reason"].is_null())["split"], "train")
    by_source = Counter(trimmed(fields_of(silver).field(data.silver.column)).to_pylist())
    shown = ", ".join(f"{value} {n:,}" for value, n in by_source.most_common())
    told = f"{silver.num_rows:,} rows with a silver label ({data.silver.column}: {shown or 'none'})"
    return [f"{told}; {pa.compute.sum(train).as_py() or 0:,} of them train, none is held out"]


def _unmarked_silver(rows: pa.Table, data: DataSection) -> list[str]:
    """What to say of held-out rows of a labelling run's table that a teacher labelled."""
    fields = fields_of(rows)
    if data.silver is not None or not {child.name for child in fields.type} >= LABELLED_TABLE:
        return []
    held_out = pa.compute.is_in(rows["split"], value_set=pa.array(["validation", "test"]))
    sources = Counter(fields.field("source").filter(held_out.combine_chunks()).to_pylist())
    if not (n := sum(count for one, count in sources.items() if one and one not in GOLD_SOURCES)):
        return []
    return [
        f"{n:,} rows of validation and test have their label from a teacher (column 'source'): measures tell how well "
        "it is repeated, not how right labels are; data.silver: {} keeps such rows in training"
    ]


def _near(rows: pa.Table, data: DataSection) -> tuple[NearTexts | None, pa.Table]:
    """The labelled texts compared, and the rows with `node`; None where nothing asks for it."""
    node = np.full(rows.num_rows, -1, dtype=np.int64)
    near = None
    if data.splits.near_duplicates != "off" or data.dedupe == "near":
        at = np.flatnonzero(rows["values"].is_valid().to_numpy())
        first, text = coded_rows([rows["content_hash"].take(pa.array(at))])
        fields, chosen = fields_of(rows), pa.array(at[first])
        cells = [fields.field(column).take(chosen) for column in text_columns(data.columns)]
        near = NearTexts.of(
            pa.compute.binary_join_element_wise(*cells, "\n", null_handling="replace", null_replacement="")
        )
        node[at] = near.node[text]
    return near, with_columns(rows, {"node": node})


def _near_train(rows: pa.Table, near: NearTexts | None) -> frozenset[str]:
    """Content hashes of held-out texts that are nearly a text of train, and not one."""
    if near is None:
        return frozenset()
    node, split = rows["node"].to_numpy(), rows["split"].to_numpy()
    in_train = (split == "train") & rows["reason"].is_null().to_numpy()
    inside = np.zeros(near.nodes, dtype=bool)
    inside[node[in_train & (node >= 0)]] = True
    held_out = np.flatnonzero(((split == "validation") | (split == "test")) & (node >= 0))
    reached = held_out[near.reached(inside)[node[held_out]]]
    keys, key = coded(rows["content_hash"])
    close = np.setdiff1d(key[reached], key[in_train])
    return frozenset(keys.take(pa.array(close)).to_pylist())


def _distinct_ids(rows: pa.Table) -> tuple[pa.ChunkedArray | list[str], list[str]]:
    """Ids that tell rows of all splits apart, and what to say about those that several published splits hold."""
    if len(rows["official"].unique()) == 1 or len(rows["id"].unique()) == rows.num_rows:  # a file's own are distinct
        return rows["id"], []
    ids, official = rows["id"].to_pylist(), rows["official"].to_pylist()
    repeated = {row_id: None for row_id, count in Counter(ids).items() if count > 1}
    told = f"{len(repeated)} ids come in more than one split, such as {quote(next(iter(repeated)))}"
    note = f"{told}: they tell rows apart within a split alone"
    return [f"{split}-{i}" if i in repeated else i for i, split in zip(ids, official, strict=True)], [note]


def _found(rows: pa.Table, labels: LabelsSection, data: DataSection) -> list[str]:
    """Labels that the rows hold, as written: those of all splits, so that a rare one which fell into test is known;
    under `labels.unknown: drop` or `other` those of train."""
    known = ["train"] if labels.unknown != "error" else ["train", "validation", "test"]
    found: dict[str, None] = dict.fromkeys(data.columns.label if isinstance(data.columns.label, list) else ())
    cells = rows.select(["label_text", "label_list"]).filter(pa.compute.is_in(rows["split"], pa.array(known)))
    for cell in label_cells(cells)[0]:
        values = (cell,) if isinstance(cell, str) else cell
        if isinstance(cell, str) and labels.task == "multi_label":
            values = split_cell(cell, data.label_separator)
        found.update(dict.fromkeys(values or ()))
    return list(found)


def _check_training_rows(train: pa.Table, label_set: LabelSet, data: DataSection, name: str) -> None:
    """Raises UserError where nothing could be learned: no labelled row, or one class only."""
    column = data.columns.label_column
    found = {tuple(names) for names in coded(train["gold"])[0].to_pylist() if names is not None}
    found |= set(coded(train["gold_score"])[0].drop_null().to_pylist())
    if not found:
        why = f"no row of train has both a text and a label in {column!r}; label some rows, or see labels.missing"
    elif not train["weight"].to_numpy().any():
        why = f"every row of train has the weight 0 in {data.columns.weight!r}; there is nothing to learn from"
    elif len(found) > 1:
        return
    elif label_set.is_regression:
        why = f"every score of train is {found.pop()}; there is nothing to learn"
    else:
        only = ", ".join(train["gold"][0].as_py()) or "no label"
        why = f"every row of train has the class {quote(only)}; a classifier needs rows of two classes or more"
    raise UserError(f"{name}: {why}")
