#!/usr/bin/env python
"""What is each way of using one decoder worth: heads, SFT and zero-shot scoring from one and the same checkpoint.

    python -m demo.build_models
    python benchmarks/decoder_heads.py
    python benchmarks/decoder_heads.py --row "head, last token" "SFT, names" --steps 60 --no-write

The checkpoint is the demo's tiny decoder, pretrained on the texts of the demo's sheet alone: this shows that each way
works, and what it costs, and nothing about which one wins on a pretrained model. Every row is a recipe of the demo
with a few keys over it and takes the same number of steps of as many rows; `--model` names another checkpoint.
"""

from __future__ import annotations

import argparse
import json
import resource
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # the library and its neighbours, installed or not

from results import RESULTS, how_measured, write_section  # noqa: E402
from trainings import RECIPES, WORK, Training, override, run_script, train  # noqa: E402

from categorize.errors import UserError  # noqa: E402
from categorize.metrics.progress import flat  # noqa: E402
from categorize.recipe.terminal import run_command  # noqa: E402
from categorize.runs.folder import Run  # noqa: E402
from categorize.text_tables import markdown_table  # noqa: E402

HEADING = "## One decoder: heads, SFT and scoring"
PACKAGES = ("torch", "transformers", "peft", "trl")
DECODER = "demo/models/decoder"
HEAD, SFT = Path("recipes/demo/decoder_head_lora.yaml"), Path("recipes/demo/decoder_sft_lora.yaml")
ASKED = {"system": "Positive, Mild, Negative or Irrelevant?"}  # as the demo's SFT is asked
LISTED = {"system": "{labels}", "descriptions": True}
# What each label means, in the language that the demo's decoder reads.
DESCRIBED = [
    {"name": "Positive", "description": "夸她，支持她"},
    {"name": "Mild", "description": "不褒不贬，又夸又批"},
    {"name": "Negative", "description": "批评她，看不起她"},
    {"name": "Irrelevant", "description": "说的是别的，与她无关"},
]
ROOM = {"model.max_length": 160}  # for a prompt
DROPOUT = {"adapter.lora_dropout": 0.1, "model.dropout": 0.1}
SCORED = "zero-shot scoring"
REMARK = (
    " The demo's decoder was pretrained on 5,151 short texts: the table shows that each way works and what it costs, "
    "and no conclusion about which wins can be drawn from it."
)


@dataclass(frozen=True)
class Row:
    """One way: a recipe, and the keys over it."""

    recipe: Path
    keys: dict[str, Any] = field(default_factory=dict)


ROWS = {
    "head, last token": Row(HEAD),
    "head, mean": Row(HEAD, {"model.pooling": "mean"}),
    "head, attention": Row(HEAD, {"model.pooling": "attention"}),
    "head, both directions, mean": Row(HEAD, {"model.is_causal": False, "model.pooling": "mean"}),
    "head, LoRA on queries and values alone": Row(HEAD, {"adapter.target_modules": ["q_proj", "v_proj"]}),
    "head, dropout": Row(HEAD, DROPOUT),
    "head, dropout and R-Drop": Row(HEAD, {**DROPOUT, "training.r_drop": 1}),
    "head, prompt of names": Row(HEAD, {"prompt": ASKED, **ROOM}),
    "head, prompt of names, from label tokens": Row(HEAD, {"prompt": ASKED, "model.head_init": "label_tokens", **ROOM}),
    "head, prompt of descriptions": Row(HEAD, {"prompt": LISTED, "labels.names": DESCRIBED, **ROOM}),
    "SFT, names": Row(SFT),
    "SFT, codes": Row(SFT, {"prompt": {"completion": "codes", "system": "{labels}", "descriptions": False}}),
    "SFT, names, label_set": Row(SFT, {"training.loss": "label_set"}),
    "SFT, codes, label_set": Row(
        SFT,
        {
            "training.loss": "label_set",
            "prompt": {"completion": "codes", "system": "{labels}", "descriptions": False},
        },
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; the exit status is 2 for what the user can correct."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", nargs="+", choices=list(ROWS), default=list(ROWS), help="rows; all by default")
    parser.add_argument("--steps", type=int, default=131, help="optimizer steps of 32 rows; 131 are an epoch")
    parser.add_argument("--model", default=DECODER, help="the checkpoint; the demo's decoder by default")
    parser.add_argument("--retrain", action="store_true", help="train again what is finished with the same recipe")
    parser.add_argument("--no-write", dest="write", action="store_false", help="print the table, keep RESULTS.md")
    options = parser.parse_args(argv)
    command = shlex.join(["python", "benchmarks/decoder_heads.py", *(sys.argv[1:] if argv is None else argv)])
    try:
        if options.model == DECODER and not (ROOT / DECODER).is_dir():
            raise UserError(f"{DECODER}: no such folder; run: python -m demo.build_models")
        trainings = [training(name, options) for name in options.row]
        for one in trainings:
            train_and_time(one, options.retrain)
        text = section(compared(trainings, options.model), trainings, options, command)
        if options.write:
            write_section(HEADING, text)
            text += f"\nwritten: {RESULTS.relative_to(ROOT)}"
        print(f"\n{text}", flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def training(name: str, options: argparse.Namespace) -> Training:
    """The training of a row."""
    keys = {"model.name_or_path": options.model, "training.max_steps": options.steps, **ROWS[name].keys}
    output = WORK / "decoder_heads" / name.replace(", ", "-").replace(" ", "_")
    return Training(name, ROWS[name].recipe, output, tuple(override(key, value) for key, value in keys.items()))


def train_and_time(one: Training, retrain: bool) -> None:
    """Train, and note the processor time of the whole command: on a shared machine the clock says little."""
    before = _processor_seconds()
    train(one, retrain)
    if (spent := _processor_seconds() - before) > 0:
        noted = {**_noted(), one.name: round(spent, 1)}
        (ROOT / WORK / "decoder_heads" / "processor_seconds.json").write_text(json.dumps(noted, indent=2))


def _noted() -> dict[str, float]:
    file = ROOT / WORK / "decoder_heads" / "processor_seconds.json"
    noted: dict[str, float] = json.loads(file.read_text()) if file.is_file() else {}
    return noted


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def compared(trainings: Sequence[Training], model: str) -> dict[str, Any]:
    """What the evaluation script wrote of all runs, and of the checkpoint as it is."""
    runs = [{"run": str(one.output), "name": one.name} for one in trainings]
    runs.append({"run": model, "name": SCORED, "mode": "scoring"})
    output = WORK / "decoder_heads" / "eval"
    overrides = [f"output_dir={output}", override("evaluation.runs", runs), "--overwrite"]
    run_script("run_eval.py", RECIPES / "decoder_heads_eval.yaml", overrides)
    comparison: dict[str, Any] = json.loads((ROOT / output / "report.json").read_text(encoding="utf-8"))
    return comparison


def section(
    comparison: dict[str, Any], trainings: Sequence[Training], options: argparse.Namespace, command: str
) -> str:
    """The Markdown of the section."""
    runs, noted = {one.name: Run.open(ROOT / one.output) for one in trainings}, _noted()
    rows = []
    for evaluated in comparison["runs"]:
        if (name := evaluated["name"]) != SCORED and name not in runs:
            continue  # what every comparison brings by itself
        values, (low, high) = flat(evaluated["metrics"]), evaluated["metrics"]["intervals"]["measures"]["macro_f1"]
        trained = runs[name].manifest["parameters_trained"] if name in runs else 0
        minutes = f"{noted[name] / 60:.1f}" if name in noted else "-"
        cells = [f"{values['accuracy']:.4f}", f"{values['macro_f1']:.4f} [{low:.4f}, {high:.4f}]"]
        rows.append([name, *cells, f"{trained:,}", minutes])
    first = runs[trainings[0].name].manifest
    header = ["way", "accuracy", "macro-F1 [95%]", "weights trained", "processor minutes"]
    lines = [
        HEADING,
        "",
        f"All rows begin from one checkpoint, {options.model}, and take {options.steps} steps of 32 rows with one "
        "seed, at the learning rate of the demo's recipes. Minutes are processor time of the whole command, with "
        f"loading and measuring.{REMARK if options.model == DECODER else ''}",
        "",
        markdown_table(header, rows, "l" + "r" * (len(header) - 1)),
        "",
        f"- rows: {first['rows']['train']:,} train, {first['rows']['validation']:,} validation, "
        f"{first['rows']['test']:,} test; recipes: `{HEAD}`, `{SFT}`",
        *how_measured(command, first, PACKAGES, data=False),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(run_command(main))
