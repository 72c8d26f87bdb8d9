"""The label set: what may be predicted, how the data spells it, and how labels become arrays and come back.

Every family of models, the teacher and the evaluation speak of labels through `LabelSet` alone.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import TypeAdapter

from categorize.errors import UserError
from categorize.label_rules import ParentRule, RowRules
from categorize.recipe.label_sections import LabelDefinition, LabelsSection, Task
from categorize.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

SCORE = "score"  # the one label of a regression
_Leaves = list[tuple[LabelDefinition, str | None]]  # labels with the names of their groups
# Sets without these keep the fingerprint that they had before there were any.
_LATER_RULES = ("brings_parent", "parent_alone", "stands_alone", "held_out")


class UnknownLabel(Exception):
    """A label of the data that the set does not have; `value` is what the data holds."""

    def __init__(self, value: str) -> None:
        super().__init__(value)
        self.value = value


@dataclass(frozen=True)
class Label:
    """One label. `parent` names a `Group`; `code` is what a spreadsheet or a prompt may write instead of the name."""

    name: str
    description: str = ""
    aliases: tuple[str, ...] = ()
    parent: str | None = None
    code: str | None = None

    @property
    def spellings(self) -> set[str]:
        """Name, aliases and code, as `spell` compares them."""
        return {spell(word) for word in (self.name, *self.aliases, *([self.code] if self.code else []))}


@dataclass(frozen=True)
class Group:
    """A main category that holds labels (the upper of two levels)."""

    name: str
    description: str = ""


@dataclass(frozen=True)
class LabelRules:
    """How cells of the data are read: what means unlabelled, what happens to a label outside the set, a score's
    bounds; and what may stand together in a row.

    Attributes:
        brings_parent: groups whose labels bring the label of the group's name; None: nothing is said.
        parent_alone: groups whose own label is valid without any of its labels; None: nothing is said.
        stands_alone: labels beside which no other may stand.
        held_out: labels of the data that were kept from training, and are not in the set.
    """

    missing: tuple[str, ...] = ("", "-1")
    unknown: str = "error"
    other: str = "other"
    minimum: float | None = None
    maximum: float | None = None
    brings_parent: tuple[str, ...] | None = None
    parent_alone: tuple[str, ...] | None = None
    stands_alone: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelSet(Settings):
    """Labels in order, their groups and the task. Immutable; equal sets have equal fingerprints.

    Raises:
        UserError: two labels, aliases or codes are spelled the same, a parent is not a group, or a classification has
            fewer than two labels.

    >>> labels = LabelSet("multi_label", (Label("joy", aliases=("happy",)), Label("fear", code="2")))
    >>> labels.resolve(" 2.0 "), labels.resolve("happy"), labels.resolve("-1")
    ('fear', 'joy', None)
    >>> labels.encode([["fear"], [], None])
    array([[ 0.,  1.],
           [ 0.,  0.],
           [nan, nan]])
    >>> labels.decode(labels.encode([["fear"], [], None]))
    [['fear'], [], None]
    """

    file_name: ClassVar[str] = "label_set.json"
    title: ClassVar[str] = "a label set"

    task: Task
    labels: tuple[Label, ...]
    groups: tuple[Group, ...] = ()
    rules: LabelRules = field(default_factory=LabelRules)

    def __post_init__(self) -> None:
        if self.is_regression:
            if [label.name for label in self.labels] != [SCORE]:
                raise UserError(
                    f"labels: a regression predicts one number; leave out labels.names ({len(self.labels)} given)"
                )
            return
        if len(self.labels) < 2:
            found = ", ".join(repr(label.name) for label in self.labels) or "none"
            raise UserError(
                f"labels: a classification needs at least two labels, found {found}; add labels or label more rows"
            )
        names = {group.name for group in self.groups}
        for label in self.labels:
            if label.parent is not None and label.parent not in names:
                raise UserError(
                    f"labels: parent {label.parent!r} of label {label.name!r} is not a group; groups: {sorted(names)}"
                )
        named = (Counter(one.name for one in part) for part in (self.labels, self.groups))
        if twice := [name for counts in named for name, n in counts.items() if n > 1]:
            raise UserError(f"labels.names: {twice[0]!r} is named twice; remove one or rename it")
        seen: dict[str, str] = {}
        for label in self.labels:
            for spelling in label.spellings:
                if (other := seen.setdefault(spelling, label.name)) != label.name:
                    raise UserError(f"labels: {spelling!r} stands for both {other!r} and {label.name!r}; rename one")

    # ------------------------------------------------------------ views
    @property
    def is_regression(self) -> bool:
        """Whether the gold is a number."""
        return self.task == "regression"

    @property
    def is_multi_label(self) -> bool:
        """Whether a row may have several labels, or none."""
        return self.task == "multi_label"

    @cached_property
    def names(self) -> list[str]:
        """Label names, in order; `[SCORE]` for a regression."""
        return [label.name for label in self.labels]

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each label by name."""
        return {name: i for i, name in enumerate(self.names)}

    @cached_property
    def _spellings(self) -> dict[str, str]:
        return {spelling: label.name for label in self.labels for spelling in label.spellings}

    @cached_property
    def _missing(self) -> frozenset[str]:
        return frozenset(spell(word) for word in self.rules.missing)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of everything that changes meaning: task, order, names, descriptions, groups, codes, rules."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    @cached_property
    def row_rules(self) -> RowRules:
        """What the labels of a row must keep to; empty where the recipe has no `labels.rules`."""
        brings, alone = self.rules.brings_parent, self.rules.parent_alone
        parents = []
        for group in self.groups if brings is not None or alone is not None else ():
            members = tuple(one.name for one in self.labels if one.parent == group.name and one.name != group.name)
            if group.name in self.index and members:
                brought = None if brings is None or not self.is_multi_label else group.name in brings
                parents.append(ParentRule(group.name, members, brought, alone is None or group.name in alone))
        return RowRules(tuple(parents), tuple(name for name in self.rules.stands_alone if name in self.index))

    def settle(self, names: Iterable[str]) -> list[str]:
        """The labels of a row as the rules have them, in label-set order: with the parents that they bring.

        Raises:
            RuleBroken: no row may have these labels together.
        """
        return sorted(self.row_rules.settle(names), key=self.index.__getitem__)

    def subset(self, names: Iterable[str]) -> LabelSet:
        """The set of these labels alone, in this set's order. Raises KeyError for a name that is not in it."""
        wanted = set(names)
        if missing := wanted - set(self.names):
            raise KeyError(f"no such labels: {sorted(missing)}")
        labels = tuple(label for label in self.labels if label.name in wanted)
        parents = {label.parent for label in labels}
        return replace(self, labels=labels, groups=tuple(group for group in self.groups if group.name in parents))

    def without(self, names: Sequence[str]) -> LabelSet:
        """The set without these labels, which rows of the data have all the same: what a run is trained on.

        Raises:
            UserError: one of them is not in the set, or fewer than two labels are left.
        """
        if odd := [name for name in names if name not in self.index]:
            raise UserError(f"labels.held_out: {odd[0]!r} is not in the label set: {', '.join(self.names)}")
        if not names:
            return self
        if len(self) - len(set(names)) < 2:
            raise UserError(f"labels.held_out: of {len(self)} labels {len(set(names))} are held out; leave two or more")
        kept = self.subset(set(self.names) - set(names))
        return replace(kept, rules=replace(kept.rules, held_out=tuple(names)))

    def ancestors(self) -> npt.NDArray[np.bool_]:
        """Bool [labels, labels]: entry (i, j) says that label j is the parent of label i."""
        import numpy as np

        matrix = np.zeros((len(self), len(self)), dtype=bool)
        for i, label in enumerate(self.labels):
            if label.parent in self.index and label.parent != label.name:
                matrix[i, self.index[label.parent]] = True
        return matrix

    def group_members(self) -> npt.NDArray[np.bool_]:
        """Bool [labels, groups]: which group each label belongs to."""
        import numpy as np

        position = {group.name: j for j, group in enumerate(self.groups)}
        matrix = np.zeros((len(self), len(self.groups)), dtype=bool)
        for i, label in enumerate(self.labels):
            if label.parent is not None:
                matrix[i, position[label.parent]] = True
        return matrix

    # ------------------------------------------------------------ reading the data's spelling
    def resolve(self, value: str) -> str | None:
        """The label that a spelling stands for (name, alias or code); None where the value means unlabelled.

        Raises:
            UnknownLabel: the set has no such label and the rule is not `other`.
        """
        spelling = spell(value)
        if spelling in self._spellings:
            return self._spellings[spelling]
        if spelling in self._missing:
            return None
        if self.rules.unknown == "other":
            return self.rules.other
        raise UnknownLabel(value)

    def knows(self, value: str) -> bool:
        """Whether a spelling is a name, an alias or a code of the set, or means unlabelled."""
        spelling = spell(value)
        return spelling in self._spellings or spelling in self._missing

    def positions(self, spellings: Sequence[str]) -> list[int] | None:
        """For each label the position of its spelling, where every label is spelled once and nothing else is there."""
        found = [self._spellings.get(spell(one)) for one in spellings]
        if len(found) != len(self) or set(found) != set(self.names):
            return None
        return [found.index(name) for name in self.names]

    # ------------------------------------------------------------ arrays
    def encode(
        self, gold: Sequence[Sequence[str] | None], scores: Sequence[float | None] | None = None
    ) -> npt.NDArray[np.float64]:
        """Gold as a float array [n, labels]: 1 where a row has the label; NaN rows where the gold is unknown, or has a
        label that was held out.

        A regression takes `scores` (one number a row, None = unknown) and gives [n, 1].

        Raises:
            KeyError: a label that is not in the set.
        """
        import numpy as np

        if self.is_regression:
            values = scores if scores is not None else [None] * len(gold)
            return np.array([[np.nan if v is None else float(v)] for v in values], dtype=np.float64).reshape(-1, 1)
        array, held_out = np.zeros((len(gold), len(self)), dtype=np.float64), set(self.rules.held_out)
        for i, names in enumerate(gold):
            if names is None or not held_out.isdisjoint(names):
                array[i] = np.nan
                continue
            for name in names:
                array[i, self.index[name]] = 1.0
        return array

    def encode_rows(self, rows: pa.Table) -> npt.NDArray[np.float64]:
        """`encode` of a table's columns gold and gold_score."""
        return self.encode(rows.column("gold").to_pylist(), rows.column("gold_score").to_pylist())

    def decode(self, array: npt.NDArray[Any]) -> list[list[str] | None]:
        """Label names of the non-zero entries of [n, labels]; None for rows of NaN. The inverse of `encode`."""
        import numpy as np

        rows = np.asarray(array, dtype=np.float64)
        return [
            None if np.isnan(row).all() else [self.names[j] for j in np.flatnonzero(np.nan_to_num(row))] for row in rows
        ]

    # ------------------------------------------------------------ saving
    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        parts = {"labels": _LABELS.dump_python(self.labels, mode="json", exclude_defaults=True)}
        parts["groups"] = _GROUPS.dump_python(self.groups, mode="json", exclude_defaults=True)
        data = super().to_dict() | parts
        empty: tuple[Any, ...] = (None, [])
        rules = {key: value for key, value in data["rules"].items() if key not in _LATER_RULES or value not in empty}
        return data | {"rules": rules}

    # ------------------------------------------------------------ from a recipe
    @classmethod
    def from_section(cls, section: LabelsSection, found: Iterable[str] = ()) -> LabelSet:
        """The set that a recipe's `labels` section declares; without `names`, the labels `found` in the rows,
        sorted.

        Raises:
            UserError: a code, a rule or `other` names a label or group that is not in the set, or the set itself is
                unsound.
        """
        rules = LabelRules(tuple(section.missing), section.unknown, section.other, section.minimum, section.maximum)
        if section.rules is not None and not section.rules.allowed(section.task):
            raise UserError(
                f"labels.rules: is for labels of which a row may have several, but labels.task is {section.task}"
            )
        if section.task == "regression":
            names = [one if isinstance(one, str) else one.name for one in section.names or [SCORE]]
            return cls("regression", tuple(Label(name) for name in names), (), rules)
        names_of_codes = {spell(code): name for code, name in section.codes.items()}
        missing = {spell(word) for word in section.missing} - names_of_codes.keys()
        inferred = {names_of_codes.get(word, word) for word in map(spell, found) if word not in missing}
        definitions, groups = _flatten(sorted(inferred) if section.names is None else section.names)
        if section.rules is not None:
            definitions, rules = _with_rules(section, definitions, groups, rules)
        known = {definition.name for definition, _ in definitions}
        codes: defaultdict[str, list[str]] = defaultdict(list)
        for code, name in section.codes.items():
            if name not in known:
                raise UserError(
                    f"labels.codes: {code!r} maps to {name!r}, which is not in labels.names: {sorted(known)}"
                )
            codes[name].append(code)
        if section.unknown == "other" and section.other not in known:
            raise UserError(
                f"labels.other: {section.other!r} is not in labels.names: {sorted(known)}; add it or change "
                "labels.unknown"
            )
        labels = tuple(
            Label(
                one.name,
                one.description,
                tuple(dict.fromkeys((*one.aliases, *codes[one.name][1:]))),
                parent,
                next(iter(codes[one.name]), None),
            )
            for one, parent in definitions
        )
        return cls(section.task, labels, tuple(groups), rules)


def spell(value: str) -> str:
    """A spelling for comparison: NFKC and surrounding space removed; a whole float such as "2.0" is the code "2".

    >>> spell(" Ｊｏｙ "), spell("2.0")
    ('Joy', '2')
    """
    text = unicodedata.normalize("NFKC", value).strip()
    head, dot, tail = text.partition(".")
    if dot and tail and not tail.strip("0") and head.lstrip("-").isdigit():
        return head
    return text


def _with_rules(
    section: LabelsSection, definitions: _Leaves, groups: Sequence[Group], rules: LabelRules
) -> tuple[_Leaves, LabelRules]:
    """The leaves with those groups as labels that a rule makes one, each before its own labels, and the rules."""
    written = section.rules
    assert written is not None
    names = [group.name for group in groups]
    named: dict[str, tuple[str, ...] | None] = {}
    for key, value in (("brings_parent", written.brings_parent), ("parent_alone", written.parent_alone)):
        chosen = None if value is None else tuple(names if value is True else value or ())
        if odd := [name for name in chosen or () if name not in names]:
            raise UserError(f"labels.rules.{key}: {odd[0]!r} is not a group of labels.names; groups: {names}")
        named[key] = chosen
    brings, alone = named["brings_parent"], named["parent_alone"]
    known = {definition.name for definition, _ in definitions}
    if alone is None and brings is not None:  # a label that is only brought is not valid alone
        alone = tuple(name for name in names if name in known)
    added = {name for name in (*(brings or ()), *(alone or ())) if name not in known}
    whole = {one.name: one for one in section.names or () if not isinstance(one, str)}
    leaves: _Leaves = []
    for definition, parent in definitions:
        if parent in added:
            group = whole[parent]
            leaves.append((LabelDefinition(name=parent, description=group.description, aliases=group.aliases), parent))
            added.remove(parent)
        leaves.append((definition, parent))
    if odd := [name for name in written.stands_alone if name not in {one.name for one, _ in leaves}]:
        raise UserError(f"labels.rules.stands_alone: {odd[0]!r} is not in labels.names: {sorted(known)}")
    stands_alone = tuple(written.stands_alone)
    return leaves, replace(rules, brings_parent=brings, parent_alone=alone, stands_alone=stands_alone)


def _flatten(names: Sequence[LabelDefinition | str]) -> tuple[_Leaves, list[Group]]:
    """Leaf definitions with their parent's name, and the groups, in order."""
    leaves: _Leaves = []
    groups: list[Group] = []
    for entry in names:
        definition = LabelDefinition(name=entry) if isinstance(entry, str) else entry
        if definition.labels is None:
            leaves.append((definition, None))
            continue
        groups.append(Group(definition.name, definition.description))
        for child in definition.labels:
            child = LabelDefinition(name=child) if isinstance(child, str) else child
            if child.labels is not None:
                raise UserError(
                    f"labels.names: group {child.name!r} stands inside group {definition.name!r}; two levels at most"
                )
            leaves.append((child, definition.name))
    return leaves, groups


_LABELS, _GROUPS = TypeAdapter(tuple[Label, ...]), TypeAdapter(tuple[Group, ...])
