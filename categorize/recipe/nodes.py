"""YAML as nodes that remember their file and line, and the merging of two of them.

PyYAML scans and parses; its events become nodes here, so that scalars follow YAML 1.2, duplicate keys are errors, and
every value can be named by `file:line` after any number of merges.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from categorize.errors import UserError
from categorize.recipe.problems import Key, Position, Problems
from categorize.recipe.scalars import LONG_TEXT, ScalarValue, resolve
from categorize.recipe.wording import found, quote
from categorize.recipe.yaml_errors import explain, line_of

# A file that grows past this by aliases is an attack or an accident; without aliases it may hold what it holds.
MOST_NODES = 200_000
DEEPEST = 50

CORE_TAGS: dict[str, tuple[type, ...]] = {
    "tag:yaml.org,2002:null": (type(None),),
    "tag:yaml.org,2002:bool": (bool,),
    "tag:yaml.org,2002:int": (int,),
    "tag:yaml.org,2002:float": (int, float),
}
TEXT_TAGS = ("tag:yaml.org,2002:str", "!")


@dataclass(frozen=True)
class Scalar:
    """A value without parts, with its text as written. `erases`: a null that deletes what it replaced."""

    value: ScalarValue
    position: Position
    text: str = ""
    erases: bool = False
    size: int = 1


@dataclass(frozen=True)
class Sequence:
    """A list."""

    items: tuple[Node, ...]
    position: Position
    size: int = 1


@dataclass(frozen=True)
class Entry:
    """A key's value, and where the key was written."""

    value: Node
    key: Position


@dataclass(frozen=True)
class Mapping:
    """Keys in the order of writing. Keys are text as written: `0: Positive` has the key "0"."""

    entries: dict[str, Entry]
    position: Position
    size: int = 1


Node = Scalar | Sequence | Mapping


@dataclass
class _Composer:
    """Events of one document into nodes."""

    file: str
    problems: Problems
    events: Iterator[yaml.Event]
    anchors: dict[str, Node] = field(default_factory=dict)
    open_anchors: set[str] = field(default_factory=set)
    aliases: bool = False

    def position(self, event: yaml.Event) -> Position:
        return Position(self.file, event.start_mark.line + 1 if event.start_mark else 0)

    def node(self, event: yaml.Event, key: Key) -> Node:
        position = self.position(event)
        if len(key) > DEEPEST:
            raise UserError(f"{position}: nested deeper than {DEEPEST} levels")
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event, position)
        assert isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent))  # all that may begin a value
        anchor = event.anchor
        if anchor is not None:
            self.open_anchors.add(anchor)
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node = Scalar(self.scalar(event, position, key), position, event.value)
        elif isinstance(event, yaml.SequenceStartEvent):
            self.refuse_tag(event, "seq", position, key)
            node = self.sequence(position, key)
        else:
            self.refuse_tag(event, "map", position, key)
            node = self.mapping(position, key)
        if node.size > MOST_NODES and self.aliases:
            raise UserError(f"{position}: more than {MOST_NODES} values; aliases (*name) multiply what they repeat")
        if anchor is not None:
            self.open_anchors.discard(anchor)
            self.anchors[anchor] = node
        return node

    def alias(self, event: yaml.AliasEvent, position: Position) -> Node:
        if event.anchor in self.open_anchors:
            raise UserError(f"{position}: alias *{event.anchor} stands inside what it names, which would never end")
        if event.anchor not in self.anchors:
            raise UserError(
                f"{position}: alias *{event.anchor} names no anchor &{event.anchor} above it; "
                "quote a text that begins with *"
            )
        self.aliases = True
        return self.anchors[event.anchor]

    def scalar(self, event: yaml.ScalarEvent, position: Position, key: Key) -> ScalarValue:
        text: str = event.value
        if event.tag in TEXT_TAGS:
            return text
        try:
            value = text if event.style and event.tag is None else resolve(text)
        except ValueError:
            self.problems.add(position, key, f"a number of {len(text)} digits; quote it if it is a text")
            return text
        if event.tag is None:
            return value
        if event.tag not in CORE_TAGS:
            self.problems.add(position, key, f"tag {event.tag!r} is not used in recipes; remove it")
        elif not isinstance(value, CORE_TAGS[event.tag]):
            self.problems.add(position, key, f"{found(value)} does not fit its tag {event.tag!r}; remove the tag")
        elif event.tag.endswith(":float") and value is not None and not isinstance(value, str):
            return float(value)
        return value

    def refuse_tag(self, event: yaml.CollectionStartEvent, name: str, position: Position, key: Key) -> None:
        if event.tag not in (None, "!", f"tag:yaml.org,2002:{name}"):
            self.problems.add(position, key, f"tag {event.tag!r} is not used in recipes; remove it")

    def sequence(self, position: Position, key: Key) -> Sequence:
        items: list[Node] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self.node(event, (*key, len(items))))
        return Sequence(tuple(items), position, 1 + sum(item.size for item in items))

    def mapping(self, position: Position, key: Key) -> Mapping:
        entries: dict[str, Entry] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            name = self.key(event)
            key_position = self.position(event)
            value = self.node(next(self.events), (*key, name))
            if name in entries:
                first = entries[name].key
                where = f"line {first.line}" if first.file == key_position.file else str(first)
                self.problems.add(key_position, (*key, name), f"is set twice, first in {where}; remove one")
            else:
                entries[name] = Entry(value, key_position)
        return Mapping(entries, position, 1 + sum(entry.value.size for entry in entries.values()))

    def key(self, event: yaml.Event) -> str:
        position = self.position(event)
        if not isinstance(event, yaml.ScalarEvent):
            raise UserError(f"{position}: a key must be plain text; quote it if it holds [ ] {{ }} * or &")
        if not event.style and event.value == "<<":
            raise UserError(
                f"{position}: merge keys (<<) are not in YAML 1.2; name a shared file under extends instead"
            )
        if not event.style and event.value == "":
            raise UserError(f"{position}: a value without a key before its colon")
        if event.tag not in (None, *TEXT_TAGS):
            raise UserError(f"{position}: tag {event.tag!r} on a key is not used in recipes; remove it")
        if event.anchor is not None:
            self.anchors[event.anchor] = Scalar(event.value, position, event.value)
        return str(event.value)


def _parser(text: str) -> type[yaml.SafeLoader] | type[yaml.CSafeLoader]:
    """The parser of a text: libyaml for a long one that it can read, if it is there; else PyYAML's own."""
    if len(text) < LONG_TEXT or not yaml.__with_libyaml__:
        return yaml.SafeLoader
    try:
        for _ in yaml.parse(text, Loader=yaml.CSafeLoader):
            pass
    except yaml.YAMLError:
        return yaml.SafeLoader
    return yaml.CSafeLoader


def compose(text: str, file: str, problems: Problems) -> Node | None:
    """The nodes of a YAML text, or None where it holds nothing.

    Duplicate keys and unknown tags are added to `problems`; the first of two equal keys counts.

    Raises:
        UserError: the text is not YAML, or holds more than one document, an endless or exploding alias, or a merge key.
    """
    try:
        events = yaml.parse(text, Loader=_parser(text))
        composer = _Composer(file, problems, events)
        next(events)  # the stream begins
        event = next(events)
        if isinstance(event, yaml.StreamEndEvent):
            return None
        first = next(events)
        empty = isinstance(first, yaml.ScalarEvent) and first.value == "" and not first.style and first.tag is None
        root = composer.node(first, ())
        next(events)  # the document ends
        event = next(events)
        if not isinstance(event, yaml.StreamEndEvent):
            raise UserError(f"{composer.position(event)}: a second document begins here (---); a file holds one recipe")
        return None if empty else root
    except yaml.MarkedYAMLError as error:
        message = f"{Position(file, line_of(error))}: not valid YAML: {explain(error, text)}"
        raise UserError(" ".join(message.split())) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(
            f"{Position(file, line)}: not valid YAML: the character {chr(error.character)!r} is not allowed"
        ) from None


# A changed value of these keys makes the old siblings meaningless: they belonged to the other type.
DECIDING_KEYS = ("type", "method")


def merge(base: Node, top: Node, key: Key = (), implied: str | None = None) -> Node:
    """`top` laid over `base`: mappings merge, lists and scalars replace, null deletes.

    A changed `type` or `method` drops the old siblings. A null that meets something inherited is kept, with `erases`
    set: where the key may be null it says null, elsewhere it deletes (the type check decides).

    Args:
        implied: the method that a `model` section without `method` has.
    """
    if not (isinstance(base, Mapping) and isinstance(top, Mapping)):
        return replace(top, erases=True) if isinstance(top, Scalar) and top.value is None else top
    entries = {} if _changes_type(base, top, implied if key == ("model",) else None) else dict(base.entries)
    for name, entry in top.entries.items():
        if name in base.entries:
            inherited = base.entries[name].value
            keep = name in entries
            null = isinstance(entry.value, Scalar) and entry.value.value is None
            value = merge(inherited, entry.value, (*key, name), implied) if keep or null else entry.value
            entries[name] = Entry(value, entry.key)
        else:
            entries[name] = entry
    position = top.position if top.position.line else base.position  # a file says more than the command line
    return Mapping(entries, position, 1 + sum(entry.value.size for entry in entries.values()))


def _changes_type(base: Mapping, top: Mapping, implied: str | None) -> bool:
    for name in DECIDING_KEYS:
        new = top.entries.get(name)
        old = base.entries.get(name)
        if new is None or not isinstance(new.value, Scalar):
            continue
        was = old.value.value if old is not None and isinstance(old.value, Scalar) else implied
        now = new.value.value if new.value.value is not None else implied
        if was is not None and was != now:
            return True
    return False


def erased(node: Node) -> bool:
    """Whether the node is a null that deletes what it replaced."""
    return isinstance(node, Scalar) and node.value is None and node.erases


def to_plain(node: Node, deleted: bool = False) -> Any:
    """The node as plain dicts, lists and scalars; deleted keys are left out, or null."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return [to_plain(item, deleted) for item in node.items]
    entries = node.entries.items()
    return {name: to_plain(entry.value, deleted) for name, entry in entries if deleted or not erased(entry.value)}


def entries(node: Node, key: Key = ()) -> Iterator[tuple[Key, Entry]]:
    """Every key of every mapping, with its path."""
    if isinstance(node, Mapping):
        for name, entry in node.entries.items():
            yield (*key, name), entry
            yield from entries(entry.value, (*key, name))
    elif isinstance(node, Sequence):
        for i, item in enumerate(node.items):
            yield from entries(item, (*key, i))


def get(node: Node | None, *key: str | int) -> Node | None:
    """The node under a path of keys, or None where there is none."""
    for part in key:
        if isinstance(node, Mapping) and part in node.entries:
            node = node.entries[str(part)].value
        elif isinstance(node, Sequence) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
        else:
            return None
    return node


def without(mapping: Mapping, name: str) -> Mapping:
    """The mapping without one key."""
    return replace(mapping, entries={key: entry for key, entry in mapping.entries.items() if key != name})


def key_position(node: Node | None, *key: str) -> Position | None:
    """Where the last key of a path was written, or None where it is not there."""
    parent = get(node, *key[:-1])
    entry = parent.entries.get(key[-1]) if isinstance(parent, Mapping) else None
    return entry.key if entry is not None else None


def nearest_position(node: Node, key: Key) -> Position:
    """Where the deepest part of a path that exists was written."""
    position = Position(node.position.file)
    for part in key:
        if isinstance(node, Mapping) and part in node.entries:
            position, node = node.entries[str(part)].key, node.entries[str(part)].value
        elif isinstance(node, Sequence) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
            position = node.position
        else:
            break
    return position


def expect_mapping(node: Node, what: str) -> Mapping:
    """The node itself, if it is a mapping. Raises UserError otherwise; `what` says what it should be."""
    if isinstance(node, Mapping):
        return node
    held = quote(node.value) if isinstance(node, Scalar) and isinstance(node.value, str) else found(to_plain(node))
    raise UserError(" ".join(f"{node.position}: {what} is a mapping of keys to values, found {held}".split()))
