#!/usr/bin/env python
"""Compare finished runs, Hub models and base models on one split, from one recipe.

python run_eval.py recipes/demo/eval.yaml
"""

from __future__ import annotations

import sys

from categorize.methods.registry import METHODS
from categorize.recipe.command import Command, main


def run(command: Command) -> None:
    """Predict one split with every run, print and write the comparison."""
    from categorize.evaluate import evaluate

    evaluate(command)


if __name__ == "__main__":
    sys.exit(main("run_eval.py", "eval", run, METHODS))
