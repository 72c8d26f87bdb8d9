"""Refusals of a file whose way out is a key of the recipe: the message says it, and a program can take it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from categorize.errors import UserError
from categorize.recipe.scalars import flow


class WayOut(UserError):
    """A UserError whose message names keys of `data` that would read the file.

    Attributes:
        ways: values of `data`, the likeliest first; each stands in the message as `said` writes it.
    """

    def __init__(self, message: str, *ways: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.ways = ways

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), *self.ways)


def said(**keys: Any) -> str:
    """Keys of `data` as a message names them.

    >>> said(delimiter=";"), said(format="tsv"), said(header=False)
    ('data.delimiter: ";"', 'data.format: tsv', 'data.header: false')
    """
    return ", ".join(f"data.{key}: {_written(value)}" for key, value in keys.items())


def _written(value: Any) -> str:
    # "|" and the like begin something else in YAML, and a tab is white space.
    if isinstance(value, str) and len(value) == 1 and not value.isalnum():
        return '"\\t"' if value == "\t" else f'"{value}"'
    return flow(value) if isinstance(value, list | dict) else flow([value])[1:-1]
