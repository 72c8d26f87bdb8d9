"""Texts that are files: one document each, in a folder or by a pattern, and lines as fastText has them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from categorize.data.reading.opening import InputFile, ReadOptions
from categorize.data.reading.places import TEXT_SUFFIXES, find_files, is_text
from categorize.data.reading.progress import Progress
from categorize.data.reading.raw import Block, batches
from categorize.data.reading.transcripts.captions import begins_cue
from categorize.data.reading.transcripts.labelled_text import read_labelled_text
from categorize.data.reading.ways_out import said
from categorize.errors import UserError
from categorize.recipe.wording import counted, first_few, quote

_NOTES = 5  # on single documents
_MANY, _SHORT = 20, 400  # lines, and their characters, of a file that is likelier a text a line


def text_files(source: Path, key: str) -> list[Path]:
    """The text files of a folder (of all folders in it), of a pattern, or the one file. Raises UserError where there is
    none."""
    _, files = find_files(source, is_text)
    if not files and source.is_dir():
        raise UserError(f"{key}: {source}: the folder holds no text file; known: {', '.join(TEXT_SUFFIXES)} (or .gz)")
    if not files:
        raise UserError(f"{key}: {source}: no such file, folder or pattern (from {Path.cwd()})")
    return files


def text_blocks(files: Sequence[Path], source: InputFile, options: ReadOptions) -> Iterator[Block]:
    """A row a text file, in the order of their names: `file` (from the source's folder), `folder` (the name of the one
    that it is in) and `text`."""
    base = find_files(source.path, is_text)[0]
    progress = Progress(f"reading {source.name}", len(files), "documents")
    notes: list[str] = []

    def rows() -> Iterator[tuple[int, list[str], int]]:
        for number, path in enumerate(files, 1):
            one = InputFile(path)
            one.is_silent = True
            text = one.text(options.encoding, options.replaces) if one.head() else ""
            notes.extend(one.notes)
            if not source.is_silent:
                progress.update(number, number)
            yield number, [path.relative_to(base).as_posix(), path.absolute().parent.name, text], len(text)

    for numbers, some in batches(rows()):
        yield Block.of_rows(source.name, ["file", "folder", "text"], some, numbers)
    progress.finish()
    folders = counted(len({path.parent for path in files}), "folder")
    source.notes += [f"{source.name}: {counted(len(files), 'document')} of {folders}", *notes[:_NOTES]]
    if len(notes) > _NOTES:
        source.notes.append(f"{source.name}: and {len(notes) - _NOTES:,} notes more on single documents")


def fasttext_blocks(file: InputFile, options: ReadOptions) -> Iterator[Block]:
    """Lines of fastText: `__label__a __label__b text`, the labels in front or behind. Blank lines are skipped."""
    prefix = options.label_prefix
    labels = f"{re.escape(prefix)}\\S+"
    front, behind = re.compile(f"\\s*(?:{labels}(?:\\s+|$))*"), re.compile(f"(?:(?:^|\\s+){labels})*\\s*$")
    inside = unlabelled = lines = 0

    def rows() -> Iterator[tuple[int, tuple[str, list[str] | None], int]]:
        nonlocal inside, unlabelled, lines
        for number, line in enumerate(file.lines(options.encoding, "\n", options.replaces), 1):
            if not line.strip():
                continue
            lines += 1
            begin = front.match(line)
            start = begin.end() if begin is not None else 0
            end = behind.search(line, start)
            stop = end.start() if end is not None else len(line)
            found = re.findall(labels, line[:start] + " " + line[stop:])
            text = line[start:stop].strip()
            inside += re.search(f"(?:^|\\s){labels}", text) is not None
            unlabelled += not found
            yield number, (text, [one.removeprefix(prefix) for one in found] or None), len(line)

    for numbers, some in batches(rows()):
        texts, names = zip(*some, strict=True)
        yield Block(file.name, {"text": [text or None for text in texts], "label": list(names)}, numbers)
    if not lines:
        raise UserError(f"{file.name}: the file holds no row")
    if unlabelled == lines:
        raise UserError(
            f"{file.name}: no line begins or ends with a label {quote(prefix)}; name what stands before each: "
            f"{said(label_prefix='#')} for '#a text'"
        )
    if inside:
        file.notes.append(f"{file.name}: {counted(inside, 'line')} with {quote(prefix)} inside the text: it stays text")
    if unlabelled:
        file.notes.append(f"{file.name}: {counted(unlabelled, 'line')} without a label")


def what_text_may_be(path: Path) -> tuple[str, tuple[dict[str, Any], ...]]:
    """What a file of plain text may be, told by its first lines: as a message says it, and the ways to read it."""
    lines = InputFile(path).head().decode("utf-8", "replace").splitlines()[:50]
    filled = [line for line in lines if line.strip()]
    if any("__label__" in line for line in filled):
        return f"set {said(format='fasttext')}", ({"format": "fasttext"},)
    text: dict[str, Any] = {"format": "text"}
    if read_labelled_text("\n".join(lines)) is not None or any(map(begins_cue, filled)):
        speech: dict[str, Any] = {"format": "transcript"}
        return f"set {said(**speech)} where it is speech, {said(**text)} where it is another document", (speech, text)
    tabs = {line.count("\t") for line in filled}
    if len(tabs) == 1 and tabs != {0}:
        return f"set {said(format='tsv')}", ({"format": "tsv"},)
    a_line: dict[str, Any] = {"format": "tsv", "header": ["text"], "quoting": False}
    ways: tuple[dict[str, Any], ...] = (text, a_line)
    if len(filled) >= _MANY and max(map(len, filled)) < _SHORT:
        ways = ways[::-1]
    return f"set {said(**text)} where the file is one document, {said(**a_line)} where each line is one", ways


def holds_texts(folder: Path) -> str | None:
    """How many text files a folder holds, and in which folders, where they are most of it; else None."""
    files = [one for one in folder.rglob("*") if one.is_file() and not one.name.startswith(".")]
    texts = [one for one in files if is_text(one) and one.suffix != ".md"]
    if 2 * len(texts) <= len(files):
        return None
    inside = sorted({one.parent.relative_to(folder).as_posix() for one in texts} - {"."})
    return counted(len(texts), "text file") + (f" in {first_few([quote(name) for name in inside])}" if inside else "")
