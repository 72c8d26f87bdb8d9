#!/usr/bin/env python
"""Quality on real data: every way of categorizing, trained and compared by the entry scripts.

    CATEGORIZE_DATA=path/to/data python benchmarks/quality.py
    CATEGORIZE_DATA=path/to/data python benchmarks/quality.py --task emobank --method tfidf minilm --retrain

Each row of a table is a recipe of `benchmarks/recipes`. Runs go to `outputs/benchmarks`, the measured tables to
`benchmarks/RESULTS.md`; see `benchmarks/README.md` for the data folder and the pretrained model.
"""

from __future__ import annotations

import argparse
import shlex
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # the library and its neighbours, installed or not

from results import RESULTS, how_measured, write_section  # noqa: E402
from trainings import (  # noqa: E402
    RECIPES,
    WEIGHTS_SHA256,
    WORK,
    Training,
    data_source,
    evaluate,
    local_overrides,
    train,
)

from categorize.errors import UserError  # noqa: E402
from categorize.metrics.progress import flat  # noqa: E402
from categorize.recipe.terminal import run_command  # noqa: E402
from categorize.reports.columns import duration, rate  # noqa: E402
from categorize.runs.folder import Run  # noqa: E402
from categorize.text_tables import markdown_table  # noqa: E402

FIRST_SEED = 42
PACKAGES = ("torch", "transformers", "scikit-learn")


@dataclass(frozen=True)
class Way:
    """One way of categorizing a dataset: the recipe `{task}_{name}.yaml`.

    Attributes:
        title: how the table names it.
        seeds: trainings, each with a seed of its own; the table has their mean and spread.
        target: what the mean of the headline should reach on test; None for none.
    """

    name: str
    title: str
    seeds: int = 1
    target: float | None = None


@dataclass(frozen=True)
class Task:
    """One dataset.

    Attributes:
        name: prefix of its recipes.
        folder: its folder in the data folder.
        title: heading of its section in the results.
        measures: names in `metrics.progress.flat` and their columns; the first is the headline.
        ways: rows of its table, in this order: a way may build on the runs of earlier ones.
    """

    name: str
    folder: str
    title: str
    measures: tuple[tuple[str, str], ...]
    ways: tuple[Way, ...]


TASKS = {
    task.name: task
    for task in (
        Task(
            "banking77",
            "banking77",
            "Banking77: 77 intents of English bank customers",
            (("accuracy", "accuracy"), ("macro_f1", "macro-F1")),
            (
                Way("tfidf", "TF-IDF + linear SVM"),
                Way("embedding", "MiniLM embeddings + logistic regression", target=0.92),
                Way("neighbours", "MiniLM embeddings, nearest neighbours"),
                Way("minilm", "MiniLM, fine-tuned", seeds=3, target=0.935),
                Way("fusion", "fusion of these, all three seeds", target=0.94),
                Way("few", "MiniLM tuned on pairs, 8 examples a class", target=0.80),
            ),
        ),
        Task(
            "goemotions",
            "goemotions",
            "GoEmotions: 28 emotions of English comments, several a comment",
            (("macro_f1", "macro-F1"), ("micro_f1", "micro-F1"), ("group_macro_f1", "macro-F1 of Ekman's groups")),
            (
                Way("tfidf", "TF-IDF + linear SVM"),
                Way("embedding", "MiniLM embeddings and TF-IDF + logistic regression"),
                Way("minilm", "MiniLM, fine-tuned", target=0.48),
                Way("fusion", "fusion of the three", target=0.51),
            ),
        ),
        Task(
            "goemotions_levels",
            "goemotions",
            "GoEmotions in two levels: Ekman's groups and the emotions in them, from 10,000 rows",
            (("group_macro_f1", "macro-F1 of Ekman's groups"), ("macro_f1", "macro-F1"), ("micro_f1", "micro-F1")),
            (
                Way("one", "MiniLM, fine-tuned, one head"),
                Way("two", "the same with a head for the groups"),
            ),
        ),
        Task(
            "emobank",
            "emobank_valence",
            "EmoBank: valence of English sentences, a regression",
            (("pearson", "Pearson r"), ("spearman", "Spearman"), ("mae", "MAE"), ("rmse", "RMSE")),
            (
                Way("tfidf", "TF-IDF + linear"),
                Way("embedding", "MiniLM embeddings + ridge"),
                Way("minilm", "MiniLM, fine-tuned", seeds=3, target=0.77),
                Way("vad", "MiniLM, fine-tuned with arousal and dominance"),
                Way("probe", "MiniLM, fine-tuned behind a probe"),
                Way("fusion", "fusion of these, all three seeds", target=0.77),
            ),
        ),
        Task(
            "csl_category",
            "csl_category_zh",
            "CSL: 13 disciplines of Chinese paper titles",
            (("accuracy", "accuracy"), ("macro_f1", "macro-F1")),
            (
                Way("tfidf", "TF-IDF of characters + linear SVM", target=0.80),
                Way("embedding", "the same with calibrated probabilities", target=0.80),
                Way("neighbours", "nearest neighbours by TF-IDF"),
                Way("fusion", "fusion of the three", target=0.80),
            ),
        ),
    )
}


@dataclass(frozen=True)
class Measured:
    """A way with its runs: what each left, and how each scored on test."""

    way: Way
    runs: list[Run]
    scores: list[dict[str, Any]]

    def values(self, measure: str) -> list[float]:
        """A measure on test, of each run."""
        return [flat(one["metrics"])[measure] for one in self.scores]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; the exit status: 1 where a headline misses its target, 2 for what the user can correct."""
    options = parse(argv)
    command = shlex.join(["python", "benchmarks/quality.py", *(sys.argv[1:] if argv is None else argv)])
    reached = True
    try:
        for name in options.task:
            task = TASKS[name]
            ways = [way for way in task.ways if not options.method or way.name in options.method]
            if not ways:
                continue
            heading, text, good = measure(task, ways, options.seeds, options.retrain, command)
            if options.write:
                write_section(heading, text)
                text += f"\nwritten: {RESULTS.relative_to(ROOT)}"
            print(f"\n{text}", flush=True)
            reached = reached and good
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0 if reached else 1


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    methods = list(dict.fromkeys(way.name for task in TASKS.values() for way in task.ways))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", nargs="+", choices=list(TASKS), default=list(TASKS), help="datasets; all by default")
    parser.add_argument("--method", nargs="+", choices=methods, help="rows of the tables; all by default")
    parser.add_argument("--seeds", type=int, metavar="N", help="trainings of each way that has several by itself")
    parser.add_argument("--retrain", action="store_true", help="train again what is finished with the same recipe")
    parser.add_argument("--no-write", dest="write", action="store_false", help="print the tables, keep RESULTS.md")
    options = parser.parse_args(argv)
    if options.seeds is not None and options.seeds < 1:
        parser.error("--seeds: at least 1")
    return options


def measure(task: Task, ways: Sequence[Way], seeds: int | None, retrain: bool, command: str) -> tuple[str, str, bool]:
    """Train what is not trained yet, evaluate, and give the heading and text of the task's section, and whether every
    target is reached."""
    source = data_source(task.folder)
    trainings = {way: trainings_of(task, way, source, seeds) for way in ways}
    for of_way in trainings.values():
        for training in of_way:
            train(training, retrain)
    comparison = evaluate(task.name, source, [one for of_way in trainings.values() for one in of_way])
    assert comparison["split"] == "test"
    scores = {run["name"]: run for run in comparison["runs"]}
    measured = [
        Measured(way, [Run.open(ROOT / one.output) for one in of_way], [scores.pop(one.name) for one in of_way])
        for way, of_way in trainings.items()
    ]
    baseline = Measured(Way("", next(iter(scores))), [], list(scores.values()))
    return section(task, [baseline, *measured], command)


def trainings_of(task: Task, way: Way, source: str, seeds: int | None) -> list[Training]:
    """The trainings of a way, one a seed. Their folders are those that recipes of later ways name."""
    recipe = RECIPES / f"{task.name}_{way.name}.yaml"
    shared = (source, *local_overrides(recipe))
    several = min(way.seeds, seeds or way.seeds)
    found = []
    for seed in range(FIRST_SEED, FIRST_SEED + several):
        output, name = WORK / f"{task.name}_{way.name}", way.title
        if seed > FIRST_SEED:
            output, name = output.with_name(f"{output.name}_seed{seed}"), f"{name}, seed {seed}"
        found.append(Training(name, recipe, output, (*shared, f"seed={seed}")))
    return found


# ---------------------------------------------------------------- results
def section(task: Task, measured: Sequence[Measured], command: str) -> tuple[str, str, bool]:
    """Heading and Markdown of a task's section, and whether the targets are reached."""
    headline, column = task.measures[0]
    header = [
        "way",
        *(f"{title} [95%]" for _, title in task.measures),
        f"validation {column}",
        "target",
        "parameters trained",
        "training",
        "rows/s",
    ]
    table = markdown_table(header, [_row(task, one) for one in measured], "l" + "r" * (len(header) - 1))
    missed = [one.way.title for one in measured if _missed(one, headline)]
    first = next(one for one in measured if one.runs).runs[0].manifest
    rows = first["rows"]
    lines = [
        f"## {task.title}",
        "",
        f"All figures are of the published test split ({rows['test']:,} rows), but for the column `validation "
        f"{column}`. Several seeds: their mean, with the lowest and the highest; else the 95% interval. "
        + (f"Below their target: {', '.join(missed)}." if missed else "Every target is reached."),
        "",
        table,
        "",
        f"- rows: {rows['train']:,} train, {rows['validation']:,} validation, {rows['test']:,} test",
        f"- recipes: `{RECIPES / task.name}_*.yaml`; encoder: all-MiniLM-L6-v2 (sha256 of the weights "
        f"{WEIGHTS_SHA256[:12]}...)",
        *how_measured(command, first, PACKAGES),
    ]
    return lines[0], "\n".join(lines) + "\n", not missed


def _missed(one: Measured, headline: str) -> bool:
    return one.way.target is not None and statistics.mean(one.values(headline)) < one.way.target


def _row(task: Task, one: Measured) -> list[str]:
    headline = task.measures[0][0]
    intervals = one.scores[0]["metrics"]["intervals"]["measures"]
    cells = [_cell(one.values(name), intervals.get(name)) for name, _ in task.measures]
    validation, training, parameters = "-", "-", "-"
    if one.runs:
        held_out = [flat(run.read_json("metrics.json")["validation"]).get(headline) for run in one.runs]
        if None not in held_out:  # a run that was trained on labels without groups has no measure of theirs
            validation = f"{statistics.mean(held_out):.4f}"
        training = duration(statistics.mean(score["training_seconds"] for score in one.scores))
        parameters = f"{one.scores[0]['parameters_trained'] or 0:,}"
    target = "-" if one.way.target is None else f"{one.way.target:g}{' MISSED' if _missed(one, headline) else ''}"
    speeds = [score["documents_per_second"] for score in one.scores if score["documents_per_second"]]
    speed = rate(statistics.mean(speeds)) if speeds else "-"
    seeds = f" ({len(one.runs)} seeds)" if len(one.runs) > 1 else ""
    return [one.way.title + seeds, *cells, validation, target, parameters, training, speed]


def _cell(values: Sequence[float], bounds: Sequence[float] | None) -> str:
    """The mean and the spread of several seeds, or one value with its interval."""
    if len(values) > 1:
        return f"{statistics.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})"
    return f"{values[0]:.4f}" + (f" [{bounds[0]:.4f}, {bounds[1]:.4f}]" if bounds else "")


if __name__ == "__main__":
    sys.exit(run_command(main))
