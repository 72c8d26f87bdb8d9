"""`read_source`: the `data.source` of a recipe, whatever it is, becomes raw tables; `read_file`: one file does."""

from __future__ import annotations

from pathlib import Path

from categorize.data.reading.files import read_file
from categorize.data.reading.published import is_saved_dataset, may_be_hub_id, read_hub, read_saved
from categorize.data.reading.raw import SPLIT_NAMES, RawTable, Source
from categorize.recipe.data_sections import DataSection, SourceFiles

__all__ = ["read_file", "read_source"]


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
    if data.format == "hub" or (data.format is None and not path.exists() and may_be_hub_id(source)):
        return read_hub(data, source)
    if data.format == "dataset" or (data.format is None and is_saved_dataset(path)):
        return read_saved(path)
    table = read_file(source, data, "data.source")
    return Source({Source.ALL: table}, table.notes)


def _read_danmu(source: str, data: DataSection, outputs: str | Path) -> RawTable:
    from categorize.data.danmu.source import read_danmu

    return read_danmu(source, data, outputs)
