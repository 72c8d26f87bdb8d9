"""A training that is asked to stop saves behind its step; resumed, it ends as the one that was not stopped."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from categorize.errors import StoppedEarly
from categorize.training.checkpoints import is_complete, last_complete
from categorize.training.stopping import deferred, requested, stop_on_signals
from tests.training.test_resume import trainer_with_dropout, weights

Tiny = Callable[..., Path]
EPOCHS = {"eval_strategy": "epoch", "save_strategy": "epoch"}
STEPS = {"eval_strategy": "steps", "eval_steps": 3, "save_strategy": "steps", "save_steps": 3}
STRATEGIES: dict[str, dict[str, Any]] = {
    "epochs": EPOCHS,
    "steps": STEPS,
    "never saved": {"save_strategy": "no"},
    "no optimizer": {**EPOCHS, "save_only_model": True},
    "ends within an epoch": {**EPOCHS, "max_steps": 9},
}  # fmt: skip


class Ask(TrainerCallback):
    """Behind a step: sends this process a signal, or stops the training as a callback may."""

    def __init__(self, step: int, what: signal.Signals | None) -> None:
        self.step, self.what = step, what

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step and self.what is None:
            control.should_training_stop = True
        elif state.global_step == self.step:
            os.kill(os.getpid(), self.what)


def build(tiny: Tiny, folder: Path, strategy: str) -> Any:
    """Twelve steps in two epochs; the measure is best behind the first."""
    best = {"load_best_model_at_end": True, "metric_for_best_model": "sum", "greater_is_better": False}
    options = STRATEGIES[strategy]
    return trainer_with_dropout(tiny, folder, **options, **(best if "eval_strategy" in options else {}))


@pytest.fixture(scope="module")
def whole(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """The trainer of each strategy that was never stopped."""
    trained: dict[str, Any] = {}

    def get(strategy: str) -> Any:
        if strategy not in trained:
            trained[strategy] = build(tiny, tmp_path_factory.mktemp("whole"), strategy)
            trained[strategy].train()
        return trained[strategy]

    return get


def evaluations(trainer: Any) -> list[tuple[int, float]]:
    return [(entry["step"], entry["eval_sum"]) for entry in trainer.state.log_history if "eval_sum" in entry]


@pytest.mark.parametrize(
    ("strategy", "asked", "what"),
    [
        ("epochs", 4, signal.SIGTERM),
        ("epochs", 6, signal.SIGUSR1),  # the epoch's evaluation belongs to this start
        ("epochs", 12, signal.SIGTERM),  # nothing is saved any more: the best checkpoint must be found
        ("epochs", 8, None),
        pytest.param("steps", 4, signal.SIGUSR2, marks=pytest.mark.slow),
        pytest.param("steps", 6, signal.SIGTERM, marks=pytest.mark.slow),
        ("never saved", 5, signal.SIGTERM),
        pytest.param("no optimizer", 8, signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("ends within an epoch", 9, signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_a_stopped_training_is_resumed_to_the_end_of_the_one_that_was_not(
    tiny: Tiny, tmp_path: Path, whole: Callable[[str], Any], strategy: str, asked: int, what: signal.Signals | None
) -> None:
    stopped = build(tiny, tmp_path / "run", strategy)
    stopped.add_callback(Ask(asked, what))
    cause = what.name if what is not None else "a callback"
    said = rf"checkpoint-\d+: .* by {cause} .* with --resume"
    with pytest.raises(StoppedEarly, match=said), stop_on_signals(), deferred():
        stopped.train()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL and requested() is None
    (tmp_path / "run").rename(tmp_path / "moved")
    checkpoint = last_complete(tmp_path / "moved")
    assert checkpoint is not None and is_complete(checkpoint)
    assert int(checkpoint.name[11:]) == stopped.state.global_step <= asked + 1
    resumed = build(tiny, tmp_path / "moved", strategy)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert resumed.state.global_step == whole(strategy).state.global_step
    assert evaluations(resumed) == evaluations(whole(strategy))
    assert resumed.state.best_global_step == whole(strategy).state.best_global_step != 12
    for name, value in weights(whole(strategy)).items():
        assert torch.equal(value, weights(resumed)[name]), name


def test_a_signal_behind_the_last_step_ends_the_run_there() -> None:
    with pytest.raises(StoppedEarly, match="stopped by SIGTERM when training was over"), stop_on_signals(), deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # a launcher passes on what every process was sent


def test_data_workers_that_were_told_too_are_not_a_crash() -> None:
    said = r"within a step \(worker killed\); .* from the last checkpoint"
    with pytest.raises(StoppedEarly, match=said), stop_on_signals(), deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        raise RuntimeError("worker killed")
    with pytest.raises(RuntimeError, match="a crash"), stop_on_signals(), deferred():
        raise RuntimeError("a crash")


def test_outside_of_a_training_a_signal_ends_the_work_at_once() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
    try:
        _ends_at_once()
    finally:
        signal.signal(signal.SIGHUP, before)


def _ends_at_once() -> None:
    with pytest.raises(StoppedEarly, match=r"stopped by SIGHUP; .* with --resume goes on"), stop_on_signals():
        os.kill(os.getpid(), signal.SIGHUP)
        raise AssertionError("not reached")


def test_a_signal_that_somebody_else_sees_to_is_left_to_them() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with stop_on_signals():
            os.kill(os.getpid(), signal.SIGHUP)
            assert requested() is None
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
