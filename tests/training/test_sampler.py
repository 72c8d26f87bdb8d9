"""Batches: every row once an epoch, the same steps however they are cut, less padding, an order from seed and epoch
alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from categorize.training.sampler import StepBatchSampler


def sampler(
    lengths: list[int], batch: int, accumulation: int = 1, processes: int = 1, process: int = 0, **options: object
) -> StepBatchSampler:
    return StepBatchSampler(
        np.array(lengths),
        batch,
        accumulation=accumulation,
        processes=processes,
        process=process,
        seed=5,
        **options,  # type: ignore[arg-type]
    )


@settings(max_examples=200, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 300), min_size=1, max_size=200),
    batch=st.integers(1, 9),
    accumulation=st.integers(1, 4),
    processes=st.integers(1, 5),
    epoch=st.integers(0, 3),
    grouping=st.booleans(),
)
def test_every_row_comes_once_and_processes_stay_in_step(
    lengths: list[int], batch: int, accumulation: int, processes: int, epoch: int, grouping: bool
) -> None:
    seen: list[int] = []
    counts = set()
    for process in range(processes):
        one = sampler(lengths, batch, accumulation, processes, process, grouping=grouping)
        one.set_epoch(epoch)
        batches = list(one)
        assert len(batches) == len(one)
        assert all(0 < len(rows) <= batch for rows in batches)
        counts.add(len(batches))
        seen += [row for rows in batches for row in rows if row >= 0]
        assert all(len(rows) == 1 for rows in batches if rows[0] < 0), "a repeat stands alone"
    assert len(counts) == 1, "all processes make the same number of passes"
    assert sorted(seen) == list(range(len(lengths)))


@settings(max_examples=100, deadline=None)
@given(lengths=st.lists(st.integers(1, 100), min_size=1, max_size=150), epoch=st.integers(0, 2))
def test_a_step_holds_the_same_rows_however_it_is_cut(lengths: list[int], epoch: int) -> None:
    def steps(batch: int, accumulation: int, processes: int) -> list[list[int]]:
        result: list[list[int]] = []
        for process in range(processes):
            one = sampler(lengths, batch, accumulation, processes, process)
            one.set_epoch(epoch)
            for i, rows in enumerate(one):
                if i // accumulation == len(result):
                    result.append([])
                result[i // accumulation] += [row for row in rows if row >= 0]
        return [sorted(rows) for rows in result]

    reference = steps(8, 1, 1)
    assert steps(4, 2, 1) == reference
    assert steps(2, 4, 1) == reference
    assert steps(4, 1, 2) == reference
    assert steps(2, 2, 2) == reference


def test_the_order_changes_with_the_epoch_and_returns_with_it() -> None:
    one = sampler([3] * 40, 4)
    first = list(one)
    one.set_epoch(1)
    assert list(one) != first
    one.set_epoch(0)
    assert list(one) == first


def test_grouping_leaves_less_padding_than_chance() -> None:
    lengths = np.random.default_rng(0).integers(1, 200, size=4000).tolist()

    def padding(grouping: bool) -> float:
        batches = list(sampler(lengths, 16, grouping=grouping))
        area = sum(max(lengths[row] for row in rows) * len(rows) for rows in batches)
        return 1 - sum(lengths) / area

    assert padding(True) < 0.06
    assert padding(False) > 0.4
