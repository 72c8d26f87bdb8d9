#!/usr/bin/env python
"""Ten thousand labels of which a text has a few: recall among the first k labels, time, rows a second and peak memory.

    python benchmarks/many_labels.py

Generates, by a seed, labels of one to three words with aliases, and texts that mention some of them with misspelled,
missing and turned words among others that are not meant. Frequencies fall as in a natural collection, so that many
labels of the test rows have no training row. Each recipe runs as a user runs it, in a process of its own, and the table
goes to `benchmarks/RESULTS.md` (with --show it does not).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import random
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # the library and its neighbour, installed or not

from data import memory  # noqa: E402
from results import write_section  # noqa: E402

import categorize  # noqa: E402
from categorize.errors import UserError  # noqa: E402
from categorize.recipe.terminal import run_command  # noqa: E402
from categorize.runs.environment import processor_name  # noqa: E402
from categorize.text_tables import markdown_table  # noqa: E402

WORK = ROOT / "outputs" / "benchmarks" / "many_labels"
HEADING = "## Ten thousand labels"
WAYS: dict[str, dict[str, Any]] = {
    "lexical": {"method": "lexical"},
    "lexical, not trained": {"method": "lexical", "learn": False},
    "similarity, n-grams of characters": {
        "method": "similarity",
        "template": "{name}, {aliases}",
        "features": {"type": "tfidf", "char_ngrams": [3, 5]},
    },
    "similarity, words, not fitted": {
        "method": "similarity",
        "template": "{name}, {aliases}",
        "features": {"type": "tfidf", "char_ngrams": None, "word_ngrams": [1, 2]},
        "learn": False,
    },
}
DEPTHS = (1, 5, 10, 20, 100)
SEED = 17
SPLITS = {"train": 4000, "validation": 500, "test": 2000}


@dataclass(frozen=True)
class Named:
    """A label: its words, and those of its aliases."""

    name: str
    aliases: tuple[str, ...]


def make_labels(count: int, generator: random.Random) -> tuple[list[Named], list[str]]:
    """Labels with distinct names and aliases, and all words, the most frequent first."""
    syllables = [a + b for a in "bcdfglmnprstv" for b in ("a", "e", "i", "o", "u", "an", "or", "el")]
    words = sorted({"".join(generator.choices(syllables, k=generator.choice((2, 2, 3)))) for _ in range(count)})
    generator.shuffle(words)
    taken: set[str] = set()

    def term() -> str:
        while True:
            found = " ".join(generator.sample(words, generator.choice((1, 1, 2, 2, 3))))
            if found not in taken:
                taken.add(found)
                return found

    labels = [Named(term(), tuple(term() for _ in range(generator.choice((0, 1, 1, 2))))) for _ in range(count)]
    return labels, words


def noisy(term: str, generator: random.Random) -> list[str]:
    """The words of a term as people write them: turned, one missing, in the plural, misspelled."""
    words = term.split()
    if len(words) > 1 and generator.random() < 0.1:
        generator.shuffle(words)
    if len(words) > 1 and generator.random() < 0.15:
        words.pop(generator.randrange(len(words)))
    if generator.random() < 0.1:
        words[-1] += "s"
    if generator.random() < 0.1:
        at = generator.randrange(len(words))
        cut = generator.randrange(1, len(words[at]))
        words[at] = words[at][:cut] + words[at][cut + 1 :]
    return words


def make_rows(
    count: int, labels: list[Named], words: list[str], generator: random.Random
) -> list[tuple[str, list[str]]]:
    """Texts with the names of their labels. A label that is meant stands early as a rule, one that is only mentioned
    anywhere."""
    often = list(accumulate(1 / (rank + 10) for rank in range(len(labels))))
    plain = list(accumulate(1 / (rank + 5) for rank in range(len(words))))
    rows = []
    for _ in range(count):
        gold = list(
            dict.fromkeys(generator.choices(range(len(labels)), cum_weights=often, k=generator.choice((1, 2, 2, 3))))
        )
        text: list[list[str]] = [[word] for word in generator.choices(words, cum_weights=plain, k=25)]
        for one in gold:
            term = generator.choice((labels[one].name, *labels[one].aliases))
            for _ in range(generator.choice((1, 1, 2))):
                text.insert(generator.randrange(8), noisy(term, generator))
        if generator.random() < 0.5:
            aside = labels[generator.choices(range(len(labels)), cum_weights=often, k=1)[0]]
            text.insert(generator.randrange(10, 25), noisy(aside.name, generator))
        rows.append((" ".join(word for part in text for word in part), [labels[one].name for one in gold]))
    return rows


def write_task(folder: Path, count: int, sizes: dict[str, int]) -> None:
    """Label file and rows of each split."""
    generator = random.Random(SEED)
    labels, words = make_labels(count, generator)
    names = [{"name": one.name, "aliases": list(one.aliases)} for one in labels]
    for split, rows in sizes.items():
        with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(["text", "labels"])
            table.writerows([text, ";".join(gold)] for text, gold in make_rows(rows, labels, words, generator))
    task = {
        "data": {
            "source": {split: str(folder / f"{split}.csv") for split in sizes},
            "columns": {"text": "text", "label": "labels"},
            "label_separator": ";",
        },
        "labels": {"task": "multi_label", "names": names},
    }
    (folder / "task.yaml").write_text(json.dumps(task, indent=1), encoding="utf-8")  # JSON is YAML


@dataclass(frozen=True)
class Measured:
    """One way: what `metrics.json` and `run.json` say of it, wall seconds of the command, its peak in bytes."""

    name: str
    test: dict[str, Any]
    manifest: dict[str, Any]
    wall: float
    peak: int


def write_recipe(model: dict[str, Any], folder: Path) -> Path:
    """The recipe of a method on the task of the folder; its run is `run` there."""
    recipe = {
        "kind": "seqcls",
        "name": "many",
        "extends": "task.yaml",
        "output_dir": str(folder / "run"),
        "model": model,
        "decision": {"thresholds": "global", "fallback": "top"},
    }
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(recipe), encoding="utf-8")
    return path


def measure(name: str, model: dict[str, Any], folder: Path) -> Measured:
    """Train and test as `run_seqcls.py` does. Raises UserError where it fails."""
    path = write_recipe(model, folder)
    start = time.monotonic()
    with (folder / "log.txt").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "run_seqcls.py", str(path), "--overwrite"], cwd=ROOT, stdout=log, stderr=log
        )
        peak = 0
        while process.poll() is None:
            peak = max(peak, memory(process.pid))
            time.sleep(0.05)
    wall = time.monotonic() - start
    if process.returncode:
        raise UserError(
            f"{name}: status {process.returncode}; {(folder / 'log.txt').read_text(encoding='utf-8')[-2000:]}"
        )
    run = folder / "run"
    test = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["test"]
    return Measured(name, test, json.loads((run / "run.json").read_text(encoding="utf-8")), wall, peak)


def section(measured: Sequence[Measured], labels: int, command: str) -> str:
    """The section of the results."""
    header = ["method", *(f"recall@{k}" for k in DEPTHS), "micro-F1", "command", "rows/s", "peak memory"]
    rows = []
    for one in measured:
        predicted = one.manifest["prediction"]
        rows.append(
            [
                one.name,
                *(f"{one.test[f'recall_at_{k}']:.3f}" for k in DEPTHS),
                f"{one.test['micro']['f1']:.3f}",
                f"{one.wall:.0f} s",
                f"{predicted['rows_per_second']:,.0f}",
                f"{one.peak / 1e9:.2f} GB",
            ]
        )
    dense = SPLITS["test"] * labels * 8
    return "\n".join(
        [
            HEADING,
            "",
            f"{labels:,} generated labels with aliases; {SPLITS['train']:,} training, {SPLITS['validation']:,} "
            f"validation and {SPLITS['test']:,} test rows of which each mentions one to three labels, misspelled, "
            "incomplete and among others that are not meant. `command` is the whole of `run_seqcls.py`: reading labels "
            "and rows, training, predicting and measuring both splits, thresholds, writing predictions. Rows a second "
            f"are those of predicting. The probabilities of the test rows alone are {dense / 1e6:,.0f} MB.",
            "",
            markdown_table(header, rows, "l" + "r" * (len(header) - 1)),
            "",
            f"- command: `{command}`",
            f"- hardware: {processor_name()}, {os.cpu_count()} cores; load average at the end {os.getloadavg()[0]:.1f}",
            f"- versions: python {platform.python_version()}, categorize {categorize.__version__}; "
            f"commit {measured[0].manifest['git_commit'] or 'unknown'}",
            f"- date: {time.strftime('%Y-%m-%d')}",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; the exit status is 2 for what the user can fix."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=10_000)
    parser.add_argument("--only", choices=list(WAYS), help="one method")
    parser.add_argument("--show", action="store_true", help="print the section and leave RESULTS.md alone")
    options = parser.parse_args(argv)
    command = shlex.join(["python", "benchmarks/many_labels.py", *(sys.argv[1:] if argv is None else argv)])
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    try:
        write_task(WORK, options.labels, SPLITS)
        ways = {name: model for name, model in WAYS.items() if options.only in (None, name)}
        text = section([measure(name, model, WORK) for name, model in ways.items()], options.labels, command)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not options.show:
        write_section(HEADING, text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
