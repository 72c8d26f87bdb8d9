"""A run that was killed and is resumed ends with the weights of the run that was not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import EarlyStoppingCallback, TrainerCallback

from categorize.training.checkpoints import is_complete, last_complete, remove_incomplete
from tests.training.tiny_training import build_trainer

Tiny = Callable[..., Path]


class Stop(TrainerCallback):
    """Ends training after some steps, as a kill does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step:
            raise KeyboardInterrupt


def weights(trainer: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def trainer_with_dropout(tiny: Tiny, folder: Path, **options: Any) -> Any:
    trainer = build_trainer(
        str(tiny("bert")),
        str(folder),
        2,
        2,
        optim="adamw_torch",
        learning_rate=1e-3,
        lr_scheduler_type="linear",
        **options,
    )
    for module in trainer.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.3  # so that the generators' state matters
    return trainer


@pytest.mark.parametrize(
    ("killed_at", "balance"), [(5, None), (7, None), (11, None), (9, "upsample"), (3, "downsample"), (7, "weighted")]
)
def test_a_killed_and_resumed_training_ends_with_the_same_weights(
    tiny: Tiny, tmp_path: Path, killed_at: int, balance: str | None
) -> None:
    """6 steps an epoch: killed in the middle of the first, just behind its end, and in the middle of the second."""
    options = {"save_strategy": "steps", "save_steps": 2, "balance": balance}
    whole = trainer_with_dropout(tiny, tmp_path / "whole", **options)
    whole.train()
    killed = trainer_with_dropout(tiny, tmp_path / "killed", **options)
    killed.add_callback(Stop(killed_at))
    with pytest.raises(KeyboardInterrupt):
        killed.train()
    checkpoint = last_complete(tmp_path / "killed")
    assert checkpoint is not None
    resumed = trainer_with_dropout(tiny, tmp_path / "killed", **options)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    for name, value in weights(resumed).items():
        assert torch.equal(value, weights(whole)[name]), name


def test_early_stopping_remembers_its_patience(tiny: Tiny, tmp_path: Path) -> None:
    """The measure never improves after the first evaluation: with patience 3 both stop after the fourth."""
    options = {
        "num_train_epochs": 20, "eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 2,
        "load_best_model_at_end": True, "metric_for_best_model": "flat", "greater_is_better": True,
        "restore_callback_states_from_checkpoint": True,
    }  # fmt: skip

    def build(folder: Path) -> Any:
        trainer = trainer_with_dropout(tiny, folder, **options)
        trainer.measures = lambda logits: {"flat": 0.5}
        trainer.add_callback(EarlyStoppingCallback(3))
        return trainer

    whole = build(tmp_path / "whole")
    whole.train()
    killed = build(tmp_path / "killed")
    killed.add_callback(Stop(5))
    with pytest.raises(KeyboardInterrupt):
        killed.train()
    resumed = build(tmp_path / "killed")
    resumed.train(resume_from_checkpoint=str(last_complete(tmp_path / "killed")))
    assert whole.state.global_step == resumed.state.global_step == 8
    # Killed behind its end, while it predicts: the measure would be better now, but patience had run out.
    late = build(tmp_path / "killed")
    late.measures = lambda logits: {"flat": 0.9}
    late.train(resume_from_checkpoint=str(last_complete(tmp_path / "killed")))
    assert late.state.global_step == 8 and late.state.best_global_step == resumed.state.best_global_step
    for name, value in weights(late).items():
        assert torch.equal(value, weights(resumed)[name]), name


def test_a_measure_that_is_undefined_for_once_ends_no_training(tiny: Tiny, tmp_path: Path) -> None:
    options = {
        "eval_strategy": "steps", "eval_steps": 4, "save_strategy": "steps", "save_steps": 4,
        "load_best_model_at_end": True, "metric_for_best_model": "macro_f1", "greater_is_better": True,
    }  # fmt: skip
    trainer = trainer_with_dropout(tiny, tmp_path, **options)
    measured = iter([{}, {"macro_f1": 0.5}, {}])
    trainer.measures = lambda logits: next(measured)
    trainer.train()
    assert trainer.state.best_global_step == 8 and trainer.state.global_step == 12


def test_a_checkpoint_that_was_not_written_to_the_end_is_not_resumed_from(tiny: Tiny, tmp_path: Path) -> None:
    trainer = trainer_with_dropout(tiny, tmp_path, save_strategy="steps", save_steps=4)
    trainer.train()
    assert [path.name for path in sorted(tmp_path.glob("checkpoint-*"), key=lambda p: int(p.name[11:]))] == [
        "checkpoint-4", "checkpoint-8", "checkpoint-12",
    ]  # fmt: skip
    assert last_complete(tmp_path) == tmp_path / "checkpoint-12"
    cut = tmp_path / "checkpoint-12" / "model.safetensors"
    cut.write_bytes(cut.read_bytes()[:100])
    assert not is_complete(tmp_path / "checkpoint-12")
    (tmp_path / "checkpoint-8" / "complete.json").unlink()
    assert last_complete(tmp_path) == tmp_path / "checkpoint-4"
    assert remove_incomplete(tmp_path) == 2
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-4"]
