"""`key=value` arguments that follow the recipe on the command line, as nodes to lay over it.

training.learning_rate=1e-4 model.name_or_path=bert-base-chinese adapter=null training.class_weights."v1.0"=2
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from categorize.errors import UserError
from categorize.recipe.nodes import Entry, Mapping, Node, Scalar, compose, to_plain
from categorize.recipe.problems import COMMAND_LINE, Key, Position, Problems, render
from categorize.recipe.wording import quote

POSITION = Position(COMMAND_LINE)
PART = re.compile(r"""(?:"([^"]*)"|'([^']*)'|([^.="']+))(\.|=)""")


def split(argument: str) -> tuple[tuple[str, ...], str]:
    """The path and the text of the value. Raises ValueError, with what is wrong, for anything but `path=value`."""
    if "=" not in argument:
        raise ValueError(f"{quote(argument)} is not an override; write key=value, such as training.learning_rate=1e-4")
    parts: list[str] = []
    at = 0
    while True:
        match = PART.match(argument, at)
        if match is None:
            name = argument.partition("=")[0]
            raise ValueError(f"{quote(name)} is not a dotted path of keys, such as training.learning_rate")
        part = next(group for group in match.groups()[:3] if group is not None)
        parts.append(part.strip() if match.group(3) else part)
        at = match.end()
        if match.group(4) == "=":
            return tuple(parts), argument[at:]


def parse_overrides(arguments: Iterable[str], problems: Problems) -> Mapping:
    """The overrides as one mapping; what is wrong with them is added to `problems`."""
    root = Mapping({}, POSITION)
    seen: dict[Key, str] = {}
    for argument in arguments:
        try:
            path, text = split(argument)
        except ValueError as error:
            problems.add(POSITION, (), str(error))
            continue
        if path[0] == "extends":
            problems.add(POSITION, path, "belongs into the recipe file; name another recipe, or override single keys")
            continue
        clash = next((other for other in seen if other[: len(path)] == path or path[: len(other)] == other), None)
        if clash is not None:
            twice = "is given twice" if clash == path else f"contradicts {render(clash)}"
            problems.add(POSITION, path, f"{twice}: {quote(seen[clash])} and {quote(argument)}; keep one")
            continue
        seen[path] = argument
        value = _value(path, text, problems)
        if value is not None:
            root = _placed(root, path, value)
    return root


def data_settings(arguments: Iterable[str]) -> dict[str, Any]:
    """Keys of `data` on the command line of a single file, `data.header=false`, as plain data.

    Raises UserError for what is not such.
    """
    problems = Problems()
    found = to_plain(parse_overrides(arguments, problems))
    problems.raise_if_any()
    if others := sorted(set(found) - {"data"}):
        raise UserError(f"{others[0]}: with a file go keys of data alone, such as data.header=false")
    inner = found.get("data", {})
    if not isinstance(inner, dict):
        raise UserError("data: name a key, such as data.header=false")
    return inner


def _value(path: Key, text: str, problems: Problems) -> Node | None:
    if not text.strip():
        problems.add(POSITION, path, "has no value; write null to remove the key, or '\"\"' for an empty text")
        return None
    inner = Problems()
    try:
        value = compose(text, COMMAND_LINE, inner)
    except UserError as error:
        message = str(error).removeprefix(f"{COMMAND_LINE}:1: ")
        problems.add(
            POSITION, path, f"{quote(text)} is {message}" if message.startswith("not ") else f"{quote(text)}: {message}"
        )
        return None
    for problem in inner:
        problems.add(POSITION, (*path, *problem.key), problem.message)
    if value is None:
        problems.add(POSITION, path, f"{quote(text)} is a comment, not a value; quote it")
        return None
    return _unplaced(value)


def _unplaced(node: Node) -> Node:
    """The node with the command line as its place: line numbers inside one argument help nobody. Its nulls delete."""
    if isinstance(node, Scalar):
        return Scalar(node.value, POSITION, node.text, erases=node.value is None)
    if isinstance(node, Mapping):
        entries = {name: Entry(_unplaced(entry.value), POSITION) for name, entry in node.entries.items()}
        return Mapping(entries, POSITION, node.size)
    return type(node)(tuple(_unplaced(item) for item in node.items), POSITION, node.size)


def _placed(root: Mapping, path: tuple[str, ...], value: Node) -> Mapping:
    """`root` with one more value. No merge: overrides stand side by side, so `model.method` drops no other."""
    name, rest = path[0], path[1:]
    if rest:
        inner = root.entries[name].value if name in root.entries else Mapping({}, POSITION)
        assert isinstance(inner, Mapping)  # a path that runs through a value was refused as a contradiction
        value = _placed(inner, rest, value)
    return Mapping({**root.entries, name: Entry(value, POSITION)}, POSITION, root.size + value.size)
