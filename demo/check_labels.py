"""Fail loudly unless the labelling loop of the demo did what it should, and say what it found.

    python -m demo.check_labels outputs/demo_new/truth.csv

The teacher labelled (nearly) every row and is better than the most frequent class; the student, which saw only the
teacher's labels, is nearly as good; what the review concludes holds the truth, which the comments of the demo have.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from demo.review import read_truth

FIRST, REST = Path("outputs/demo_label_first"), Path("outputs/demo_label_rest")
ANSWERED = 0.97  # share of the rows that the teacher must have labelled
MARGIN = 0.15  # of accuracy, above always naming the most frequent class
LOSS = 0.15  # of accuracy, from the teacher to its student


def accuracy(run: Path, truth: Mapping[str, str], said_by: Sequence[str]) -> tuple[float, float]:
    """Share of right labels among those of these sources, and the share of rows that have one."""
    table = pq.read_table(run / "labels", columns=["id", "label", "source"])
    rows = [row for row in table.to_pylist() if row["source"] in said_by]
    labelled = [row for row in rows if row["label"] is not None]
    right = sum(truth[row["id"]] == row["label"] for row in labelled)
    return right / max(len(labelled), 1), len(labelled) / max(table.num_rows, 1)


def misses(estimate: Mapping[str, float], true: float) -> bool:
    """Whether a truth lies further from an estimate than its 95% interval is wide: four standard errors."""
    return abs(estimate["value"] - true) > estimate["high"] - estimate["low"]


def main(truth_file: str) -> int:
    """Print the verdict; the exit status is 1 on failure."""
    truth = read_truth(Path(truth_file))
    report: dict[str, Any] = json.loads((REST.with_name(f"{REST.name}.review") / "report.json").read_text())["label"]
    ids = pq.read_table(REST / "labels", columns=["id"])["id"].to_pylist()
    counts = Counter(truth[one] for one in ids)
    most = counts.most_common(1)[0][1] / len(ids)
    teacher, answered = accuracy(FIRST, truth, ("teacher", "duplicate", "failed"))
    student, _ = accuracy(REST, truth, ("student",))
    found = []
    if answered < ANSWERED:
        found.append(f"the teacher labelled {answered:.1%} of the rows only")
    for name, value in (("teacher", teacher), ("student", student)):
        if value < most + MARGIN:
            found.append(
                f"the {name}'s labels are right in {value:.1%} of the rows, the most frequent class in {most:.1%}"
            )
    if student < teacher - LOSS:
        found.append(f"the student is right in {student:.1%} of the rows, its teacher in {teacher:.1%}")
    if misses(report["accuracy"], student):
        found.append(f"the review estimates an accuracy of {report['accuracy']['value']:.1%}; it is {student:.1%}")
    lines = []
    for share in report["shares"]:
        true = counts[share["label"]] / len(ids)
        counted, corrected = share["naive"], share["design_based"]
        lines.append(
            f"  {share['label']:<12}{true:>8.1%}   counted {_shown(counted)}   corrected {_shown(corrected)}"
            f"{'' if counted['low'] <= true <= counted['high'] else '   the counted interval misses the truth'}"
        )
        if misses(corrected, true):
            found.append(f"{share['label']}: the corrected share is {corrected['value']:.1%}; it is {true:.1%}")
    for line in found:
        print(f"DEMO FAILED: {line}", file=sys.stderr)
    if found:
        return 1
    print(f"\nThe teacher's labels are right in {teacher:.1%} of its rows, the student's in {student:.1%} of the rest")
    print(f"(estimated from the review: {_shown(report['accuracy'])}; the most frequent class would be in {most:.1%}).")
    print("Shares in the rest, in truth, as the student's labels count, and corrected by the review:")
    print("\n".join(lines))
    print("What lies where:")
    print(f"  {FIRST}/labels, {REST}/labels   the tables of labels")
    print(f"  {FIRST}.ledger/                 answers of the teacher as they came")
    print(f"  {REST}.review/                  the sheet, report.md with differences between the periods")
    return 0


def _shown(one: Mapping[str, float]) -> str:
    return f"{one['value']:.1%} [{one['low']:.1%}, {one['high']:.1%}]"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
