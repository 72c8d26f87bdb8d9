"""The transcripts of a source: a file, the files below a folder, or those of a pattern; a row each."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from categorize.data.reading.opening import InputFile, ReadOptions
from categorize.data.reading.places import find_files, is_pattern, is_text
from categorize.data.reading.progress import Progress
from categorize.data.reading.raw import Block, batches
from categorize.data.reading.transcripts.document import Tally, Transcript
from categorize.data.reading.transcripts.forms import read_transcript
from categorize.data.reading.ways_out import WayOut, said
from categorize.errors import UserError
from categorize.recipe.data_sections import FORMAT_OF_SUFFIX, is_of_documents

# Suffixes of transcripts in order of what they tell; a recognizer may write one recording in all of them.
_TRANSCRIPTS = (".json", ".vtt", ".ass", ".ssa", ".srt", ".txt")
COLUMNS = ("id", "text", "folder", "speakers", "duration")


def transcript_files(path: Path, form: str | None, key: str) -> tuple[list[Path], list[str]]:
    """The transcripts of a source, in order of name, and notes; none where it is something else.

    A folder is one of transcripts where the recipe says so: its rows have other columns and another cleaning.

    Raises:
        UserError: a pattern or a folder that should hold some has none, or a pattern takes in other files.
    """
    pattern, explicit = is_pattern(path), form is not None
    if explicit and not is_of_documents("", form):
        if pattern:
            raise UserError(f"{key}: {path}: a pattern is for transcripts, not for {form}; name one file")
        return [], []
    if path.is_file():
        return ([path] if explicit or is_of_documents(path, None) else []), []
    if path.is_dir() and not explicit:
        return [], []
    told = {suffix for suffix, of in FORMAT_OF_SUFFIX.items() if is_of_documents("", of)}
    known = {*_TRANSCRIPTS} if explicit else told
    _, files = find_files(path, lambda file: _suffix(file) in known)
    if pattern and not files:
        raise UserError(f"{key}: {path}: no file has such a name (from {Path.cwd()})")
    if pattern and not explicit and all(map(is_text, files)):
        texts = ({"format": "text"}, {"format": "transcript"})
        what = f"{said(**texts[0])} where each is a document, {said(**texts[1])} where it is speech"
        raise WayOut(f"{key}: {path}: the pattern names texts; set {what}", *texts)
    if others := [file for file in files if _suffix(file) not in known]:
        ways = [{"format": "transcript"}] if {_suffix(file) for file in others} <= {*_TRANSCRIPTS} - known else []
        problem = f"{key}: {path}: {others[0]} is not known as a transcript ({', '.join(sorted(known))})"
        raise WayOut(f"{problem}; {f'set {said(**ways[0])}, or ' if ways else ''}name such files alone", *ways)
    if not files and path.is_dir():
        raise UserError(f"{key}: {path} holds no transcript; known: {', '.join(_TRANSCRIPTS)} (or .gz of each)")
    return (files, []) if pattern else _one_form_each(files)


def _suffix(path: Path) -> str:
    return next((suffix.lower() for suffix in reversed(path.suffixes) if suffix.lower() != ".gz"), "")


def _stem(path: Path) -> str:
    name = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
    return name.removesuffix(Path(name).suffix)


def _one_form_each(files: list[Path]) -> tuple[list[Path], list[str]]:
    """Files of a folder without those that are another one in another form: talk.srt beside talk.json."""
    kept = []
    for _, same in groupby(sorted(files, key=lambda f: (f.parent, _stem(f))), lambda f: (f.parent, _stem(f))):
        kept.append(min(same, key=lambda f: _TRANSCRIPTS.index(_suffix(f))))
    left_out = [file for file in files if file not in {*kept}]
    note = (
        f"recordings that come in another form, too, left out ({len(left_out):,}): {left_out[0]}, ..."
        if left_out
        else ""
    )
    return sorted(kept), [note] if note else []


def transcript_blocks(files: list[Path], source: InputFile, options: ReadOptions) -> Iterator[Block]:
    """A row a file, numbered in the order of their names.

    Its id is the file's name without suffix; where two have one name, all ids are paths below the source's folder.
    """
    base = find_files(source.path, lambda _: True)[0]
    names = [_stem(file) for file in files]
    if len({*names}) < len(names):
        names = [file.relative_to(base).as_posix() for file in files]
    tally = Tally(source.name)
    for numbers, rows in batches(_transcripts(files, source, options, tally)):
        cells = [
            {
                "id": names[number - 1],
                "text": found.text,
                "folder": files[number - 1].absolute().parent.name,
                "speakers": list(found.speakers),
                "duration": None if found.duration is None else round(found.duration, 3),
            }
            for number, found in zip(numbers, rows, strict=True)
        ]
        yield Block(source.name, {name: [cell[name] for cell in cells] for name in COLUMNS}, numbers)
    source.notes += tally.notes()


def _transcripts(
    files: list[Path], source: InputFile, options: ReadOptions, tally: Tally
) -> Iterator[tuple[int, Transcript, int]]:
    progress = Progress(f"reading {source.name}", len(files), "files")
    try:
        for number, path in enumerate(files, 1):
            file = InputFile(path)
            file.is_silent = True
            found = read_transcript(file, options)
            source.notes += file.notes
            tally.add(path.name, found)
            if not source.is_silent:
                progress.update(number, number)
            yield number, found, len(found.text)
    finally:
        progress.finish()
