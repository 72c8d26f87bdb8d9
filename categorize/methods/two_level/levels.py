"""Which outputs two heads have for a label set."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from categorize.labels import LabelSet
from categorize.metrics.arrays import group_names
from categorize.predictions import IntArray


@dataclass(frozen=True)
class Levels:
    """The main categories of a label set, and its subcategories: [mains | subs] are the outputs of the two heads.

    Main categories are the groups, labels of the set or not, then the labels that stand in no group. A label of a
    group's name is the main category itself where it holds whenever another label of the group does (by
    `labels.rules.brings_parent`); else it is a subcategory beside those, such as `information` for what none of the
    subcategories of information fits. The only label of a group is its main category in any case.

    >>> from categorize.labels import Group, Label
    >>> moods = (Label("other"), Label("joy", parent="happy"), Label("love", parent="happy"))
    >>> levels = Levels(LabelSet("multi_label", moods, (Group("happy"),)))
    >>> levels.mains, levels.outputs, levels.sub.tolist()
    (['happy', 'other'], ['happy', 'other', 'joy', 'love'], [-1, 2, 3])
    """

    label_set: LabelSet

    @cached_property
    def mains(self) -> list[str]:
        """Names of the main categories."""
        return group_names(self.label_set)

    @cached_property
    def main(self) -> IntArray:
        """The output of each label's main category, [labels]."""
        return np.array([self.mains.index(one.parent or one.name) for one in self.label_set.labels], dtype=np.int64)

    @cached_property
    def sub(self) -> IntArray:
        """The output of each label, [labels]; -1 where it is the main category itself."""
        brought = {rule.label for rule in self.label_set.row_rules.parents if rule.brought}
        sizes = np.bincount(self.main, minlength=len(self.mains))
        own = [
            sizes[main] == 1 or (one.name == one.parent and one.name in brought)
            for one, main in zip(self.label_set.labels, self.main, strict=True)
        ]
        return np.where(own, -1, len(self.mains) - 1 + np.cumsum(~np.array(own)))

    @cached_property
    def outputs(self) -> list[str]:
        """Names of the outputs of both heads; a subcategory that has a main category's name stands behind that
        of its own, as `information/information`."""
        subs = [one for one, output in zip(self.label_set.labels, self.sub, strict=True) if output >= 0]
        names = (f"{one.parent}/{one.name}" if one.name in self.mains else one.name for one in subs)
        return [*self.mains, *names]

    @cached_property
    def membership(self) -> npt.NDArray[np.float32]:
        """Which main category each label belongs to, [labels, mains]."""
        return np.eye(len(self.mains), dtype=np.float32)[self.main]

    @cached_property
    def families(self) -> list[IntArray]:
        """The labels of each main category that has several subcategories."""
        found = [np.flatnonzero((self.main == main) & (self.sub >= 0)) for main in range(len(self.mains))]
        return [labels for labels in found if len(labels) > 1]
