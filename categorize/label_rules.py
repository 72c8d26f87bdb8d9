"""What may stand together in a row of several labels: parents with their subcategories, labels that stand alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class RuleBroken(Exception):
    """Labels that no row may have together; the message says why, short and stable."""


@dataclass(frozen=True)
class ParentRule:
    """A group whose name is a label too.

    Attributes:
        label: its name.
        members: the group's other labels.
        brought: whether they bring it; False: it does not stand beside them; None: as the data has it.
        alone: whether it is valid without any of them.
    """

    label: str
    members: tuple[str, ...]
    brought: bool | None = None
    alone: bool = True


@dataclass(frozen=True)
class RowRules:
    """The rules of a label set, for rows of labels.

    Attributes:
        parents: groups whose name is a label too, where a rule says something of them.
        alone: labels beside which no other may stand.

    >>> rules = RowRules((ParentRule("social", ("curiosity",), brought=True, alone=False),), ("other",))
    >>> sorted(rules.settle(["curiosity"]))
    ['curiosity', 'social']
    >>> rules.settle(["other", "curiosity"])
    Traceback (most recent call last):
    categorize.label_rules.RuleBroken: rule: 'other' stands alone
    """

    parents: tuple[ParentRule, ...] = ()
    alone: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.parents or self.alone)

    def settle(self, names: Iterable[str]) -> set[str]:
        """The labels of a row with the parents that follow from its subcategories, and without those that do not stand
        beside them.

        Raises:
            RuleBroken: a label stands with others that stands alone, or a parent lacks the subcategory that it needs.
        """
        settled = set(names)
        for name in self.alone:
            if name in settled and settled - {name} - self.parents_of(name):
                raise RuleBroken(f"rule: {name!r} stands alone")
        for rule in self.parents:
            if settled.intersection(rule.members):
                if rule.brought is not None:
                    settled = settled | {rule.label} if rule.brought else settled - {rule.label}
            elif rule.label in settled and not rule.alone:
                raise RuleBroken(f"rule: {rule.label!r} needs one of its labels")
        return settled

    def parents_of(self, name: str) -> set[str]:
        """The labels that are named as the group of a label."""
        return {rule.label for rule in self.parents if name in rule.members}
