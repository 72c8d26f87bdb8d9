"""The decision rule: how probabilities become labels. Fitted on validation, saved with the run, applied by all."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np

from categorize.label_rules import RowRules
from categorize.labels import LabelSet
from categorize.metrics.calibration import apply_temperature, fit_temperature
from categorize.metrics.thresholds import DEFAULT, best_global, best_per_label
from categorize.predictions import BoolArray, FloatArray, Predictions
from categorize.recipe.sections import DecisionSection, Task
from categorize.settings import Settings


@dataclass(frozen=True)
class DecisionRule(Settings):
    """From probabilities to labels.

    Attributes:
        task: of the label set.
        labels: names, in label-set order.
        temperature: divides the logits; 1 leaves the probabilities alone.
        thresholds: of each label, for a multi-label task: the label holds where its calibrated probability is at least
            this. Empty for the other tasks.
        fallback: `top`: a multi-label row with nothing over its threshold gets its most probable label.
        hierarchy: `parents`: a predicted label brings its ancestors with it (multi-label).
        ancestors: (label, ancestor) pairs of the label set that `parents` follows.
        rules: of the label set, for the labels of a multi-label row.

    >>> rule = DecisionRule("multi_label", ("joy", "fear"), thresholds=(0.5, 0.3), fallback="top")
    >>> rule.apply(Predictions(["a", "b"], np.array([[0.6, 0.4], [0.2, 0.1]]))).decided
    [['joy', 'fear'], ['joy']]
    """

    file_name: ClassVar[str] = "decision_rule.json"
    title: ClassVar[str] = "a decision rule"

    task: Task
    labels: tuple[str, ...]
    temperature: float = 1.0
    thresholds: tuple[float, ...] = ()
    fallback: Literal["none", "top"] = "none"
    hierarchy: Literal["none", "parents"] = "none"
    ancestors: tuple[tuple[str, str], ...] = ()
    rules: RowRules = field(default_factory=RowRules)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; rules where there are any."""
        data = super().to_dict()
        return data if self.rules else {key: value for key, value in data.items() if key != "rules"}

    @classmethod
    def default(cls, label_set: LabelSet) -> DecisionRule:
        """The rule where nothing was fitted: the most probable label, or each label with at least 0.5."""
        thresholds = (DEFAULT,) * len(label_set) if label_set.is_multi_label else ()
        rules = label_set.row_rules if label_set.is_multi_label else RowRules()
        return cls(label_set.task, tuple(label_set.names), thresholds=thresholds, rules=rules)

    @classmethod
    def fit(
        cls, section: DecisionSection, label_set: LabelSet, predictions: Predictions, gold: FloatArray
    ) -> DecisionRule:
        """Fit temperature and thresholds as the recipe says.

        Args:
            predictions: of the validation split, as the predictor gives them: before any rule.
            gold: [n, labels] of the same rows; rows of NaN are left out.

        Thresholds are tuned on the calibrated probabilities, for macro-F1 (`global`) or each label's F1 (`per_label`),
        before fallback and ancestors. Ancestors are followed where the gold does so: the set has labels with ancestors
        and no validation row has such a label without them; where `labels.rules` speak of them, these decide. Without
        validation rows or probabilities the rule is the default one, with the number and the fallback of the recipe.
        """
        rule = cls.default(label_set)
        if label_set.is_regression:
            return rule
        if label_set.is_multi_label:
            number = section.thresholds if isinstance(section.thresholds, float) else DEFAULT
            rule = replace(rule, thresholds=(number,) * len(label_set), fallback=section.fallback)
        known = ~np.isnan(gold).any(axis=1)
        if label_set.is_multi_label and (pairs := _followed_ancestors(label_set, gold[known])):
            rule = replace(rule, hierarchy="parents", ancestors=pairs)
        if predictions.probabilities is None or not known.any():
            return rule
        probabilities = np.asarray(predictions.probabilities, dtype=np.float64)[known]
        probabilities = np.where(predictions.is_valid[known][:, None], probabilities, np.nan)
        gold = gold[known]
        if section.calibration == "temperature":
            rule = replace(rule, temperature=fit_temperature(probabilities, gold, multi_label=label_set.is_multi_label))
        if label_set.is_multi_label and isinstance(section.thresholds, str):
            calibrated = apply_temperature(probabilities, rule.temperature, multi_label=True)
            if section.thresholds == "per_label":
                rule = replace(rule, thresholds=tuple(best_per_label(calibrated, gold)))
            else:
                rule = replace(rule, thresholds=(best_global(calibrated, gold),) * len(label_set))
        return rule

    def apply(self, predictions: Predictions) -> Predictions:
        """Predictions with calibrated probabilities and `decided`.

        Single label, ordinal: the most probable label that was scored; equal ones go to the first in label order. A row
        that is not valid has no label, and a single-label row without any scored label becomes not valid. A regression
        keeps its score and decides no label; a score that is not finite is not valid. Predictions that are decided
        already and have no probabilities (generated answers) come back as they are. Apply once: probabilities
        that are calibrated would be calibrated again.

        Raises:
            ValueError: the probabilities are not of this label set, or there is nothing to decide by.
        """
        if self.task == "regression":
            if predictions.score is None:
                raise ValueError("predictions of a regression have no score")
            valid = predictions.is_valid & np.isfinite(np.asarray(predictions.score, dtype=np.float64))
            return replace(predictions, valid=valid, decided=[[] for _ in predictions.ids])
        if predictions.probabilities is None:
            if predictions.decided is None:
                raise ValueError("predictions have neither probabilities nor decided labels")
            return predictions
        probabilities = np.asarray(predictions.probabilities, dtype=np.float64)
        if probabilities.ndim != 2 or probabilities.shape[1] != len(self.labels):
            raise ValueError(
                f"probabilities are {probabilities.shape}, the decision rule has {len(self.labels)} labels"
            )
        calibrated = apply_temperature(probabilities, self.temperature, multi_label=self.task == "multi_label")
        valid = predictions.is_valid.astype(bool)
        if self.task == "multi_label":
            over = np.asarray(np.nan_to_num(calibrated, nan=-np.inf) >= np.array(self.thresholds))
            chosen = self._completed(over, calibrated)
        else:
            chosen, scored = _top(calibrated)
            valid = valid & scored
        decided = self._names(chosen & valid[:, None])
        return replace(predictions, probabilities=calibrated, decided=decided, valid=valid)

    def complete(self, predictions: Predictions) -> Predictions:
        """Fallback and ancestors for documents whose segments were decided by this rule and voted.

        A majority for no label calls for the fallback again, and labels that won may lack their ancestors.
        """
        if self.task != "multi_label" or predictions.probabilities is None or predictions.decided is None:
            return predictions
        index = {name: j for j, name in enumerate(self.labels)}
        chosen = np.zeros((len(predictions), len(self.labels)), dtype=bool)
        for row, names in enumerate(predictions.decided):
            chosen[row, [index[name] for name in names]] = True
        chosen = self._completed(chosen, np.asarray(predictions.probabilities, dtype=np.float64))
        return replace(predictions, decided=self._names(chosen & predictions.is_valid[:, None]))

    def _names(self, chosen: BoolArray) -> list[list[str]]:
        return [[self.labels[j] for j in np.flatnonzero(row)] for row in chosen]

    def _completed(self, chosen: BoolArray, probabilities: FloatArray) -> BoolArray:
        if self.fallback == "top":
            chosen |= _top(probabilities)[0] & ~chosen.any(axis=1, keepdims=True)
        if self.hierarchy == "parents":
            index = {name: j for j, name in enumerate(self.labels)}
            # As many rounds as there are pairs reach the last ancestor of any chain.
            for _ in self.ancestors:
                for label, ancestor in self.ancestors:
                    chosen[:, index[ancestor]] |= chosen[:, index[label]]
        return self._settled(chosen, probabilities) if self.rules else chosen

    def _settled(self, chosen: BoolArray, probabilities: FloatArray) -> BoolArray:
        """What is chosen, as the rules have it. Of a label that stands alone and others, the more probable side stays;
        a parent that is not valid alone gets the most probable of its labels."""
        index = {name: j for j, name in enumerate(self.labels)}
        likely = np.nan_to_num(probabilities, nan=-np.inf)
        for name in self.rules.alone:
            others = chosen.copy()
            others[:, [index[one] for one in (name, *self.rules.parents_of(name))]] = False
            clash = chosen[:, index[name]] & others.any(axis=1)
            stays = likely[:, index[name]] >= np.where(others, likely, -np.inf).max(axis=1)
            chosen[:, index[name]] &= ~clash | stays
            chosen &= ~(others & (clash & stays)[:, None])
        for rule in self.rules.parents:
            parent, members = index[rule.label], [index[one] for one in rule.members]
            if not rule.alone:
                bare = chosen[:, parent] & ~chosen[:, members].any(axis=1)
                chosen[bare, np.array(members)[likely[bare][:, members].argmax(axis=1)]] = True
            if rule.brought is not None:
                held = chosen[:, members].any(axis=1)
                chosen[:, parent] = (chosen[:, parent] | held) if rule.brought else (chosen[:, parent] & ~held)
        return chosen


def _top(probabilities: FloatArray) -> tuple[BoolArray, BoolArray]:
    """The most probable label as bool [n, labels], and which rows have any that was scored."""
    scored = ~np.isnan(probabilities)
    top = np.nan_to_num(probabilities, nan=-np.inf).argmax(axis=1)
    chosen = np.zeros(probabilities.shape, dtype=bool)
    chosen[np.arange(len(top)), top] = True
    return chosen & scored, np.asarray(scored.any(axis=1))


def _followed_ancestors(label_set: LabelSet, gold: FloatArray) -> tuple[tuple[str, str], ...]:
    """(label, ancestor) pairs, where the gold has every ancestor with its label, and such a label at all; else none."""
    ruled = {rule.label for rule in label_set.row_rules.parents if rule.brought is not None}
    pairs = [(int(i), int(j)) for i, j in np.argwhere(label_set.ancestors()) if label_set.names[j] not in ruled]
    held = gold > 0
    if not any(held[:, i].any() for i, _ in pairs) or any((held[:, i] & ~held[:, j]).any() for i, j in pairs):
        return ()
    return tuple((label_set.names[i], label_set.names[j]) for i, j in pairs)
