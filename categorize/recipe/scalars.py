"""Scalars of the YAML 1.2 core schema, read and written.

PyYAML follows YAML 1.1, where `1e-4` is a string, `no` is false, `1:30` is ninety and `2024-01-01` is a date. Here the
core schema of YAML 1.2.2 (section 10.3.2) decides: https://yaml.org/spec/1.2.2/#1032-tag-resolution
"""

from __future__ import annotations

import re
from typing import Any

import yaml

NULLS = frozenset({"", "~", "null", "Null", "NULL"})
BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
INTEGER = re.compile(r"[-+]?[0-9]+")
OCTAL = re.compile(r"0o[0-7]+")
HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
INFINITY = re.compile(r"[-+]?\.(inf|Inf|INF)")
NOT_A_NUMBER = frozenset({".nan", ".NaN", ".NAN"})

UNICODE_LINE_ENDS = frozenset("\x85\u2028\u2029")

# Characters from which libyaml reads and writes, some ten times as fast. It words its errors otherwise and takes a
# little more than PyYAML's own parser: what it refuses is parsed again, and recipes written by hand never meet it.
LONG_TEXT = 200_000

ScalarValue = None | bool | int | float | str


def resolve(text: str) -> ScalarValue:
    """The value of a plain (unquoted) scalar.

    Raises:
        ValueError: an integer with more digits than Python reads (several thousand).
    """
    if text in NULLS:
        return None
    if text in BOOLEANS:
        return BOOLEANS[text]
    if INTEGER.fullmatch(text):
        return int(text)
    if OCTAL.fullmatch(text):
        return int(text[2:], 8)
    if HEXADECIMAL.fullmatch(text):
        return int(text[2:], 16)
    if FLOAT.fullmatch(text):
        return float(text)
    if INFINITY.fullmatch(text):
        return float("-inf") if text.startswith("-") else float("inf")
    if text in NOT_A_NUMBER:
        return float("nan")
    return text


class _Writer(yaml.SafeDumper):
    """Writes plain data so that readers of YAML 1.1 and 1.2 both get it back."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _write_text(writer: yaml.representer.SafeRepresenter, text: str) -> yaml.ScalarNode:
    # PyYAML quotes what YAML 1.1 would misread ("no"); what only 1.2 would misread ("1e-4", "0o17") needs quotes too.
    ambiguous = not isinstance(resolve(text) if len(text) < 1000 else text, str)
    style = "'" if ambiguous else "|" if "\n" in text else None
    if set(text) & UNICODE_LINE_ENDS:
        style = '"'  # escaped: YAML 1.1 folds them like line feeds
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Writer.add_representer(str, _write_text)
_WRITERS: list[Any] = [_Writer]
if yaml.__with_libyaml__:

    class _FastWriter(yaml.CSafeDumper):
        """The same for long data, by libyaml, some ten times as fast."""

        ignore_aliases = _Writer.ignore_aliases

    _FastWriter.add_representer(str, _write_text)
    _WRITERS.append(_FastWriter)


def dump(value: Any) -> str:
    """Plain data as YAML text, keys in their order; `nodes.compose` reads back the same data."""
    writer = _WRITERS[-1 if len(repr(value)) > LONG_TEXT else 0]
    return yaml.dump(value, Dumper=writer, allow_unicode=True, sort_keys=False, width=120)


def flow(value: Any) -> str:
    """Plain data as YAML on one line, for messages that say what to paste."""
    text = yaml.dump(value, Dumper=_Writer, allow_unicode=True, sort_keys=False, width=10**9, default_flow_style=True)
    return " ".join(text.removesuffix("...\n").split())
