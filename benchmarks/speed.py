#!/usr/bin/env python
"""Speed beside peers: heads and label scoring, inference and training, by our entry scripts and recipes.

    python benchmarks/speed.py
    python benchmarks/speed.py --only heads scoring --threads 1 --by cpu
    python benchmarks/speed.py --quick --no-write

Each side runs in a process of its own, in turns, with the same model files, texts and threads; the table has medians
over the rounds. What a row gave is kept in `outputs/benchmarks/speed/results`, so that the section of `RESULTS.md` has
all rows that were measured. The exit status is 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # the library and its neighbours, installed or not

from results import RESULTS, how_measured, write_section  # noqa: E402
from speed_cases import CASES, Case, Sizes  # noqa: E402
from speed_growth import GROWTH, grow, growth_lines  # noqa: E402
from speed_picture import PICTURE, draw  # noqa: E402
from speed_tables import has, ratios_of, tables  # noqa: E402
from speed_tasks import WORK, environment, write_job  # noqa: E402

from categorize.errors import UserError  # noqa: E402
from categorize.recipe.terminal import run_command  # noqa: E402
from categorize.runs.environment import environment as machine  # noqa: E402

HEADING = "## Speed beside peers"
PACKAGES = ("torch", "transformers")
PEERS = ("trl", "peft", "sentence-transformers", "onnxruntime", "openvino", "nncf")


# ---------------------------------------------------------------- measuring
def run_side(name: str, job: dict[str, Any], threads: int) -> dict[str, Any]:
    """What a side measured in a process of its own.

    Raises:
        UserError: it failed.
    """
    file = "".join(letter if letter.isalnum() else "_" for letter in name)
    python = job.get("python") or sys.executable
    command = [python, "-P", str(ROOT / "benchmarks" / "speed_peers.py"), str(write_job(file, job))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment(threads))
    if done.returncode:
        raise UserError(f"{name}: status {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(name: str, case: Case, options: argparse.Namespace) -> dict[str, Any]:
    """Every side in turn, so many times; what each gave in each round, and what was kept of sides that are not measured
    now. A peer that fails is told and left out. What a side gave is kept at once."""
    wanted = [side for side in case.sides if options.sides == "all" or is_ours(side) == (options.sides == "ours")]
    fresh: dict[str, list[dict[str, Any]]] = {side: [] for side in wanted}
    failed: dict[str, str] = {}
    result: dict[str, Any] = {}
    for number in range(options.rounds):
        for side in (one for one in wanted if one not in failed):
            try:
                found = run_side(f"{name} {side}", case.sides[side], options.threads)
            except UserError as error:
                if is_ours(side):
                    raise
                failed[side] = str(error).strip().splitlines()[0][:200]
                print(f"  {side}: failed, left out: {failed[side]}", flush=True)
                continue
            fresh[side].append(found)
            print(
                f"  {number + 1}/{options.rounds}  {side}: {found['rows'] / found['seconds']:,.1f} rows/s, "
                f"{found['rows'] / found['cpu']:,.1f} a CPU second",
                flush=True,
            )
            result = joined(name, case, fresh, failed, options)
            if not options.quick:
                keep(name, result)
    return result


def joined(
    name: str, case: Case, fresh: dict[str, list[dict[str, Any]]], failed: dict[str, str], options: argparse.Namespace
) -> dict[str, Any]:
    """What was measured now in the place of what was kept before; peers of another row where a row borrows them."""
    before, borrowed = {}, {}
    if not options.quick:
        all_kept = kept()
        before = all_kept.get(name, {})
        borrowed = all_kept.get(case.borrows or "", {}).get("sides", {})
    lent = [side for side in borrowed if side not in case.sides and not side.startswith("bare")]
    sides = before.get("sides", {}) | {side: borrowed[side] for side in lent}
    sides |= {side: rounds for side, rounds in fresh.items() if rounds}
    return {
        "title": case.title if options.sides != "peers" or not before else before["title"],
        "sides": {side: sides[side] for side in dict.fromkeys([*case.sides, *lent]) if side in sides},
        "failed": {
            side: why for side, why in before.get("failed", {}).items() if side in case.sides and side not in fresh
        }
        | failed,
        "ratios": [vars(ratio) for ratio in case.ratios],
        "by": options.by,
        "threads": options.threads,
        "scale": options.scale,
        "load": os.getloadavg()[0],
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
    }


def is_ours(side: str) -> bool:
    """Whether a side is an entry script, not a peer."""
    return side.startswith("ours")


# ---------------------------------------------------------------- telling
def kept() -> dict[str, dict[str, Any]]:
    """What was measured until now, by row."""
    folder = WORK / "results"
    return {
        name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for name in (*CASES, *GROWTH)
        if (folder / f"{name}.json").is_file()
    }


def keep(name: str, found: dict[str, Any]) -> None:
    """For the section."""
    (WORK / "results").mkdir(parents=True, exist_ok=True)
    (WORK / "results" / f"{name}.json").write_text(json.dumps(found), encoding="utf-8")


def section(found: dict[str, dict[str, Any]]) -> tuple[str, bool]:
    """The Markdown section of all that was measured, and whether every target was reached."""
    made = [one for name, one in found.items() if name in CASES]
    by = sorted({one["by"] for one in made})
    lines = [
        HEADING,
        "",
        f"![Ratios of rows a second, ours over each peer]({os.path.relpath(PICTURE, RESULTS.parent)})",
        "",
        "Ours are the entry scripts on recipes of `benchmarks/recipes/speed_*.yaml`: each is run on a few rows and on "
        "all in one process, and the difference is timed: reading the file and writing the table count, imports and "
        "loading do not. Peers are timed behind their loading and a warm-up, on fewer rows of the same kind. All sides "
        "have the same model files, texts and threads; each round runs every side once in a process of its own; "
        "figures are medians over rounds (with `--sides ours`, peers are of an earlier run). The peak is that of the "
        "whole process, libraries too. "
        f"Targets are judged by {' and '.join('CPU seconds' if one == 'cpu' else 'the clock' for one in by)}"
        + (": others used the machine, and clocks say little." if "cpu" in by else "."),
    ]
    good = True
    for name, one in found.items():
        if name not in CASES:
            continue
        text, whole = tables(one)
        good = good and whole
        rounds = max(len(rounds) for rounds in one["sides"].values())
        counts = [(rounds, "round"), (one["threads"], "thread")]
        facts = ", ".join(f"{count} {word}{'s' if count > 1 else ''}" for count, word in counts)
        facts += f", scale {one.get('scale', 1):g}"
        lines += [
            "",
            f"### {one['title'][0].upper()}{one['title'][1:]}",
            "",
            text,
            "",
            f"{facts}, load average {one['load']:.1f}, {one['date']} UTC.",
        ]
    lines += growth_lines({name: one for name, one in found.items() if name in GROWTH})
    threads = ", ".join(sorted({str(one["threads"]) for one in made})) or "2"
    command = f"python benchmarks/speed.py --threads {threads} --by {' or '.join(by) or 'clock'}"
    about = {**machine(), "finished": datetime.now(UTC).isoformat()}
    lines += ["", *how_measured(command, about, PACKAGES, data=False)]
    peers = [f"{name} {version(name)}" for name in PEERS if importlib.util.find_spec(name.replace("-", "_"))]
    lines.append(f"- versions of peers: {', '.join(peers)}")
    if made and not has("bf16"):
        lines.append("- this processor has no instructions for bfloat16: rows in it say nothing about others")
    return "\n".join(lines), good


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write; the exit status: 1 where a target is missed, 2 for what the user can fix."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*CASES, *GROWTH]
    parser.add_argument(
        "--only", nargs="*", choices=names, default=names, help="what to measure; none: the section alone"
    )
    parser.add_argument("--threads", type=int, default=min(os.cpu_count() or 1, 2), help="of every side; 2 by default")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side is measured")
    parser.add_argument(
        "--by",
        choices=("clock", "cpu"),
        default="clock",
        help="seconds that targets are judged by; cpu where others use the machine",
    )
    parser.add_argument("--scale", type=float, default=1.0, help="share of the rows")
    parser.add_argument("--quick", action="store_true", help="a smoke test: a fiftieth of the rows, one round")
    parser.add_argument("--sides", choices=("all", "ours", "peers"), default="all", help="the others stay as measured")
    parser.add_argument("--long", action="store_true", help="grow to a million rows")
    parser.add_argument(
        "--setfit-python", help="python of an environment with SetFit, which needs an older transformers"
    )
    parser.add_argument(
        "--no-write", dest="write", action="store_false", help="print the section, keep RESULTS.md and the picture"
    )
    options = parser.parse_args(argv)
    if options.quick:
        options.scale, options.rounds = 0.02, 1
    sizes = Sizes(options.scale, options.threads, options.setfit_python)
    results = {} if options.quick else kept()
    try:
        for name in options.only:
            started = time.monotonic()
            print(name, flush=True)
            if name in GROWTH:
                results[name] = grow(name, sizes, run_side, long=options.long)
                if not options.quick:
                    keep(name, results[name])
            else:
                results[name] = measure(name, CASES[name](sizes), options)
            print(f"  {time.monotonic() - started:.0f} s", flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    results = {name: results[name] for name in names if name in results}
    text, good = section(results)
    if options.write and not options.quick:
        draw(ratios_of(results))
        write_section(HEADING, text)
        text += f"\nwritten: {RESULTS.relative_to(ROOT)}, {PICTURE.relative_to(ROOT)}"
    print(f"\n{text}", flush=True)
    return int(not good)


if __name__ == "__main__":
    sys.exit(run_command(main))
