"""Balanced training: classes come as often as the mode says, drawn by seed and epoch, alike over any processes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from categorize import load_predictor
from categorize.labels import Label, LabelSet
from categorize.methods.registry import METHODS
from categorize.recipe.command import main
from categorize.recipe.loss_sections import Repeat
from categorize.train import train
from categorize.training.balance import Balance, build_balance, classes_of
from categorize.training.sampler import StepBatchSampler
from tests.session.collections import write_collection, write_recipe

MODES = ("upsample", "downsample", "weighted")
CLASSES = st.lists(st.integers(0, 4), min_size=1, max_size=80).map(lambda c: np.array(c, dtype=np.int64))


@given(CLASSES, st.sampled_from(MODES), st.integers(0, 5))
def test_an_epoch_has_the_rows_it_announces_and_every_class_alike(classes: np.ndarray, mode: str, seed: int) -> None:  # type: ignore[type-arg]
    balance = Balance(mode, classes)
    drawn = balance.draw(np.random.default_rng(seed))
    assert len(drawn) == balance.rows
    counts = Counter(classes[drawn].tolist())
    rows = Counter(classes.tolist())
    if mode == "upsample":
        assert set(counts.values()) == {max(rows.values())}
        assert set(drawn.tolist()) == set(range(len(classes)))  # no row is lost
        repeats = Counter(drawn.tolist())
        for number in rows:
            of_class = [repeats[i] for i in np.flatnonzero(classes == number).tolist()]
            assert max(of_class) - min(of_class) <= 1
    elif mode == "downsample":
        assert set(counts.values()) == {min(rows.values())}
        assert len(set(drawn.tolist())) == len(drawn)


def test_weighted_draws_even_the_classes_out() -> None:
    classes = np.array([0] * 9000 + [1] * 900 + [2] * 100)
    counts = np.bincount(classes[Balance("weighted", classes).draw(np.random.default_rng(1))])
    assert counts.sum() == 10_000
    assert np.abs(counts / 10_000 - 1 / 3).max() < 0.02


def label_set_of(width: int, task: str = "multi_label") -> LabelSet:
    return LabelSet(task, tuple(Label(str(number)) for number in range(width)))  # type: ignore[arg-type]


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=60), st.integers(0, 3))
def test_rows_repeat_by_their_rarest_label(rows: list[list[bool]], seed: int) -> None:
    """Gupta et al. 2019, section 4.1: r(c) = max(1, sqrt(t / f(c))), a row's is the largest of its labels."""
    targets, threshold = np.array(rows, dtype=float), 0.4
    balance = build_balance(Repeat(type="repeat", threshold=threshold), label_set_of(3), targets)
    assert balance is not None
    expected = [
        max([1.0, *(max(1.0, (threshold / targets[:, j].mean()) ** 0.5) for j in range(3) if row[j])]) for row in rows
    ]
    np.testing.assert_allclose(balance.factors, expected)
    drawn = np.bincount(balance.draw(np.random.default_rng(seed)), minlength=len(rows))
    assert drawn.sum() == balance.rows
    assert (drawn >= np.floor(expected)).all(), "no row is lost"
    assert abs(balance.rows - sum(expected)) <= 1


def test_repeats_are_right_on_average_and_the_same_by_seed() -> None:
    targets = np.eye(3)[[0] * 900 + [1] * 90 + [2] * 10]
    balance = build_balance(Repeat(type="repeat", threshold=0.1), label_set_of(3, "single_label"), targets)
    assert balance is not None
    counts = sum(np.bincount(balance.draw(np.random.default_rng(seed)), minlength=1000) for seed in range(300)) / 300
    assert counts[:900].tolist() == [1.0] * 900
    np.testing.assert_allclose(counts[900:990].mean(), (0.1 / 0.09) ** 0.5, rtol=0.01)
    np.testing.assert_allclose(counts[990:], 10**0.5, atol=0.15)
    one, again = (balance.draw(np.random.default_rng((3, 1))) for _ in range(2))
    assert one.tolist() == again.tolist()
    assert build_balance("repeat", label_set_of(3, "single_label"), targets).rows == 1000  # type: ignore[union-attr]


def test_the_class_of_several_labels_is_the_rarest_and_of_none_its_own() -> None:
    label_set = LabelSet("multi_label", (Label("a"), Label("b"), Label("c")))
    targets = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 0, 0], [1, 0, 0]], dtype=float)
    assert classes_of(label_set, targets).tolist() == [0, 1, 2, 3, 0]
    assert build_balance(None, label_set, targets) is None


@given(
    CLASSES,
    st.sampled_from(MODES),
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(0, 3),
)
def test_steps_are_the_same_rows_over_any_processes(
    classes: np.ndarray,
    mode: str,
    batch: int,
    accumulation: int,
    processes: int,
    epoch: int,  # type: ignore[type-arg]
) -> None:
    def sampler(process: int, batch: int, accumulation: int, processes: int) -> StepBatchSampler:
        made = StepBatchSampler(
            np.arange(1, len(classes) + 1),
            batch,
            accumulation=accumulation,
            processes=processes,
            process=process,
            seed=5,
            balance=Balance(mode, classes),
        )
        made.set_epoch(epoch)
        return made

    alone = sampler(0, batch * accumulation * processes, 1, 1)
    assert len(list(alone)) == len(alone)
    expected = Counter(i for step in alone for i in step)
    seen: Counter[int] = Counter()
    for process in range(processes):
        one = sampler(process, batch, accumulation, processes)
        batches = list(one)
        assert len(batches) == len(one)
        seen.update(i for part in batches for i in part if i >= 0)
    assert seen == expected
    assert sum(seen.values()) == Balance(mode, classes).rows


def run(*argv: str) -> int:
    return main("run_seqcls.py", "seqcls", train, METHODS, list(argv))


@pytest.mark.parametrize("mode", [*MODES, "{type: repeat, threshold: 0.9}"])
def test_tfidf_learns_from_balanced_rows_and_predicts_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], mode: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_collection(tmp_path / "rows.csv")
    recipe = write_recipe(tmp_path / "r.yaml", model={"method": "tfidf"}, training=None)
    assert run(str(recipe), f"training.balance={mode}") == 0
    named = "repeat" if "repeat" in mode else mode
    assert f"training.balance: {named}: an epoch has" in capsys.readouterr().out
    manifest = json.loads(Path("outputs/r/run.json").read_text())
    assert manifest["details"]["features"] > 0
    assert load_predictor("outputs/r").predict_texts(["good movie", "bad bad text"]).decided == [["good"], ["bad"]]


def test_a_head_trains_on_the_balanced_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny: object
) -> None:
    monkeypatch.chdir(tmp_path)
    write_collection(tmp_path / "rows.csv")
    recipe = write_recipe(tmp_path / "r.yaml", model={"name_or_path": str(tiny("bert")), "max_length": 16})  # type: ignore[operator]
    assert run(str(recipe), "training.balance=upsample", "--dry-run") == 0
    assert "training.balance: upsample" in capsys.readouterr().out
    assert run(str(recipe), "training.balance=upsample") == 0
    manifest = json.loads(Path("outputs/r/run.json").read_text())
    data = capsys.readouterr().out
    each = int(data.split("rows, ")[-1].split(" of each")[0])
    assert manifest["training"]["rows"] == 2 * 2 * each  # two epochs, two labels
    assert manifest["details"]["steps"] == 2 * -(-2 * each // 8)
