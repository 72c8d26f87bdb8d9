"""Files opened for reading, gzipped or not: bytes as a stream, text as lines, one-line errors for both."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from categorize.data.reading.encodings import BROKEN, COUNTED_ERRORS, broken_characters, damage, likely_encoding
from categorize.data.reading.progress import Progress
from categorize.data.reading.ways_out import WayOut, said
from categorize.errors import UserError
from categorize.recipe.data_sections import DataSection

GZIP = b"\x1f\x8b"
_HEAD = 65_536
_EVERY = 4096  # lines between two looks at the clock


@dataclass(frozen=True)
class ReadOptions:
    """What the recipe says about reading a file, see `DataSection`."""

    sheet: str | int | None = None
    encoding: str | None = None
    encoding_errors: str = "error"
    header: bool | list[str] | None = None
    delimiter: str | None = None
    quoting: bool | None = None
    records: str | None = None
    label_prefix: str = "__label__"

    @classmethod
    def of(cls, data: DataSection) -> ReadOptions:
        """Those of a recipe's section."""
        return cls(**{name: getattr(data, name) for name in cls.__dataclass_fields__})

    @property
    def replaces(self) -> bool:
        """Whether broken bytes become U+FFFD."""
        return self.encoding_errors == "replace"


class InputFile:
    """One file, called by its path in messages, or its bytes (`content`); can be read again from its beginning."""

    def __init__(self, path: str | Path, content: bytes | None = None) -> None:
        self.path, self.name, self.content = Path(path), str(path), content
        self.notes: list[str] = []
        self.is_silent = False  # whether something else tells how far the work has come
        self._inner: BinaryIO | None = None  # of the last `open`

    @property
    def is_zipped(self) -> bool:
        """Whether the file begins as gzip does."""
        if self.content is not None:
            return self.content.startswith(GZIP)
        with self.path.open("rb") as stream:
            return stream.read(2) == GZIP

    def open(self, damage: list[str] | None = None) -> io.BufferedReader:
        """The decompressed bytes from the beginning.

        `damage` gets what is wrong with a gzip file that is broken or cut; the bytes then end where it is. Without,
        reading raises UserError there.
        """
        inner: BinaryIO = io.BytesIO(self.content) if self.content is not None else self.path.open("rb")
        self._inner = inner
        outer = gzip.GzipFile(fileobj=inner) if self.is_zipped else inner
        return io.BufferedReader(_Checked(outer, inner, self.name, damage), 1 << 18)

    def read(self) -> bytes:
        """All of it."""
        with self.open() as stream:
            return stream.read()

    def head(self) -> bytes:
        """The first 64 KiB."""
        with self.open() as stream:
            return stream.read(_HEAD)

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return len(self.content) if self.content is not None else self.path.stat().st_size

    def position(self) -> int:
        """How many of them have been read."""
        return self._inner.tell() if self._inner is not None and not self._inner.closed else 0

    def lines(self, encoding: str | None, newline: str, replaces: bool = False) -> Iterator[str]:
        """Decoded lines with their ends; `newline` as for `io.TextIOWrapper`. NUL characters go, with a note.

        Raises UserError where the bytes are not of this encoding, unless what is broken becomes U+FFFD (`replaces`),
        with a note that names the lines.
        """
        check_encoding(self.head(), self.name, encoding)
        progress = Progress(f"reading {self.name}", self.size)
        cleaned = number = characters = 0
        broken: list[int] = []
        errors = COUNTED_ERRORS if replaces else "strict"
        try:
            with io.TextIOWrapper(self.open(), encoding=_codec(encoding), errors=errors, newline=newline) as text:
                for number, line in enumerate(text, 1):
                    if "\x00" in line:
                        cleaned += 1
                        line = line.replace("\x00", "")
                    if replaces and BROKEN in line:
                        broken.append(number)
                        characters += line.count(BROKEN)
                        line = line.replace(BROKEN, "\ufffd")
                    if not number % _EVERY and not self.is_silent:
                        progress.update(self.position(), number)
                    yield line
        except UnicodeError:
            raise self._wrong_encoding(encoding) from None
        finally:
            progress.finish()
        if cleaned:
            self.notes.append(f"{self.name}: removed NUL characters from {cleaned} lines")
        if broken:
            self.notes.append(f"{self.name}: {broken_characters(characters, broken)} became U+FFFD")

    def text(self, encoding: str | None, replaces: bool = False) -> str:
        """All of it decoded, as `lines` does."""
        return "".join(self.lines(encoding, "", replaces))

    def _wrong_encoding(self, encoding: str | None) -> UserError:
        """The error for bytes that are not text of the encoding: where, and what they may be instead."""
        wrong = f"the bytes are not {encoding}{self._place(encoding)}" if encoding is not None else None
        place = wrong or f"{self._place('utf-8-sig').strip()} is not UTF-8"
        try:
            with self.open() as stream:
                found = damage(stream, encoding or "utf-8")
        except UnicodeError:  # an encoding whose line ends are not single bytes
            return UserError(f"{self.name}: {place}; fix data.encoding, or the file")
        if found.is_small:
            way = {"encoding_errors": "replace"}
            what = f"{found.shown()}, the rest is good: set {said(**way)} to read them as U+FFFD, counted"
            return WayOut(f"{self.name}: {place}; {what}", way)
        if encoding is not None:
            return UserError(f"{self.name}: {place}; fix data.encoding, or the file")
        if (likely := likely_encoding(found.sample)) is not None:
            way = {"encoding": likely[0]}
            return WayOut(f"{self.name}: {place}; it may be {likely[1]}: set {said(**way)}", way)
        return UserError(f"{self.name}: {place}; save it as UTF-8, or name its data.encoding")

    def _place(self, encoding: str) -> str:
        """The first byte that is wrong, and its line; nothing where all are right. No large file is held as a whole."""
        offset = 0
        with self.open() as stream:
            for number, line in enumerate(stream, 1):
                try:
                    line.decode(encoding if number == 1 or encoding != "utf-8-sig" else "utf-8")
                except UnicodeError as error:
                    start = getattr(error, "start", 0)
                    return f" byte {offset + start}, line {number}: 0x{line[start]:02x}"
                offset += len(line)
        return ""  # an encoding whose line ends are not single bytes


def check_encoding(head: bytes, name: str, encoding: str | None) -> None:
    """Raises UserError where the first bytes are those of UTF-16, and the recipe does not name it."""
    if encoding is not None:
        return

    def utf_16(what: str, codec: str) -> WayOut:
        way_out = f"set {said(encoding=codec)}, or save it as UTF-8 (in a spreadsheet: 'CSV UTF-8')"
        return WayOut(f"{name}: {what}; {way_out}", {"encoding": codec})

    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise utf_16("byte 0, line 1: the file is UTF-16", "utf-16")
    for start, codec in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros = head[start::2].count(0)
        if len(head) >= 8 and zeros > 0.4 * len(head) / 2 and head[1 - start :: 2].count(0) < zeros / 10:
            raise utf_16("every other byte is NUL: it seems to be UTF-16", codec)


def _codec(encoding: str | None) -> str:
    if encoding is None or encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
        return "utf-8-sig"  # with or without the byte order mark
    return encoding


class _Checked(io.RawIOBase):
    """A stream whose errors name the file and the way out, or that ends at damage and tells it."""

    def __init__(self, inner: Any, beneath: BinaryIO, name: str, damage: list[str] | None) -> None:
        self.inner, self.beneath, self.name, self.damage = inner, beneath, name, damage

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.damage:
            return 0
        try:
            data = self.inner.read1(len(buffer))  # `read` would lose what it has when it meets damage
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            if self.damage is not None:
                cut = isinstance(error, EOFError)
                self.damage[:] = [f"the gzip stream is {'cut off' if cut else f'damaged ({error})'}"]
                return 0
            raise UserError(f"{self.name}: broken gzip file ({error}); copy it again") from None
        except OSError as error:
            raise UserError(f"{self.name}: cannot be read: {error.strerror or error}") from None
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self.inner.close()
        self.beneath.close()  # gzip leaves it open
        super().close()
