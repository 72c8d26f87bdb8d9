"""Damage to the repository's own samples: no traceback, and nothing is lost without a note."""

from __future__ import annotations

import io
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from categorize.data.reading.files import read_file
from categorize.data.reading.raw import RawTable
from categorize.data.source import read_source
from categorize.errors import UserError
from categorize.recipe.data_sections import DataSection
from tests.data.test_forms import ods, xls

ROWS, DAMAGES = 60, 500
LEFT_OUT = re.compile(r"(\d+) (?:rows of separators alone|times?; these rows)|comes again (\d+) time")


def sample(root: Path) -> list[dict[str, str]]:
    """Rows of the repository's sample."""
    table = read_file(root / "demo/comments.xlsx").table.slice(0, ROWS)
    return [{key: value or "" for key, value in row.items()} for row in table.to_pylist()]


def forms(rows: list[dict[str, str]]) -> dict[str, bytes]:
    """The same rows in every form."""
    header, cells = list(rows[0]), [list(row.values()) for row in rows]

    def separated(separator: str) -> bytes:
        quoted = ([f'"{c}"' if separator in c or '"' in c else c for c in row] for row in [header, *cells])
        return "\n".join(separator.join(row) for row in quoted).encode() + b"\n"

    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    lines = (f"__label__{row['class'] or 'none'} {row['message'] or '-'}" for row in rows)
    return {
        "csv": separated(","),
        "tsv": separated("\t"),
        "jsonl": "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode() + b"\n",
        "json": json.dumps({"about": "x", "rows": rows}, ensure_ascii=False, indent=1).encode(),
        "parquet": out.getvalue(),
        "ods": ods([header, *cells]),
        "xls": xls([header, *cells]),
        "txt": "\n".join(lines).encode() + b"\n",
    }


def cut(content: bytes, source: random.Random) -> bytes:
    return content[: source.randrange(len(content))]


def flipped(content: bytes, source: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(source.randint(1, 5)):
        changed[source.randrange(len(changed))] = source.randrange(256)
    return bytes(changed)


def without_a_piece(content: bytes, source: random.Random) -> bytes:
    start = source.randrange(len(content))
    return content[:start] + content[start + source.randint(1, 80) :]


def doubled(content: bytes, source: random.Random) -> bytes:
    start = source.randrange(len(content))
    return content[: start + 200] + content[start:]


def with_noise(content: bytes, source: random.Random) -> bytes:
    start = source.randrange(len(content))
    noise = source.choice(
        [b'"', b"\n", b"\r", b"\x00", b"\t", b",", b"{", b"]", b"\xff\xfe", b"\xe4", b"sep=;\n", b'""']
    )
    return content[:start] + noise * source.randint(1, 3) + content[start:]


def in_another_encoding(content: bytes, source: random.Random) -> bytes:
    return content.decode("utf-8", "replace").encode(source.choice(["gb18030", "utf-16", "big5"]), "replace")


def with_other_line_ends(content: bytes, source: random.Random) -> bytes:
    return content.replace(b"\n", source.choice([b"\r\n", b"\r"]))


DAMAGE: list[Callable[[bytes, random.Random], bytes]] = [
    cut, flipped, without_a_piece, doubled, with_noise, in_another_encoding, with_other_line_ends,
]  # fmt: skip


def records(form: str, content: bytes, options: dict[str, Any]) -> int | None:
    """How many rows a damaged file holds, counted another way; None where only its reader can tell."""
    text = content.decode(options.get("encoding") or "utf-8-sig", "replace").replace("\x00", "")
    if form in ("jsonl", "txt"):
        return sum(bool(line.strip()) for line in text.split("\n"))
    return None


def accounted(raw: RawTable) -> int:
    """Rows that were read, and those that a note says were left out."""
    found = (LEFT_OUT.search(note) for note in raw.notes)
    return len(raw) + sum(int(match[1] or match[2]) for match in found if match is not None)


@pytest.mark.slow
def test_no_damage_brings_a_traceback_or_loses_a_row_without_a_note(root: Path, tmp_path: Path) -> None:
    rows = sample(root)
    whole = forms(rows)
    read = refused = 0
    for seed in range(DAMAGES):
        source = random.Random(seed)
        form = source.choice(list(whole))
        content = whole[form]
        for change in source.sample(DAMAGE, source.randint(1, 2)):
            content = change(content, source) or b" "
        path = tmp_path / f"{seed}.{form}"
        path.write_bytes(content)
        options: dict[str, Any] = {"source": str(path), **({"format": "fasttext"} if form == "txt" else {})}
        for way in ({}, {"encoding_errors": "replace"}, {"header": True}, {"quoting": False}):
            if form in ("parquet", "ods", "xls") and way:
                continue
            try:
                raw = read_source(DataSection.model_validate({**options, **way})).tables["all"]
            except UserError as error:
                refused += 1
                assert "\n" not in str(error) and str(path) in str(error), (seed, form, error)
                assert len(str(error).replace(str(path), "")) < 1000, (seed, form, error)
                continue
            read += 1
            assert len(raw) == raw.table.num_rows == len(set(raw.row_numbers.tolist())) > 0
            if (expected := records(form, content, options)) is not None:
                assert accounted(raw) == expected, (seed, form, way, raw.notes)
            if form in ("csv", "tsv") and way.get("quoting") is False:
                lines = re.split("\r\n|\r|\n", content.decode("utf-8-sig").replace("\x00", ""))
                assert accounted(raw) == sum(bool(line) for line in lines) - 1, (seed, form, raw.notes)
    assert read > 150 and refused > 300


@pytest.mark.slow
def test_what_a_quotation_mark_swallows_is_always_told(root: Path, tmp_path: Path) -> None:
    """Two cells that begin and end with a mark, some rows apart: all rows are read, or a note or an error says why."""
    rows = sample(root)
    plain = [row for row in rows if not set(row["message"]) & set('"\t,\n')]
    for seed in range(DAMAGES):
        source = random.Random(seed)
        separator = source.choice("\t,;|")
        cells = [[row["class"] or "x", row["message"] or "-"] for row in plain]
        first = source.randrange(len(cells) - 1)
        last = source.randrange(first + 1, len(cells))
        cells[first][1] = '"' + cells[first][1]
        cells[last][1] += '"'
        path = tmp_path / f"{seed}.csv"
        path.write_text("class,message\n".replace(",", separator) + "".join(separator.join(c) + "\n" for c in cells))
        section = DataSection.model_validate({"source": str(path), "delimiter": separator})
        raw = read_source(section).tables["all"]
        if separator != ",":
            assert len(raw) == len(cells), (seed, raw.notes)
        assert len(raw) == len(cells) or any("data.quoting" in note for note in raw.notes), (seed, raw.notes)
