#!/usr/bin/env python
"""A cascade of TF-IDF and a fine-tuned encoder on Banking77: what it loses, what each stage answers, what it saves.

    CATEGORIZE_DATA=path/to/data OMP_NUM_THREADS=1 python benchmarks/cascade.py

Takes the members that `quality.py` leaves, or trains them, and cascades of several stated losses; compares all of them
on the test split with `run_eval.py`, lets `run_label.py` label its texts with each as a student, and writes the table
to `benchmarks/RESULTS.md`. `--retrain` trains all of them again.
"""

from __future__ import annotations

import argparse
import json
import resource
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # the library and its neighbours, installed or not

from results import how_measured, write_section  # noqa: E402
from trainings import (  # noqa: E402
    RECIPES,
    WEIGHTS_SHA256,
    WORK,
    Training,
    data_source,
    evaluate,
    local_overrides,
    override,
    run_script,
    train,
)

from categorize.metrics.progress import flat  # noqa: E402
from categorize.recipe.terminal import run_command  # noqa: E402
from categorize.runs.folder import Run, is_run  # noqa: E402
from categorize.text_tables import markdown_table  # noqa: E402

HEADING = "## Cascade: TF-IDF before a fine-tuned encoder"
TASK = "banking77"
LOSSES = ((0.005, 0.95), (0.02, 0.95))  # max_loss, confidence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--retrain", action="store_true", help="train all runs again")
    options = parser.parse_args(argv)
    source = data_source(TASK)
    members = [member("tfidf", "TF-IDF", source), member("minilm", "MiniLM", source)]
    for one in members:
        if options.retrain or not is_run(ROOT / one.output):
            train(one, options.retrain)
    cascades = [cascade(source, members, *limits) for limits in LOSSES]
    for one in cascades:
        train(one, options.retrain)
    everything = [*members, *cascades]
    compared = evaluate(TASK, source, everything)
    seconds = {one.name: labelled(one, source) for one in everything}
    command = shlex.join(["python", "benchmarks/cascade.py", *(sys.argv[1:] if argv is None else argv)])
    text = section(compared, everything, seconds, command)
    write_section(HEADING, text)
    print(f"\n{text}\nwritten: benchmarks/RESULTS.md")
    return 0


def member(way: str, name: str, source: str) -> Training:
    """One run of Banking77's recipes."""
    recipe = RECIPES / f"{TASK}_{way}.yaml"
    return Training(name, recipe, WORK / f"{TASK}_{way}", (source, *local_overrides(recipe)))


def cascade(source: str, members: Sequence[Training], max_loss: float, confidence: float) -> Training:
    """Both members, at a loss."""
    name = f"cascade, loss {max_loss:g}" + (f" with {confidence:.0%}" if confidence > 0.5 else " as on validation")
    named = override("model.members", [str(one.output) for one in members])
    limits = (f"model.max_loss={max_loss}", f"model.confidence={confidence}")
    output = WORK / f"cascade_{max_loss:g}_{confidence:g}".replace(".", "")
    return Training(name, RECIPES / f"{TASK}_cascade.yaml", output, (source, named, *limits))


def labelled(one: Training, source: str) -> float:
    """CPU seconds in which `run_label.py` labels the test texts, start included."""
    test = json.loads(source.partition("=")[2])["test"]
    output = WORK / f"{one.output.name}_labels"
    arguments = [f"data.source={test}", f"labeling.teacher.run={one.output}", f"output_dir={output}", "--overwrite"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run_script("run_label.py", RECIPES / "cascade_label.yaml", arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def section(compared: dict[str, Any], trainings: Sequence[Training], seconds: dict[str, float], command: str) -> str:
    """The section of the results."""
    runs = {one.name: Run.open(ROOT / one.output) for one in trainings}
    rows = []
    for found in (one for one in compared["runs"] if one["name"] in runs):
        low, high = found["metrics"]["intervals"]["measures"]["accuracy"]
        stages = found["metrics"].get("stages") or {}
        told = [stages[one.output.name] for one in trainings[:2] if one.output.name in stages]
        first = f"{told[0]['coverage']:.1%}" if told else "-"
        parts = [f"{one['accuracy']:.3f}" for one in told] or ["-", "-"]
        speed = f"{found['documents_per_second']:,.0f}"
        accuracy = f"{flat(found['metrics'])['accuracy']:.4f} [{low:.4f}, {high:.4f}]"
        rows.append([found["name"], accuracy, first, *parts, speed, f"{seconds[found['name']]:.1f} s"])
    manifest = runs[trainings[0].name].manifest
    header = ["run", "accuracy [95%]", "by TF-IDF", "accuracy there", "of the rest", "rows/s", "CPU to label"]
    lines = [
        HEADING,
        "",
        f"On the {manifest['rows']['test']:,} rows of Banking77's test split; thresholds were chosen on the "
        f"{manifest['rows']['validation']:,} of validation. `rows/s` is of `run_eval.py`, without loading; the last "
        "column is of `run_label.py` over the same texts, from its start to its end.",
        "",
        markdown_table(header, rows, "l" + "r" * (len(header) - 1)),
        "",
        f"- recipes: `{RECIPES}/{TASK}_{{tfidf,minilm,cascade}}.yaml`",
        f"- encoder: all-MiniLM-L6-v2 (sha256 of the weights {WEIGHTS_SHA256[:12]}...)",
        *how_measured(command, manifest, ("scikit-learn", "torch", "transformers")),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(run_command(main))
