"""Named cleaning steps: what every text goes through before a model reads it, in training and in prediction alike.

A recipe lists the steps in `data.cleaning`; the list is saved with the run. Steps stand here (characters) and in
`style`, `marks` and `speech` beside it; CONTRIBUTING.md says how to add one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from categorize.data.cleaning import marks, speech, style
from categorize.data.cleaning.registry import STEPS, Clean, Step, build_step, cleaning_step, cleaning_step_with_options
from categorize.recipe.data_sections import CleaningOptions

__all__ = ["STEPS", "Clean", "Step", "build_step", "cleaner", "cleaning_step", "cleaning_step_with_options"]
STEP_MODULES = (marks, speech, style)  # importing them registers their steps


def cleaner(steps: Iterable[str | CleaningOptions]) -> Clean:
    """One function that applies the named steps in order.

    Raises:
        UserError: no step has that name, or its options cannot work.

    >>> cleaner(["html_entities", "laughter", "whitespace"])("Ｔom &amp; Jerry  哈哈哈哈哈")
    'Ｔom & Jerry 哈哈'
    """
    functions = [build_step(step)[1] for step in steps]

    def clean(text: str) -> str:
        for function in functions:
            text = function(text)
        return text

    return clean


@cleaning_step
def nfkc(text: str) -> str:
    """Unicode NFKC (UAX #15): full-width letters, ligatures and the like become their plain forms."""
    return unicodedata.normalize("NFKC", text)


_BREAKS = "\v\f\x85\u2028\u2029"
_SEPARATORS = "\x1c-\x1f"
# Soft hyphen, Arabic letter mark, Mongolian vowel separator, zero-width space, bidi marks, embeddings and isolates,
# word joiner and invisible operators, deprecated format characters, byte order mark, interlinear annotation.
_HIDDEN = (
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb"
)
_JOINERS = "\u200c\u200d"
_LINE_BREAK = re.compile(f"\r\n?|[{_BREAKS}]")
_INFORMATION_SEPARATOR = re.compile(f"[{_SEPARATORS}]")
_INVISIBLE = re.compile(f"[{_HIDDEN}]")
_JOINER = re.compile(f"[{_JOINERS}]")
_ANY = re.compile(f"[\r{_BREAKS}{_SEPARATORS}{_HIDDEN}{_JOINERS}]")


@cleaning_step
def control_characters(text: str) -> str:
    """Without control, zero-width and direction characters; line breaks, tabs, joiners of emoji and scripts stay.

    Every kind of line break becomes a newline and an information separator a space, so that words do not run together.
    """
    if not _ANY.search(text):
        return text
    text = _LINE_BREAK.sub("\n", text)
    text = _INFORMATION_SEPARATOR.sub(" ", text)
    text = _INVISIBLE.sub("", text)
    return _JOINER.sub(_keep_joiner_that_joins, text)


def _keep_joiner_that_joins(match: re.Match[str]) -> str:
    """A zero-width joiner stays inside an emoji sequence, and with the non-joiner in Arabic and Indic words.

    Elsewhere (between Chinese characters, say) it only hides a word from filters and from the tokenizer.
    """
    text, at = match.string, match.start()
    before = text[at - 1] if at else ""
    after = text[at + 1] if at + 1 < len(text) else ""
    if not before or not after:
        return ""
    if match.group() == "\u200d" and _is_emoji(before) and _is_emoji(after):
        return match.group()
    return match.group() if "\u0600" <= before <= "\u18af" and "\u0600" <= after <= "\u18af" else ""


def _is_emoji(character: str) -> bool:
    """A pictograph, a skin tone, the emoji variation selector, or an arrow as in "head shaking"."""
    return unicodedata.category(character) in ("So", "Sk") or character in "\ufe0f\u2194\u2195"


_RUN = re.compile(r"\s+")


@cleaning_step
def whitespace(text: str) -> str:
    """Single spaces and single newlines, none at the ends. Lines stay lines: a transcript keeps its turns."""
    if " ".join(text.split()) == text:
        return text
    return _RUN.sub(lambda run: "\n" if "\n" in run.group() or "\r" in run.group() else " ", text).strip()
