"""One device for all parts of a run: its own GPU for each launched process, none where the CPU was asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from categorize.engines.batching import compute_dtype
from categorize.nn.device import one_gpu, settle_device
from categorize.nn.precision import compute_type


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Torch as on a machine with four GPUs; gives the devices that are chosen."""
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    for name in ("LOCAL_RANK", "ACCELERATE_USE_CPU"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    return chosen


def test_every_launched_process_loads_onto_its_own_gpu(gpus: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """bitsandbytes loads onto the current device, and accelerate trains no weights of another process's."""
    settle_device()
    assert gpus == []
    for rank in "0132":
        monkeypatch.setenv("LOCAL_RANK", rank)
        settle_device()
    assert gpus == [0, 1, 3, 2]
    monkeypatch.setenv("LOCAL_RANK", "4")  # more processes than GPUs: the launcher says so
    settle_device()
    assert gpus == [0, 1, 3, 2]


@pytest.mark.parametrize("launched", [True, False])
def test_gpus_are_hidden_where_the_cpu_was_asked_for(
    gpus: list[int], monkeypatch: pytest.MonkeyPatch, launched: bool
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    if launched:
        monkeypatch.setenv("ACCELERATE_USE_CPU", "True")  # as accelerate_configs/cpu.yaml has it
    settle_device(use_cpu=not launched)
    assert gpus == [] and os.environ["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.parametrize("script", ["run_sft.py", "run_seqcls.py"])
def test_devices_are_settled_before_torch_looks_for_gpus(root: Path, tmp_path: Path, script: str) -> None:
    """Later is too late: the driver has read the variable by then."""
    (tmp_path / "r.yaml").write_text(
        f"kind: {'sft' if 'sft' in script else 'seqcls'}\nname: x\ndata: {{source: none.csv}}\n"
        "model: {name_or_path: x}\ntraining: {use_cpu: true}\n"
    )
    code = (
        "import os, runpy, sys, categorize.nn.device as device\n"
        "settle = device.settle_device\n"
        "def watched(*args):\n"
        "    assert 'torch' not in sys.modules\n"
        "    settle(*args)\n"
        "    print('SETTLED', repr(os.environ['CUDA_VISIBLE_DEVICES']))\n"
        "device.settle_device = watched\n"
        f"sys.argv = [{script!r}, 'r.yaml']\n"
        f"runpy.run_path({str(root / script)!r}, run_name='__main__')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "SETTLED ''" in done.stdout, done.stderr[-2000:]


def test_a_process_that_was_not_launched_keeps_to_one_gpu() -> None:
    class Arguments:
        _n_gpu = 3

        @property
        def n_gpu(self) -> int:
            return self._n_gpu

    arguments: Any = Arguments()
    assert one_gpu(arguments) == 3
    assert arguments.n_gpu == 1


def test_a_gpu_without_bfloat16_computes_quantized_weights_in_float16(
    gpus: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = torch.nn.Linear(2, 2, dtype=torch.bfloat16)
    for has, name in ((True, "bfloat16"), (False, "float16")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, has=has: has)
        assert compute_type() == name
        assert compute_dtype("auto", model, torch.device("cuda")) == getattr(torch, name)
