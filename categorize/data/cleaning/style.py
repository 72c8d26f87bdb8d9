"""Cleaning steps for how people write: runs of punctuation, laughter."""

from __future__ import annotations

import re

from categorize.data.cleaning.registry import Clean, cleaning_step_with_options, until_stable
from categorize.errors import UserError
from categorize.recipe.data_sections import LaughterOptions, RepeatedPunctuationOptions

# No brackets, quotes, slashes, @ or #: their repetition says something else.
_PUNCTUATION = r"!?.,;:~…。！？，、；：～·・—\-_=*^|"


@cleaning_step_with_options(RepeatedPunctuationOptions)
def repeated_punctuation(options: RepeatedPunctuationOptions) -> Clean:
    """Shortens runs of one mark, or of two in turn (?!?!), to `keep` repetitions."""
    keep = options.keep
    run = re.compile(rf"([{_PUNCTUATION}]{{1,2}}?)\1{{{keep},}}")
    return until_stable(lambda text: run.sub(lambda match: match[1] * keep, text))


_WORD = "A-Za-z0-9_"
# Each kind of laughter, and how it is written when it is short.
_KINDS = (
    ("哈哈", "哈{2,}"),
    ("嘿嘿", "嘿{2,}"),
    ("呵呵", "呵{2,}"),
    ("嘻嘻", "嘻{2,}"),
    ("ㅋㅋ", "ㅋ{2,}"),
    ("ㅎㅎ", "ㅎ{2,}"),
    ("233", r"(?<![\d.,])23{2,}(?![\d.,]\d|\d)"),
    ("ww", rf"(?<![{_WORD}./])w{{3,}}(?![{_WORD}.])|(?<=[\u3040-\u30ff\u4e00-\u9fff])w{{2,}}(?![{_WORD}.])"),
    ("haha", rf"(?<![{_WORD}])a?(?:ha){{2,}}h?(?![{_WORD}])"),
    ("hehe", rf"(?<![{_WORD}])(?:he){{2,}}h?(?![{_WORD}])"),
    ("hoho", rf"(?<![{_WORD}])(?:ho){{2,}}(?![{_WORD}])"),
    ("hh", rf"(?<![{_WORD}])h{{2,}}(?![{_WORD}])"),
    ("lol", rf"(?<![{_WORD}])l+o+l+(?:o+l+)*(?![{_WORD}])"),
)
_LAUGHTER = re.compile(f"(?=[哈嘿呵嘻ㅋㅎ2wahl])(?:{'|'.join(f'({pattern})' for _, pattern in _KINDS)})", re.IGNORECASE)
# Most texts hold none of these, and looking for them is far quicker than for all kinds.
_MAY_LAUGH = re.compile("[哈嘿呵嘻ㅋㅎ]{2}|233|ww|haha|hehe|hoho|hh|lo+l", re.IGNORECASE)


@cleaning_step_with_options(LaughterOptions)
def laughter(options: LaughterOptions) -> Clean:
    """Shortens written laughter (哈哈哈哈, 23333, wwww, hahaha, LOOOL) to its short form, or puts `replace` there.

    A number such as 12333 and an address that begins with www stay.

    Raises:
        UserError: the replacement laughs in a longer text, so that it would be replaced over and over.
    """

    def short(match: re.Match[str]) -> str:
        return _KINDS[(match.lastindex or 1) - 1][0] if options.replace is None else options.replace

    def clean(text: str) -> str:
        return _LAUGHTER.sub(short, text) if _MAY_LAUGH.search(text) else text

    # "哈哈" may stand for all laughter, but "[哈哈]" would become "[[哈哈]]"; behind Chinese, ww laughs too.
    if any(clean(text) != text for text in (options.replace or "", f"好{options.replace or ''}好")):
        raise UserError(
            f"data.cleaning: laughter.replace: {options.replace!r} holds laughter and would be replaced itself; choose "
            "another text"
        )
    return until_stable(clean)
