"""The decision rule: how probabilities become labels. Fitted on validation, saved with the run, applied by all."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np

from categorize.label_rules import RowRules
from categorize.labels import LabelSet
from categorize.metrics.calibration import apply_temperature, fit_temperature
from categorize.metrics.curves import Curves
from categorize.metrics.hierarchy import Hierarchy, followed_pairs, pairs_of
from categorize.metrics.rejection import Rejection, fit_rejection
from categorize.metrics.stated_precision import NEVER, lowest_thresholds
from categorize.metrics.thresholds import DEFAULT, best_global, best_per_label
from categorize.predictions import BoolArray, FloatArray, Predictions
from categorize.recipe.decision_sections import DecisionSection
from categorize.recipe.label_sections import Task
from categorize.settings import Settings

ROUNDING = 1e-12
NAMED = 10  # labels in a note


@dataclass(frozen=True)
class DecisionRule(Settings):
    """From probabilities to labels.

    Attributes:
        task: of the label set.
        labels: names, in label-set order.
        temperature: divides the logits; 1 leaves the probabilities alone.
        curves: calibrate label by label; None leaves the probabilities alone.
        reject: leaves out rows that are out of scope; None: none is.
        thresholds: of each label, for a multi-label task: the label holds where its calibrated probability is at least
            this. Empty for the other tasks.
        fallback: `top`: a multi-label row with nothing over its threshold gets its most probable label.
        hierarchy: of several labels a row, see `metrics.hierarchy`. `parents`: a predicted label brings its ancestors;
            `capped`: it is at most as probable as they, and holds only beside them; `exact`: the best set of labels
            that keeps to ancestors and rules.
        ancestors: (label, ancestor) pairs of the label set that are followed.
        ordinal: of ordered labels, the most probable one or the median.
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
    hierarchy: Literal["none", "parents", "capped", "exact"] = "none"
    ancestors: tuple[tuple[str, str], ...] = ()
    rules: RowRules = field(default_factory=RowRules)
    curves: Curves | None = None
    reject: Rejection | None = None
    ordinal: Literal["mode", "median"] = "mode"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; rules, curves, rejection and a median where there are any."""
        left_out = {name for name in ("rules", "curves", "reject") if not getattr(self, name)}
        left_out |= {"ordinal"} if self.ordinal == "mode" else set()
        return {key: value for key, value in super().to_dict().items() if key not in left_out}

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
        """Fit calibration and thresholds as the recipe says.

        Args:
            predictions: of the validation split, as the predictor gives them: before any rule.
            gold: [n, labels] of the same rows; rows of NaN are left out.

        Thresholds are tuned on the calibrated probabilities, for macro-F1 (`global`), each label's F1 (`per_label`) or
        a stated precision, before fallback and ancestors. Ancestors are followed where the gold does so: the set has
        labels with ancestors and no validation row has such a label without them, or in any case where the recipe names
        a `hierarchy`; where `labels.rules` speak of them, these decide. Without validation rows or probabilities the
        rule is the default one, with the number and the fallback of the recipe.
        """
        rule = cls.default(label_set)
        if label_set.is_regression:
            return rule
        if label_set.task == "ordinal":
            rule = replace(rule, ordinal=section.ordinal)
        if label_set.is_multi_label:
            number = section.thresholds if isinstance(section.thresholds, float) else DEFAULT
            rule = replace(rule, thresholds=(number,) * len(label_set), fallback=section.fallback)
        known = ~np.isnan(gold).any(axis=1)
        if label_set.is_multi_label and section.hierarchy is not None:
            rule = replace(rule, hierarchy=section.hierarchy, ancestors=pairs_of(label_set))
        elif label_set.is_multi_label and (pairs := followed_pairs(label_set, gold[known])):
            rule = replace(rule, hierarchy="parents", ancestors=pairs)
        if predictions.probabilities is None or not known.any():
            return rule
        probabilities = np.asarray(predictions.probabilities, dtype=np.float64)[known]
        probabilities = np.where(predictions.is_valid[known][:, None], probabilities, np.nan)
        gold = gold[known]
        if section.calibration == "temperature":
            rule = replace(rule, temperature=fit_temperature(probabilities, gold, multi_label=label_set.is_multi_label))
        elif section.calibration in ("isotonic", "platt"):
            rule = replace(rule, curves=Curves.fit(section.calibration, rule.labels, probabilities, gold))
        if section.reject is not None:
            scope = None if predictions.scope is None else predictions.scope[known]
            calibrated = rule._calibrated(probabilities)
            rule = replace(rule, reject=fit_rejection(section.reject, rule.labels, calibrated, scope, gold))
        if label_set.is_multi_label and isinstance(section.thresholds, str):
            calibrated = rule._calibrated(probabilities)
            if section.precision is not None:
                together = section.thresholds == "global"
                found = lowest_thresholds(calibrated, gold, section.precision, together=together)
                rule = replace(rule, thresholds=tuple(found))
            elif section.thresholds == "per_label":
                rule = replace(rule, thresholds=tuple(best_per_label(calibrated, gold)))
            else:
                rule = replace(rule, thresholds=(best_global(calibrated, gold),) * len(label_set))
        return rule

    @property
    def notes(self) -> list[str]:
        """What a user must know: labels that no probability is enough for, since on validation they did not reach the
        stated precision, and that all rows are rejected."""
        never = [name for name, threshold in zip(self.labels, self.thresholds, strict=False) if threshold >= NEVER]
        more = f" and {len(never) - NAMED} more" if len(never) > NAMED else ""
        notes = []
        if never:
            notes.append(
                f"decision.precision is not reached on validation by {len(never)} of {len(self.labels)} labels, which "
                f"are never given: {', '.join(never[:NAMED])}{more}"
            )
        if self.reject is not None and self.reject.by == "softmax" and self.reject.threshold >= NEVER:
            notes.append("decision.reject.accuracy is not reached on validation: every row is rejected")
        return notes

    def apply(self, predictions: Predictions) -> Predictions:
        """Predictions with calibrated probabilities and `decided`.

        Single label, ordinal: the most probable label that was scored; equal ones go to the first in label order. With
        `ordinal: median` the lowest label up to which half of the probability lies, whose expected distance in ranks is
        the least. A row that is not valid has no label, and a row of one label without any scored label becomes not
        valid. A regression keeps its score and decides no label; a score that is not finite is not valid. Predictions
        that are decided already and have no probabilities (generated answers) come back as they are. Apply once:
        probabilities that are calibrated would be calibrated again.

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
        calibrated = self._calibrated(probabilities)
        valid = predictions.is_valid.astype(bool)
        if self.task == "multi_label":
            chosen = self._several(calibrated)
        else:
            chosen, scored = (_median if self.ordinal == "median" else _top)(calibrated)
            valid = valid & scored
        scope = predictions.scope
        if self.reject is not None:
            scope = self.reject.confidence(self.labels, calibrated, scope)
            rejected = scope < self.reject.threshold
            if self.reject.label is None:
                valid = valid & ~rejected
            else:
                chosen[rejected] = [name == self.reject.label for name in self.labels]
        decided = self._names(chosen & valid[:, None])
        return replace(predictions, probabilities=calibrated, decided=decided, valid=valid, scope=scope)

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
        names: list[list[str]] = [[] for _ in chosen]
        for row, j in zip(*map(np.ndarray.tolist, np.nonzero(chosen)), strict=True):
            names[row].append(self.labels[j])
        return names

    def _calibrated(self, probabilities: FloatArray) -> FloatArray:
        several = self.task == "multi_label"
        calibrated = apply_temperature(probabilities, self.temperature, multi_label=several)
        if self.curves is not None:
            calibrated = self.curves.apply(self.labels, calibrated, multi_label=several)
        return self._tree.capped(calibrated) if self.hierarchy == "capped" else calibrated

    def _several(self, calibrated: FloatArray) -> BoolArray:
        """Bool [n, labels] of several labels a row, from calibrated probabilities."""
        thresholds = np.array(self.thresholds)
        if self.hierarchy == "exact":
            return self._tree.exact(calibrated, thresholds, some=self.fallback == "top")
        over = np.asarray(np.nan_to_num(calibrated, nan=-np.inf) >= thresholds)
        return self._completed(self._tree.beneath(over) if self.hierarchy == "capped" else over, calibrated)

    def _completed(self, chosen: BoolArray, probabilities: FloatArray) -> BoolArray:
        if self.fallback == "top":
            chosen |= _top(probabilities)[0] & ~chosen.any(axis=1, keepdims=True)
        if self.hierarchy != "none":
            chosen = self._tree.with_parents(chosen)
        return self._tree.settled(chosen, probabilities) if self.rules else chosen

    @property
    def _tree(self) -> Hierarchy:
        return Hierarchy(self.labels, self.ancestors, self.rules)


def _top(probabilities: FloatArray) -> tuple[BoolArray, BoolArray]:
    """The most probable label as bool [n, labels], and which rows have any that was scored."""
    scored = ~np.isnan(probabilities)
    top = np.nan_to_num(probabilities, nan=-np.inf).argmax(axis=1)
    chosen = np.zeros(probabilities.shape, dtype=bool)
    chosen[np.arange(len(top)), top] = True
    return chosen & scored, np.asarray(scored.any(axis=1))


def _median(probabilities: FloatArray) -> tuple[BoolArray, BoolArray]:
    """The same with the median of ordered labels: the first scored one up to which half of the probability lies."""
    scored = ~np.isnan(probabilities)
    cumulative = np.nan_to_num(probabilities).cumsum(axis=1)
    # Sums of halves may miss one half by rounding.
    reached = scored & (cumulative >= cumulative[:, -1:] / 2 * (1 - ROUNDING))
    chosen = np.zeros(probabilities.shape, dtype=bool)
    chosen[np.arange(len(chosen)), reached.argmax(axis=1)] = True
    return chosen & scored, np.asarray(scored.any(axis=1))
