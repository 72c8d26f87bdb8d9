"""A file that starts a training on a cluster or a rented GPU, with the time that it will take.

python -m categorize launch recipes/qwen3b_qlora.yaml --for slurm --card a100-80gb > job.sbatch
python -m categorize launch recipes/qwen3b_qlora.yaml training.num_train_epochs=1 --for hf-jobs --card l4
"""

from __future__ import annotations

import math
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from categorize.errors import UserError
from categorize.memory.cards import UTILISATION, Card, parse_card
from categorize.methods.registry import METHODS
from categorize.recipe.load import load_recipe
from categorize.recipe.sections import SCRIPT_OF_KIND, TrainedRecipe
from categorize.recipe.terminal import CommandParser, exit_status, run_command
from categorize.runs.folder import Run

ROOT = Path(__file__).parents[2]
SLURM = ROOT / "deploy" / "slurm" / "launch.sbatch"
IMAGE = "pytorch/pytorch:2.8.0-cuda12.8-cudnn9-runtime"
# Hugging Face's flavors with one GPU each, by the cards' names here.
FLAVORS = {"t4": "t4-small", "l4": "l4x1", "a10g": "a10g-large", "l40s": "l40sx1", "a100-80gb": "a100-large"}
SPARE = 1.5  # times the estimate is asked for
UNKNOWN_HOURS = 24


@dataclass(frozen=True)
class Time:
    """What a training is estimated to take.

    Attributes:
        seconds: None: not known.
        basis: what is said of it.
    """

    seconds: float | None
    basis: str

    @property
    def asked(self) -> int:
        """Hours to ask a scheduler for."""
        return UNKNOWN_HOURS if self.seconds is None else max(1, math.ceil(self.seconds * SPARE / 3600))


def main(argv: Sequence[str] | None = None) -> int:
    """Print the file; what is to be known of it goes to stderr."""
    return exit_status(lambda: _print(argv))


def _print(argv: Sequence[str] | None) -> None:
    parser = CommandParser("python -m categorize launch", __doc__)
    parser.add_argument("recipe", metavar="RECIPE")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="laid over the recipe, there as here")
    parser.add_argument("--for", dest="place", required=True, choices=["slurm", "hf-jobs"], help="where it runs")
    parser.add_argument("--card", help="the GPU, as a100-80gb or 24GB: its speed gives the time, and the flavor")
    parser.add_argument("--gpus", type=int, default=1, help="of a node; one process each")
    parser.add_argument("--nodes", type=int, default=1, help="of a Slurm job")
    parser.add_argument("--rows", type=int, help="training rows, where the data is not here")
    parser.add_argument("--like", help="a finished run on such a card, whose speed is taken")
    parser.add_argument("--git", help="address from which hf-jobs clones the project; by default that of origin")
    options = parser.parse_intermixed_args(sys.argv[1:] if argv is None else argv)
    if min(options.gpus, options.nodes) < 1:
        raise UserError("--gpus and --nodes are 1 or more")
    recipe = load_recipe(options.recipe, options.overrides, methods=METHODS).recipe
    if not isinstance(recipe, TrainedRecipe):
        raise UserError(f"{options.recipe}: kind {recipe.kind} trains nothing; launch files are for seqcls and sft")
    card = None if options.card is None else _card(options.card)
    took = estimate(recipe, card, options.gpus * options.nodes, options.rows, options.like)
    command = [SCRIPT_OF_KIND[recipe.kind], options.recipe, *options.overrides]
    if options.place == "slurm":
        print(slurm(recipe, command, took, options.gpus, options.nodes), end="")
    else:
        print(hf_jobs(recipe, command, took, card, options.gpus, options.git), end="")
    print(f"time: {took.basis}; {took.asked} h are asked for", file=sys.stderr)


def _card(text: str) -> Card:
    try:
        return parse_card(text)
    except UserError as error:
        raise UserError(f"--card {error}") from None


def estimate(
    recipe: TrainedRecipe, card: Card | None, processes: int, rows: int | None = None, like: str | None = None
) -> Time:
    """The time of a training: by the speed of a run, else by the operations of its steps and the speed of the card.

    Args:
        rows: of training; None: as many as the data has here.
        like: a finished run; None: the recipe's own, where it was trained before.

    Raises:
        UserError: `like` is not a finished run, or was not trained by steps.
    """
    epochs = float(recipe.training.upstream().get("num_train_epochs", 3)) if hasattr(recipe, "training") else 1.0
    rows = _training_rows(recipe) if rows is None else rows
    if rows is None:
        return Time(None, "not known: the data is not here; --rows says how many there are to train on")
    run = Run.open(Path(like)) if like is not None else _own_run(recipe)
    speed = None if run is None else (run.manifest.get("training") or {}).get("rows_per_second")
    if like is not None and not speed:
        raise UserError(f"--like {like}: does not say how many rows a second it trained on")
    if speed and run is not None:
        seconds = rows * epochs / float(speed) / processes
        return Time(seconds, f"{_hours(seconds)} for {epochs:g} x {rows:,} rows at the {speed:g} rows/s of {run.path}")
    if card is None or card.flops is None:
        return Time(None, "not known: --card names a GPU whose speed is known, --like a finished run")
    from categorize.fit_on_card import ESTIMATED, model_config, planned
    from categorize.memory.simulation import simulate
    from categorize.nn.console import quiet_libraries

    if METHODS.of(recipe).name not in ESTIMATED:
        return Time(None, f"not known for method {METHODS.of(recipe).name}; --like names a finished run")
    quiet_libraries()
    plan, batch = planned(recipe, model_config(recipe)[0])
    flops = simulate(plan, 1, batch.tokens).flops
    seconds = rows * epochs * flops / (card.flops * UTILISATION * processes)
    return Time(
        seconds,
        f"{_hours(seconds)} at most for {epochs:g} x {rows:,} rows, as if each had {batch.tokens} tokens "
        f"({flops / 1e12:.2g} TFLOP), on {processes} {card.name} at {UTILISATION:.0%} of {card.flops / 1e12:g} TFLOP/s",
    )


def _hours(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _training_rows(recipe: TrainedRecipe) -> int | None:
    from categorize.data.splits import load_recipe_data

    try:
        return int(load_recipe_data(recipe, write=False).splits.train.num_rows)
    except UserError:
        return None


def _own_run(recipe: TrainedRecipe) -> Run | None:
    try:
        return Run.open(Path(recipe.output_path))
    except UserError:
        return None


def slurm(recipe: TrainedRecipe, command: Sequence[str], took: Time, gpus: int, nodes: int) -> str:
    """The project's own Slurm script, with this recipe, its hardware and its time filled in.

    Raises:
        UserError: the package is installed without it.
    """
    if not SLURM.is_file():
        raise UserError(f"{SLURM}: no such file; it comes with a checkout of the project")
    text = SLURM.read_text(encoding="utf-8")
    values = {
        "job-name": re.sub(r"[^\w.-]+", "_", recipe.name),
        "nodes": nodes,
        "gpus-per-node": gpus,
        "cpus-per-task": 8 * gpus,
        "time": f"{took.asked:02d}:00:00",
    }
    for key, value in values.items():
        text, count = re.subn(rf"(?m)^#SBATCH --{key}=.*$", f"#SBATCH --{key}={value}", text)
        if count != 1:
            raise UserError(f"{SLURM}: has {count} lines #SBATCH --{key}=, of which one is filled in")
    given = shlex.join([*command, "--resume"])
    body, count = re.subn(r"(?m)^: \"\$\{1:\?.*$", lambda _: f"set -- {given}", text)
    if count != 1:
        raise UserError(f"{SLURM}: the line that asks for a script is not there")
    comments = re.compile(r"\A(#!.*\n)(?:#(?!SBATCH).*\n)*")
    head = f"# {recipe.name}: {took.basis}\n# Submit it in the root of the checkout: sbatch FILE\n"
    return comments.sub(lambda match: match[1] + head, body)


def hf_jobs(
    recipe: TrainedRecipe, command: Sequence[str], took: Time, card: Card | None, gpus: int, git: str | None
) -> str:
    """A shell script that rents a GPU at Hugging Face for it.

    Raises:
        UserError: no flavor has such a card, the project's address is not known, or the run would be lost with the job.
    """
    flavor = FLAVORS.get(card.name.lower()) if card is not None else None
    if flavor is None or gpus > 1:
        raise UserError(f"--card: hf-jobs is asked for one GPU of these: {', '.join(FLAVORS)}")
    hub: Any = getattr(recipe, "hub", None)
    if hub is None:
        raise UserError(
            f"{recipe.name}: what a job writes goes with it; set hub={{repo_id: owner/name}}, which pushes the run"
        )
    address = git or _origin()
    inside = " && ".join(
        [
            f"git clone --quiet --depth 1 {shlex.quote(address)} project",
            "cd project",
            "pip install --quiet -c constraints.txt -e .",
            shlex.join(["python", *command]),
        ]
    )
    lines = [
        "#!/bin/bash",
        f"# {recipe.name} on one {card.name if card else 'GPU'}: {took.basis}",
        "# Sign in first: hf auth login. Data that is not on the Hub, or in the repository, is not in the job.",
        "set -euo pipefail",
        f"hf jobs run --flavor {flavor} --timeout {took.asked}h --secrets HF_TOKEN {IMAGE} \\",
        f"    bash -c {shlex.quote(inside)}",
    ]
    return "\n".join(lines) + "\n"


def _origin() -> str:
    done = subprocess.run(["git", "remote", "get-url", "origin"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode or not done.stdout.strip():
        raise UserError("--git: name the address from which the job can clone the project; this checkout has no origin")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(run_command(main))
