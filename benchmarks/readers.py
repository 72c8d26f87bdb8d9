#!/usr/bin/env python
"""Speed and memory of reading and splitting rows: generated files, each case in a process of its own.

    python benchmarks/readers.py
    python benchmarks/readers.py --case xlsx --keep

Files are generated under `outputs/benchmarks/readers` and removed afterwards. The measured table goes to
`benchmarks/RESULTS.md`; the exit status is 1 where a case misses its target.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import resource
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the library is importable from the checkout, installed or not

from benchmarks.results import write_section  # noqa: E402
from categorize.recipe.terminal import run_command  # noqa: E402
from categorize.runs.environment import processor_name  # noqa: E402
from categorize.text_tables import markdown_table  # noqa: E402

WORK = ROOT / "outputs" / "benchmarks" / "readers"
HEADING = "## Reading and splitting rows"
CHARACTERS = "的一是不了在人有我他这中大来上个国们到说时要就出会可也你对生能而子那得于着下自之年过发后作里"


@dataclass(frozen=True)
class Case:
    """One measurement.

    Attributes:
        title: what the table calls it.
        rows: of the generated file.
        file: its name.
        run: what is measured, in a process of its own; gives what was seen.
        target: seconds that it must stay under, or None.
    """

    title: str
    rows: int
    file: str
    run: Callable[[Path], str]
    target: float | None = None


def read(path: Path) -> str:
    """Read a file."""
    from categorize.data.reading.files import read_file

    return f"{len(read_file(path)):,} rows"


def load(path: Path, **data: Any) -> str:
    """Load as a recipe does: read, clean, compare near duplicates, split, sample."""
    from categorize.data.splits import load_data
    from categorize.recipe.data_sections import Columns, DataSection
    from categorize.recipe.label_sections import LabelsSection

    columns = Columns(id="custom_id", text="message", label="class", group=None)
    loaded = load_data(DataSection(source=str(path), columns=columns, **data), LabelsSection())
    rows = {name: table.num_rows for name, table in ((n, loaded.splits[n]) for n in ("train", "validation", "test"))}
    near = sum(loaded.report.near_overlaps.values())
    return f"{' / '.join(f'{n:,}' for n in rows.values())} rows" + (f", {near:,} nearly in train" if near else "")


def load_without(path: Path) -> str:
    """Load without the comparison of near duplicates."""
    from categorize.recipe.data_sections import SplitSettings

    return load(path, splits=SplitSettings(near_duplicates="off"))


def sample(path: Path) -> str:
    """Load a stratified sample of 100,000."""
    from categorize.recipe.data_sections import Sample

    return load(path, sample=Sample(rows=100_000))


CASES = {
    "xlsx": Case("xlsx, 70,000 rows, read", 70_000, "rows_70k.xlsx", read, target=10.0),
    "csv": Case("csv, 1,000,000 rows, read", 1_000_000, "rows_1m.csv", read),
    "csv_gz": Case("csv.gz, 1,000,000 rows, read", 1_000_000, "rows_1m.csv.gz", read),
    "jsonl": Case("JSON lines, 1,000,000 rows, read", 1_000_000, "rows_1m.jsonl", read),
    "load": Case("csv, 595,000 rows, loaded and split", 595_000, "rows_595k.csv", load_without),
    "near": Case("the same, near duplicates compared", 595_000, "rows_595k.csv", load),
    "sample": Case("the same, 100,000 sampled", 595_000, "rows_595k.csv", sample),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; the exit status: 1 where a target is missed."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["--measure"]:
        return measure_here(arguments[1])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="+", choices=list(CASES), default=list(CASES), help="all by default")
    parser.add_argument("--keep", action="store_true", help="keep the generated files")
    options = parser.parse_args(arguments)
    WORK.mkdir(parents=True, exist_ok=True)
    results = []
    try:
        for name in options.case:
            generate(CASES[name])
            results.append((CASES[name], measure(name)))
            print(f"{CASES[name].title}: {results[-1][1]}", flush=True)
    finally:
        if not options.keep:
            shutil.rmtree(WORK)
    text, reached = section(results, shlex.join(["python", "benchmarks/readers.py", *arguments]))
    write_section(HEADING, text)
    print(f"\n{text}")
    return 0 if reached else 1


def generate(case: Case) -> None:
    """Write the case's file: comments of 5 to 40 characters, four skewed labels, some texts that come again."""
    path = WORK / case.file
    if path.exists():
        return
    source = random.Random(7)
    header = ["custom_id", "message", "class", "video"]

    def rows() -> Any:
        texts = ["".join(source.choices(CHARACTERS, k=source.randint(5, 40))) for _ in range(case.rows * 9 // 10)]
        for i in range(case.rows):
            text = texts[i] if i < len(texts) else source.choice(texts)
            label = source.choices("0123", [0.5, 0.3, 0.15, 0.05])[0]
            yield [f"c{i:07}", f'{text}, "{i % 10}"' if i % 7 == 0 else text, label, f"v{i % 1000}"]

    staged = path.with_name(f"unfinished_{path.name}")
    if path.suffix == ".xlsx":
        from openpyxl import Workbook

        book = Workbook(write_only=True)
        sheet = book.create_sheet("comments")
        for row in [header, *rows()]:
            sheet.append(row)
        book.save(staged)
    elif ".jsonl" in path.name:
        with staged.open("w", encoding="utf-8") as file:
            file.writelines(
                json.dumps(dict(zip(header, row, strict=True)), ensure_ascii=False) + "\n" for row in rows()
            )
    else:
        import gzip

        opener: Any = gzip.open if path.suffix == ".gz" else open
        with opener(staged, "wt", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows(rows())
    staged.rename(path)


def measure(name: str) -> dict[str, Any]:
    """Run a case in a process of its own: what it printed, with its time and peak memory."""
    command = [sys.executable, str(Path(__file__).resolve()), "--measure", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr.strip()}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def measure_here(name: str) -> int:
    """Run a case and print what it took; imports are not counted."""
    import pyarrow.parquet
    import python_calamine

    assert pyarrow.parquet and python_calamine
    case = CASES[name]
    before = peak_megabytes()
    start, worked = time.perf_counter(), time.process_time()
    seen = case.run(WORK / case.file)
    seconds, worked = time.perf_counter() - start, time.process_time() - worked
    numbers = {"seconds": seconds, "cpu": worked, "peak": peak_megabytes(), "before": before}
    print(json.dumps({"seen": seen, "size": (WORK / case.file).stat().st_size / 1e6, **numbers}))
    return 0


def peak_megabytes() -> float:
    """Most memory that this process has held. `ru_maxrss` would begin with that of the process that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def section(results: Sequence[tuple[Case, dict[str, Any]]], command: str) -> tuple[str, bool]:
    """The Markdown section, and whether every target was reached."""
    import numpy
    import pyarrow

    header = ["case", "file", "seconds", "target", "rows/s", "peak memory", "seen"]
    rows = []
    reached = True
    for case, measured in results:
        good = case.target is None or measured["seconds"] < case.target
        reached = reached and good
        target = "-" if case.target is None else f"< {case.target:g} s" + ("" if good else ": MISSED")
        rows.append(
            [
                case.title,
                f"{measured['size']:,.0f} MB",
                f"{measured['seconds']:.1f} (CPU {measured['cpu']:.1f})",
                target,
                f"{case.rows / measured['seconds']:,.0f}",
                f"{measured['peak']:,.0f} MB",
                measured["seen"],
            ]
        )
    load_average = os.getloadavg()[0]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    lines = [
        HEADING,
        "",
        "Generated comments of 5 to 40 Chinese characters, a tenth of them repeats; imports are not counted, and the "
        f"peak holds {results[0][1]['before']:,.0f} MB of them.",
        "",
        markdown_table(header, rows, "llrrrrl"),
        "",
        f"- command: `{command}`",
        f"- hardware: {processor_name()}, {os.cpu_count()} cores; load average at the end {load_average:.1f}",
        f"- versions: python {sys.version.split()[0]}, pyarrow {pyarrow.__version__}, numpy {numpy.__version__}; "
        f"commit {commit.stdout.strip() or 'unknown'}",
        f"- date: {time.strftime('%Y-%m-%d')}",
    ]
    return "\n".join(lines), reached


if __name__ == "__main__":
    sys.exit(run_command(main))
