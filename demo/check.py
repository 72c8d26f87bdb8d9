"""Fail loudly unless every trained model of the demo beats the majority baseline by 20 points of accuracy.

python -m demo.check outputs/demo_eval/comparison.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

MARGIN = 0.20


def failures(comparison: dict[str, object]) -> list[str]:
    """One line for each trained run that is not `MARGIN` above the baseline."""
    runs = {run["name"]: run for run in comparison["runs"]}  # type: ignore[index, attr-defined]
    baseline = runs["majority label"]["metrics"]["accuracy"]
    trained = {name: run["metrics"]["accuracy"] for name, run in runs.items() if run["parameters_trained"]}
    if not trained:
        return ["no trained run in the comparison"]
    return [
        f"{name}: accuracy {accuracy:.3f} is not {MARGIN:.2f} above the majority baseline's {baseline:.3f}"
        for name, accuracy in trained.items()
        if accuracy < baseline + MARGIN
    ]


def main(path: str) -> int:
    """Print the verdict and where things lie; the exit status is 1 on failure."""
    file = Path(path)
    found = failures(json.loads(file.read_text(encoding="utf-8")))
    for line in found:
        print(f"DEMO FAILED: {line}", file=sys.stderr)
    if found:
        return 1
    print("\nEvery trained model beats the majority baseline by 20 points or more. What lies where:")
    print(f"  {file.with_suffix('.md')}   the comparison, with intervals, label by label")
    print("  outputs/demo_*/             one run folder a model: weights, label set, metrics, predictions/*.parquet")
    print("  recipes/demo/*.yaml         what was run; copy one and change data.source for your own")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
