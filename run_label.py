#!/usr/bin/env python
"""Label rows by a teacher LLM, or by a trained student, from one recipe; a stopped job goes on where it was.

python run_label.py recipes/label_danmu_llama8b.yaml --dry-run
python run_label.py recipes/label_danmu_llama8b.yaml

Without a recipe, a run labels a file: the same file comes out, with labels behind its columns.

python run_label.py --run outputs/mine new_comments.xlsx --output labelled.xlsx
"""

from __future__ import annotations

import sys

from categorize.labeling import everyday
from categorize.methods.registry import METHODS
from categorize.recipe.command import Command, main


def run(command: Command) -> None:
    """Ask the teacher about every row that has no answer yet, and leave a run folder with the table of labels."""
    from categorize.label import label

    label(command)


if __name__ == "__main__":
    if everyday.is_everyday(sys.argv[1:]):
        sys.exit(everyday.main(sys.argv[1:]))
    sys.exit(main("run_label.py", "label", run, METHODS))
