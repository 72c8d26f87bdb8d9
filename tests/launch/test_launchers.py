"""Real launches of two processes under each accelerate configuration that runs without a GPU.

The losses of every optimizer step equal those of one process on the same effective batch, so that each step saw the
same rows; the saved run loads on one process and predicts what the launched run wrote.

`fsdp2.yaml` is not among them: accelerate 1.15 chooses FSDP on accelerators only (`AcceleratorState` leaves MULTI_CPU
out).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from categorize.inference.load import load_predictor
from tests.session.collections import write_collection, write_recipe

pytestmark = pytest.mark.slow
Tiny = Callable[..., Path]
TRAINING = {
    "num_train_epochs": 2,
    "learning_rate": 1e-3,
    "use_cpu": True,
    "logging_steps": 1,
    "activation_checkpointing": False,
}
CONFIGS = ("multi_gpu", "deepspeed_zero2", "deepspeed_zero3")
SCRIPTS = {"head": "run_seqcls.py", "sft": "run_sft.py", "qlora": "run_sft.py"}
# ZeRO-3 cannot shard 4-bit weights (peft#1566); the recipe check refuses it, and tests/recipe holds it to that.
LAUNCHES = [
    (config, family) for config in CONFIGS for family in SCRIPTS if (config, family) != ("deepspeed_zero3", "qlora")
]


def recipe_of(family: str, folder: Path, tiny: Tiny) -> Path:
    if family == "head":
        return write_recipe(folder / "head.yaml", model={"name_or_path": str(tiny("bert"))}, training=TRAINING)
    sections: dict[str, Any] = {
        "kind": "sft",
        "model": {"name_or_path": str(tiny("qwen2", chat=True, width=64)), "max_length": 256},
        "prompt": {"system": "Say the mood: good or bad."},
        "adapter": {"type": "lora", "lora_dropout": 0.0},
        "training": TRAINING,
    }
    if family == "qlora":
        sections["quantization"] = {"load_in_4bit": True}
    return write_recipe(folder / f"{family}.yaml", **sections)


def start(root: Path, folder: Path, command: list[str]) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-4000:]


def losses(run: Path) -> list[float]:
    log = json.loads((run / "training_log.json").read_text())
    return [entry["loss"] for entry in log if "loss" in entry]


@pytest.mark.parametrize(("config", "family"), LAUNCHES)
def test_two_processes_train_as_one(root: Path, tiny: Tiny, tmp_path: Path, config: str, family: str) -> None:
    write_collection(tmp_path / "rows.csv", 90)
    recipe = recipe_of(family, tmp_path, tiny)
    script = str(root / SCRIPTS[family])
    start(
        root,
        tmp_path,
        [sys.executable, script, recipe.name, "output_dir=outputs/one", "training.per_device_train_batch_size=8"],
    )
    launch = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--config_file",
        str(root / f"accelerate_configs/{config}.yaml"),
    ]
    launch += [
        "--num_processes",
        "2",
        script,
        recipe.name,
        "output_dir=outputs/two",
        "training.per_device_train_batch_size=4",
    ]
    start(root, tmp_path, launch)
    manifest = json.loads((tmp_path / "outputs/two/run.json").read_text())
    assert manifest["hardware"]["processes"] == 2
    tolerance = 2e-2 if family == "qlora" else 2e-4  # 4-bit weights compute in bfloat16
    np.testing.assert_allclose(losses(tmp_path / "outputs/two"), losses(tmp_path / "outputs/one"), rtol=tolerance)
    written = pq.read_table(tmp_path / "outputs/two/predictions/test.parquet")
    again = load_predictor(str(tmp_path / "outputs/two")).predict_texts(written["text"].to_pylist())
    assert again.probabilities is not None
    np.testing.assert_allclose(again.probabilities, np.array(written["probabilities"].to_pylist()), atol=1e-5)
