"""Files as text, chunk by chunk: gzip that may be cut off, UTF-8 or GB 18030 told by the bytes, all losses counted."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from categorize.data.reading.opening import InputFile
from categorize.errors import UserError

_CHUNK = 1 << 20
_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


class TextFile:
    """One file, read once from its beginning."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.encoding = "utf-8"  # told from its bytes, final when it is read
        self.replaced = 0  # characters that no encoding explained, now U+FFFD
        self.bytes_read = 0  # of the file as it lies on the disk, for progress
        self.damage: list[str] = []  # what is wrong with the file as a whole, such as a gzip stream that is cut off

    def chunks(self) -> Iterator[str]:
        """The text in pieces of about a megabyte. Raises UserError where the file cannot be read."""
        file, decoder, only_ascii = InputFile(self.path), None, True
        try:
            with file.open(self.damage) as stream:
                while True:
                    block = stream.read(_CHUNK)
                    if decoder is None:
                        block = self._without_mark(block)
                        decoder = codecs.getincrementaldecoder(self.encoding)()
                    begun = decoder.getstate()[0]  # bytes of a character that goes on in this block
                    try:
                        text = decoder.decode(block, not block)
                    except UnicodeDecodeError as error:
                        decoder = self._other_decoder(error, only_ascii)
                        text = decoder.decode(begun + block, not block)
                    if decoder.errors == "replace":
                        self.replaced += text.count("\ufffd")
                    only_ascii = only_ascii and text.isascii()
                    self.bytes_read = file.position()
                    yield text
                    if not block:
                        return
        except OSError as error:
            raise UserError(f"{self.path} cannot be read: {error.strerror or error}") from None

    def _without_mark(self, block: bytes) -> bytes:
        for mark, encoding in _MARKS:
            if block.startswith(mark):
                self.encoding = encoding
                return block[len(mark) :]
        return block

    def _other_decoder(self, error: UnicodeDecodeError, only_ascii: bool) -> codecs.IncrementalDecoder:
        """GB 18030 where no UTF-8 came before and the block is such; else what came, with U+FFFD.

        Two bytes may be UTF-8 by chance, the three of a Chinese character are not.
        """
        before = error.object[: error.start].decode(errors="ignore")
        if self.encoding == "utf-8" and only_ascii and max(before, default="") <= "\u07ff":
            with suppress(UnicodeDecodeError):
                codecs.getincrementaldecoder("gb18030")().decode(error.object)
                self.encoding = "gb18030"
        return codecs.getincrementaldecoder(self.encoding)("replace")


def lines(source: TextFile, keep_return: bool = False) -> Iterator[str]:
    """The lines of a text file without their line feeds and, unless kept, the carriage return before it.

    A file without any line feed whose lines end in carriage returns, as old Macs and some spreadsheets write it, has
    lines, too.
    """
    pieces: list[str] = []
    alone: bool | None = None  # whether carriage returns end lines
    for chunk in source.chunks():
        if alone is None and chunk.strip():
            alone = _ends_in_returns(chunk)
        first, *more = (chunk.replace("\r", "\n") if alone else chunk).split("\n")
        pieces.append(first)
        for line in more:
            whole = "".join(pieces)
            yield whole if keep_return else whole.removesuffix("\r")
            pieces = [line]
    if rest := "".join(pieces):
        yield rest


def _ends_in_returns(text: str) -> bool:
    """Whether the beginning of a file has lines that end in carriage returns: a header, or an object each."""
    first, *others = (line.strip() for line in text.split("\r"))
    if "\n" in text or not any(others):
        return False
    return all(line[:1] in ("{", "") for line in others) if first.startswith("{") else True
