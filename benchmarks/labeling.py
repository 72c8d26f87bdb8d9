#!/usr/bin/env python
"""Labelling: our own overhead beside an instant teacher, memory, and a finished job that is run again.

    python benchmarks/labeling.py --rows 100000 1000000

Each measurement is a process of its own, which runs a recipe as `run_label.py` does, over generated short comments in
one CSV file. The generated files are deleted.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # the library and its neighbour, installed or not

from categorize.labeling.exchange import Reply, Request, Tokens  # noqa: E402
from categorize.recipe.terminal import run_command  # noqa: E402

WORK = ROOT / "outputs" / "benchmarks" / "labeling"
ITEMS = 50  # rows a request
NAMES = ("information", "emotions_positive", "emotions_negative", "social", "other")
WORDS = (
    "讲得",
    "太好了",
    "没听懂",
    "great",
    "video",
    "why",
    "前排",
    "哈哈哈",
    "so",
    "long",
    "谢谢",
    "老师",
    "666",
    "cool",
)


class Instant:
    """A teacher in the process that answers at once."""

    name = "instant"
    identity: Mapping[str, Any] = {"type": "instant"}

    async def ask(self, request: Request) -> Reply:
        """The label hangs on the place in the request."""
        answers = [{"comment_id": one, "labels": [NAMES[i % 5]]} for i, one in enumerate(request.item_ids)]
        return Reply(json.dumps({"comments": answers}), tokens=Tokens(50 * 20, 0, 50 * 20))

    async def close(self) -> None:
        """Nothing is held."""


def write_comments(path: Path, rows: int, seed: int = 7) -> None:
    """Short comments of which nearly none is another's."""
    draw = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        file.write("id,text,video\n")
        for i in range(rows):
            file.write(f"r{i},{' '.join(draw.choices(WORDS, k=5))} {i},v{i % 997}\n")


def write_recipe(folder: Path, source: Path) -> Path:
    """The recipe of the job."""
    path = folder / "recipe.yaml"
    path.write_text(
        f"kind: label\nname: job\noutput_dir: {folder / 'job'}\n"
        f"data: {{source: {source}, columns: {{text: text, id: id, label: null}}}}\n"
        f"labels: {{names: [{', '.join(NAMES)}]}}\n"
        f"labeling: {{items: {ITEMS}, teacher: {{type: endpoint, url: 'http://127.0.0.1:9/v1', model: instant, "
        "concurrency: 8}}\n",
        encoding="utf-8",
    )
    return path


def job(recipe: str, instant: Callable[[], Any] = Instant) -> None:
    """One job in this process; prints its seconds and its peak memory as JSON, last."""
    from categorize.label import label
    from categorize.methods.registry import METHODS
    from categorize.recipe.command import parse_command

    start = time.perf_counter()
    label(parse_command("run_label.py", "label", METHODS, [recipe]), lambda *_: instant())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": time.perf_counter() - start, "peak": peak, "cpu": time.process_time()}))


def measured(recipe: Path) -> dict[str, float]:
    """A job in a process of its own."""
    command = [sys.executable, __file__, "--job", str(recipe)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.job:
        job(options.job)
        return 0
    for rows in options.rows:
        folder = WORK / str(rows)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        source = folder / "comments.csv"
        write_comments(source, rows)
        recipe = write_recipe(folder, source)
        for what in ("labelled by an instant teacher", "run again, nothing to ask"):
            one = measured(recipe)
            rate, peak = rows / one["seconds"], one["peak"] / 1e6
            print(
                f"{rows:,} rows, {what}: {one['seconds']:.1f} s ({one['cpu']:.1f} s of CPU), {rate:,.0f} rows/s, "
                f"peak {peak:.0f} MB",
                flush=True,
            )
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
