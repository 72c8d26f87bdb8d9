#!/usr/bin/env python
"""Train a classification or regression head, or a linear model on TF-IDF features, from one recipe.

python run_seqcls.py recipes/bert_base_chinese.yaml
accelerate launch run_seqcls.py recipes/qwen0.5b_seqcls_lora.yaml training.learning_rate=1e-4
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
    sys.exit(main("run_seqcls.py", "seqcls", run, METHODS))
