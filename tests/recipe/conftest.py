"""A folder to write recipes into, as the working directory, so that messages hold short paths."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from categorize.errors import UserError
from categorize.recipe.load import LoadedRecipe
from tests.recipes import load_recipe

MINIMAL = """\
kind: seqcls
name: mine
data:
  source: comments.csv
model:
  name_or_path: some/model
"""

Write = Callable[..., Path]
Errors = Callable[..., list[str]]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """`write("a.yaml", text)` gives the path, relative to the working directory."""
    monkeypatch.chdir(tmp_path)

    def write_file(name: str, text: str) -> Path:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    return write_file


@pytest.fixture
def minimal(write: Write) -> Callable[..., LoadedRecipe]:
    """`minimal(more, *overrides)` loads the smallest recipe with more text below it."""

    def load(more: str = "", *overrides: str, environment: dict[str, str] | None = None) -> LoadedRecipe:
        path = write("r.yaml", MINIMAL + textwrap.dedent(more))
        return load_recipe(path, overrides, environment=environment or {})

    return load


@pytest.fixture
def errors(minimal: Callable[..., LoadedRecipe]) -> Errors:
    """`errors(more, *overrides)` are the lines of the error of the smallest recipe with more text below it."""

    def load(more: str = "", *overrides: str, environment: dict[str, str] | None = None) -> list[str]:
        with pytest.raises(UserError) as caught:
            minimal(more, *overrides, environment=environment)
        return str(caught.value).splitlines()

    return load
