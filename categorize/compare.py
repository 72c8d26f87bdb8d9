"""Which way of categorizing for a task: a ladder of recipes from the smallest to the largest, one comparison, and a
recommendation.

python -m categorize.compare recipes/tasks/gender_comments.yaml
python -m categorize.compare recipes/tasks/mine.yaml --minutes 60 --with recipes/tfidf.yaml recipes/modernbert_base.yaml

Each rung is a recipe whose data and labels give way to those of the task, trained by its entry script into
`outputs/compare_<task>/<recipe>`. A rung that is finished with the same recipe is kept, an interrupted one goes on; one
that cannot run here, for want of a model, a package or memory, is passed over and counted. When the time is up, what is
finished is compared. The recommendation hangs on validation rows alone; the comparison shows the test split.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from categorize.child_runs import ChildRun
from categorize.errors import StoppedEarly, UserError
from categorize.methods.registry import METHODS
from categorize.metrics.intervals import Difference, paired_differences
from categorize.metrics.progress import flat, greater_is_better, headline
from categorize.recipe.command import TRAINING_KINDS
from categorize.recipe.load import load_recipe, peek_kind
from categorize.recipe.scalars import dump
from categorize.recipe.terminal import STOPPED, CommandParser, exit_status, run_command
from categorize.reports.columns import duration
from categorize.runs.folder import LABEL_SET, METRICS, Run
from categorize.text_tables import markdown_table, text_table
from categorize.writing import disk_errors, write_whole

ROOT = Path(__file__).resolve().parent.parent
# From seconds on a CPU to hours on a GPU; each is a recipe by itself.
LADDER = (
    "tfidf.yaml",
    "static_embedding.yaml",
    "bge_embedding_svc.yaml",
    "bert_base_chinese.yaml",
    "qwen0.5b_seqcls_lora.yaml",
    "qwen3_0.6b_sft.yaml",
    "qwen3b_qlora.yaml",
)
# The task's to say, or this command's.
TASK_KEYS = ("data", "labels", "name", "output_dir", "hub", "search", "seed", "seeds")
RECOMMENDATION = "recommendation.md"


@dataclass(frozen=True)
class Rung:
    """A step of the ladder and what became of it: `finished`, `out of time`, or `failed`."""

    child: ChildRun
    outcome: str


@dataclass(frozen=True)
class Recommended:
    """The run that is recommended, the one with the best validation score, and how far each lies from that one."""

    run: str
    best: str
    measure: str
    rows: int
    differences: tuple[Difference, ...]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit status: 2 for what the user can fix, 130 where it was interrupted, 75 where stopped."""
    return exit_status(lambda: run(_parse(argv)), "interrupted; the same command goes on from there")


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser("python -m categorize.compare", __doc__)
    parser.add_argument("task", metavar="TASK", help="a file with data and labels, such as those of recipes/tasks")
    parser.add_argument(
        "--with",
        dest="rungs",
        nargs="+",
        metavar="RECIPE",
        help="training recipes, smallest first; a ladder by default",
    )
    parser.add_argument("--minutes", type=float, metavar="N", help="time for all trainings; else each runs to its end")
    parser.add_argument("--output", metavar="FOLDER", help="outputs/compare_<task> by default")
    parser.add_argument(
        "--launcher", default="", metavar="COMMAND", help="what starts a training, as 'python -m categorize.launch'"
    )
    parser.add_argument("--overwrite", action="store_true", help="train every rung anew")
    return parser.parse_args(argv)


def run(options: argparse.Namespace) -> None:
    """Climb the ladder, compare what is finished, and recommend.

    Raises:
        UserError: the task or a recipe is at fault, or nothing was finished.
    """
    task = Path(options.task)
    output = Path(options.output or f"outputs/compare_{task.stem}")
    paths = [Path(one) for one in options.rungs or [ROOT / "recipes" / name for name in LADDER]]
    rungs = climb(plan(task, paths, output), options)
    finished = [one.child for one in rungs if one.outcome == "finished"]
    if not finished:
        raise UserError(f"{output}: nothing was finished; each rung says above why, or raise --minutes")
    evaluate(task, finished, output)
    text, lines = told(rungs, recommend(finished))
    path = output / RECOMMENDATION
    with disk_errors(path):
        write_whole(path, text)
    print("\n".join(["", *lines, f"written: {path}"]), flush=True)


def plan(task: Path, paths: Sequence[Path], output: Path) -> list[ChildRun]:
    """The rungs as recipes of their own, written beside their runs.

    Raises:
        UserError: the task is missing or a recipe by itself, a rung trains nothing, or does not suit the task.
    """
    if not task.is_file():
        raise UserError(f"{task}: no such file; name a task, such as those of recipes/tasks")
    if (kind := peek_kind(task)) is not None:
        raise UserError(f"{task}: is a recipe (kind: {kind}), not a task; name a file with data and labels alone")
    rungs = []
    for path in paths:
        recipe = load_recipe(path, methods=METHODS)
        if recipe.recipe.kind not in TRAINING_KINDS:
            raise UserError(f"{path}: kind {recipe.recipe.kind} trains nothing; rungs are training recipes")
        own = {key: value for key, value in recipe.resolved.items() if key not in TASK_KEYS}
        place = output / path.stem
        own |= {"name": path.stem, "output_dir": str(place), "extends": str(task.resolve())}
        file = output / "recipes" / f"{path.stem}.yaml"
        with disk_errors(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, f"# {path} for {task}\n{dump(own)}")
        loaded = load_recipe(file, methods=METHODS)
        if not loaded.recipe.data.splits.validation:
            raise UserError(f"{task}: data.splits.validation is 0; a recommendation hangs on validation rows")
        rungs.append(ChildRun(path.stem, file, (), loaded))
    return rungs


def climb(children: Sequence[ChildRun], options: argparse.Namespace) -> list[Rung]:
    """Train what is not finished, until the time is up; the rungs above one that ran out of time are larger."""
    begun, rungs = time.monotonic(), []
    for number, child in enumerate(children, start=1):
        left = None if options.minutes is None else 60 * options.minutes - (time.monotonic() - begun)
        state = child.state(options.overwrite)
        print(f"\n{child.title} ({number} of {len(children)}): {state}, {child.output}", flush=True)
        if state == "finished":
            rungs.append(Rung(child, "finished"))
        elif left is not None and left <= 0:
            rungs.append(Rung(child, "out of time"))
        else:
            status = child.start(state, shlex.split(options.launcher), seconds=left)
            outcome = "finished" if not status else "out of time" if status == STOPPED else "failed"
            rungs.append(Rung(child, outcome))
    return rungs


def evaluate(task: Path, finished: Sequence[ChildRun], output: Path) -> None:
    """Run the evaluation script over the finished runs.

    Raises:
        UserError: it failed.
    """
    recipe = {
        "kind": "eval",
        "name": output.name,
        "output_dir": str(output / "comparison"),
        "extends": str(task.resolve()),
        "evaluation": {"runs": [{"run": str(one.output), "name": one.title} for one in finished]},
    }
    file = output / "recipes" / "comparison.yaml"
    with disk_errors(file):
        write_whole(file, f"# The finished rungs side by side\n{dump(recipe)}")
    command = [sys.executable, str(ROOT / "run_eval.py"), str(file), "--overwrite"]
    status = subprocess.run(command, check=False).returncode
    if status == STOPPED:
        raise StoppedEarly("the comparison was stopped; the same command goes on from there")
    if status:
        raise UserError(f"run_eval.py {file} failed (exit status {status}); it says why above")


# ---------------------------------------------------------------- the recommendation
def recommend(finished: Sequence[ChildRun]) -> Recommended:
    """The first rung that validation does not show to be worse than the best one (paired bootstrap, 95%)."""
    import pyarrow.parquet as pq

    from categorize.labels import LabelSet
    from categorize.prediction.tables import gold_and_predictions

    label_set = LabelSet.load(finished[0].output / LABEL_SET)
    measure = headline(label_set)
    scores, predictions, gold = {}, {}, None
    for child in finished:
        table = pq.read_table(child.output / "predictions" / "validation.parquet")
        own = LabelSet.load(child.output / LABEL_SET)
        gold, predictions[child.title] = gold_and_predictions(table, own)
        scores[child.title] = flat(Run.open(child.output).read_json(METRICS)["validation"]).get(measure, 0.0)
    assert gold is not None
    choose = max if greater_is_better(measure) else min
    best = choose(scores, key=scores.__getitem__)
    differences = paired_differences(label_set, gold, predictions, reference=best, measures=[measure])
    worse = {one.run for one in differences if one.is_clear}
    run = next(child.title for child in finished if child.title not in worse)
    return Recommended(run, best, measure, len(gold), tuple(differences))


def told(rungs: Sequence[Rung], found: Recommended) -> tuple[str, list[str]]:
    """The recommendation as a Markdown page, and as lines of the terminal."""
    differences = {one.run: one for one in found.differences}
    header = ["rung", f"validation {found.measure}", f"less than {found.best}", "training", "rows/s", "outcome"]
    rows = []
    for rung in rungs:
        cells = ["-", "-", "-", "-"]
        if rung.outcome == "finished":
            cells = _facts(rung.child, found, differences.get(rung.child.title))
        rows.append([rung.child.title, *cells, rung.outcome])
    why = f"the best on {found.rows:,} validation rows"
    if found.run != found.best:
        why = f"no difference to {found.best}, the best, is shown on {found.rows:,} validation rows, and it is smaller"
    line = f"recommended: {found.run}: {why}"
    aligned = "lrrrrl"
    page = ["# Which way", f"R{line[1:]}.", markdown_table(header, rows, aligned), "The test split: `comparison/`.\n"]
    lines = [text_table(header, rows, aligned, width=140), line]
    if late := [rung.child.title for rung in rungs if rung.outcome == "out of time"]:
        lines.append(f"out of time: {', '.join(late)}; the same command goes on from there with more --minutes")
    if failed := [rung.child.title for rung in rungs if rung.outcome == "failed"]:
        lines.append(f"failed: {', '.join(failed)}; each says above why, and is tried again by the same command")
    return "\n\n".join(page), lines


def _facts(child: ChildRun, found: Recommended, difference: Difference | None) -> list[str]:
    run = Run.open(child.output)
    score = flat(run.read_json(METRICS)["validation"]).get(found.measure)
    facts: dict[str, Any] = run.manifest
    lag = "-"
    if difference is not None and difference.low is not None and difference.high is not None:
        lag = f"{-difference.estimate:.4f} [{-difference.high:.4f}, {-difference.low:.4f}]"
    speed = facts["prediction"]["documents_per_second"]
    return [
        "-" if score is None else f"{score:.4f}",
        lag,
        duration(facts["training"]["seconds"]),
        "-" if speed is None else f"{speed:,.0f}",
    ]


if __name__ == "__main__":
    sys.exit(run_command(main))
