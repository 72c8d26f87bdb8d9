"""Datasets of the Hub, and those that `datasets` saved to a folder: tables of strings, official splits kept."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from categorize.connection import from_cache_where_unreachable, ways_out
from categorize.data.reading.files import check_is_file
from categorize.data.reading.raw import SPLIT_ALIASES, SPLIT_NAMES, RawTable, Source, from_arrow
from categorize.errors import UserError
from categorize.recipe.data_sections import FORMAT_OF_SUFFIX, DataSection

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def may_be_hub_id(source: str) -> bool:
    """Whether a source that is not a path here can be the name of a Hub dataset."""
    path = Path(source.removesuffix(".gz"))
    if path.parent != Path() and path.parent.is_dir():
        return False  # "comments/2024" beside a folder "comments" is a slip of the path, not worth a network time-out
    return path.suffix.lower() not in FORMAT_OF_SUFFIX and _HUB_ID.fullmatch(source) is not None


def is_saved_dataset(path: Path) -> bool:
    """Whether a folder is what `datasets` saves."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def read_saved(path: Path) -> Source:
    """A folder that `datasets.Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote."""
    if not is_saved_dataset(path):
        check_is_file(path, "data.source")
        raise UserError(f"data.source: {path} was not written by datasets.save_to_disk; leave out data.format")
    import datasets

    try:
        loaded = datasets.load_from_disk(str(path))
    except Exception as error:  # datasets raises whatever lies beneath: Arrow, JSON, file system
        raise UserError(f"data.source: {path}: the saved dataset cannot be read ({_first_line(error)})") from None
    return _source_of_dataset(loaded, str(path))


def read_hub(data: DataSection, name: str) -> Source:
    """A dataset of the Hugging Face Hub. No code of the dataset is run."""
    import datasets

    what = f"{name!r} is neither a file here nor" if data.format is None else f"{name!r} is not"
    with from_cache_where_unreachable() as trouble:
        try:
            loaded = datasets.load_dataset(name, data.subset, revision=data.revision)
        except Exception as error:  # cache, missing repository, unknown subset: one line for each
            why = f"that can be loaded: {_first_line(error)}; check the name, data.subset and the network"
            if trouble is not None:
                why = f"in the local cache, and {trouble}; check the path, {ways_out(trouble)}"
            raise UserError(f"data.source: {what} a Hub dataset {why}") from None
    return _source_of_dataset(loaded, name)


def _source_of_dataset(loaded: object, name: str) -> Source:
    """A Dataset as one table; a DatasetDict as official splits. Splits of other names are left out, with a note."""
    if not isinstance(loaded, dict):
        table = _table_of_dataset(loaded, name)
        return Source({Source.ALL: table}, table.notes)
    tables: dict[str, RawTable] = {}
    ignored: list[str] = []
    for split, dataset in loaded.items():
        target = SPLIT_ALIASES.get(str(split), str(split))
        if target in SPLIT_NAMES and target not in tables:
            tables[target] = _table_of_dataset(dataset, f"{name}[{split}]")
        else:
            ignored.append(str(split))
    if "train" not in tables:
        raise UserError(f"data.source: {name} has no split called train; splits: {', '.join(map(str, loaded))}")
    notes = [f"{name}: splits left out: {', '.join(ignored)}"] if ignored else []
    return Source(tables, tuple(notes))


def _table_of_dataset(dataset: object, name: str) -> RawTable:
    """Columns as strings; a ClassLabel gives its class name, and null for -1."""
    import datasets

    assert isinstance(dataset, datasets.Dataset)
    if not len(dataset):
        raise UserError(f"data.source: {name}: the dataset holds no row")
    table = dataset.with_format("arrow")[:]
    for i, (column, feature) in enumerate(dataset.features.items()):
        label = getattr(feature, "feature", feature)  # of a list's items
        if isinstance(label, datasets.ClassLabel):
            table = table.set_column(i, column, [[_class_name(label, code) for code in table[column].to_pylist()]])
    return from_arrow(table, name)


def _class_name(feature: Any, code: Any) -> Any:
    if isinstance(code, list):
        return [_class_name(feature, one) for one in code]
    return None if code is None or code < 0 else feature.int2str(code)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
