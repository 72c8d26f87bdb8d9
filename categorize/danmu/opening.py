"""Files as text, chunk by chunk: gzip that may be cut off, UTF-8 or GB 18030 told by the bytes, all losses counted."""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from categorize.errors import UserError

_CHUNK = 1 << 20
_GZIP = b"\x1f\x8b"
_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


@dataclass
class TextFile:
    """One file, read once from its beginning.

    Attributes:
        path: the file.
        encoding: told from its bytes, final when it is read.
        replaced: characters that no encoding explained, now U+FFFD.
        broken: what is wrong with the file as a whole, such as a gzip stream that is cut off.
        bytes_read: of the file as it lies on the disk, for progress.
    """

    path: Path
    encoding: str = "utf-8"
    replaced: int = 0
    broken: str | None = None
    bytes_read: int = 0
    _ascii_so_far: bool = field(default=True, repr=False)
    _tolerant: bool = field(default=False, repr=False)

    def chunks(self) -> Iterator[str]:
        """The text in pieces of about a megabyte.

        Raises:
            UserError: the file cannot be read.
        """
        decoder: codecs.IncrementalDecoder | None = None
        kept = b""  # bytes that the decoder holds: an incomplete character
        for block in self._bytes():
            if decoder is None:
                block = self._mark(block)
                decoder = codecs.getincrementaldecoder(self.encoding)("strict")
            try:
                text = decoder.decode(block)
            except UnicodeDecodeError as error:
                before = bytes(error.object[: error.start])
                decoder = self._other_decoder(kept + block, before)
                text = decoder.decode(kept + block)
            kept = decoder.getstate()[0]
            self._ascii_so_far = self._ascii_so_far and text.isascii()
            self._count(text)
            yield text
        if decoder is not None:
            rest = self._last(decoder, kept)
            self._count(rest)
            yield rest

    def _count(self, text: str) -> None:
        if self._tolerant:
            self.replaced += text.count("\ufffd")

    def _mark(self, block: bytes) -> bytes:
        for mark, encoding in _MARKS:
            if block.startswith(mark):
                self.encoding = encoding
                return block[len(mark) :]
        return block

    def _other_decoder(self, block: bytes, before: bytes) -> codecs.IncrementalDecoder:
        """GB 18030 where no UTF-8 came before and the block is such; else what came, with U+FFFD.

        `before` is valid UTF-8. Two bytes may be so by chance, the three of a Chinese character are not.
        """
        is_utf8 = not self._ascii_so_far or any(character > "\u07ff" for character in before.decode(errors="ignore"))
        if self.encoding == "utf-8" and not is_utf8:
            try:
                codecs.getincrementaldecoder("gb18030")("strict").decode(block)
                self.encoding = "gb18030"
            except UnicodeDecodeError:
                pass
        self._tolerant = True
        return codecs.getincrementaldecoder(self.encoding)("replace")

    def _last(self, decoder: codecs.IncrementalDecoder, kept: bytes) -> str:
        try:
            return decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            decoder = self._other_decoder(kept, b"")
            return decoder.decode(kept, final=True)

    # ------------------------------------------------------------ bytes
    def _bytes(self) -> Iterator[bytes]:
        try:
            with self.path.open("rb") as file:
                first = file.read(_CHUNK)
                blocks = _blocks(file, first, self)
                yield from self._unzipped(blocks) if first.startswith(_GZIP) else blocks
        except OSError as error:
            raise UserError(f"{self.path} cannot be read: {error.strerror or error}") from None

    def _unzipped(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """What can be had of a gzip file, member by member, up to where it is cut off or damaged."""
        stream = zlib.decompressobj(wbits=31)
        begun = False
        for block in blocks:
            while block:
                if not begun and not (block := block.lstrip(b"\0")):  # padding between members
                    break
                begun = True
                try:
                    text = stream.decompress(block, _CHUNK)
                except zlib.error as error:
                    self.broken = f"the gzip stream is damaged ({error})"
                    return
                if text:
                    yield text
                if stream.eof:
                    block, stream, begun = stream.unused_data, zlib.decompressobj(wbits=31), False
                else:
                    block = stream.unconsumed_tail
        if begun:
            if rest := stream.flush():
                yield rest
            if not stream.eof:
                self.broken = "the gzip stream is cut off"


def _blocks(file: object, first: bytes, source: TextFile) -> Iterator[bytes]:
    block = first
    while block:
        source.bytes_read += len(block)
        yield block
        block = file.read(_CHUNK)  # type: ignore[attr-defined]


def lines(source: TextFile, keep_return: bool = False) -> Iterator[str]:
    """The lines of a text file without their line feeds and, unless kept, the carriage return before it."""
    pieces: list[str] = []
    for chunk in source.chunks():
        first, *more = chunk.split("\n")
        pieces.append(first)
        for line in more:
            whole = "".join(pieces)
            yield whole if keep_return else whole.removesuffix("\r")
            pieces = [line]
    if rest := "".join(pieces):
        yield rest
