"""Pairs of texts with the likeness that their vectors should have (Tunstall and others, 2022, Efficient Few-Shot
Learning Without Prompts)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from categorize.predictions import FloatArray, IntArray


@dataclass(frozen=True)
class Pairs:
    """Positions of two texts [pairs] each, and whether they have a label in common, 1 or 0 [pairs]."""

    first: IntArray
    second: IntArray
    alike: FloatArray

    def __len__(self) -> int:
        return len(self.alike)


def draw_pairs(targets: FloatArray, each: int, seed: int) -> Pairs:
    """For each text so many pairs with a text of its label and so many with one of another, in random order.

    Texts of several labels are alike by the share of labels that they have in common (Jaccard). A text without a
    partner of one kind gets none of it.

    Args:
        targets: [texts, labels], 1 where a text has a label.

    >>> pairs = draw_pairs(np.array([[1.0, 0], [1, 0], [0, 1]]), each=1, seed=0)
    >>> sorted(zip(pairs.first.tolist(), pairs.second.tolist(), pairs.alike.tolist()))[:2]
    [(0, 1, 1.0), (0, 2, 0.0)]
    """
    rng = np.random.default_rng(seed)
    first, second, alike = [], [], []
    held = targets > 0
    for text in range(len(targets)):
        shared = (held & held[text]).sum(axis=1)
        either = np.maximum((held | held[text]).sum(axis=1), 1)
        likeness = np.where((held | held[text]).any(axis=1), shared / either, 1.0)
        near, far = np.flatnonzero(likeness > 0), np.flatnonzero(likeness == 0)
        for partners in (near[near != text], far):
            if len(partners):
                drawn = rng.choice(partners, size=each)
                first += [text] * each
                second += drawn.tolist()
                alike += likeness[drawn].tolist()
    order = rng.permutation(len(alike))
    one, other = (np.array(side, dtype=np.int64)[order] for side in (first, second))
    return Pairs(one, other, np.array(alike)[order])
