"""Everything that is wrong with a recipe, gathered so that the user sees all of it at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from categorize.errors import UserError

COMMAND_LINE = "command line"
Key = tuple[str | int, ...]


class Position(NamedTuple):
    """Where a key or a value was written: a file as shown to the user, and its line from 1 (0: the whole file)."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file

    @property
    def folder(self) -> Path:
        """What paths written here are relative to: the file's folder, or the working directory for overrides."""
        return Path() if self.file == COMMAND_LINE else Path(self.file).parent


def shown(path: Path) -> str:
    """A path as messages name it: relative to the working directory where it lies inside, absolute elsewhere."""
    absolute = Path(path).absolute().resolve()
    try:
        return absolute.relative_to(Path.cwd().resolve()).as_posix()
    except ValueError:
        return str(absolute)


def render(key: Key) -> str:
    """A key as a dotted path: `labels.names[0].description`; parts that hold dots are quoted."""
    text = ""
    for part in key:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            plain = part and not set(part) & set(".=[]\"'") and part == part.strip()
            text += ("." if text else "") + (part if plain else f'"{part}"')
    return text


class Problem(NamedTuple):
    """One thing that is wrong."""

    position: Position
    key: Key
    message: str

    def __str__(self) -> str:
        """`file:line: section.key: what is wrong`, on one line whatever the value held."""
        subject = f"{self.position}: {render(self.key)}: " if self.key else f"{self.position}: "
        return " ".join((subject + self.message).split())


class Problems:
    """A growing list of problems; the same one is kept once."""

    def __init__(self) -> None:
        self._found: dict[Problem, None] = {}

    def add(self, position: Position, key: Key, message: str) -> None:
        """Note one."""
        self._found.setdefault(Problem(position, key, message))

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def lines(self) -> list[str]:
        """One line each: files in the order in which they came up, lines rising, the command line last."""
        files = {problem.position.file: i for i, problem in reversed(list(enumerate(self._found)))}
        order = sorted(
            self._found,
            key=lambda p: (p.position.file == COMMAND_LINE, files[p.position.file], p.position.line),
        )
        return [str(problem) for problem in order]

    def raise_if_any(self) -> None:
        """Raises UserError with one line for each problem; does nothing where there is none."""
        if self._found:
            raise UserError("\n".join(self.lines()))
