"""Two levels of labels: which may stand together in a row, and decisions that keep to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from categorize.label_rules import ParentRule, RowRules
from categorize.labels import LabelSet
from categorize.predictions import BoolArray, FloatArray

Pairs = tuple[tuple[str, str], ...]
UNSCORED = -1e9  # log-odds of a label that was not scored: no set with it is worth choosing
TINY = 1e-12


@dataclass(frozen=True)
class Hierarchy:
    """What the labels of a row keep to: labels bring their parents, and the rules of the label set.

    Attributes:
        labels: names, in label-set order.
        pairs: (label, parent), where the label implies the parent and no rule says so already.
        rules: of the label set.

    >>> tree = Hierarchy(("joy", "love", "happy"), (("love", "happy"), ("joy", "happy")))
    >>> tree.exact(np.array([[0.9, 0.2, 0.4]]), np.full(3, 0.5)).tolist()
    [[True, False, True]]
    """

    labels: tuple[str, ...]
    pairs: Pairs = ()
    rules: RowRules = field(default_factory=RowRules)

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each label."""
        return {name: j for j, name in enumerate(self.labels)}

    @cached_property
    def implied(self) -> list[tuple[int, int]]:
        """Positions of every label and the parent that must stand beside it, by pairs and by rules."""
        ruled = ((member, rule.label) for rule in self.rules.parents if rule.brought for member in rule.members)
        return [(self.index[label], self.index[parent]) for label, parent in dict.fromkeys((*self.pairs, *ruled))]

    def consistent(self, chosen: BoolArray) -> BoolArray:
        """Which rows [n] of the indicators [n, labels] keep to all of it."""
        holds = np.ones(len(chosen), dtype=bool)
        for label, parent in self.implied:
            holds &= ~chosen[:, label] | chosen[:, parent]
        for name in self.rules.alone:
            beside = [self.index[one] for one in set(self.labels) - {name} - self.rules.parents_of(name)]
            holds &= ~(chosen[:, self.index[name]] & chosen[:, beside].any(axis=1))
        for rule in self.rules.parents:
            there, any_member = chosen[:, self.index[rule.label]], chosen[:, self._members(rule)].any(axis=1)
            if rule.brought is False:
                holds &= ~(there & any_member)
            if not rule.alone:
                holds &= ~there | any_member
        return holds

    # ------------------------------------------------------------ by construction
    def capped(self, probabilities: FloatArray) -> FloatArray:
        """Probabilities [n, labels] of which none is greater than that of a label that it implies."""
        capped = probabilities.copy()
        for label, parent in self.implied:
            capped[:, label] = np.minimum(capped[:, label], probabilities[:, parent])  # NaN stays
        return capped

    def beneath(self, chosen: BoolArray) -> BoolArray:
        """What is chosen without the labels whose parent is not."""
        kept = chosen.copy()
        for label, parent in self.implied:
            kept[:, label] &= chosen[:, parent]
        return kept

    def with_parents(self, chosen: BoolArray) -> BoolArray:
        """What is chosen with the parents of `pairs`."""
        # As many rounds as there are pairs reach the last ancestor of any chain.
        for _ in self.pairs:
            for label, parent in self.pairs:
                chosen[:, self.index[parent]] |= chosen[:, self.index[label]]
        return chosen

    def settled(self, chosen: BoolArray, probabilities: FloatArray) -> BoolArray:
        """What is chosen, as the rules have it. Of a label that stands alone and others, the more probable side stays;
        a parent that is not valid alone gets the most probable of its labels that may stand there, or goes."""
        index = self.index
        likely = np.nan_to_num(probabilities, nan=-np.inf)
        for name in self.rules.alone:
            others = chosen.copy()
            others[:, [index[one] for one in (name, *self.rules.parents_of(name))]] = False
            clash = chosen[:, index[name]] & others.any(axis=1)
            stays = likely[:, index[name]] >= np.where(others, likely, -np.inf).max(axis=1)
            chosen[:, index[name]] &= ~clash | stays
            chosen &= ~(others & (clash & stays)[:, None])
        for rule in self.rules.parents:
            parent, members = index[rule.label], self._members(rule)
            if not rule.alone:
                bare = np.flatnonzero(chosen[:, parent] & ~chosen[:, members].any(axis=1))
                worth = np.maximum(likely[bare][:, members], -1)  # scored or not
                for at, name in enumerate(rule.members):
                    if name in self.rules.alone:  # not beside what was chosen already
                        others = chosen[bare]
                        others[:, [index[one] for one in self.rules.parents_of(name)]] = False
                        worth[others.any(axis=1), at] = -np.inf
                fits = worth.max(axis=1) > -np.inf
                chosen[bare[fits], np.array(members)[worth.argmax(axis=1)[fits]]] = True
                chosen[bare[~fits], parent] = False
            if rule.brought is not None:
                held = chosen[:, members].any(axis=1)
                chosen[:, parent] = (chosen[:, parent] | held) if rule.brought else (chosen[:, parent] & ~held)
        return chosen

    # ------------------------------------------------------------ exactly
    def exact(self, probabilities: FloatArray, thresholds: FloatArray, *, some: bool = False) -> BoolArray:
        """The best of all sets of labels that keep to the hierarchy, bool [n, labels].

        A set is worth the sum of its labels' log-odds above those of their thresholds: at thresholds of 0.5 the best
        one is the most probable, where labels are independent given the text. Groups share no constraint but the labels
        that stand alone, so that each is optimised by itself and the result compared with each of these: the maximum
        over all sets, without search.

        Args:
            some: at least one label a row that has any score.
        """
        worth = log_odds_above(probabilities, thresholds)
        best, value, least, of_least = self._together(worth)
        empty = ~best.any(axis=1)
        if some:
            forced = empty & (of_least > UNSCORED / 2)
            best[forced], value[forced] = least[forced], of_least[forced]
            empty &= ~forced
        for name in self.rules.alone:
            alone, of_alone = self._by_itself(name, worth)
            better = (of_alone >= value) & ((of_alone >= 0) | (some & (of_alone > UNSCORED / 2)))
            best[better], value[better] = alone[better], of_alone[better]
        return best

    def _members(self, rule: ParentRule) -> list[int]:
        return [self.index[one] for one in rule.members]

    def _together(self, worth: FloatArray) -> tuple[BoolArray, FloatArray, BoolArray, FloatArray]:
        """The best set without labels that stand alone and its value; the best that holds any label, and its value."""
        rows = len(worth)
        worth = worth.copy()
        worth[:, [self.index[name] for name in self.rules.alone]] = UNSCORED
        best, value = np.zeros(worth.shape, dtype=bool), np.zeros(rows)
        least, of_least = best.copy(), np.full(rows, -np.inf)
        rules = {self.index[rule.label]: rule for rule in self.rules.parents}
        parents = dict.fromkeys([*rules, *(parent for _, parent in self.implied)])
        free = set(range(len(self.labels)))
        for parent in parents:
            rule = rules.get(parent, ParentRule(self.labels[parent], ()))
            brought = [label for label, one in self.implied if one == parent]
            members = brought or self._members(rule)
            free -= {parent, *members}
            at = np.array([parent, *members])
            found = _best_of_group(worth[:, at], bool(brought), rule.brought is False, not rule.alone)
            best[:, at], gain, smallest, of_smallest = found
            value += gain
            better = of_smallest > of_least
            least[better] = False
            least[np.ix_(better, at)] = smallest[better]
            of_least[better] = of_smallest[better]
        for label in sorted(free):
            best[:, label] = worth[:, label] >= 0
            value += np.maximum(worth[:, label], 0)
            better = worth[:, label] > of_least
            least[better] = False
            least[better, label] = True
            of_least[better] = worth[better, label]
        return best, value, least, of_least

    def _by_itself(self, name: str, worth: FloatArray) -> tuple[BoolArray, FloatArray]:
        """The set of a label that stands alone, with the parents that it brings or that gain by standing there."""
        chosen, value = np.zeros(worth.shape, dtype=bool), worth[:, self.index[name]].copy()
        chosen[:, self.index[name]] = True
        for rule in self.rules.parents:
            if rule.label == name and not rule.alone:
                value[:] = UNSCORED
            if name not in rule.members or rule.brought is False:
                continue
            of_parent = worth[:, self.index[rule.label]] if rule.label not in self.rules.alone else UNSCORED
            needed = rule.brought or (name, rule.label) in self.pairs
            there = np.full(len(worth), True) if needed else np.asarray(of_parent >= 0)
            chosen[:, self.index[rule.label]] |= there
            value += np.where(there, of_parent, 0.0)
        return chosen, value


def _best_of_group(
    worth: FloatArray, brings: bool, excludes: bool, needs: bool
) -> tuple[BoolArray, FloatArray, BoolArray, FloatArray]:
    """The best set of a parent (column 0) and its members, and the best that is not empty, each with its value.

    Args:
        brings: members bring the parent; excludes: they do not stand beside it; needs: it is not valid without any.
    """
    rows, members = len(worth), worth[:, 1:]
    wanted: BoolArray = np.asarray(members >= 0)
    gain = np.where(wanted, members, 0.0).sum(axis=1)
    one = np.zeros(members.shape, dtype=bool)
    one[np.arange(rows), members.argmax(axis=1)] = True
    filled = np.where(wanted.any(axis=1, keepdims=True), wanted, one)  # at least one member, the best ones
    of_filled = np.where(filled, members, 0.0).sum(axis=1)
    none, off, on = np.zeros(members.shape, dtype=bool), np.zeros((rows, 1), dtype=bool), np.ones((rows, 1), dtype=bool)
    beside, of_beside = (filled, of_filled) if needs else (wanted, gain)
    if excludes:
        beside, of_beside = none, np.full(rows, UNSCORED if needs else 0.0)
    with_parent = np.hstack([on, beside]), worth[:, 0] + of_beside
    without = np.hstack([off, none if brings else wanted]), np.zeros(rows) if brings else gain
    smallest = np.hstack([off, filled]), np.full(rows, -np.inf) if brings else of_filled
    return (*_better(with_parent, without), *_better(with_parent, smallest))


def _better(first: tuple[BoolArray, FloatArray], second: tuple[BoolArray, FloatArray]) -> tuple[BoolArray, FloatArray]:
    wins = np.asarray(first[1] >= second[1])
    return np.where(wins[:, None], first[0], second[0]), np.where(wins, first[1], second[1])


def log_odds_above(probabilities: FloatArray, thresholds: FloatArray) -> FloatArray:
    """How far the log-odds of each probability lie above those of its threshold; never below 0 where the threshold is
    reached, whatever rounding does, and `UNSCORED` for NaN."""
    reached = np.nan_to_num(probabilities, nan=-np.inf) >= thresholds
    p, t = (np.clip(one, TINY, 1 - TINY) for one in (probabilities, thresholds))
    worth = np.log(p) - np.log1p(-p) - np.log(t) + np.log1p(-t)
    worth = np.where(reached, np.maximum(worth, 0.0), np.minimum(worth, -TINY))
    return np.asarray(np.where(np.isnan(probabilities), UNSCORED, worth))


def pairs_of(label_set: LabelSet) -> Pairs:
    """(label, parent) where the parent is a label of the set, but for those that `labels.rules` decide about."""
    rules = label_set.row_rules
    ruled = {rule.label for rule in rules.parents if rule.brought is not None}
    pairs = ((label_set.names[i], label_set.names[j]) for i, j in np.argwhere(label_set.ancestors()))
    return tuple(
        (label, parent)
        for label, parent in pairs
        if parent not in ruled and (label not in rules.alone or parent in rules.parents_of(label))
    )


def followed_pairs(label_set: LabelSet, gold: FloatArray) -> Pairs:
    """The pairs, where the gold has every parent with its label, and such a label at all; else none.

    Args:
        gold: [n, labels], of known rows.
    """
    pairs, held = pairs_of(label_set), gold > 0
    at = [(label_set.index[label], label_set.index[parent]) for label, parent in pairs]
    if not any(held[:, i].any() for i, _ in at) or any((held[:, i] & ~held[:, j]).any() for i, j in at):
        return ()
    return pairs


def hierarchy_of(label_set: LabelSet, gold: Sequence[Sequence[float]] | FloatArray) -> Hierarchy | None:
    """What rows of several labels keep to: the rules, and the parents where the gold has them; None where neither
    says anything."""
    if not label_set.is_multi_label:
        return None
    pairs = followed_pairs(label_set, np.asarray(gold, dtype=np.float64))
    tree = Hierarchy(tuple(label_set.names), pairs, label_set.row_rules)
    return tree if pairs or tree.rules else None
