#!/usr/bin/env python
"""Labelling beside ondine, the nearest peer: rows a second, and what survives `kill -9`.

    python -m venv peer && peer/bin/pip install ondine==2.1.1
    python benchmarks/labeling_peer.py --peer-python peer/bin/python

Both label the same CSV file through HTTP with the same server in another process, with as many rows a request and as
many requests at once. The server writes down which rows it was asked for and answers each row with a label that hangs
on the row, so that rows which are lost, paid twice or answered with the label of another are counted. The two take
turns. For the kills the server takes its time, each job is killed once half of the rows are answered, and then started
again. The table goes to `benchmarks/RESULTS.md`.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # the library and its neighbour, installed or not

from labeling import ITEMS, NAMES, write_comments  # noqa: E402
from labeling_http import Instant, serve  # noqa: E402
from results import write_section  # noqa: E402

from categorize.recipe.terminal import run_command  # noqa: E402
from categorize.runs.environment import processor_name  # noqa: E402
from categorize.text_tables import markdown_table  # noqa: E402

WORK = ROOT / "outputs" / "benchmarks" / "labeling_peer"
HEADING = "## Labelling beside ondine"
CONCURRENCY = 8
QUIET = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # LiteLLM would ask the net for prices, and wait
SYSTEM = f"Label each comment with one of: {', '.join(NAMES)}. Answer with the label only."


@dataclass(frozen=True)
class Tool:
    """One way to have the rows labelled.

    Attributes:
        name: what the table calls it.
        peer: settings of `labeling_ondine.py`, or None for ours.
    """

    name: str
    peer: dict[str, Any] | None = None


OURS = Tool("categorize")
FULL = Tool("ondine, synchronous=FULL", {"full": True})
AS_IT_IS = Tool("ondine as it comes (NORMAL)", {"full": False})


class Noting(Instant):
    """Answers both tools' requests after a while, and writes down the rows that it was asked for."""

    log: Path
    delay = 0.0

    def send(self, body: bytes) -> None:
        """The label hangs on the row: the number at the end of its text."""
        content = json.loads(body)["messages"][-1]["content"]
        if "\nINPUT:\n" in content:  # ondine's
            asked = json.loads(content.partition("\nINPUT:\n")[2].partition("\n\n")[0])
            rows = [int(one["input"].rpartition(" ")[2]) for one in asked]
            answer = json.dumps([{"id": one["id"], "result": meant(row)} for one, row in zip(asked, rows, strict=True)])
        elif not content.startswith("{"):  # ours, which asks beforehand what the server can do
            rows, answer = [], "{}"
        else:
            asked = json.loads(content)["comments"]
            rows = [int(one["text"].rpartition(" ")[2]) for one in asked]
            pairs = zip(asked, rows, strict=True)
            items = [{"comment_id": one["comment_id"], "labels": [meant(row)]} for one, row in pairs]
            answer = json.dumps({"comments": items})
        asyncio.get_running_loop().call_later(self.delay, self.note, answer, rows)

    def note(self, answer: str, rows: Sequence[int]) -> None:
        """A request is paid once its answer is sent, or was sent in vain."""
        with self.log.open("a", encoding="utf-8") as file:
            file.write(" ".join(map(str, rows)) + "\n")
        self.write(answer, len(rows))


def meant(row: int) -> str:
    """The label of a row."""
    return NAMES[row % len(NAMES)]


@contextmanager
def server(log: Path, delay: float) -> Iterator[str]:
    """A server in another process; its URL."""
    command = [sys.executable, __file__, "--serve", str(log), str(delay)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.kill()


def prepare(tool: Tool, folder: Path, source: Path, url: str, python: str) -> list[str]:
    """What the job needs, anew; the command that does it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if tool.peer is None:
        path = folder / "recipe.yaml"
        path.write_text(
            f"kind: label\nname: job\noutput_dir: {folder / 'job'}\n"
            f"data: {{source: {source}, columns: {{text: text, id: id, label: null}}}}\n"
            f"labels: {{names: [{', '.join(NAMES)}]}}\n"
            f"labeling: {{items: {ITEMS}, teacher: {{type: endpoint, url: '{url}', model: instant, "
            f"concurrency: {CONCURRENCY}}}}}\n",
            encoding="utf-8",
        )
        return [sys.executable, str(ROOT / "benchmarks" / "labeling_http.py"), "--job", str(path)]
    job = {
        "source": str(source),
        "system": SYSTEM,
        "url": url,
        "items": ITEMS,
        "concurrency": CONCURRENCY,
        "checkpoints": str(folder / "checkpoints"),
        "output": str(folder / "labels.csv"),
        "full": tool.peer["full"],
    }
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    return [python, str(ROOT / "benchmarks" / "labeling_ondine.py"), str(folder / "job.json")]


def finish(command: Sequence[str]) -> dict[str, Any]:
    """Run a job to its end: what it says of itself, and the seconds of the whole command."""
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=QUIET)
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)}: {done.stderr[-2000:]}")
    return {**json.loads(done.stdout.splitlines()[-1]), "whole": time.perf_counter() - start}


def labels(tool: Tool, folder: Path) -> dict[int, str | None]:
    """The label of each row in the table that the job has written."""
    if tool.peer is None:
        import pyarrow.parquet

        table = pyarrow.parquet.read_table(folder / "job" / "labels", columns=["id", "label"])
        pairs = list(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))
    else:
        with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
            pairs = [(row["id"], row["label"] or None) for row in csv.DictReader(file)]
    return {int(id[1:]): label for id, label in pairs}


def asked(log: Path) -> list[int]:
    """Every row that was answered, once for each time."""
    return [int(one) for one in log.read_text(encoding="utf-8").split()] if log.exists() else []


def speed(tool: Tool, rows: int, source: Path, python: str) -> dict[str, Any]:
    """One job from end to end with a server that answers at once."""
    folder, log = WORK / "job", WORK / "log"
    log.unlink(missing_ok=True)
    with server(log, 0.0) as url:
        said = finish(prepare(tool, folder, source, url, python))
    found = labels(tool, folder)
    return {**said, "right": sum(found.get(row) == meant(row) for row in range(rows)), "asked": len(asked(log))}


def survival(tool: Tool, rows: int, source: Path, python: str, delay: float) -> dict[str, Any]:
    """One job, killed once half of its rows are answered, and started again."""
    folder, log = WORK / "job", WORK / "log"
    log.unlink(missing_ok=True)
    with server(log, delay) as url:
        command = prepare(tool, folder, source, url, python)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=QUIET) as job:
            while len(asked(log)) < rows // 2 and job.poll() is None:
                time.sleep(0.02)
            early = job.poll() is not None
            job.kill()
        if early:
            raise SystemExit(f"{tool.name}: the job ended before it could be killed")
        time.sleep(2 * delay + 0.2)  # what was in flight is answered in vain
        before = Counter(asked(log))
        said = finish(command)
    times, found = Counter(asked(log)), labels(tool, folder)
    return {
        **said,
        "before": len(before),
        "again": sum(times.values()) - len(times),
        "lost": sum(found.get(row) is None for row in range(rows)),
        "wrong": sum(found.get(row) not in (None, meant(row)) for row in range(rows)),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write; the exit status: 1 where we are slower than the peer or lose more."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["--serve"]:
        Noting.log, Noting.delay = Path(arguments[1]), float(arguments[2])
        asyncio.run(serve(Noting))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", required=True, help="python of the environment that ondine is installed in")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--times", type=int, default=3, help="measurements of each")
    parser.add_argument("--delay", type=float, default=0.1, help="seconds that an answer takes, for the kills")
    options = parser.parse_args(arguments)
    python = options.peer_python
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    source = WORK / "comments.csv"
    write_comments(source, options.rows)
    load = [os.getloadavg()[0]]
    speeds: dict[str, list[dict[str, Any]]] = {tool.name: [] for tool in (OURS, FULL, AS_IT_IS)}
    kills = {}
    for _ in range(options.times):
        for tool in (OURS, FULL, AS_IT_IS):
            speeds[tool.name].append(speed(tool, options.rows, source, python))
            print(tool.name, speeds[tool.name][-1], flush=True)
            load.append(os.getloadavg()[0])
    for tool in (OURS, FULL):
        kills[tool.name] = survival(tool, options.rows, source, python, options.delay)
        print("killed:", tool.name, kills[tool.name], flush=True)
    command = f"python benchmarks/labeling_peer.py {shlex.join(arguments)}".replace(python, "PEER/bin/python")
    write_section(HEADING, section(options, speeds, kills, load, command, python))
    shutil.rmtree(WORK)
    rate = {name: median(one["seconds"] for one in those) for name, those in speeds.items()}
    ours, peer = kills[OURS.name], kills[FULL.name]
    beyond = ours["lost"] + ours["wrong"] == 0 and ours["again"] < peer["again"]
    return 0 if rate[OURS.name] <= rate[FULL.name] and beyond else 1


def section(
    options: argparse.Namespace,
    speeds: dict[str, list[dict[str, Any]]],
    kills: dict[str, dict[str, Any]],
    load: Sequence[float],
    command: str,
    python: str,
) -> str:
    """The Markdown section."""
    rows = options.rows
    fast = []
    for name, those in speeds.items():
        seconds = median(one["seconds"] for one in those)
        worked, whole = median(one["cpu"] for one in those), median(one["whole"] for one in those)
        right = f"{min(one['right'] for one in those):,}"
        fast.append([name, f"{seconds:.1f}", f"{rows / seconds:,.0f}", f"{worked:.1f}", f"{whole:.1f}", right])
    killed = []
    for name, one in kills.items():
        way = "begins anew: resuming is refused" if one.get("refused") else "goes on"
        counts = [f"{one[what]:,}" for what in ("before", "again", "lost", "wrong")]
        killed.append([name, *counts, f"{one['whole']:.1f}", way])
    tell = "import importlib.metadata as m, sys; print(sys.version.split()[0], *map(m.version, ('ondine', 'litellm')))"
    told = subprocess.run([python, "-c", tell], capture_output=True, text=True, check=True).stdout.split()
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    refused = {one["refused"] for one in kills.values() if one.get("refused")}
    return "\n".join(
        [
            HEADING,
            "",
            f"{rows:,} short comments from one CSV file to a table with a label for each, through HTTP with the same "
            f"server in another process; {ITEMS} rows a request (ondine's multi-row prompts), {CONCURRENCY} requests "
            f"at once. The tools take turns; medians of {options.times}. Seconds of the job leave imports out, those "
            "of CPU and of the command hold them.",
            "",
            markdown_table(
                ["tool", "seconds", "rows/s", "seconds of CPU", "the whole command", "rows labelled right"],
                fast,
                "lrrrrr",
            ),
            "",
            f"Killed with SIGKILL once half of the rows were answered, and started again; an answer takes "
            f"{options.delay:g} s. Paid again are rows that the server answered a second time: also those whose "
            "answer was under way at the kill.",
            "",
            markdown_table(
                [
                    "tool",
                    "answered before the kill",
                    "paid again",
                    "rows lost",
                    "with another's label",
                    "seconds to the end",
                    "the second start",
                ],
                killed,
                "lrrrrrl",
            ),
            "",
            *(f'ondine after the kill: "{one.rpartition(" session ")[0]} ...".' for one in sorted(refused)[:1]),
            "Its answers lie in `responses.db`, a row a request, but `resume_from` wants a checkpoint file beside it, "
            "which ondine writes when all requests are answered, or on an error or Ctrl-C: a killed process "
            "leaves none.",
            "",
            "Durability: categorize commits answers in groups, within 100 ms, with `synchronous=FULL`. ondine commits "
            "each answer with `synchronous=NORMAL` in WAL mode, which a killed process survives and a power cut may "
            "not; it has no setting for it, so that the benchmark sends `PRAGMA synchronous=FULL` on its connection. "
            "Its disk cache (`with_disk_cache`) cannot help here: litellm 1.110.2 refuses the cache type `disk`.",
            "",
            f"- command: `{command}`",
            f"- hardware: {processor_name()}, {os.cpu_count()} cores that others used too; load average "
            f"{min(load):.1f} to {max(load):.1f}",
            f"- versions: python {sys.version.split()[0]}; ondine {told[1]} with litellm {told[2]} on python "
            f"{told[0]}; commit {commit.stdout.strip() or 'unknown'}",
            f"- date: {time.strftime('%Y-%m-%d')}",
        ]
    )


if __name__ == "__main__":
    sys.exit(run_command(main))
