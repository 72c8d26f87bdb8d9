"""Files and datasets in, raw columns out: `read_source` turns the `data.source` of a recipe into raw tables."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

from categorize.data.formats import PARSERS
from categorize.data.opening import InputFile, ReadOptions
from categorize.data.raw import RawTable, Source, from_arrow
from categorize.errors import UserError
from categorize.recipe.data_sections import DataSection, SourceFiles

SPLIT_NAMES = ("train", "validation", "test", "unlabeled")
# What published datasets call the splits.
_SPLIT_ALIASES = {
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "unlabelled": "unlabeled",
    "unsupervised": "unlabeled",
}
_FORMAT_OF_SUFFIX = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
}
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def read_source(data: DataSection, outputs: str | Path = "outputs") -> Source:
    """Read the source of a `data` section.

    Args:
        outputs: folder beside whose runs raw danmu are kept as Parquet files.

    Raises:
        UserError: a file is missing, empty, broken, of an unknown format or in another encoding; see `formats`.
    """
    source = data.source
    if isinstance(source, SourceFiles):
        paths = {name: getattr(source, name) for name in SPLIT_NAMES}
        tables = {
            name: _read_danmu(path, data, outputs)
            if data.format == "danmu"
            else read_file(path, data, f"data.source.{name}")
            for name, path in paths.items()
            if path is not None
        }
        return Source(tables, tuple(note for table in tables.values() for note in table.notes))
    if data.format == "danmu":
        table = _read_danmu(source, data, outputs)
        return Source({Source.ALL: table}, table.notes)
    path = Path(source)
    if data.format == "hub" or (data.format is None and not path.exists() and _may_be_hub_id(source)):
        return _read_hub(data, source)
    if data.format == "dataset" or (data.format is None and _is_saved_dataset(path)):
        return _read_saved(path)
    table = read_file(source, data, "data.source")
    return Source({Source.ALL: table}, table.notes)


def read_file(path: str | Path, data: DataSection | None = None, key: str = "data.source") -> RawTable:
    """Read one file; `data` gives the format and the sheet where the name does not tell.

    Raises:
        UserError: see `read_source`.
    """
    path = Path(path)
    _check_is_file(path, key)
    wanted = data.format if data is not None else None
    form = wanted if wanted in PARSERS else _format_of(path, key)
    file = InputFile(path)
    options = ReadOptions(data.sheet, data.encoding) if data is not None else ReadOptions()
    try:
        if not file.head().strip():
            raise UserError(f"{path}: the file is empty, or begins with 64 KB of nothing")
        return PARSERS[form](file, options)
    except OSError as error:
        raise UserError(f"{key}: {path} cannot be read: {error.strerror or error}") from None


def _read_danmu(source: str, data: DataSection, outputs: str | Path) -> RawTable:
    from categorize.data.danmu.source import read_danmu

    return read_danmu(source, data, outputs)


def _format_of(path: Path, key: str) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    if suffixes and suffixes[-1] in _FORMAT_OF_SUFFIX:
        return _FORMAT_OF_SUFFIX[suffixes[-1]]
    known = ", ".join(_FORMAT_OF_SUFFIX)
    raise UserError(
        f"{key}: {path}: the name does not tell the format; set data.format or name it one of {known} (or .gz of each)"
    )


def _check_is_file(path: Path, key: str) -> None:
    if path.is_dir():
        inside = sorted(item.name for item in path.iterdir() if not item.name.startswith("."))
        by_split = {_SPLIT_ALIASES.get(name.split(".")[0], name.split(".")[0]): name for name in inside}
        splits = [f"{split}: {path / by_split[split]}" for split in SPLIT_NAMES if split in by_split]
        if splits:
            raise UserError(f"{key}: {path} is a folder; name its files: source: {{{', '.join(splits)}}}")
        shown = ", ".join(inside[:8]) + (", ..." if len(inside) > 8 else "")
        raise UserError(f"{key}: {path} is a folder, not a file; it holds: {shown or 'nothing'}")
    if not path.exists():
        nearby = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
        close = difflib.get_close_matches(path.name, nearby, n=1)
        hint = f"; did you mean {path.parent / close[0]}?" if close else f" (looked in {path.parent.resolve()})"
        raise UserError(f"{key}: {path}: no such file{hint}")


# ---------------------------------------------------------------- datasets
def _may_be_hub_id(source: str) -> bool:
    path = Path(source.removesuffix(".gz"))
    if path.parent != Path() and path.parent.is_dir():
        return False  # "comments/2024" beside a folder "comments" is a slip of the path, not worth a network time-out
    return path.suffix.lower() not in _FORMAT_OF_SUFFIX and _HUB_ID.fullmatch(source) is not None


def _is_saved_dataset(path: Path) -> bool:
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def _read_saved(path: Path) -> Source:
    """A folder that `datasets.Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote."""
    if not _is_saved_dataset(path):
        _check_is_file(path, "data.source")
        raise UserError(f"data.source: {path} is no folder of datasets.save_to_disk; leave out data.format")
    import datasets

    try:
        loaded = datasets.load_from_disk(str(path))
    except Exception as error:  # datasets raises whatever lies beneath: Arrow, JSON, file system
        raise UserError(f"data.source: {path}: the saved dataset cannot be read ({_first_line(error)})") from None
    return _source_of_dataset(loaded, str(path))


def _read_hub(data: DataSection, name: str) -> Source:
    """A dataset of the Hugging Face Hub. No code of the dataset is run."""
    import datasets

    try:
        loaded = datasets.load_dataset(name, data.subset, revision=data.revision)
    except Exception as error:  # network, cache, missing repository, unknown subset: one line for each
        what = f"{name!r} is neither a file here nor" if data.format is None else f"{name!r} is not"
        raise UserError(
            f"data.source: {what} a Hub dataset that can be loaded: {_first_line(error)}; "
            "check the name, data.subset and the network"
        ) from None
    return _source_of_dataset(loaded, name)


def _source_of_dataset(loaded: object, name: str) -> Source:
    """A Dataset as one table; a DatasetDict as official splits. Splits of other names are left out, with a note."""
    if not isinstance(loaded, dict):
        table = _table_of_dataset(loaded, name)
        return Source({Source.ALL: table}, table.notes)
    tables: dict[str, RawTable] = {}
    ignored: list[str] = []
    for split, dataset in loaded.items():
        target = _SPLIT_ALIASES.get(str(split), str(split))
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
        inner = getattr(feature, "feature", None)
        if isinstance(feature, datasets.ClassLabel):
            values: list[Any] = [_class_name(feature, code) for code in table[column].to_pylist()]
        elif isinstance(inner, datasets.ClassLabel):
            values = [
                None if codes is None else [_class_name(inner, c) for c in codes] for codes in table[column].to_pylist()
            ]
        else:
            continue
        table = table.set_column(i, column, [values])
    return from_arrow(table, name)


def _class_name(feature: object, code: int | None) -> str | None:
    return None if code is None or code < 0 else feature.int2str(code)  # type: ignore[attr-defined, no-any-return]


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
