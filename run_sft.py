#!/usr/bin/env python
"""Tune a causal language model to answer with labels: in full, by an adapter, or on quantized weights (QLoRA).

accelerate launch run_sft.py recipes/qwen3b_qlora.yaml
python run_sft.py recipes/demo/decoder_sft_lora.yaml training.learning_rate=1e-3
"""

from __future__ import annotations

import sys

from categorize.methods.registry import METHODS
from categorize.recipe.command import Command, main


def run(command: Command) -> None:
    """Train, predict the held-out splits and leave a run folder."""
    from categorize.train import train

    train(command)


if __name__ == "__main__":
    sys.exit(main("run_sft.py", "sft", run, METHODS))
