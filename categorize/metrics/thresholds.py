"""Thresholds with the best F1 on validation, kept where they hold on rows that they were not tuned on.

A threshold t says: the label holds where its probability is at least t. Between two neighbouring probabilities every t
decides alike, so that trying one in each gap tries them all (`exact`). Among equals the gap nearest to 0.5 wins, and in
a gap 0.5 itself where it lies there, else the middle.

The best threshold of a rare or badly learned label follows the noise of a few rows: a label that training never saw has
the same probability everywhere, and its best F1 is that of giving it to every document. `best_per_label` and
`best_global` therefore tune again without each fifth of the rows and decide that fifth. Where these decisions do no
better, the next simpler threshold stays: the shared one for a label, 0.5 for all. Yang 2001, "A Study of Thresholding
Strategies for Text Categorization", and Fan & Lin 2007, "A Study on Threshold Selection for Multi-label
Classification", describe the fault and like remedies.
"""

from __future__ import annotations

import numpy as np

from categorize.labels import LabelSet
from categorize.predictions import BoolArray, FloatArray, Predictions

DEFAULT = 0.5
FOLDS = 5
LOWEST_F1 = 0.1  # of one label, on rows that its threshold was not tuned on; below it most of what it gives is wrong
CHANCE = 0.05  # significance at which the rows it gives must hold more gold than rows drawn at random
TIED_BITS = 20  # of the mantissa: probabilities that agree to six digits differ by rounding and batches alone


def best_per_label(probabilities: FloatArray, gold: FloatArray) -> list[float]:
    """The threshold with the best F1 of each label. Where that does not hold on other rows the label takes
    `best_global`, unless that gives it no better than by chance; 0.5 then, and where it has no gold row or was never
    scored.

    Args:
        probabilities: [n, labels]; NaN cells are never predicted, so that their gold counts as missed.
        gold: indicators [n, labels] without NaN.
    """
    shared = best_global(probabilities, gold)
    thresholds = []
    for label in range(gold.shape[1]):
        p, y = probabilities[:, [label]], gold[:, [label]]
        threshold = _confirmed(p, y, lowest_f1=LOWEST_F1)
        if threshold is None:
            chosen = _over(p, shared)
            threshold = shared if not chosen.any() or _beats_chance(chosen, y, ~np.isnan(p)) else DEFAULT
        thresholds.append(threshold)
    return thresholds


def best_global(probabilities: FloatArray, gold: FloatArray) -> float:
    """The one threshold for all labels with the best macro-F1, as `measures` defines it; 0.5 where that does not hold
    on other rows. Arguments as for `best_per_label`."""
    return _confirmed(probabilities, gold, lowest_f1=0.0) or DEFAULT


def swept(label_set: LabelSet, gold: FloatArray, predictions: Predictions) -> dict[str, float] | None:
    """Macro-F1 with the thresholds that are best on these very rows, one for all labels and one a label; None where a
    row has one label or there are no probabilities.

    No model can reach it on new rows: many published figures are such, and stand beside one that is honest. It chooses
    nothing.

    Args:
        gold: [n, labels] as `LabelSet.encode` gives it; rows of NaN are left out.
        predictions: of the same rows, calibrated.
    """
    known = ~np.isnan(gold).any(axis=1)
    if not label_set.is_multi_label or predictions.probabilities is None or not gold[known].any():
        return None
    gold = gold[known]
    p = np.where(predictions.is_valid[known][:, None], predictions.probabilities[known], np.nan)
    best = np.column_stack([_over(p[:, [j]], exact(p[:, [j]], gold[:, [j]])) for j in range(gold.shape[1])])
    return {"global": _macro_f1(_over(p, exact(p, gold)), gold), "per_label": _macro_f1(best, gold)}


def exact(probabilities: FloatArray, gold: FloatArray) -> float:
    """The one threshold with the best macro-F1 on these rows: an exact search. Arguments as for `best_per_label`.

    Lowering the threshold past one cell changes the F1 of that cell's label alone, so that one sort and running sums
    give macro-F1 at every threshold.
    """
    found: list[tuple[FloatArray, FloatArray]] = []
    for p, y in zip(probabilities.T, gold.T > 0, strict=True):
        scored = ~np.isnan(p)
        # A label without gold rows is not in the average, whatever is predicted.
        if not y.any() or not scored.any():
            continue
        order = np.argsort(-p[scored], kind="stable")
        hits = np.cumsum(y[scored][order])
        f1 = 2 * hits / (np.arange(1, len(hits) + 1) + y.sum())
        found.append((p[scored][order], np.diff(f1, prepend=0.0)))
    if not found:
        return DEFAULT
    p, change = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.argsort(-p, kind="stable")
    return _choose(p[order], np.cumsum(change[order]))


def _choose(p: FloatArray, score: FloatArray) -> float:
    """The threshold for the best score; 0.5 where none is better than predicting nothing.

    Args:
        p: probabilities, falling.
        score: what predicting the cells up to each one gives [len(p)]; predicting none gives 0.
    """
    mantissa, exponent = np.frexp(p)
    rounded = np.ldexp(np.round(np.ldexp(mantissa, TIED_BITS)), exponent - TIED_BITS)
    # Equal probabilities fall on one side of any threshold: only the last of a tie ends a gap.
    ends = np.append(rounded[:-1] > rounded[1:], True)
    upper, lower, score = p[ends], np.append(p[1:], -np.inf)[ends], score[ends]
    if score.max() <= 0:
        return DEFAULT
    # Running sums differ in their last digits where the scores are equal.
    best = score >= score.max() - 1e-12
    upper, lower = upper[best], lower[best]
    if ((lower < DEFAULT) & (upper >= DEFAULT)).any():
        return DEFAULT
    # Below the lowest probability seen nothing is known.
    lower = np.where(np.isfinite(lower), lower, upper)
    at = int(np.argmin(np.minimum(np.abs(upper - DEFAULT), np.abs(lower - DEFAULT))))
    middle = float((lower[at] + upper[at]) / 2)
    return middle if middle > lower[at] else float(upper[at])


def _confirmed(probabilities: FloatArray, gold: FloatArray, *, lowest_f1: float) -> float | None:
    """The best threshold where thresholds tuned without a fifth of the rows decide that fifth better than 0.5 does, and
    better than chance; else None."""
    threshold = exact(probabilities, gold)
    if threshold == DEFAULT:
        return DEFAULT
    fold = np.empty(len(gold), dtype=np.int64)
    fold[np.lexsort(gold.T)] = np.arange(len(gold)) % FOLDS  # rows with the same labels are dealt out
    chosen = np.zeros(gold.shape, dtype=bool)
    for held_out in (fold == number for number in range(FOLDS)):
        tuned = exact(probabilities[~held_out], gold[~held_out])
        chosen[held_out] = _over(probabilities[held_out], tuned)
    holds = _macro_f1(chosen, gold) > max(_macro_f1(_over(probabilities, DEFAULT), gold), lowest_f1)
    return threshold if holds and _beats_chance(chosen, gold, ~np.isnan(probabilities)) else None


def _over(probabilities: FloatArray, threshold: float) -> BoolArray:
    return np.asarray(np.nan_to_num(probabilities, nan=-np.inf) >= threshold)


def _macro_f1(chosen: BoolArray, gold: FloatArray) -> float:
    support = gold.sum(axis=0)
    f1 = 2 * (chosen & (gold > 0)).sum(axis=0) / np.maximum(chosen.sum(axis=0) + support, 1)
    return float(f1[support > 0].mean())


def _beats_chance(chosen: BoolArray, gold: FloatArray, scored: BoolArray) -> bool:
    """Whether the chosen cells hold more gold than as many drawn at random would (hypergeometric test); where most
    cells are gold, giving the label to all rows is not a fault."""
    from scipy.stats import hypergeom

    cells, positives = int(scored.sum()), int((gold > 0)[scored].sum())
    hits = int((chosen & (gold > 0)).sum())
    if 2 * positives > cells:
        return True
    return bool(hypergeom.sf(hits - 1, cells, positives, int(chosen.sum())) < CHANCE)
