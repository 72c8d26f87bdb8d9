#!/usr/bin/env python
"""`load_data` of a large CSV file: processor time and peak memory, with and without near duplicates.

    OMP_NUM_THREADS=1 python benchmarks/loading.py

Generates 595,000 short Chinese comments with id, label and date, a fifth of them repeated, loads them in a process of
its own each time, and writes the table to `benchmarks/RESULTS.md`. The file is deleted.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # the library and its neighbour, installed or not

from results import write_section  # noqa: E402

from categorize.recipe.terminal import run_command  # noqa: E402
from categorize.runs.environment import processor_name  # noqa: E402
from categorize.text_tables import markdown_table  # noqa: E402

WORK = ROOT / "outputs" / "benchmarks" / "loading"
HEADING = "## Loading: a large file of comments"
ROWS = 595_000
# When rows were worked on one by one, on such a file and an idle machine: CPU seconds and MB.
BEFORE = {"off": (23.5, 1367), "group": (39.2, 1413)}
TARGET = (3.0, 600)  # times faster, MB
LOAD = """
import json, resource, sys, time
from categorize.data.splits import load_data
from categorize.recipe.data_sections import DataSection
from categorize.recipe.label_sections import LabelsSection
data = DataSection.model_validate(json.loads(sys.argv[1]))
start = time.process_time()
loaded = load_data(data, LabelsSection())
used = time.process_time() - start
print(json.dumps([used, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, loaded.report.texts]))
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS)
    options = parser.parse_args(argv)
    WORK.mkdir(parents=True, exist_ok=True)
    try:
        generate(WORK / "comments.csv", options.rows)
        found = {near: measured(WORK / "comments.csv", near) for near in BEFORE}
    finally:
        shutil.rmtree(WORK, ignore_errors=True)
    whole = options.rows == ROWS
    rows = [
        [
            "off" if near == "off" else "found and kept together",
            f"{seconds:.1f} s",
            f"{memory:,} MB",
            *([f"{BEFORE[near][0]} s, {BEFORE[near][1]:,} MB", f"{BEFORE[near][0] / seconds:.1f} x"] if whole else []),
        ]
        for near, (seconds, memory, _) in found.items()
    ]
    header = ["near duplicates", "CPU", "peak memory", *(["row by row", "faster"] if whole else [])]
    command = shlex.join(["python", "benchmarks/loading.py", *(sys.argv[1:] if argv is None else argv)])
    lines = [
        HEADING,
        "",
        f"{options.rows:,} rows of a CSV file, {found['off'][2]:,} distinct texts, from the file to splits, "
        f"fingerprints and report. The targets: {TARGET[0]:g} times as fast as row by row, and {TARGET[1]} MB.",
        "",
        markdown_table(header, rows, "l" + "r" * (len(header) - 1)),
        "",
        f"- command: `{command}`",
        f"- hardware: {processor_name()}",
        f"- date: {time.strftime('%Y-%m-%d')}",
    ]
    text = "\n".join(lines) + "\n"
    write_section(HEADING, text)
    print(f"\n{text}\nwritten: benchmarks/RESULTS.md")
    return 0


def generate(path: Path, rows: int) -> None:
    """Comments of two to nine words that are drawn by their rank, a fifth of them drawn from earlier ones."""
    source = random.Random(7)
    characters = [chr(0x4E00 + i) for i in range(3000)]
    words = ["".join(source.choices(characters, k=source.choice([1, 2, 2, 2, 3]))) for _ in range(8000)]
    weights = list(accumulate(1 / (rank + 5) for rank in range(len(words))))
    earlier: list[tuple[str, str]] = []
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "text", "label", "date"])
        for row in range(rows):
            if earlier and source.random() < 0.2:
                text, label = source.choice(earlier)
            else:
                said = source.choices(words, cum_weights=weights, k=source.randint(2, 9))
                text = "".join(said) + source.choice(["", "", "！", "?", "～ ", "  哈哈", "ＡＢ"])
                label = f"类别{source.randrange(22)}" if source.random() < 0.97 else ""
                if len(earlier) < 20_000:
                    earlier.append((text, label))
            day = f"2024-01-{1 + row * 28 // rows:02}T{row % 24:02}:00:00"
            table.writerow([f"c{row:07}", text, label, day])


def measured(path: Path, near: str) -> tuple[float, int, int]:
    """CPU seconds, MB at the peak, and distinct texts of one loading in a fresh process."""
    data = {"source": str(path), "columns": {"id": "id"}, "splits": {"near_duplicates": near}}
    command = [sys.executable, "-c", LOAD, json.dumps(data)]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, memory, texts = json.loads(finished.stdout.splitlines()[-1])
    return float(seconds), int(memory), int(texts)


if __name__ == "__main__":
    sys.exit(run_command(main))
