#!/usr/bin/env python
"""What losses, weights and samplers do for rare labels: one recipe a dataset, one change a row, the same budget.

    CATEGORIZE_DATA=path/to/data python benchmarks/imbalance.py
    CATEGORIZE_DATA=path/to/data python benchmarks/imbalance.py --task goemotions --change focal --rows 4000 --no-write

GoEmotions is fine-tuned for `--steps` steps on a sample of its training rows, CSL learned by a linear model on all of
them. The tail is the quarter of the labels with the fewest test rows; its recall is their mean.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # the library and its neighbours, installed or not

from results import RESULTS, how_measured, write_section  # noqa: E402
from trainings import RECIPES, WORK, Training, data_source, local_overrides, override, train  # noqa: E402

from categorize.errors import UserError  # noqa: E402
from categorize.metrics.progress import flat  # noqa: E402
from categorize.recipe.terminal import run_command  # noqa: E402
from categorize.reports.columns import duration  # noqa: E402
from categorize.runs.folder import METRICS, Run  # noqa: E402
from categorize.text_tables import markdown_table  # noqa: E402

HEADING = "## Rare labels: losses, weights and samplers"
PACKAGES = ("torch", "transformers", "scikit-learn")


@dataclass(frozen=True)
class Task:
    """One dataset: its folder in the data folder, the measure beside macro-F1, and the `training` of each row."""

    folder: str
    measure: str
    changes: dict[str, dict[str, Any]]


WEIGHTS_AND_SAMPLERS: dict[str, dict[str, Any]] = {
    "balanced weights": {"class_weights": "balanced"},
    "effective number": {"class_weights": {"type": "effective_number", "beta": 0.999}},
    "weighted sampling": {"balance": "weighted"},
    "repeat sampling": {"balance": {"type": "repeat", "threshold": 0.05}},
}
TASKS = {
    "goemotions": Task(
        "goemotions",
        "micro_f1",
        {
            "cross-entropy": {},
            "focal": {"loss": "focal"},
            "asymmetric": {"loss": "asymmetric"},
            "logit adjustment": {"loss": "logit_adjustment"},
            **WEIGHTS_AND_SAMPLERS,
        },
    ),
    "csl_category": Task("csl_category_zh", "accuracy", {"none": {}, **WEIGHTS_AND_SAMPLERS}),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; the exit status: 2 for what the user can correct."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    changes = list(dict.fromkeys(change for task in TASKS.values() for change in task.changes))
    parser.add_argument("--task", nargs="+", choices=list(TASKS), default=list(TASKS), help="datasets; all by default")
    parser.add_argument("--change", nargs="+", choices=changes, help="rows of the tables; all by default")
    parser.add_argument("--rows", type=int, default=9600, help="training rows of GoEmotions")
    parser.add_argument("--steps", type=int, default=300, help="optimizer steps of 32 rows on GoEmotions")
    parser.add_argument("--retrain", action="store_true", help="train again what is finished with the same recipe")
    parser.add_argument("--no-write", dest="write", action="store_false", help="print the tables, keep RESULTS.md")
    options = parser.parse_args(argv)
    command = shlex.join(["python", "benchmarks/imbalance.py", *(sys.argv[1:] if argv is None else argv)])
    try:
        tables, run = [], None
        for name in options.task:
            runs = trained(name, options)
            tables += [table(name, runs), ""]
            run = next(iter(runs.values()), run)
        if run is None:
            raise UserError("--change: none of these is a row of these datasets")
        how = {
            "goemotions": f"GoEmotions: MiniLM, {options.rows:,} training rows, {options.steps} steps of 32 rows, one "
            "seed; thresholds of each label from validation. ",
            "csl_category": "CSL: character n-grams and a linear SVM. ",
        }
        said = (
            "".join(how[name] for name in options.task)
            + "Tail recall: the mean over the quarter of the labels with the fewest test rows."
        )
        text = "\n".join([HEADING, "", said, "", *tables, *how_measured(command, run.manifest, PACKAGES), ""])
        if options.write:
            write_section(HEADING, text)
            text += f"\nwritten: {RESULTS.relative_to(ROOT)}"
        print(f"\n{text}", flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def trained(name: str, options: argparse.Namespace) -> dict[str, Run]:
    """The run of each row of a dataset."""
    task, recipe = TASKS[name], RECIPES / f"{name}_imbalance.yaml"
    shared = [data_source(task.folder), *local_overrides(recipe)]
    if name == "goemotions":
        shared += [override("data.sample", {"rows": options.rows, "splits": ["train"]})]
        shared += [override("training.max_steps", options.steps)]
    runs = {}
    for change, training in task.changes.items():
        if options.change and change not in options.change:
            continue
        output = WORK / f"{name}_imbalance_{change.replace(' ', '_')}"
        more = [override(f"training.{key}", value) for key, value in training.items()]
        train(Training(change, recipe, output, (*shared, *more)), options.retrain)
        runs[change] = Run.open(ROOT / output)
    return runs


def table(name: str, runs: dict[str, Run]) -> str:
    """Test measures of the runs in Markdown."""
    measure = TASKS[name].measure
    header = [name, "macro-F1", measure.replace("_f1", "-F1"), "tail recall", "swept on test", "training"]
    rows = []
    for change, run in runs.items():
        test = run.read_json(METRICS)["test"]
        scores, labels = flat(test), sorted(test["per_class"], key=lambda label: label["support"])
        tail = labels[: max(len(labels) // 4, 1)]
        swept = test.get("macro_f1_swept_on_test")
        numbers = [scores["macro_f1"], scores[measure], sum(label["recall"] for label in tail) / len(tail)]
        cells = [f"{number:.4f}" for number in numbers] + ["-" if swept is None else f"{swept['per_label']:.4f}"]
        rows.append([change, *cells, duration(run.manifest["training"]["seconds"])])
    return markdown_table(header, rows, "l" + "r" * (len(header) - 1))


if __name__ == "__main__":
    sys.exit(run_command(main))
