"""Hierarchical precision, recall and F1: a label counts together with its group, so that a wrong label of the right
group is half right (Kiritchenko et al. 2006, "Learning and Evaluation in the Presence of Class Hierarchies")."""

from __future__ import annotations

import numpy as np

from categorize.labels import LabelSet
from categorize.metrics.arrays import INVALID
from categorize.predictions import FloatArray, IntArray

HIERARCHICAL = ("hierarchical_precision", "hierarchical_recall", "hierarchical_f1")


def with_ancestors(label_set: LabelSet) -> FloatArray:
    """0 or 1 [labels, nodes]: each label with its group. Nodes are the labels, then the groups; in a multi-label set a
    label of a group's name is that group's node."""
    if not label_set.is_multi_label:
        return np.hstack([np.eye(len(label_set)), label_set.group_members()])
    alone = [j for j, group in enumerate(label_set.groups) if group.name not in label_set.index]
    return np.hstack([np.eye(len(label_set)) + label_set.ancestors(), label_set.group_members()[:, alone]])


def node_counts(label_set: LabelSet, gold: IntArray, predicted: IntArray) -> FloatArray:
    """Of each row [n, 3] the nodes that gold and predictions share, that gold has, and that were predicted; an invalid
    row predicts none.

    Args:
        gold, predicted: label positions [n] or indicators [n, labels].
    """
    tree = with_ancestors(label_set)
    if gold.ndim == 1:
        held, given = tree[gold], np.where((predicted != INVALID)[:, None], tree[predicted], 0.0)
    else:
        held, given = ((np.maximum(values, 0) @ tree > 0).astype(np.float64) for values in (gold, predicted))
        given[(predicted == INVALID).any(axis=1)] = 0.0
    return np.stack([(held * given).sum(axis=1), held.sum(axis=1), given.sum(axis=1)], axis=1)


def hierarchical(counts: FloatArray) -> dict[str, FloatArray]:
    """Precision, recall and F1 of summed `node_counts` [..., 3]; 0 / 0 is 0."""
    shared, held, given = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    pairs = ((shared, given), (shared, held), (2 * shared, held + given))
    values = (np.divide(above, below, out=np.zeros_like(above), where=below > 0) for above, below in pairs)
    return dict(zip(HIERARCHICAL, values, strict=True))
