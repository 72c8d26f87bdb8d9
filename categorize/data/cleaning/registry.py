"""The registry of cleaning steps, and what their functions share: applying until nothing changes, taking marks out."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, get_args

from categorize.errors import UserError
from categorize.recipe.data_sections import CleaningOptions, CleaningStep
from categorize.recipe.section import Section

Clean = Callable[[str], str]


@dataclass(frozen=True)
class Step:
    """A cleaning step without options (`apply`), and what makes it with them (`build`), where it takes some."""

    apply: Clean
    build: Callable[[Any], Clean] | None = None


STEPS: dict[str, Step] = {}


def cleaning_step(function: Clean) -> Clean:
    """Register a function of one text under its name. Raises ValueError for a name that is taken."""
    _register(function.__name__, Step(function))
    return function


def cleaning_step_with_options(options: type[Section]) -> Callable[[Callable[[Any], Clean]], Callable[[Any], Clean]]:
    """Register a function that makes a step from its options, an object of this class; raises as `cleaning_step`."""

    def register(build: Callable[[Any], Clean]) -> Callable[[Any], Clean]:
        _register(build.__name__, Step(build(options()), build))
        return build

    return register


def _register(name: str, step: Step) -> None:
    if name in STEPS:
        raise ValueError(f"cleaning step {name!r} is registered already")
    STEPS[name] = step


def build_step(choice: str | CleaningOptions) -> tuple[str, Clean]:
    """The name and the function of one item of `data.cleaning`. It raises a UserError where no step has that name."""
    name = choice if isinstance(choice, str) else choice.step
    if name not in STEPS:
        raise UserError(f"data.cleaning: there is no step {name!r}; steps: {', '.join(get_args(CleaningStep))}")
    step = STEPS[name]
    if isinstance(choice, str):
        return name, step.apply
    assert step.build is not None
    return name, step.build(choice.options)


# ---------------------------------------------------------------- what steps share
def until_stable(function: Clean) -> Clean:
    """The function applied until nothing changes: what is taken out may bring together what was apart."""

    @wraps(function)
    def apply(text: str) -> str:
        while (cleaned := function(text)) != text:
            text = cleaned
        return text

    return apply


def replacing(step: str, pattern: re.Pattern[str], replacement: str) -> Clean:
    """A step that puts `replacement` in the place of every match; raises UserError where it would be replaced itself.

    Without a replacement the text closes over the gap: one of two spaces goes, and two words that the mark alone kept
    apart get a space between them.
    """
    if pattern.search(replacement):
        raise UserError(f"data.cleaning: {step}.replace: {replacement!r} would be replaced itself; choose another text")
    if replacement:
        return until_stable(lambda text: pattern.sub(lambda _: replacement, text))
    # Marks that follow each other leave one gap.
    gap = re.compile(rf"(?:(?:{pattern.pattern})[ \t]*)+", pattern.flags)
    return until_stable(lambda text: gap.sub(_close, text))


def _close(match: re.Match[str]) -> str:
    text, start, end = match.string, match.start(), match.end()
    before = text[start - 1] if start else "\n"
    after = text[end] if end < len(text) else "\n"
    if before.isspace() or after.isspace():
        return ""
    apart = match.group()[-1].isspace() or (is_spaced(before) and is_spaced(after))
    return " " if apart else ""


def is_spaced(character: str) -> bool:
    """Whether the character belongs to a word of a script that puts spaces between words."""
    return character.isalnum() and not "\u2e80" <= character <= "\u9fff" and not "\uac00" <= character <= "\ud7ff"
