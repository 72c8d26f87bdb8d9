"""A batch that does not fit is passed in parts, and the training is the same one."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from categorize.errors import UserError
from tests.training.tiny_sft import build_sft_trainer
from tests.training.tiny_training import build_trainer, record

Tiny = Callable[..., Path]
MESSAGE = "CUDA out of memory. Tried to allocate 2.00 GiB."


def with_room_for(trainer: Any, rows: int, behind: int = 0) -> Any:
    """A trainer whose backward pass fails for more rows than that, as a GPU's allocator does, when `behind` passes
    are over: half of the gradients are there already."""
    passes = 0

    def backward(module: Any, given: Any, output: Any) -> None:
        nonlocal passes
        passes += 1
        if len(output[0]) > rows and passes > behind:
            raise torch.OutOfMemoryError(MESSAGE)

    layers = next(one for one in trainer.model.modules() if isinstance(one, torch.nn.ModuleList))
    layers[0].register_full_backward_hook(backward)
    return trainer


@pytest.mark.parametrize(("batch", "accumulation", "room"), [(8, 1, 4), (4, 2, 1)], ids=["halved", "twice-in-a-step"])
def test_a_halved_batch_gives_the_same_steps(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str], batch: int, accumulation: int, room: int
) -> None:
    model = str(tiny("bert"))
    whole = record(build_trainer(model, str(tmp_path), batch, accumulation))
    trainer = with_room_for(build_trainer(model, str(tmp_path), batch, accumulation), room, behind=1)
    halved = record(trainer)
    assert trainer.parts == batch // room
    assert len(halved["gradients"]) == len(whole["gradients"]) == 6
    for mine, theirs in zip(halved["gradients"], whole["gradients"], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)
    assert halved["losses"] == pytest.approx(whole["losses"], rel=1e-5)
    said = re.findall(
        r"per_device_train_batch_size=(\d+) training.gradient_accumulation_steps=(\d+)", capsys.readouterr().out
    )
    assert [int(rows) * int(times) for rows, times in said] == [8] * len(said) and int(said[-1][0]) == room


def test_answers_are_learned_in_halves_too(tiny: Tiny, tmp_path: Path) -> None:
    model = str(tiny("qwen2"))
    whole = record(build_sft_trainer(model, str(tmp_path), 4, 1, max_steps=2))
    halved = record(with_room_for(build_sft_trainer(model, str(tmp_path), 4, 1, max_steps=2), 2))
    for name, weights in whole["weights"].items():
        torch.testing.assert_close(halved["weights"][name], weights, rtol=1e-4, atol=1e-5)


def test_a_row_that_does_not_fit_ends_in_one_line_and_other_errors_stay(tiny: Tiny, tmp_path: Path) -> None:
    trainer = with_room_for(build_trainer(str(tiny("bert")), str(tmp_path), 4, 1), 0)
    with pytest.raises(
        UserError, match=r"^training\.per_device_train_batch_size: not even one row fits .*--fit"
    ) as caught:
        trainer.train()
    assert "\n" not in str(caught.value)
    broken = build_trainer(str(tiny("bert")), str(tmp_path), 4, 1)
    broken.model.register_forward_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("a kernel is missing")))
    with pytest.raises(RuntimeError, match="a kernel is missing"):
        broken.train()
    assert broken.parts == 1
