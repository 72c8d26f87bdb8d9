"""The stored assignment, `splits.parquet`: which key went to which split, so that more rows later move none.

Columns `key` and `split`; the file's metadata hold what the assignment was made from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from categorize.data.columns import text_columns
from categorize.data.rows import coded_rows
from categorize.data.splitting.shares import NAMES, UNASSIGNED, known_splits
from categorize.errors import UserError
from categorize.predictions import IntArray
from categorize.recipe.data_sections import DataSection, SourceFiles
from categorize.writing import whole_file

VERSION = 1
_METADATA = b"categorize"
SCHEMA = pa.schema([("key", pa.string()), ("split", pa.string())])


def default_split_file(data: DataSection, output_root: str | Path) -> Path:
    """Where the assignment of a `data` section is stored: `data.splits.file`, or by what the split depends on,
    `<output_root>/splits/<name of the source>-<12 hex digits>.parquet`, so that recipes may share it."""
    if data.splits.file is not None:
        return Path(data.splits.file)
    source = data.source
    parts = source.model_dump() if isinstance(source, SourceFiles) else source
    first = source.train if isinstance(source, SourceFiles) else source
    stem = Path(first).name.split(".")[0] or "data"
    about = [parts, data.sheet, data.subset, data.revision, _settings(data)]
    digest = hashlib.sha256(json.dumps(about, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
    return Path(output_root) / "splits" / f"{stem}-{digest[:12]}.parquet"


def _settings(data: DataSection) -> dict[str, object]:
    """What an assignment depends on besides the rows."""
    settings = data.splits
    result: dict[str, object] = {
        "version": VERSION,
        "seed": settings.seed,
        "test": settings.test,
        "validation": settings.validation,
        # In the table of a labelling run, the source's own column `text` is called `data.text`.
        "text": [name.removeprefix("data.") for name in text_columns(data.columns)],
        "document": data.columns.document,
        "group": data.columns.group,
    }
    # Only where they are set: files that were stored before these keys came stay valid.
    if settings.by_time is not None:
        result["by_time"] = settings.by_time
    if settings.near_duplicates == "group":
        result["near_duplicates"] = "group"
    if settings.folds is not None:
        # One file for all folds: validation is cut anew from what is not test.
        result["folds"] = settings.folds
        del result["test"], result["validation"]
    return result


def _names(data: DataSection) -> list[str]:
    """What the file calls the parts, by number."""
    folds = data.splits.folds
    return list(NAMES) if folds is None else [f"fold {i}" for i in range(folds)]


def read_assignment(path: Path, data: DataSection) -> dict[str, int]:
    """Key -> split number (number of the fold, with folds) of a stored assignment; empty where there is none.

    Raises UserError where the file is broken, or was made with other settings.
    """
    import pyarrow.parquet as pq

    if not path.exists():
        return {}
    way_out = "delete it, name another data.splits.file, or use --resplit"
    broken = UserError(f"{path}: not a stored split assignment; {way_out}")
    try:
        table = pq.read_table(path)
        stored = dict(json.loads((table.schema.metadata or {})[_METADATA]))
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError):
        raise broken from None
    wanted = _settings(data)
    # The kind of the split first: with another kind, other keys differ too.
    for key in ("folds", "by_time", *wanted, *stored):
        if stored.get(key) != wanted.get(key):
            raise UserError(
                f"{path}: the stored split was made with {key} {stored.get(key)!r}, the recipe has "
                f"{wanted.get(key)!r}; name another data.splits.file, or use --resplit to cut anew"
            )
    codes = {name: i for i, name in enumerate(_names(data))}
    keys, splits = table["key"].to_pylist(), table["split"].to_pylist()
    try:
        return dict(zip(keys, (codes[split] for split in splits), strict=True))
    except KeyError:
        raise broken from None


def write_assignment(path: Path, data: DataSection, known: Mapping[str, int], keys: pa.Array, of_key: IntArray) -> None:
    """Store what was known and the number of each key, whole or not at all. Raises UserError where the file cannot be
    written."""
    import pyarrow.parquet as pq

    names = _names(data)
    metadata = {_METADATA: json.dumps(_settings(data), ensure_ascii=False).encode()}
    fresh = known_splits(keys, known) == UNASSIGNED
    all_keys = pa.concat_arrays([pa.array(known, pa.string()), keys.filter(pa.array(fresh))])
    numbers = np.concatenate([np.array(list(known.values()), dtype=np.int64), of_key[fresh]])
    table = assignment_table(pa.table({"key": all_keys, "split": pa.array(names).take(pa.array(numbers))}))
    try:
        with whole_file(path) as file:
            pq.write_table(table.replace_schema_metadata(metadata), file)
    except OSError as error:
        why = f"the split assignment cannot be stored: {error.strerror or error}"
        raise UserError(f"{path}: {why}; set data.splits.file") from None


def assignment_table(pairs: pa.Table) -> pa.Table:
    """Distinct pairs of the columns `key` and `split`, sorted."""
    first, _ = coded_rows([pairs["key"], pairs["split"]])
    distinct = pairs.take(pa.array(first)).cast(SCHEMA)
    return distinct.sort_by([("key", "ascending"), ("split", "ascending")]).combine_chunks()
