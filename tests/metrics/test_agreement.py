"""Agreement, consensus and corrected shares against the reference implementations of other packages."""

from __future__ import annotations

import numpy as np
import pytest

from categorize.metrics.agreement import dawid_skene, fleiss_kappa, krippendorff_alpha, majority, masi_distance
from categorize.metrics.corrected import ReviewedSample


@pytest.fixture(scope="module")
def random() -> np.random.Generator:
    return np.random.default_rng(7)


def test_fleiss_kappa_equals_statsmodels(random):
    from statsmodels.stats.inter_rater import fleiss_kappa as reference

    votes = random.integers(0, 4, (200, 3))
    votes[:120, 1] = votes[:120, 0]
    counts = np.stack([(votes == value).sum(axis=1) for value in range(4)], axis=1)
    assert fleiss_kappa(votes, 4) == pytest.approx(reference(counts), abs=1e-9)


@pytest.mark.parametrize("sets", [False, True])
def test_krippendorffs_alpha_equals_nltk_also_where_ratings_are_missing(random, sets):
    from nltk.metrics.agreement import AnnotationTask
    from nltk.metrics.distance import binary_distance
    from nltk.metrics.distance import masi_distance as reference

    def rating(_: int) -> frozenset[int]:
        return frozenset(random.choice(5, random.integers(1, 4) if sets else 1, replace=False).tolist())

    rows = [[rating(i) for i in range(random.integers(1, 4))] for _ in range(80)]
    for row in rows[:50]:
        row[1:] = [row[0]] * (len(row) - 1)
    triples = [(f"coder {j}", i, value) for i, row in enumerate(rows) for j, value in enumerate(row)]
    task = AnnotationTask(triples, distance=reference if sets else binary_distance)
    assert krippendorff_alpha(rows, masi_distance if sets else None) == pytest.approx(task.alpha(), abs=1e-9)


def test_dawid_and_skene_beat_the_majority_and_find_how_good_each_rater_is(random):
    right = (0.9, 0.8, 0.6)
    truth = random.integers(0, 5, 5000)
    votes = np.stack(
        [np.where(random.random(5000) < p, truth, (truth + random.integers(1, 5, 5000)) % 5) for p in right], 1
    )
    joined = dawid_skene(votes, 5)
    assert (joined.value == truth).mean() > (majority(votes, 5).value == truth).mean() + 0.01
    assert joined.accuracy == pytest.approx(right, abs=0.02)
    # A confidence is what it says.
    sure = joined.confidence > 0.9
    assert (joined.value == truth)[sure].mean() == pytest.approx(joined.confidence[sure].mean(), abs=0.02)


def test_a_row_without_a_vote_stays_without_a_value():
    votes = np.array([[0, -1], [-1, -1], [1, 1], *[[0, 0], [1, 1]] * 5])
    for joined in (majority(votes, 2), dawid_skene(votes, 2)):
        assert joined.value[:3].tolist() == [0, -1, 1]
        assert np.isnan(joined.confidence[:3]).tolist() == [False, True, False]


def test_ppi_equals_its_authors_package(random):
    from ppi_py import ppi_mean_ci, ppi_mean_pointestimate

    truth = (random.random(4000) < 0.3).astype(float)
    labels = np.where(random.random(4000) < 0.85, truth, 1 - truth)
    seen = np.zeros(4000, dtype=bool)
    seen[random.choice(4000, 300, replace=False)] = True
    sample = ReviewedSample(labels[:, None], np.where(seen, truth, np.nan)[:, None], np.zeros(4000, dtype=int))
    (found,) = sample.power_tuned()
    given = truth[seen], labels[seen], labels[~seen]
    low, high = ppi_mean_ci(*given, alpha=0.05)
    assert (found.value, found.low, found.high) == pytest.approx(
        (float(ppi_mean_pointestimate(*given)[0]), float(low[0]), float(high[0])), abs=1e-9
    )


def test_corrected_intervals_hold_the_truth_where_counted_labels_miss_it(random):
    """95% intervals of 300 samples by strata with unequal chances: of a share, and of a difference between groups."""
    rows, samples = 3000, 300
    hits = dict.fromkeys(("naive", "design", "power", "naive difference", "design difference"), 0)
    group = np.arange(rows) % 2 == 0
    for _ in range(samples):
        truth = (random.random(rows) < np.where(group, 0.35, 0.25)).astype(float)
        labels = np.where(random.random(rows) < np.where(truth == 1, np.where(group, 0.6, 0.9), 0.85), truth, 1 - truth)
        stratum = labels.astype(int)
        seen = np.zeros(rows, dtype=bool)
        for one, size in ((0, 150), (1, 250)):
            seen[random.choice(np.flatnonzero(stratum == one), size, replace=False)] = True
        sample = ReviewedSample(labels[:, None], np.where(seen, truth, np.nan)[:, None], stratum)
        corrected, naive = sample.difference(group, ~group)
        found = {"naive": sample.naive(), "design": sample.design_based(), "power": sample.power_tuned()}
        for name, (one,) in found.items():
            hits[name] += one.low <= 0.3 <= one.high
        hits["naive difference"] += naive[0].low <= 0.1 <= naive[0].high
        hits["design difference"] += corrected[0].low <= 0.1 <= corrected[0].high
    assert min(hits["design"], hits["power"], hits["design difference"]) > 0.91 * samples
    assert max(hits["naive"], hits["naive difference"]) < 0.5 * samples


def test_a_stratum_that_nobody_reviewed_is_not_passed_over():
    with pytest.raises(ValueError, match="stratum 1"):
        ReviewedSample(np.ones((2, 1)), np.array([[1.0], [np.nan]]), np.array([0, 1]))
