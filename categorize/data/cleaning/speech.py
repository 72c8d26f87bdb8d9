"""Cleaning steps for speech that was written down: filler words, speaker labels."""

from __future__ import annotations

import re

from categorize.data.cleaning.registry import Clean, cleaning_step_with_options, is_spaced, until_stable
from categorize.data.segments.turns import relabel, uniform_name
from categorize.recipe.data_sections import FillerOptions, SpeakerOptions

# Sounds alone. "Like", "you know", "那个" and "就是" mean something too often; a recipe may add them.
_ENGLISH = r"u+m+|u+h+|e+r+m*|h+m+|m+-?h+m+|u+h+-?h+u+h+|mm+|eh"
# No fillers are units ("35 mm"), abbreviations (the ER, HM Treasury) and the symbol of a compound (Er:YAG).
_NO_ENGLISH = r"(?!(?-i:ER|HM|MM|UH|EH)\b)(?!(?<=\d[ \t\xa0])mm\b)"
# Chinese has no spaces: 嗯 and 呃 are fillers where a clause begins, 额 and 唔 only where they stand alone (额度; 唔好
# is "do not" in Cantonese). 嗯呢 and 嗯哼 are answers.
_CLAUSE = r"(?:(?<=[\s，。！？、；：…,.!?;:~～—“”\"'（）()\[\]【】])|(?<![\s\S]))"
_CHINESE = rf"{_CLAUSE}(?:[嗯呃]+(?![嗯呃呢哼])|[额唔]+(?=[\s，。！？、；：…,.!?;:~～—]|\Z))"


@cleaning_step_with_options(FillerOptions)
def fillers(options: FillerOptions) -> Clean:
    """Takes filler words out (um, uh, hmm; 嗯, 呃), with a comma behind them: of `languages`, and those of `add`."""
    parts = []
    if "en" in options.languages:
        # A soft hyphen stands within a word: Medit\xader\xadranean.
        parts.append(rf"(?<![\w'\xad-]){_NO_ENGLISH}(?:{_ENGLISH})(?![\w'\xad-]|:\w)")
    if "zh" in options.languages:
        parts.append(_CHINESE)
    for word in sorted(options.add, key=len, reverse=True):
        written = r"\s+".join(re.escape(part) for part in word.split())
        left = r"(?<![\w'-])" if is_spaced(word.strip()[:1]) else ""
        right = r"(?![\w'-])" if is_spaced(word.strip()[-1:]) else ""
        parts.append(f"{left}{written}{right}")
    if not parts:
        return lambda text: text
    pattern = re.compile(rf"(?:{'|'.join(parts)})(?:[ \t]*[,，、])?[ \t]*", re.IGNORECASE)
    return until_stable(lambda text: pattern.sub(_close, text))


def _close(match: re.Match[str]) -> str:
    """Nothing, or the space that kept two words apart."""
    text, start, end = match.string, match.start(), match.end()
    if not start or end == len(text) or text[start - 1].isspace():
        return ""
    return " " if is_spaced(text[start - 1]) and is_spaced(text[end]) else ""


@cleaning_step_with_options(SpeakerOptions)
def speakers(options: SpeakerOptions) -> Clean:
    """Speaker labels at the beginning of lines (CEO: , 用户：, SPEAKER_03:) in one spelling a speaker, by `style`.

    `prefix` and `field` write `Name: `; `numbered` writes `Speaker 1: ` in order of appearance; `drop` takes them out.
    With `field`, segments that are turns lose the label, which becomes a field of theirs (see `data.segments`).
    """

    def clean(text: str) -> str:
        if ":" not in text and "：" not in text:
            return text
        if options.style == "drop":
            return relabel(text, lambda _: "", options.names)
        if options.style == "numbered":
            numbers: dict[str, int] = {}
            # The names that were given are gone after the first time; numbers are recognised as they are.
            return relabel(
                text,
                lambda name: f"Speaker {numbers.setdefault(uniform_name(name), len(numbers) + 1)}",
                [*options.names, *(f"Speaker {n}" for n in range(1, 1000))] if options.names else (),
            )
        return relabel(text, uniform_name, [*options.names, *map(uniform_name, options.names)])

    return until_stable(clean)
