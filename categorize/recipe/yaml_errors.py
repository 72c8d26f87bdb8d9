"""What is wrong with a file that is not YAML, in words of the person who wrote it, with the way out."""

from __future__ import annotations

import re

import yaml

from categorize.recipe.wording import quote

_BRACKETS = {"}": "{", "]": "["}
_KEY = re.compile(r"^\s*(?:- +)*(?P<key>\"[^\"]*\"|'[^']*'|[^\s#{}\[\]\"'][^#{}\[\]]*?)\s*:(?:\s+(?P<value>.*))?$")
_STARTS = {
    "mapping keys are not allowed here": "?",
    "sequence entries are not allowed here": "-",
    "found undefined tag handle": "!",
}
_IN_CONTEXT = {
    "while scanning an anchor": "&",
    "while scanning an alias": "*",
    "while scanning a tag": "!",
    "while scanning a directive": "%",
}


def line_of(error: yaml.MarkedYAMLError) -> int:
    """The line, from 1, that the user should look at; 0 where none is known."""
    mark = error.problem_mark or error.context_mark
    if error.context_mark is not None and error.problem in ("could not find expected ':'", _ENDLESS):
        mark = error.context_mark  # what is wrong stands where it begins, not where the parser gave up
    return mark.line + 1 if mark else 0


_ENDLESS = "found unexpected end of stream"


def explain(error: yaml.MarkedYAMLError, text: str) -> str:
    """What is wrong and what to write instead, on one line."""
    problem = error.problem or ""
    mark = error.problem_mark or error.context_mark
    # Split as YAML counts lines, not as str.splitlines does.
    lines = re.split(r"\r\n|[\n\r\x85\u2028\u2029]", text)
    line = lines[mark.line] if mark is not None and mark.line < len(lines) else ""
    if problem == "mapping values are not allowed here":
        return _colon(lines, mark.line if mark else 0)
    if problem.startswith("expected <block end>, but found '<block mapping start>'") or "<document start>" in problem:
        return _indented(lines, mark.line if mark else 0)
    if problem.startswith(("expected ',' or '}'", "expected ',' or ']'")):
        return _bracket(error, line, mark.column if mark else 0)
    if problem.startswith("expected <block end>, but found"):
        held = _KEY.match(line)
        value = (held["value"] if held else line.strip()) or line.strip()
        return f"something stands behind the end of a value; quote the whole text: {_quoted(value)}"
    if problem == _ENDLESS:
        return "a quotation mark opens here and never closes; close it, or quote the text with the other kind of mark"
    if problem == "could not find expected ':'":
        start = lines[error.context_mark.line].strip() if error.context_mark else line.strip()
        return (
            f"{quote(start)} is neither a key with its value (key: value) nor an item of a list (- item); a key needs "
            "a colon and a space after it, and a text of several lines needs quotes"
        )
    if problem.startswith("found unknown escape character"):
        return r"in double quotes a backslash begins an escape; use single quotes, or write \\"
    if "'\\t'" in problem:
        return "indent with spaces, not with tabs"
    begins = re.search(r"found character '(.)' that cannot start|expected the node content, but found '(.)'", problem)
    start = next((group for group in begins.groups() if group), "") if begins else _STARTS.get(problem, "")
    start = start or _IN_CONTEXT.get(error.context or "", "")
    if "scanning a block scalar" in (error.context or ""):
        start = "| or >"
    if start:
        held = _KEY.match(line)
        return f"quote a text that begins with {start}" + (
            f": {_quoted(held['value'])}" if held and held["value"] else ""
        )
    return (
        f"{problem}{f' ({error.context})' if error.context else ''}; quote a text that holds : # ? [ ] {{ }} or marks"
    )


def _quoted(value: str) -> str:
    """A text in double quotes as YAML reads it back, without a comment behind it, cut where it is long."""
    value = re.sub(r"\s+#.*$", "", value.strip())
    shown = value if len(value) <= 60 else value[:57] + "..."
    return '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _colon(lines: list[str], at: int) -> str:
    """A colon where none may stand: within a text, or on a line that is indented too far."""
    held = _KEY.match(lines[at])
    simple = re.match(r"^\s*(?:- +)*([^\s:][^:]*):\s+(\S.*:(?:\s.*|$))", lines[at])
    if simple is not None and simple[2][0] not in "\"'[{|>&*!":
        return f"a text with a colon needs quotes: {simple[1].strip()}: {_quoted(simple[2])}"
    before = next(
        (i for i in range(at - 1, -1, -1) if lines[i].strip() and not lines[i].lstrip().startswith("#")), None
    )
    if before is not None and held is not None:
        above = _KEY.match(lines[before])
        if above is None:
            return (
                f"the line above, {quote(lines[before].strip())}, is not a key with its value; a key needs a colon and "
                "a space after it"
            )
        return f"{_depth(lines[at])}, deeper than {quote(above['key'])} above it, which has a value; {_ALIKE}"
    return "a text with a colon needs quotes, and keys of one section begin in one column"


_ALIKE = "keys of one section begin in one column"


def _depth(line: str) -> str:
    held = _KEY.match(line)
    spaces = len(line) - len(line.lstrip(" "))
    return f"{quote(held['key'] if held else line.strip())} is indented by {spaces} space{'s' * (spaces != 1)}"


def _indented(lines: list[str], at: int) -> str:
    """A key that stands in no column of the keys above it."""
    above = []
    for line in lines[:at]:
        depth = len(line) - len(line.lstrip(" "))
        if line.strip() and not line.lstrip().startswith("#") and depth not in above:
            above.append(depth)
    if not above or not _KEY.match(lines[at]):
        return f"{quote(lines[at].strip())} is not a key with its value (key: value); a recipe is a mapping of keys"
    columns = " or ".join(str(depth) for depth in sorted(above))
    return f"{_depth(lines[at])}, and the keys above it by {columns}; {_ALIKE}"


def _bracket(error: yaml.MarkedYAMLError, line: str, column: int) -> str:
    """A list or mapping in brackets that goes wrong: a mark inside a text, or no closing bracket."""
    closing = (error.problem or "")[len("expected ',' or '") :][:1]
    opened = error.context_mark.line if error.context_mark else 0
    here = error.problem_mark.line if error.problem_mark else opened
    if here == opened:
        begin = max(line.rfind(mark, 0, column) for mark in ("{", "[", ",", ": ")) + 1
        end = min((at for mark in ",}]" if (at := line.find(mark, column)) >= 0), default=len(line))
        value = line[begin:end].strip()
        if value[:1] not in ("", '"', "'"):
            return f"a text in brackets that holds {line[column : column + 1]} needs quotes: {_quoted(value)}"
    return (
        f"the {_BRACKETS.get(closing, '[')} of line {opened + 1} is not closed before this place; close it with "
        f"{closing}, or quote the text that holds brackets"
    )
