"""Class weights: documents count, however many segments they were cut into."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from categorize.labels import Label, LabelSet
from categorize.recipe.sections import LabelsSection
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
