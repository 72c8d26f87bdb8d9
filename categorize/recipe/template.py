"""The syntax of `data.template` and `prompt.template`, {column} for a column of the row and {{ or }} for a brace, and
what is wrong with a recipe's templates."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from categorize.recipe.written import WrittenRecipe

_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


@dataclass(frozen=True)
class Template:
    """A parsed template.

    Attributes:
        text: as it was written.
        parts: literal text (False) and column names (True), in order.
    """

    text: str
    parts: tuple[tuple[str, bool], ...]

    @classmethod
    def parse(cls, text: str) -> Template:
        """Any name may stand between braces; raises ValueError for a brace that is neither doubled nor around one."""
        parts: list[tuple[str, bool]] = []
        end = 0
        for match in _PART.finditer(text):
            if match.group() in ("{", "}"):
                raise ValueError(f"{text!r}: a brace of no placeholder; write {{{{ or }}}} for one")
            column = match.group(1)
            parts += [
                (text[end : match.start()], False),
                (match.group()[0] if column is None else column, column is not None),
            ]
            end = match.end()
        return cls(text, (*parts, (text[end:], False)))

    @property
    def columns(self) -> list[str]:
        """The columns that it names, in order."""
        return list(dict.fromkeys(part for part, is_column in self.parts if is_column))

    def fill(self, value: Callable[[str], str]) -> str:
        """The text with the value of each column in its place; braces within values stay as they are."""
        return "".join(value(part) if is_column else part for part, is_column in self.parts)


def escaped(text: str) -> str:
    """Literal text as a template holds it."""
    return text.replace("{", "{{").replace("}", "}}")


def check_templates(recipe: WrittenRecipe) -> None:
    """Notes templates that break the syntax, lack the row, or hold its answer."""
    texts, label = recipe.value("data.columns.text", "text"), recipe.value("data.columns.label", "label")
    columns = [texts] if isinstance(texts, str) else texts if isinstance(texts, list) else []
    for one in label if isinstance(label, list) else [label]:
        if one is not None and one in columns:
            recipe.refuse("data.columns.text", f"{one} is the label column too: the answer would stand in the text")
    for path in ("data.template", "prompt.template"):
        text = recipe.value(path)
        if not isinstance(text, str):
            continue
        try:
            named = Template.parse(text).columns
        except ValueError as error:
            recipe.refuse(path, str(error))
            continue
        if label in named and label not in columns:
            recipe.refuse(path, f"{text!r} puts the label column {{{label}}} into the text; take it out")
        elif path == "prompt.template" and not {"text", *map(str, columns)} & set(named):
            recipe.refuse(path, f"{text!r} does not hold the row; write {{text}} where its text belongs")
        elif path == "data.template" and (odd := set(named) ^ set(map(str, columns))):
            names = ", ".join(f"{{{name}}}" for name in sorted(odd))
            recipe.refuse(path, f"{text!r} and data.columns.text ({', '.join(map(str, columns))}) differ in {names}")
