"""`read_source`: the `data.source` of a recipe, whatever it is, becomes raw tables; `read_file`: one file does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name

from categorize.data.reading.files import read_file
from categorize.data.reading.published import is_saved_dataset, may_be_hub_id, read_hub, read_saved
from categorize.data.reading.raw import SPLIT_NAMES, RawTable, Source
from categorize.data.reading.shaping import Shaping
from categorize.recipe.data_sections import DataSection, SourceFiles

__all__ = ["read_file", "read_source"]

Reader = Callable[[str, DataSection, str | Path], RawTable]
# Formats with a package of their own, which stands on `data`: the function that reads `data.source`, looked up by name
# when a recipe asks for the format.
PACKAGES = {"danmu": "categorize.danmu:read_danmu"}
# Those that can give the source block by block: the function that says how.
STREAMS = {"danmu": "categorize.danmu:open_danmu"}


def read_source(data: DataSection, outputs: str | Path = "outputs") -> Source:
    """Read the source of a `data` section; raw danmu are kept as Parquet files beside the runs of `outputs`.

    Raises UserError where a file is missing, empty, broken, of an unknown format or in another encoding.
    """
    source, shaping = data.source, Shaping.of(data)
    package: Reader | None = resolve_name(PACKAGES[data.format]) if data.format in PACKAGES else None
    if isinstance(source, SourceFiles):
        paths = {name: getattr(source, name) for name in SPLIT_NAMES}
        tables = {
            name: shaping.table(package(path, data, outputs))
            if package
            else read_file(path, data, f"data.source.{name}")
            for name, path in paths.items()
            if path is not None
        }
        return Source(tables, tuple(note for table in tables.values() for note in table.notes))
    if package is not None:
        table = shaping.table(package(source, data, outputs))
        return Source({Source.ALL: table}, table.notes)
    if is_hub(data, source):
        return _shaped(read_hub(data, source), shaping)
    if is_saved(data, source):
        return _shaped(read_saved(Path(source)), shaping)
    table = read_file(source, data, "data.source")
    return Source({Source.ALL: table}, table.notes)


def _shaped(source: Source, shaping: Shaping) -> Source:
    tables = {name: shaping.table(table) for name, table in source.tables.items()}
    notes = (note for name, table in tables.items() for note in table.notes[len(source.tables[name].notes) :])
    return Source(tables, (*source.notes, *notes))


def is_hub(data: DataSection, source: str) -> bool:
    """Whether a source is a dataset of the Hub."""
    return data.format == "hub" or (data.format is None and not Path(source).exists() and may_be_hub_id(source))


def is_saved(data: DataSection, source: str) -> bool:
    """Whether a source is a folder that `datasets` saved."""
    return data.format == "dataset" or (data.format is None and is_saved_dataset(Path(source)))


def is_file(data: DataSection) -> bool:
    """Whether a source is one file, or a folder of Parquet parts, of a format without a package of its own."""
    source = data.source
    return (
        isinstance(source, str) and data.format not in PACKAGES and not (is_hub(data, source) or is_saved(data, source))
    )
