"""Secrets and personal data in what is about to be pushed: which texts go along, and what in them looks like a key, an
address, a number of a phone or of a person.

Patterns, not understanding: a name alone is not found, and a number may be no phone. So the texts are shown as well.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from categorize.recipe.wording import counted
from categorize.runs.contents import EXAMPLES, LABEL_SETS, README
from categorize.runs.folder import LABEL_SET, PROMPT
from categorize.text_tables import one_line

SHOTS = "shots.json"
IDS = ("id", "document_id", "duplicate_of")  # columns of names that the data gave, which may be long numbers
NOT_TEXT = ("max_length", "braces", "completion", "separator", "codes")  # keys of `prompt.json`
CHECKED_FILES = (README, PROMPT, SHOTS, EXAMPLES, LABEL_SET, "recipe.yaml")
SHOWN = 20
LONGEST = 100  # characters that are shown of a text
NAMED = 5  # findings that one line names

# A number of more digits, or a part of a word or of a hash, is none of these.
_ALONE, _END = r"(?<![A-Za-z0-9_+-])(?<!\d\.)", r"(?![A-Za-z0-9_-])"
_SHOTS_OF_PROMPT = ("shots", "messages[")  # keys
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
KINDS: dict[str, re.Pattern[str]] = {
    name: re.compile(pattern, re.IGNORECASE if name == "postal address" else 0)
    for name, pattern in {
        "key or token": _ALONE
        + r"(?:hf_[A-Za-z]{20,}|sk-[\w-]{20,}|gh[pousr]_\w{30,}|github_pat_\w{30,}|glpat-[\w-]{18,}"
        r"|AKIA[A-Z0-9]{16}|AIza[\w-]{30,}|xox[abprs]-[\w-]{10,}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{5,})"
        r"|-----BEGIN [A-Z ]*PRIVATE KEY-----",
        "password": r"(?i:\b(?:password|passwd|api[_-]?key|secret)|密码)\s*[:：=]\s*[^\s\"',]{6,}",
        "e-mail address": r"[A-Za-z0-9_.+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}",
        "Chinese ID number": _ALONE + r"[1-9]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01])\d{3}[\dXx]" + _END,
        "phone number": _ALONE
        + r"(?:(?:\+?86[- ]?)?1[3-9]\d(?:[- ]?\d{4}){2}"  # Chinese, mobile
        r"|0\d{2,3}[- ]\d{7,8}"  # Chinese, of a place
        r"|\+\d{1,3}(?:[ -]?\(?\d{1,4}\)?){2,6}"  # with its country
        r"|(?:\+?1[ -])?\(?[2-9]\d{2}\)?[ -][2-9]\d{2}-\d{4})" + _END,  # of North America
        "US social security number": _ALONE + r"(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}" + _END,
        "postal address": r"\b\d{1,5}\s+(?:[A-Z][a-z]+\s){1,3}(?:street|st|avenue|ave|road|rd|lane|ln|drive|dr"
        r"|boulevard|blvd)\b\.?|[\u4e00-\u9fff]{2,}(?:路|街|道|巷|弄|胡同)\s*\d+\s*(?:号|弄|栋|幢|室)",
    }.items()
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """What looks like a secret or a personal datum.

    Attributes:
        place: of the text: a file and a key, a line or a row.
        kind: of `KINDS`.
        masked: its first and last characters.
    """

    place: str
    kind: str
    masked: str


def findings(texts: Mapping[str, str] | Iterable[tuple[str, str]]) -> list[Finding]:
    """What the texts hold, by their places; of any number of texts, which may come one by one.

    >>> findings({"shot 1": "call 13812345678 or ann@example.com"})[0]
    Finding(place='shot 1', kind='e-mail address', masked='an...om')
    >>> findings({"a": "in 2024, 1380 of 12345678 rows; commit 13812345678abc"})
    []
    """
    found = []
    for place, text in texts.items() if isinstance(texts, Mapping) else texts:
        taken: list[tuple[int, int]] = []
        for kind, pattern in KINDS.items():
            for match in pattern.finditer(text):
                if kind == "Chinese ID number" and not _is_id(match.group()):
                    continue
                if any(start < match.end() and match.start() < end for start, end in taken):
                    continue
                taken.append(match.span())
                found.append(Finding(place, kind, _masked(match.group())))
    return found


def _is_id(number: str) -> bool:
    """Whether the last digit is the check digit of the others (GB 11643)."""
    total = sum(weight * int(digit) for weight, digit in zip(_ID_WEIGHTS, number, strict=False))
    return "10X98765432"[total % 11] == number[-1].upper()


def _masked(text: str) -> str:
    return f"{text[:2]}...{text[-2:]}"


def told(found: list[Finding]) -> str:
    """Findings in one line, by place and kind, with nothing of them but their ends."""
    named = [f"{one.place}: {one.kind} ({one.masked})" for one in found[:NAMED]]
    more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return f"secrets or personal data in {'; '.join(named)}{more}"


# ---------------------------------------------------------------- which texts go along
def shown(files: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """Every text of the data, or of the user, that is in the files of a push, with its place: lines of the card and the
    recipe, examples and messages of the prompt, descriptions of labels, words of a vocabulary, rows of tables."""
    for name, path in files.items():
        last = name.rpartition("/")[2]
        if last in (README, "recipe.yaml"):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
                yield f"{name}:{number}", line
        elif last in CHECKED_FILES or name.startswith(f"{LABEL_SETS}/"):
            for key, value in _strings(json.loads(path.read_text(encoding="utf-8"))):
                yield f"{name} {key}", value
        elif last.endswith("vocabulary.json"):
            held = json.loads(path.read_text(encoding="utf-8"))
            words = [*(held if isinstance(held, dict) else ()), *(value for _, value in _strings(held))]
            yield from ((f"{name} {word[:2]}...", word) for word in words if any(map(str.isdigit, word)) or "@" in word)
        elif last.endswith(".parquet"):
            yield from ((f"{name} row {row}", text) for row, text in _rows(path))


def texts_lines(files: Mapping[str, Path]) -> list[str]:
    """Lines for the terminal: the texts of the data that a push shows to others, in the card and in the prompt."""
    import pyarrow.parquet as pq

    found: list[tuple[str, str]] = []
    rows: Counter[str] = Counter()  # of tables, by folder
    for name, path in files.items():
        last = name.rpartition("/")[2]
        if last == README:
            labels = path.read_text(encoding="utf-8").partition("\n## Labels\n")[2].partition("\n## ")[0]
            table = [line for line in labels.splitlines() if line.startswith("|")]
            if table and table[0].endswith("| example |"):
                found += [(f"{name}, an example", line) for line in table[2:]]
        elif last in (PROMPT, SHOTS, EXAMPLES):
            strings = _strings(json.loads(path.read_text(encoding="utf-8")))
            of_shots = ((key, value) for key, value in strings if last != PROMPT or key.startswith(_SHOTS_OF_PROMPT))
            found += [(f"{name} {key}", value) for key, value in of_shots if not key.endswith((".label", ".role"))]
        elif last.endswith(".parquet"):
            rows[name.split("/")[0]] += pq.read_metadata(path).num_rows
    lines = [f"  {place}: {_cut(text)}" for place, text in found[:SHOWN]]
    lines += [f"  ... and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    lines += [f"  {folder}: the texts of {counted(number, 'row')}" for folder, number in rows.items()]
    return ["texts of the data go with it:", *lines] if lines else []


def _cut(text: str) -> str:
    text = one_line(text).strip()
    return text if len(text) <= LONGEST else text[:LONGEST] + "..."


def _strings(data: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every string of JSON, keys of objects that are words among them, with the way to it."""
    if isinstance(data, str):
        yield key, data
    elif isinstance(data, dict):
        for name, value in data.items():
            if name not in NOT_TEXT:
                yield from _strings(value, f"{key}.{name}" if key else str(name))
    elif isinstance(data, list):
        for i, value in enumerate(data):
            yield from _strings(value, f"{key}[{i}]")


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    """Each row's id, and its text with what else it says."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    columns = [one.name for one in file.schema_arrow if one.type in ("string", "large_string")]
    start = 0
    for batch in file.iter_batches(columns=columns):
        for i, row in enumerate(batch.to_pylist(), start=start):
            said = (value for name, value in row.items() if value and name not in IDS)
            yield str(row.get("id", i)), "\n".join(said)
        start += batch.num_rows
