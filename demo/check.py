"""Fail loudly unless the demo's models do what they should.

Every trained model is 20 points of accuracy above the majority label and above the untuned decoder, and what the tuned
decoder writes is what its scores say, on 99% of the test rows.

    python -m demo.check outputs/demo_eval/report.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

MARGIN = 0.20
AGREEMENT = 0.99
SCORED, WRITTEN = "decoder SFT, LoRA", "decoder SFT, LoRA, written"


def failures(runs: list[dict[str, Any]]) -> list[str]:
    """One line for each trained run that is not `MARGIN` above every untrained one."""
    accuracy = {run["name"]: run["metrics"]["accuracy"] for run in runs}
    trained = [run["name"] for run in runs if run["parameters_trained"]]
    untrained = [name for name in accuracy if name not in trained]
    if not trained or not untrained:
        return ["the comparison lacks trained runs, or untrained ones to compare them with"]
    reference = max(untrained, key=lambda name: accuracy[name])
    return [
        f"{name}: accuracy {accuracy[name]:.3f} is not {MARGIN:.2f} above {reference}'s {accuracy[reference]:.3f}"
        for name in trained
        if accuracy[name] < accuracy[reference] + MARGIN
    ]


def agreement(runs: list[dict[str, Any]], folder: Path) -> float | None:
    """Share of the rows for which the tuned decoder writes the label that it gives the highest probability.

    None where the comparison has no such decoder.
    """
    files = {run["name"]: run["predictions"] for run in runs}
    if SCORED not in files or WRITTEN not in files:
        return None
    scored, written = (pq.read_table(folder / files[name])["predicted"].to_pylist() for name in (SCORED, WRITTEN))
    return sum(a == b for a, b in zip(scored, written, strict=True)) / len(scored)


def main(path: str) -> int:
    """Print the verdict and where things lie; the exit status is 1 on failure."""
    file = Path(path)
    runs = json.loads(file.read_text(encoding="utf-8"))["runs"]
    found = failures(runs)
    agreed = agreement(runs, file.parent)
    if agreed is not None and agreed < AGREEMENT:
        found.append(f"{SCORED}: what it writes and what it scores agree on {agreed:.1%} of the rows only")
    for line in found:
        print(f"DEMO FAILED: {line}", file=sys.stderr)
    if found:
        return 1
    print("\nEvery trained model is 20 points of accuracy or more above every untrained one.")
    if agreed is not None:
        print(f"What the tuned decoder writes is the label that it scores highest on {agreed:.1%} of the test rows.")
    print("What lies where:")
    print(f"  {file.with_suffix('.html')}   the report: open it in a browser; report.md beside it is the short form")
    print("  outputs/demo_*/             one run folder a model: weights, label set, metrics, predictions/*.parquet")
    print("  recipes/demo/*.yaml         what was run; copy one and change data.source for your own")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
