#!/usr/bin/env python
"""Every kind of adapter beside full training and the head alone: weights trained, quality, time.

    CATEGORIZE_DATA=path/to/data python benchmarks/peft_breadth.py
    CATEGORIZE_DATA=path/to/data python benchmarks/peft_breadth.py --part head --kind lora bottleneck --no-write

Heads on all-MiniLM-L6-v2 take a few hundred steps on Banking77, so that all kinds fit into half an hour of a CPU: this
compares kinds, and is not the best that each can do. SFT runs on the demo's tiny decoder (`make demo`): that shows that
each kind trains there, and no more. Learning rates are those at which each kind is usually trained. Runs go to
`outputs/benchmarks/peft`, the tables to `benchmarks/RESULTS.md`.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # the library and its neighbours, installed or not

from results import RESULTS, how_measured, write_section  # noqa: E402
from trainings import RECIPES, WORK, Training, data_source, local_overrides, override, train  # noqa: E402

from categorize.errors import UserError  # noqa: E402
from categorize.metrics.progress import flat  # noqa: E402
from categorize.nn.precision import cpu_computes_bfloat16  # noqa: E402
from categorize.recipe.terminal import run_command  # noqa: E402
from categorize.reports.columns import duration  # noqa: E402
from categorize.runs.folder import Run  # noqa: E402
from categorize.text_tables import markdown_table  # noqa: E402

PACKAGES = ("torch", "transformers", "peft")
TOKENS = {"num_virtual_tokens": 20}
BEGINS = ", which begins as a linear model of the training rows (`head_init: probe`)"
# Kind -> the adapter section, and the learning rate; None: no adapter.
KINDS: dict[str, tuple[dict[str, Any] | None, float]] = {
    "full": (None, 2e-4),
    "head alone": (None, 1e-2),
    "lora": ({"type": "lora"}, 2e-3),
    "dora": ({"type": "dora"}, 2e-3),
    "rslora": ({"type": "rslora"}, 2e-3),
    "ia3": ({"type": "ia3"}, 1e-2),
    "prefix": ({"type": "prefix", **TOKENS}, 1e-2),
    "prompt": ({"type": "prompt", **TOKENS}, 1e-2),
    "p_tuning": ({"type": "p_tuning", **TOKENS}, 1e-2),
    "bottleneck": ({"type": "bottleneck"}, 2e-3),
    "pfeiffer": ({"type": "bottleneck", "placement": "pfeiffer"}, 2e-3),
}
# Of each part: the recipe, the heading of its section, the measure, what is laid over the recipe, and kinds without a
# place there: an encoder has no cached keys and values, a model that answers has no head of its own.
PARTS: dict[str, tuple[Path, str, str, tuple[str, ...], tuple[str, ...]]] = {
    "head": (
        RECIPES / "banking77_minilm.yaml",
        "## Kinds of adapters: a head on MiniLM, Banking77",
        "accuracy",
        ("data.sample={rows: 1500, splits: [validation, test]}", "training.max_steps=200", "training.eval_steps=100"),
        ("prefix",),
    ),
    "sft": (
        Path("recipes/demo/decoder_sft_lora.yaml"),
        "## Kinds of adapters: SFT of the demo's decoder",
        "accuracy",
        ("training.max_steps=150", "training.eval_steps=75"),
        ("head alone",),
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; the exit status is 2 for what the user can correct."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=list(PARTS), default=list(PARTS), help="tables; both by default")
    parser.add_argument("--kind", nargs="+", choices=list(KINDS), default=list(KINDS), help="rows; all by default")
    parser.add_argument("--retrain", action="store_true", help="train again what is finished with the same recipe")
    parser.add_argument("--no-write", dest="write", action="store_false", help="print the tables, keep RESULTS.md")
    options = parser.parse_args(argv)
    command = shlex.join(["python", "benchmarks/peft_breadth.py", *(sys.argv[1:] if argv is None else argv)])
    try:
        for part in options.part:
            kinds = [kind for kind in options.kind if kind not in PARTS[part][-1]]
            heading, text = measure(part, kinds, options.retrain, command)
            if options.write:
                write_section(heading, text)
                text += f"\nwritten: {RESULTS.relative_to(ROOT)}"
            print(f"\n{text}", flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def measure(part: str, kinds: Sequence[str], retrain: bool, command: str) -> tuple[str, str]:
    """Train every kind, and give the heading and text of the part's section."""
    recipe, heading, measure_name, shared, _ = PARTS[part]
    if part == "head":
        fast = ("training.bf16=true",) if cpu_computes_bfloat16() else ()
        shared = (data_source("banking77"), *local_overrides(recipe), *shared, *fast)
    runs = {}
    for kind in kinds:
        output = WORK / "peft" / f"{part}_{kind.replace(' ', '_')}"
        train(Training(kind, recipe, output, (*shared, *overrides(part, kind))), retrain)
        runs[kind] = Run.open(ROOT / output)
    rows = []
    for kind, run in runs.items():
        manifest, scores = run.manifest, run.read_json("metrics.json")
        trained = manifest["parameters_trained"]
        rows.append(
            [
                kind,
                f"{trained:,}",
                f"{trained / manifest['parameters']:.2%}",
                f"{KINDS[kind][1]:g}",
                *(f"{flat(scores[split])[measure_name]:.4f}" for split in ("validation", "test")),
                duration(manifest["training"]["seconds"]),
                f"{manifest['prediction']['documents_per_second']:,.0f}",
            ]
        )
    header = ["kind", "weights trained", "share", "rate", f"validation {measure_name}", f"test {measure_name}"]
    header += ["training", "rows/s"]
    first = next(iter(runs.values())).manifest
    lines = [
        heading,
        "",
        f"One seed, {first['details']['steps']} steps of 32 rows, the same for each kind; weights trained "
        f"count the head{BEGINS if part == 'head' else ''}. "
        f"Precision: {first['details']['precision']}.",
        "",
        markdown_table(header, rows, "l" + "r" * (len(header) - 1)),
        "",
        f"- rows: {first['rows']['train']:,} train, {first['rows']['validation']:,} validation, "
        f"{first['rows']['test']:,} test; recipe: `{recipe}`",
        *how_measured(command, first, PACKAGES),
    ]
    return heading, "\n".join(lines) + "\n"


def overrides(part: str, kind: str) -> list[str]:
    """What makes the recipe one of this kind."""
    adapter, rate = KINDS[kind]
    found = [override("training.learning_rate", rate), "training.eval_strategy=steps"]
    if part == "sft" or adapter is not None:
        found.append(override("adapter", adapter))
    return [*found, *(["model.freeze=true"] if kind == "head alone" else [])]


if __name__ == "__main__":
    sys.exit(run_command(main))
