"""Class weights: documents count, however many segments they were cut into."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from categorize.labels import Label, LabelSet
from categorize.recipe.label_sections import LabelsSection
from categorize.recipe.loss_sections import EffectiveNumber
from categorize.training.class_weights import class_weights


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
def test_segments_that_share_a_documents_weight_balance_as_documents_do(task: Any) -> None:
    labels = LabelSet.from_section(LabelsSection(task=task, names=["a", "b", "never"]))
    documents = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0]], dtype=float)
    counts = [1, 9, 3, 2]
    segments = np.repeat(documents, counts, axis=0)
    weights = np.repeat(1 / np.array(counts), counts)
    whole = class_weights("balanced", labels, documents)
    np.testing.assert_allclose(class_weights("balanced", labels, segments, weights), whole)
    assert whole[2] == 1.0  # a label that no row has
    assert whole[1] > whole[0]
    assert not np.allclose(class_weights("balanced", labels, segments), whole)


def test_a_label_of_every_row_and_one_of_none_weigh_one() -> None:
    targets = np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    labels = LabelSet("multi_label", (Label("all"), Label("some"), Label("none")))
    assert class_weights("balanced", labels, targets).tolist() == [1.0, 2.0, 1.0]


def test_effective_numbers_are_those_of_the_paper() -> None:
    """Cui et al. 2019, equation 2 and section 4: inverses of (1 - beta^n) / (1 - beta), scaled to their number."""
    targets = np.eye(3)[[0] * 90 + [1] * 9 + [2]]
    labels = LabelSet("single_label", tuple(map(Label, "abc")))
    section = EffectiveNumber(type="effective_number", beta=0.9)
    paper = (1 - 0.9) / (1 - 0.9 ** np.array([90, 9, 1]))
    np.testing.assert_allclose(class_weights(section, labels, targets), paper / paper.sum() * 3)
    by_default = class_weights("effective_number", labels, targets)
    np.testing.assert_allclose(by_default, class_weights(section.model_copy(update={"beta": 0.999}), labels, targets))


def test_effective_numbers_lie_between_no_weights_and_balanced_ones() -> None:
    targets = np.column_stack([np.arange(100) < n for n in (50, 10, 2, 0)]).astype(float)
    labels = LabelSet("multi_label", tuple(map(Label, "abcd")))

    def weights(beta: float) -> Any:
        return class_weights(EffectiveNumber(type="effective_number", beta=beta), labels, targets)

    balanced = class_weights("balanced", labels, targets)
    np.testing.assert_allclose(weights(1e-9), 1.0, atol=1e-6)
    np.testing.assert_allclose(weights(1 - 1e-9), balanced, rtol=1e-5)
    assert (weights(0.9)[1:3] > 1).all()
    assert (weights(0.9)[1:3] < balanced[1:3]).all()
