"""The command line of every entry script: a recipe, overrides, a few flags, and errors as plain lines.

def run(command: Command) -> None: ...

if __name__ == "__main__":
    raise SystemExit(main("run_seqcls.py", "seqcls", run, METHODS))
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic.fields import FieldInfo

from categorize.errors import UserError
from categorize.processes import check_launch
from categorize.recipe.load import LoadedRecipe, load_recipe
from categorize.recipe.sections import RECIPE_OF_KIND, TrainedRecipe, recipe_classes
from categorize.recipe.terminal import USER_ERROR, CommandParser, exit_status, print_error, run_command
from categorize.recipe.typecheck import branches_of, sections_of
from categorize.recipe.wording import did_you_mean, quote
from categorize.recipe.written import Methods

FLAGS = {
    "--dry-run": "do everything but the run itself: check the recipe, load data and labels, show what would happen",
    "--overwrite": "replace a finished run in the output folder",
    "--trust-remote-code": "run Python code that comes with a model of the Hub; never a recipe key",
    "--resume": "continue the interrupted run from its last complete checkpoint",
    "--merge": "also leave the adapter merged into its base, as OUTPUT_merged; a finished run is merged as it is",
    "--push": "push the run to the Hub, where its hub section says; a finished run is pushed as it is",
    "--resplit": "draw the splits anew, instead of keeping the stored assignment of rows to splits",
    "--validation-only": "leave the test split alone: predict and measure validation, as while values are tried",
    "--probe": "ask a few requests for real (their answers are kept), and tell from them what the job will take",
    "--restart": "begin anew, instead of going on; the answers that there are stay, in a folder of another name",
    "--retry-failed": "ask again about rows whose answers failed",
    "--reuse": "take over the valid labels that another prompt, label set or teacher gave to the same texts",
}
VALUES = {  # flags with a value: what it is called, its type, what the flag does
    "--review": ("N", int, "write a sheet with N rows of the finished run, drawn at random, for people to check"),
    "--fit": ("CARD", str, "say whether the training fits on a GPU, as 24GB or a100-80gb, and with which batch"),
    "--launcher": ("COMMAND", str, "what starts each run of a recipe with seeds, as 'python -m categorize.launch'"),
    "--reviewed": ("FILE", str, "read a filled-in sheet back: correct the labels, and say how good all of them are"),
    "--classification-report": ("NAME", str, "print a run in scikit-learn's form, of a finished report at once"),
    "--against": ("FILE", str, "end with status 3 where a run is worse than in this report.json, or is not there"),
    "--fail-below": ("X", float, "how much lower than --against the measure that runs are ranked by may be; 0.01"),
}
TRAINING_FLAGS = ("--resume", "--merge", "--push", "--resplit", "--validation-only", "--launcher", "--fit")
LABELING_FLAGS = ("--probe", "--restart", "--retry-failed", "--reuse", "--review", "--reviewed")
EVALUATION_FLAGS = ("--classification-report", "--against", "--fail-below")
TRAINING_KINDS = ("seqcls", "sft")


@dataclass(frozen=True)
class Command:
    """What the user asked for."""

    recipe: LoadedRecipe
    dry_run: bool = False
    resume: bool = False
    overwrite: bool = False
    resplit: bool = False
    merge: bool = False
    push: bool = False
    validation_only: bool = False
    trust_remote_code: bool = False
    probe: bool = False
    restart: bool = False
    retry_failed: bool = False
    reuse: bool = False
    review: int | None = None
    reviewed: str | None = None
    classification_report: str | None = None
    against: str | None = None
    fail_below: float | None = None
    launcher: str | None = None
    fit: str | None = None

    @property
    def looks_only(self) -> bool:
        """Whether the run itself is not wanted."""
        return self.dry_run or self.probe

    def resumes(self, recipe: TrainedRecipe) -> bool:
        """Whether an interrupted run goes on. Together the flags continue one that is to replace a finished run."""
        return self.resume or (recipe.training.resume == "auto" and not self.overwrite)


def parse_command(script: str, kind: str, methods: Methods, argv: Sequence[str] | None = None) -> Command:
    """The command line of `script`, which runs recipes of `kind`. `--help` prints and leaves.

    Raises:
        UserError: no recipe, an unknown flag, or anything that is wrong with the recipe.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _parser(script, kind, methods)
    known = [flag for flag in (*FLAGS, *VALUES) if _offered(flag, kind)]
    for argument in arguments:
        name = argument.partition("=")[0]
        if name.startswith("--") and len(name) > 2 and name not in (*known, "--help"):
            elsewhere = f"; {name} is for {_purpose(name)}" if name in (*FLAGS, *VALUES) else did_you_mean(name, known)
            raise UserError(f"unknown option {name}{elsewhere}; python {script} --help lists them")
    options = parser.parse_intermixed_args(arguments)
    if options.recipe is None:
        raise UserError(f"no recipe given; run: python {script} RECIPE, such as recipes/{kind}.yaml; --help explains")
    if "=" in options.recipe and not Path(options.recipe).exists():
        raise UserError(
            f"{quote(options.recipe)} stands where the recipe belongs; run: python {script} RECIPE key=value ..."
        )
    if getattr(options, "fail_below", None) is not None and (options.fail_below < 0 or options.against is None):
        raise UserError(
            f"--fail-below {options.fail_below:g}: name the earlier report.json by --against, and 0 or more"
        )
    given = {name: value for name, value in vars(options).items() if name not in ("recipe", "overrides")}
    return Command(load_recipe(options.recipe, options.overrides, kind, methods=methods), **given)


def main(
    script: str, kind: str, run: Callable[[Command], None], methods: Methods, argv: Sequence[str] | None = None
) -> int:
    """Parse and run; returns the exit status. The user's mistakes end in `error:` lines and 2, never in a traceback.

    Args:
        methods: that a recipe may name.
    """
    # Waiting threads sleep instead of spinning: on a machine that does other work too, spinning made training 20 times
    # slower. Read by OpenMP when torch is first imported, so it is set before anything else.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return run_command(lambda: _main(script, kind, run, methods, argv))


def _main(script: str, kind: str, run: Callable[[Command], None], methods: Methods, argv: Sequence[str] | None) -> int:
    try:
        check_launch()
        command = parse_command(script, kind, methods, argv)
    except UserError as error:
        print_error(error)
        return USER_ERROR
    again = "; --resume continues it" if kind in TRAINING_KINDS else ""
    return exit_status(lambda: run(command), f"interrupted{again}")


def _purpose(flag: str) -> str:
    return "training" if flag in TRAINING_FLAGS else "labelling" if flag in LABELING_FLAGS else "evaluations"


def _offered(flag: str, kind: str) -> bool:
    for flags, kinds in ((TRAINING_FLAGS, TRAINING_KINDS), (LABELING_FLAGS, ("label",)), (EVALUATION_FLAGS, ("eval",))):
        if flag in flags:
            return kind in kinds
    return True


def _parser(script: str, kind: str, methods: Methods) -> CommandParser:
    parser = CommandParser(
        prog=script,
        description=_help_of(kind).what,
        epilog=_epilog(script, kind, methods),
        usage=f"python {script} RECIPE [key=value ...] [options]",
    )
    parser.add_argument("recipe", nargs="?", metavar="RECIPE", help="the YAML file that says everything about the run")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="lay a value over the recipe; the path is dotted, the value is YAML, null removes a key",
    )
    for flag, meaning in FLAGS.items():
        if _offered(flag, kind):
            parser.add_argument(flag, action="store_true", help=meaning)
    for flag, (called, kind_of_value, meaning) in VALUES.items():
        if _offered(flag, kind):
            parser.add_argument(flag, metavar=called, type=kind_of_value, help=meaning)
    return parser


@dataclass(frozen=True)
class _Help:
    """What --help says of a kind."""

    what: str
    example: str
    override: str = "training.learning_rate=1e-4 seed=7"


_HELP = {
    "seqcls": _Help(
        "Train a classifier or a regression on labelled text: a head on an encoder or a decoder, in full or with\n"
        "an adapter, or TF-IDF with a linear model. The run folder holds the model, its metrics and predictions.",
        "recipes/bert_base_chinese.yaml",
    ),
    "sft": _Help(
        "Tune a causal language model to answer with a label (SFT): in full, by LoRA or another adapter, or by QLoRA\n"
        "on 4-bit weights. The run folder holds the adapter or model, its prompt, metrics and predictions.",
        "recipes/qwen3b_qlora.yaml",
    ),
    "eval": _Help(
        "Predict one split of the data with several finished runs and print one table of their measures, with\n"
        "intervals. Runs that were trained on another split of the data are refused.",
        "recipes/demo/eval.yaml",
        "evaluation.split=validation",
    ),
    "label": _Help(
        "Label rows by a teacher, an LLM behind an endpoint for instance, or by a trained student, and leave a table\n"
        "with one row for each row of the data. A stopped job goes on where it was, and pays for nothing twice.",
        "recipes/label_danmu_llama8b.yaml",
        "labeling.budget.money=5",
    ),
}


def _help_of(kind: str) -> _Help:
    return _HELP.get(kind) or _Help((RECIPE_OF_KIND[kind].__doc__ or "").strip(), f"recipes/{kind}.yaml")


def _epilog(script: str, kind: str, methods: Methods) -> str:
    told = _help_of(kind)
    run = f"{script} {told.example}"
    lines = ["examples:", *(f"  python {run}{more}" for more in ("", " --dry-run", f" {told.override}"))]
    if kind == "label":
        lines += ["", "without a recipe, a trained run labels a file; --run RUN --help lists its options:"]
        lines.append(f"  python {script} --run outputs/mine new_comments.xlsx --output labelled.xlsx")
    if kind in TRAINING_KINDS:
        lines.append(f"  accelerate launch --config_file accelerate_configs/multi_gpu.yaml {run}")
    lines += ["", "keys and sections of the recipe:"]
    for name, field in recipe_classes(methods)[kind].model_fields.items():
        lines.append(f"  {name:<14}{_one_line(field)}")
    lines += ["", "docs/recipes.md explains every key; python -m categorize.recipe.check recipes checks all recipes."]
    return "\n".join(lines)


def _one_line(field: FieldInfo) -> str:
    sections = sections_of(branches_of(field))
    text = field.description or " Or: ".join((section.__doc__ or "").strip().splitlines()[0] for section in sections)
    return text.replace("`", "")
