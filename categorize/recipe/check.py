"""Check every recipe under some folders: `python -m categorize.recipe.check recipes demo`.

Complete recipes are checked as a run would check them, and must open with the schema line and a comment that holds
their command. Files without `kind` (tasks, label schemas) are checked as fragments. Exit status 1 where one is wrong.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from categorize.errors import UserError
from categorize.recipe.load import load_fragment, load_recipe, peek_kind
from categorize.recipe.problems import shown
from categorize.recipe.sections import SCRIPT_OF_KIND
from categorize.recipe.terminal import run_command
from categorize.recipe.written import Methods

SCHEMA_LINE = re.compile(r"# yaml-language-server: \$schema=(\S+)")
SCHEMA_NAME = "recipe.schema.json"


def find_recipes(paths: Iterable[Path]) -> list[Path]:
    """The YAML files under some folders, at any depth, and the files named themselves.

    Raises:
        UserError: a path that does not exist.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(file for pattern in ("*.yaml", "*.yml") for file in path.rglob(pattern))
        elif path.is_file():
            files.append(path)
        else:
            raise UserError(f"{path}: no such file or folder")
    return list(dict.fromkeys(files))


def check_file(path: Path, methods: Methods) -> tuple[str, list[str]]:
    """What a file is (`recipe (seqcls)` or `fragment`), and what is wrong with it, one line each."""
    try:
        kind = peek_kind(path)
        if kind is None:
            load_fragment(path, methods)
            return "fragment", []
        load_recipe(path, environment={}, methods=methods)
    except UserError as error:
        return "recipe", str(error).splitlines()
    return f"recipe ({kind})", header_problems(path, kind)


def header_problems(path: Path, kind: str) -> list[str]:
    """What the comment at the top of a complete recipe lacks: the schema's name for editors, and the command to run."""
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    problems = []
    match = SCHEMA_LINE.fullmatch(lines[0].strip())
    if match is None:
        problems.append(
            f"{shown(path)}:1: the first line must name the schema: # yaml-language-server: $schema=.../{SCHEMA_NAME}"
        )
    elif Path(match.group(1)).name != SCHEMA_NAME or not (path.parent / match.group(1)).is_file():
        problems.append(
            f"{shown(path)}:1: no such schema from here: {match.group(1)}; correct the path to recipes/{SCHEMA_NAME}"
        )
    comment = []
    for line in lines:
        if not line.startswith("#"):
            break
        comment.append(line)
    script = SCRIPT_OF_KIND[kind]
    if not any(script in line and path.name in line for line in comment):
        problems.append(f"{shown(path)}:1: the opening comment must hold the command: python {script} {shown(path)}")
    return problems


def main(methods: Methods, arguments: Sequence[str] | None = None) -> int:
    """Print a line for each file and a summary; the exit status."""
    names = list(sys.argv[1:] if arguments is None else arguments) or ["recipes"]
    try:
        files = find_recipes([Path(name) for name in names])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    wrong = 0
    for path in files:
        what, problems = check_file(path, methods)
        wrong += bool(problems)
        print(f"{'WRONG' if problems else 'ok':<6}{what:<17} {shown(path)}")
        for problem in problems:
            print(f"      {problem}")
    print(f"{len(files)} files checked, {wrong} wrong")
    if not files:
        print(f"error: no recipe under {', '.join(names)}", file=sys.stderr)
    return 1 if wrong or not files else 0


if __name__ == "__main__":
    from categorize.methods.registry import METHODS

    sys.exit(run_command(lambda: main(METHODS)))
