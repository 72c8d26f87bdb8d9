#!/usr/bin/env python
"""Raw danmu to Parquet: throughput and memory on generated collections, and every comment of real files accounted for.

    CATEGORIZE_DATA=path/to/data python benchmarks/data.py

Generates collections of 1 and of 5.8 million comments in hourly records, reads each with `python -m
categorize.danmu` as a user does, compares the counts with the generator's, and writes the measured table to
`benchmarks/RESULTS.md`. The generated files are deleted. The exit status is 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # the library and its neighbour, installed or not

from results import DATA, write_section  # noqa: E402

import categorize  # noqa: E402
from categorize.errors import UserError  # noqa: E402
from categorize.recipe.terminal import run_command  # noqa: E402
from categorize.runs.environment import processor_name  # noqa: E402
from categorize.text_tables import markdown_table  # noqa: E402
from demo.generate_danmu import Plan, write  # noqa: E402

WORK = ROOT / "outputs" / "benchmarks" / "danmu"
HEADING = "## Raw danmu: from hourly collections to rows"
LARGE = 5_800_000  # comments for which the targets are set
TARGET_RATE = 200_000  # comments a second
TARGET_MEMORY = 1.5e9  # bytes, of all processes together
FLAT = 1.25  # the peak may grow by so much from the small collection to the large one
_EVERY = 0.05  # seconds between two looks at the memory


@dataclass(frozen=True)
class Measured:
    """One ingestion.

    Attributes:
        megabytes: of the raw files.
        wall, cpu: seconds; cpu of all processes together.
        peak: bytes of memory of all processes together, at their most.
        counts: what the ingestion counted.
    """

    megabytes: float
    wall: float
    cpu: float
    peak: int
    counts: dict[str, Any]

    @property
    def rate(self) -> float:
        """Comments a second."""
        return float(self.counts["elements"]) / self.wall


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; the exit status: 1 where a target is missed, 2 for what the user can fix."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comments", type=int, nargs=2, default=[1_000_000, LARGE], help="of the two collections")
    options = parser.parse_args(argv)
    command = shlex.join(["python", "benchmarks/data.py", *(sys.argv[1:] if argv is None else argv)])
    try:
        real = real_files()
        measured = [generated(comments) for comments in options.comments]
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(WORK, ignore_errors=True)
    text, reached = section(measured, real, command)
    write_section(HEADING, text)
    print(f"\n{text}\nwritten: benchmarks/RESULTS.md")
    return 0 if reached else 1


# ---------------------------------------------------------------- generated collections
def generated(comments: int) -> Measured:
    """Generate a collection, read it, compare the counts with the generator's.

    Raises:
        UserError: the counts differ, or the command failed.
    """
    folder = WORK / str(comments)
    shutil.rmtree(folder, ignore_errors=True)
    print(f"generating {comments:,} comments", flush=True)
    truth = write(Plan(comments), folder, with_truth=False)
    size = sum(file.stat().st_size for file in (folder / "raw").iterdir())
    measured = ingest(str(folder / "raw"), folder / "out", size / 1e6)
    for name, value in truth.to_dict().items():
        found = measured.counts[name]
        if (sum(found.values()) if name == "rejected" else found) != value:
            raise UserError(f"{comments} generated comments: {name} is {found}, the generator says {value}")
    shutil.rmtree(folder)
    return measured


def ingest(source: str, folder: Path, megabytes: float) -> Measured:
    """Run the command and watch its memory."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    arguments = [sys.executable, "-m", "categorize.danmu", source, "--write", str(folder)]
    process = subprocess.Popen(arguments, cwd=ROOT)
    peak = 0
    while process.poll() is None:
        peak = max(peak, memory(process.pid))
        time.sleep(_EVERY)
    wall = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode != 0:
        raise UserError(f"{shlex.join(arguments[1:])} failed with status {process.returncode}")
    counts = json.loads((folder / "danmu.json").read_text(encoding="utf-8"))["counts"]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(megabytes, wall, cpu, peak, counts)


def memory(pid: int) -> int:
    """Resident bytes of a process and all below it; what they share counts for each."""
    import psutil

    total = 0
    try:
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            total += one.memory_info().rss
    except psutil.Error:
        pass  # it ended meanwhile
    return total


# ---------------------------------------------------------------- real files
def real_files() -> list[tuple[str, dict[str, Any], int]]:
    """Each real file, what was counted, and how many comments a plain search or the csv module finds in it.

    Raises:
        UserError: the environment names no data folder.
    """
    import csv
    import gzip
    import re

    named = os.environ.get(DATA)
    files = sorted((Path(named) / "danmaku_raw").glob("*.gz")) if named else []
    if not files:
        raise UserError(f"{DATA} is not set to a folder with danmaku_raw (benchmarks/README.md)")
    result = []
    for file in files:
        done = ingest(str(file), WORK / file.name, file.stat().st_size / 1e6)
        text = gzip.decompress(file.read_bytes()).decode("utf-8")
        if ".xml" in file.name:
            elements = len(re.findall(r"<d\s", text))
        else:
            elements = sum(1 for _ in csv.DictReader(text.splitlines(keepends=True)))
        result.append((file.name, done.counts, elements))
    return result


# ---------------------------------------------------------------- results
def section(
    measured: Sequence[Measured], real: Sequence[tuple[str, dict[str, Any], int]], command: str
) -> tuple[str, bool]:
    """The section of the results, and whether every target is reached."""
    small, large = measured
    complete = all(found == counts["elements"] and not counts["rejected"] for _, counts, found in real)
    targets = [
        (f"{large.rate:,.0f} comments/s; target {TARGET_RATE:,} on two cores", large.rate >= TARGET_RATE),
        (f"peak memory {large.peak / 1e9:.2f} GB; target below {TARGET_MEMORY / 1e9:g} GB", large.peak < TARGET_MEMORY),
        (
            f"peak from {small.counts['elements']:,} to {large.counts['elements']:,} comments: times "
            f"{large.peak / small.peak:.2f}; target below {FLAT:g}",
            large.peak < FLAT * small.peak,
        ),
        ("real files: every comment accounted for, none rejected", complete),
    ]
    header = [
        "collection",
        "raw",
        "comments found",
        "set apart",
        "rejected",
        "merged",
        "rows",
        "wall",
        "CPU",
        "/s",
        "peak",
    ]
    table = markdown_table(header, [_row(one) for one in measured], "l" + "r" * (len(header) - 1))
    names = ["file", "comments in it", "parsed", "set apart", "rejected"]
    rows = [
        [name, f"{found:,}", f"{c['parsed']:,}", f"{_total(c['set_apart']):,}", f"{_total(c['rejected']):,}"]
        for name, c, found in real
    ]
    load = os.getloadavg()[0]
    smaller = large.counts["elements"] < LARGE
    lines = [
        HEADING,
        "",
        *(f"- {what}: {'reached' if good else 'MISSED'}" for what, good in targets),
        *([f"- the targets are set for {LARGE:,} comments: these were fewer"] if smaller else []),
        "",
        "Generated collections of hourly records with comments that come again, nasty texts, damaged tuples and "
        "records that are cut off; the counts equal the generator's. Time is of the whole command: start, read, merge, "
        "clean, write. Memory is of all processes together.",
        "",
        table,
        "",
        f"While it read the large one, the command had {large.cpu / large.wall:.2f} cores on average; the rest of the "
        "wall time went to what else ran there. Its CPU time is "
        f"{large.cpu / large.counts['elements'] * 1e6:.1f} microseconds a comment.",
        "",
        markdown_table(names, rows, "lrrrr"),
        "",
        f"- command: `{DATA}=... {command}`",
        f"- hardware: {processor_name()}, {os.cpu_count()} cores; load average at the end {load:.1f}",
        f"- versions: python {platform.python_version()}, categorize {categorize.__version__}, {_libraries()}; "
        f"commit {_commit()}",
        f"- date: {time.strftime('%Y-%m-%d')}",
    ]
    return "\n".join(lines) + "\n", all(good for _, good in targets)


def _row(one: Measured) -> list[str]:
    c = one.counts
    return [
        f"{c['records']:,} records, {c['files']} files", f"{one.megabytes:,.0f} MB", f"{c['elements']:,}",
        f"{_total(c['set_apart']):,}", f"{_total(c['rejected']):,}", f"{c['merged'] + c['merged_apart']:,}",
        f"{c['rows'] + c['rows_apart']:,}", f"{one.wall:.1f} s", f"{one.cpu:.1f} s", f"{one.rate:,.0f}",
        f"{one.peak / 1e9:.2f} GB",
    ]  # fmt: skip


def _total(counts: dict[str, int]) -> int:
    return sum(counts.values())


def _libraries() -> str:
    from importlib.metadata import version

    return ", ".join(f"{name} {version(name)}" for name in ("pyarrow", "numpy"))


def _commit() -> str:
    return (_git("rev-parse", "HEAD") or "unknown") + ("+changes" if _git("status", "--porcelain", "-uno") else "")


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    sys.exit(run_command(main))
