"""A small training in two processes, beside the same in one."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import torch

from tests.forks import Script


def recorded_by_two(script: str, *arguments: str, folder: Path) -> list[dict[str, Any]]:
    """What each process of a launch wrote by `write_record`; `arguments` are the script's."""
    launch = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    processes = [
        Script(script, *arguments, folder=folder, environment={**launch, "RANK": rank, "LOCAL_RANK": rank})
        for rank in ("0", "1")
    ]
    for process in processes:
        status, _, error = process.end()
        assert status == 0, error[-3000:]
    ranks = [torch.load(folder / f"recorded_{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert [rank["world_size"] for rank in ranks] == [2, 2]
    return ranks


def write_record(trainer: Any, recorded: dict[str, Any], folder: Path) -> None:
    """In a process of a launch: what `tiny_training.record` recorded, with the measures of an evaluation."""
    recorded |= {"world_size": trainer.args.world_size, "metrics": trainer.evaluate()}
    torch.save(recorded, folder / f"recorded_{os.environ.get('RANK', '0')}.pt")


def check_same_training(ranks: list[dict[str, Any]], reference: dict[str, Any], gradient_tolerance: float) -> None:
    """Losses, gradients, weights, and which rows were read, equal those of one process."""
    for rank in ranks:
        for name, value in rank["weights"].items():
            torch.testing.assert_close(value, reference["weights"][name], rtol=gradient_tolerance, atol=1e-6)
        for mine, theirs in zip(rank["gradients"], reference["gradients"], strict=True):
            torch.testing.assert_close(mine, theirs, rtol=gradient_tolerance, atol=1e-6)
    torch.testing.assert_close(ranks[0]["losses"], reference["losses"], rtol=1e-5, atol=1e-6)
    assert sorted(ranks[0]["seen"] + ranks[1]["seen"]) == sorted(reference["seen"])


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
