"""Pages as tests read them: their links and anchors, and the blocks of code with what is said of them."""

from __future__ import annotations

import re
import shlex
import textwrap
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NOT_RUN = re.compile(r"<!-- not run: (.*?) -->")
FENCE = re.compile(r"(?P<indent> *)```(?P<language>\w*)\s*$")
COMMAND = re.compile(r"(python|accelerate|make|pip|hf|sbatch|docker|apptainer)\s")
OUTSIDE = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "demo/README.md",
    "benchmarks/README.md",
    "benchmarks/RESULTS.md",
)


@dataclass(frozen=True)
class Block:
    """A block of code: fenced, or commands that are indented by four."""

    page: Path
    line: int
    language: str
    text: str
    why_not: str | None
    """Why it cannot be run here."""

    @property
    def commands(self) -> list[str]:
        """The commands of a bash block, one each, without comments behind them."""
        joined = self.text.replace("\\\n", " ")
        return [" ".join(shlex.split(line, comments=True)) for line in joined.splitlines() if COMMAND.match(line)]

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def pages(root: Path) -> list[Path]:
    return [*sorted((root / "docs").rglob("*.md")), *(root / name for name in OUTSIDE)]


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page in order; a comment `<!-- not run: why -->` before a block speaks of that one."""
    lines = page.read_text(encoding="utf-8").splitlines()
    why: str | None = None
    i = 0
    while i < len(lines):
        line = lines[i]
        if said := NOT_RUN.search(line):
            why = said[1]
        elif fence := FENCE.match(line):
            end = next(j for j in range(i + 1, len(lines)) if lines[j].strip() == "```")
            text = textwrap.dedent("\n".join(lines[i + 1 : end]))
            yield Block(page, i + 1, fence["language"], text, why)
            i, why = end, None
        elif line.startswith("    ") and COMMAND.match(line.strip()):
            end = next((j for j in range(i, len(lines)) if not lines[j].startswith("    ")), len(lines))
            yield Block(page, i + 1, "bash", textwrap.dedent("\n".join(lines[i:end])), why)
            i, why = end - 1, None
        elif line.strip():
            why = None
        i += 1


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    return re.sub(r"^    .*$", "", text, flags=re.M)


def anchors(page: Path) -> set[str]:
    """What a link may name behind #: the headings in small letters, marks left out, blanks as hyphens."""
    headings = re.findall(
        r"^#{1,6} (.*)$", re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S), re.M
    )
    found: set[str] = set()
    for heading in headings:
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", unicodedata.normalize("NFC", plain)).replace(" ", "-")
        number = 0
        while (one := slug if not number else f"{slug}_{number}") in found:
            number += 1
        found.add(one)
    return found
