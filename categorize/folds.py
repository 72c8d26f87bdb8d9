"""Cross-validation: one training run for every fold of a recipe, and the mean of their test measures.

python -m categorize.folds recipes/mine.yaml
python -m categorize.folds recipes/mine.yaml --launcher "python -m categorize.launch --num_processes 2"

Each fold is a run of the recipe's entry script, in `<output_dir>_folds/fold_<i>`; a fold that is finished with the same
recipe is kept, an interrupted one goes on. `folds.json` beside them holds the measures, their mean and their deviation.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from categorize.child_runs import ChildRun, measured, variant
from categorize.errors import UserError
from categorize.methods.registry import METHODS
from categorize.recipe.command import TRAINING_KINDS
from categorize.recipe.load import load_recipe
from categorize.recipe.terminal import CommandParser, exit_status, run_command
from categorize.writing import disk_errors, json_text, write_whole

SUMMARY = "folds.json"
DEFAULT_FOLDS = 5
# What this command lays over a recipe itself; a key must not come twice. The values were read from the recipe before.
_OURS = re.compile(r"(data\.splits\.(folds|fold|file)|name|output_dir|seeds|hub(\.[^=]*)?)=")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit status: 2 for what the user can fix, 130 where it was interrupted, 75 where stopped."""
    return exit_status(lambda: run(_parse(argv)), "interrupted; the same command goes on from there")


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser("python -m categorize.folds", __doc__)
    parser.add_argument("recipe", metavar="RECIPE", help="a training recipe")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="lay a value over the recipe")
    parser.add_argument(
        "--launcher", default="", metavar="COMMAND", help="what starts the script, as 'python -m categorize.launch'"
    )
    parser.add_argument("--overwrite", action="store_true", help="train every fold anew")
    return parser.parse_intermixed_args(argv)


def run(options: argparse.Namespace) -> None:
    """Train what is not finished, print the table and write `folds.json`.

    Raises:
        UserError: the recipe is at fault, a fold failed, or one is there that was made with another recipe.
    """
    folds = plan(options.recipe, options.overrides)
    starter = shlex.split(options.launcher)
    for number, fold in enumerate(folds):
        state = fold.state(options.overwrite)
        if state == "finished":
            print(f"{fold.title}: finished before, {fold.output}", flush=True)
            continue
        print(f"{fold.title} of {len(folds)}: {fold.output}", flush=True)
        if status := fold.start(state, starter):
            raise UserError(
                f"fold {number} failed (exit status {status}); correct what it says above, then run the "
                "same command: finished folds are kept"
            )
    summary = summarize(folds)
    path = folds[0].output.parent / SUMMARY
    write_summary(path, summary)
    print("\n".join(["", *summary_lines(summary), f"written: {path}"]), flush=True)


def plan(path: str, overrides: Sequence[str]) -> list[ChildRun]:
    """The runs of a recipe's folds (5 where it names no number), each with its own checked recipe.

    Raises:
        UserError: the recipe is not a training recipe, or cannot be split by folds.
    """
    from categorize.data.splitting.split_file import default_split_file

    first = load_recipe(path, overrides, methods=METHODS).recipe
    if first.kind not in TRAINING_KINDS:
        raise UserError(f"{path}: kind {first.kind} trains nothing; folds are for kind: {' or '.join(TRAINING_KINDS)}")
    count = first.data.splits.folds or DEFAULT_FOLDS
    base = Path(f"{first.output_path}_folds")
    # One stored assignment, as for single runs of the recipe: other models are tried on the same folds.
    settings = first.data.splits.model_copy(update={"folds": count})
    stored = default_split_file(first.data.model_copy(update={"splits": settings}), Path(first.output_path).parent)
    result = []
    for number in range(count):
        own = (
            *(one for one in overrides if not _OURS.match(one)),
            f"data.splits.folds={count}",
            f"data.splits.fold={number}",
        )
        result.append(variant(f"fold {number}", Path(path), own, base / f"fold_{number}", stored, METHODS))
    return result


def summarize(folds: Sequence[ChildRun]) -> dict[str, Any]:
    """Test measures of each fold, their mean and their standard deviation over folds (n - 1), and those of all
    out-of-fold predictions together (`pooled`, as `metrics.json` has a split's)."""
    from categorize.metrics.progress import spread

    runs = [{"fold": number, **measured(fold.output)} for number, fold in enumerate(folds)]
    return {
        "folds": len(runs),
        "task": folds[0].recipe.recipe.labels.task,
        "rows": sum(one["rows"] for one in runs),
        **spread([one["measures"] for one in runs]),
        "pooled": pooled([fold.output for fold in folds]),
        "runs": runs,
    }


def pooled(runs: Sequence[Path]) -> dict[str, Any]:
    """The measures of the test predictions of all folds taken together, each decided by its own fold's run.

    A mean over folds hides what pooling counts right: a label that some folds have no row of, a correlation over the
    whole range of scores.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from categorize.labels import LabelSet
    from categorize.metrics.measures import measure
    from categorize.prediction.tables import gold_and_predictions
    from categorize.runs.folder import LABEL_SET

    table = pa.concat_tables([pq.read_table(run / "predictions" / "test.parquet") for run in runs])
    label_sets = [LabelSet.load(run / LABEL_SET) for run in runs]
    label_set = label_sets[0]
    if any(one.names != label_set.names for one in label_sets):  # sets of the training rows' own labels
        labels = {label.name: label for one in label_sets for label in one.labels}
        label_set = replace(label_set, labels=tuple(labels.values()))
        table = table.set_column(
            table.column_names.index("probabilities"), "probabilities", pa.nulls(len(table), pa.list_(pa.float64()))
        )
    return measure(label_set, *gold_and_predictions(table, label_set))


def summary_lines(summary: dict[str, Any]) -> list[str]:
    """The table for the terminal: every fold, mean and deviation, all folds pooled."""
    from categorize.metrics.progress import flat
    from categorize.reports.columns import measures
    from categorize.text_tables import text_table

    shown = [one for one in measures(summary["task"]) if one.terminal and one.name in summary["mean"]]
    header = ["fold", "rows", *(one.title for one in shown)]
    rows = [
        [str(one["fold"]), f"{one['rows']:,}", *(f"{one['measures'][m.name]:.4f}" for m in shown)]
        for one in summary["runs"]
    ]
    rows.append(
        [
            "mean ± sd",
            f"{summary['rows']:,}",
            *(f"{summary['mean'][m.name]:.4f} ± {summary['sd'][m.name]:.4f}" for m in shown),
        ]
    )
    together = flat(summary["pooled"])
    rows.append(["pooled", f"{summary['pooled']['rows']:,}", *(f"{together[m.name]:.4f}" for m in shown)])
    return [
        f"{summary['folds']} folds: every unit was in test once; sd over folds; pooled: all test rows as one",
        text_table(header, rows, "l" + "r" * (len(header) - 1), width=120),
    ]


def write_summary(path: Path, summary: dict[str, Any]) -> None:
    """Write `folds.json`, whole or not at all."""
    with disk_errors(path):
        write_whole(path, json_text(summary, allow_nan=True))


if __name__ == "__main__":
    sys.exit(run_command(main))
