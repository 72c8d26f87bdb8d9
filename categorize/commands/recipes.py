"""The recipes that the project ships, with what they need.

python -m categorize recipes
python -m categorize recipes --kind sft --word qlora
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from categorize.errors import UserError
from categorize.recipe.sections import RECIPE_OF_KIND
from categorize.recipe.terminal import CommandParser, exit_status, run_command
from categorize.text_tables import text_table

SHIPPED = Path(__file__).parents[2] / "recipes"


@dataclass(frozen=True)
class Shipped:
    """A recipe as its header tells of it.

    Attributes:
        path: the file.
        kind: what runs it.
        model: or the method, where it names none.
        needs: hardware and packages; empty where the header does not say.
        about: what it is for.
    """

    path: Path
    kind: str
    model: str
    needs: str
    about: str

    @classmethod
    def read(cls, path: Path) -> Shipped:
        """The recipe of a file, of which the header and two keys are read."""
        text = path.read_text(encoding="utf-8")
        lines = []
        for line in text.splitlines():
            if not line.startswith("#"):
                break
            if "yaml-language-server" not in line and not line.startswith("#   "):
                lines.append(line.lstrip("# "))
        header = " ".join(lines)
        about, _, needs = header.partition("Needs: ")
        content: dict[str, Any] = yaml.safe_load(text) or {}
        model = content.get("model") or {}
        named = str(model.get("name_or_path") or model.get("method") or "")
        sentence = re.split(r"(?<=[^\d])\. (?=[A-Z])", needs)[0].rstrip(".")
        return cls(path, str(content.get("kind", "")), named, sentence, about.strip())


def shipped() -> list[Shipped]:
    """All recipes of the checkout but the demo's, by their names.

    Raises:
        UserError: the package is installed without them.
    """
    if not SHIPPED.is_dir():
        raise UserError(f"{SHIPPED}: no such folder; recipes come with a checkout of the project, not with the package")
    found = [Shipped.read(path) for path in sorted(SHIPPED.glob("*.yaml"))]
    return [one for one in found if one.kind]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; returns the exit status."""
    return exit_status(lambda: _print(argv))


def _print(argv: Sequence[str] | None) -> None:
    parser = CommandParser("python -m categorize recipes", __doc__)
    parser.add_argument("--kind", choices=list(RECIPE_OF_KIND), help="those of one kind")
    parser.add_argument("--word", help="those whose name, model or description has this word")
    options = parser.parse_args(argv)
    word = (options.word or "").lower()
    rows = [
        [one.path.stem, one.kind, one.model, one.needs]
        for one in shipped()
        if options.kind in (None, one.kind) and word in f"{one.path.stem} {one.model} {one.about} {one.needs}".lower()
    ]
    if not rows:
        raise UserError(f"--word {options.word}: no recipe has it; without options all of them are listed")
    print(text_table(["recipe", "kind", "model or method", "needs"], rows, "llll", width=160, shrink=(3,)))
    print(f"\n{len(rows)} in {SHIPPED}; --fit 24GB behind run_seqcls.py or run_sft.py says whether one fits on a card")


if __name__ == "__main__":
    sys.exit(run_command(main))
