#!/usr/bin/env python
"""Malformed answers: rows that are kept, and rows read wrong, by our reader, `json.loads` alone and json-repair alone.

    python benchmarks/labeling_answers.py

The answers are those of the tests, `tests/labeling/faults.py`, each fault in turn. The table goes to
`benchmarks/RESULTS.md`; the exit status is 1 where our reader gives a row labels that were not meant for it.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the library and its tests are importable from the checkout, installed or not

from benchmarks.results import write_section  # noqa: E402
from categorize.recipe.terminal import run_command  # noqa: E402
from categorize.text_tables import markdown_table  # noqa: E402
from tests.labeling.faults import READERS, TEXT_FAULTS, corpus, salvaged  # noqa: E402

HEADING = "## Malformed answers"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args(argv)
    found = {name: salvaged(reader, corpus(options.answers, options.seed)) for name, reader in READERS.items()}
    ours = found["ours"]
    rows = [
        [name, f"{one['kept']:,}", f"{one['kept'] / one['valid']:.1%}", f"{one['wrong']:,}"]
        for name, one in found.items()
    ]
    text = "\n".join(
        [
            HEADING,
            "",
            f"{options.answers:,} answers, each with one of {len(TEXT_FAULTS)} faults, for {ours['rows']:,} rows, of "
            f"which {ours['valid']:,} stand in the answers complete and valid. Kept are those of them that are read as "
            "they were meant; wrong are all rows that are given labels which were not meant for them. All readers "
            "check ids and labels.",
            "",
            markdown_table(["reader", "kept", "of the valid rows", "wrong rows"], rows, "lrrr"),
            "",
            f"- command: `python benchmarks/labeling_answers.py --answers {options.answers} --seed {options.seed}`",
            f"- versions: python {sys.version.split()[0]}, json_repair {importlib.metadata.version('json_repair')}",
            f"- date: {time.strftime('%Y-%m-%d')}",
        ]
    )
    print(text)
    write_section(HEADING, text)
    return 1 if ours["wrong"] else 0


if __name__ == "__main__":
    sys.exit(run_command(main))
