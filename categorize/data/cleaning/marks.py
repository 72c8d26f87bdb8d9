"""Cleaning steps for marks that were not said: addresses, mentions, time stamps, annotations."""

from __future__ import annotations

import re

from categorize.data.cleaning.registry import Clean, cleaning_step, cleaning_step_with_options, replacing, until_stable
from categorize.data.segments.stamps import STAMP_MARK
from categorize.recipe.data_sections import AnnotationTagOptions, ReplaceOptions

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")


@cleaning_step
@until_stable
def html_entities(text: str) -> str:
    """&amp; and the like become the characters that they stand for, however often escaped.

    Only references that end in a semicolon: without it, "&copy=1" of an address would change.
    """
    if "&" not in text:
        return text
    from html import unescape

    return _ENTITY.sub(lambda match: unescape(match.group()), text)


# An address runs to white space, quotes, angle brackets or the punctuation and letters of Chinese; it does not end in
# punctuation. Without http or www it needs a path: "yes.me" is a missing space far more often than an address.
_IN_ADDRESS = r"[^\s<>\"'“”‘’\u2e80-\u9fff\uac00-\ud7ff\uff00-\uffef]"
_ADDRESS_END = r"[^\s<>\"'“”‘’\u2e80-\u9fff\uac00-\ud7ff\uff00-\uffef.,;:!?…()\[\]{}]"
URL = re.compile(
    rf"(?:https?://|ftp://|(?<![\w.@/])www\.){_IN_ADDRESS}*{_ADDRESS_END}"
    rf"|(?<![\w.@/-])(?:[A-Za-z0-9-]+\.)+[A-Za-z]{{2,6}}/{_IN_ADDRESS}*{_ADDRESS_END}",
    re.IGNORECASE | re.ASCII,
)


@cleaning_step_with_options(ReplaceOptions)
def urls(options: ReplaceOptions) -> Clean:
    """Takes web addresses out, or puts `replace` in their place; without http or www they need a path."""
    clean = replacing("urls", URL, options.replace)
    # Every address has a slash or begins with www.
    return lambda text: clean(text) if "/" in text or "www." in text.lower() else text


# "@11:22PM" is a time.
MENTION = re.compile(r"(?<![\w.@/＠])[@＠](?!\d{1,2}[:：]\d\d)[\w·-]{1,30}")


@cleaning_step_with_options(ReplaceOptions)
def mentions(options: ReplaceOptions) -> Clean:
    """Takes @names of up to 30 letters, digits, hyphens out, or puts `replace` there; mail addresses stay."""
    clean = replacing("mentions", MENTION, options.replace)
    return lambda text: clean(text) if "@" in text or "＠" in text else text


@cleaning_step_with_options(ReplaceOptions)
def timestamps(options: ReplaceOptions) -> Clean:
    """Takes time marks out: [00:12:31] and (12:31) anywhere, 12:31 at the beginning of a line, lines of subtitle times.

    A time of day within a sentence ("at 12:30") stays.
    """
    clean = replacing("timestamps", STAMP_MARK, options.replace)
    return lambda text: clean(text) if ":" in text else text


# Square and round brackets hold much that was said or meant ("[1]", "[doge]", "(sic)"), so only words that transcribers
# write count there.
ANNOTATIONS = (
    "laughter", "laughs", "laughing", "laugh", "chuckles", "chuckle", "applause", "cheering", "cheers", "music",
    "noise", "background noise", "silence", "pause", "long pause", "cough", "coughs", "coughing", "sigh", "sighs",
    "breath", "breathing", "inaudible", "unintelligible", "indistinct", "crosstalk", "cross talk", "overlap",
    "overlapping", "interruption", "objection", "phonetic", "foreign", "foreign language", "translation", "vocalsound",
    "nonvocalsound", "gap", "disfmarker", "comment", "blank_audio", "sniff", "clears throat", "ringing",
    "phone ringing", "笑", "笑声", "大笑", "掌声", "鼓掌", "音乐", "噪音", "停顿", "沉默", "咳嗽", "叹气", "听不清",
    "无法辨认", "插话",
)  # fmt: skip


@cleaning_step_with_options(AnnotationTagOptions)
def annotation_tags(options: AnnotationTagOptions) -> Clean:
    """Takes transcribers' marks out: {any_word} and <any_word>, and in brackets known words ([laughter]) or `add`."""
    words = sorted({*ANNOTATIONS, *(word.strip().lower() for word in options.add)}, key=len, reverse=True)
    known = "|".join(re.escape(word).replace(r"\ ", r"[ _-]") for word in words)
    # A time may follow the word: [inaudible 00:12:31].
    inside = rf"\s*(?:{known})[.!]?(?:\s+\d{{1,2}}(?::\d\d){{1,2}})?\s*"
    pattern = re.compile(
        r"\{\s*[A-Za-z][A-Za-z_ -]{0,30}\}|</?[A-Za-z][A-Za-z_ -]{0,30}/?>"
        rf"|\[{inside}\]|\({inside}\)|【{inside}】|（{inside}）",
        re.IGNORECASE,
    )
    clean = replacing("annotation_tags", pattern, options.replace)
    return lambda text: clean(text) if any(bracket in text for bracket in "{<[(【（") else text
