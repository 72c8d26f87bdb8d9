#!/usr/bin/env python
"""Long documents: read whole, in segments, and in part, trained and compared per document by the entry scripts.

    CATEGORIZE_DATA=path/to/data python benchmarks/long_documents.py
    CATEGORIZE_DATA=path/to/data python benchmarks/long_documents.py --task qmsum --no-minilm

Every line of a table is a recipe of `benchmarks/recipes` with another `data.segments`. Runs go to
`outputs/benchmarks`, the tables to `benchmarks/RESULTS.md`. What is needed stands in `benchmarks/README.md`.
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
from trainings import (  # noqa: E402
    RECIPES,
    WEIGHTS_SHA256,
    WORK,
    Training,
    data_source,
    evaluate,
    model_folder,
    override,
    train,
)

from categorize.errors import UserError  # noqa: E402
from categorize.metrics.progress import flat  # noqa: E402
from categorize.recipe.terminal import run_command  # noqa: E402
from categorize.reports.columns import duration  # noqa: E402
from categorize.runs.folder import Run  # noqa: E402
from categorize.text_tables import markdown_table  # noqa: E402


@dataclass(frozen=True)
class Task:
    """One dataset: the prefix of its recipes, its folder, the heading of its section, and its measures by their names
    in `metrics.progress.flat` with their columns."""

    name: str
    folder: str
    title: str
    measures: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Variant:
    """One line: what it is called, and the keys of `data.segments`."""

    name: str
    segments: dict[str, Any]

    @property
    def slug(self) -> str:
        """Part of a folder name."""
        return "".join(c if c.isalnum() else "_" for c in self.name)


def parts(tokens: int) -> list[Variant]:
    """The truncation baselines with this many tokens."""
    names = {
        "head": "head",
        "tail": "tail",
        "head_tail": "head and tail",
        "random_sentences": "random sentences",
        "textrank": "TextRank",
    }
    return [Variant(f"{title}, {tokens}", {"by": by, "max_tokens": tokens}) for by, title in names.items()]


def packed(tokens: int, *aggregations: str) -> list[Variant]:
    """Packed turns with each aggregation."""
    return [
        Variant(f"packed turns, {tokens}, {how}", {"by": "packed", "max_tokens": tokens, "aggregation": how})
        for how in aggregations
    ]


TASKS = {
    "crosswoz": Task(
        "crosswoz",
        "crosswoz_domains_zh",
        "CrossWOZ: the domains of Chinese dialogues, several a dialogue",
        (("macro_f1", "macro-F1"), ("micro_f1", "micro-F1"), ("accuracy", "all labels right")),
    ),
    "qmsum": Task(
        "qmsum",
        "qmsum_meetings",
        "QMSum: the family of a meeting from its transcript",
        (("macro_f1", "macro-F1"), ("accuracy", "accuracy")),
    ),
}
WHOLE = Variant("whole document", {"by": "document"})
LINEAR = {
    "crosswoz": [
        WHOLE,
        Variant("turns, mean", {"by": "turns"}),
        Variant("turns, max", {"by": "turns", "aggregation": "max"}),
        Variant("question and answer, max", {"by": "question_answer", "aggregation": "max"}),
        *packed(128, "mean", "max", "vote"),
        Variant(
            "windows, 128, stride 32, max", {"by": "tokens", "max_tokens": 128, "stride": 32, "aggregation": "max"}
        ),
        *parts(128),
    ],
    "qmsum": [
        WHOLE,
        *packed(256, "mean", "vote", "confidence_weighted", "length_weighted"),
        Variant("windows, 256, stride 64, mean", {"by": "tokens", "max_tokens": 256, "stride": 64}),
        *parts(256),
    ],
}
CHUNKS = {"crosswoz": [Variant("turns, logsumexp", {"by": "turns"})], "qmsum": []}  # learn to join n-grams of segments
ENCODER_CHUNKS = {
    "crosswoz": [],
    "qmsum": [Variant("attention over packed turns, 180", {"by": "packed", "max_tokens": 180})],
}
ENCODER = {"crosswoz": [], "qmsum": [*packed(254, "mean"), *parts(254)]}  # all-MiniLM-L6-v2 knows no Chinese
REMARKS = {
    "crosswoz": "A domain is spoken of in a few turns of a dialogue, so that one segment must suffice: the maximum "
    "keeps it, a majority of segments hardly ever has it.",
    "qmsum": "Nearly every passage gives the label away: the task shows that the parts fit together, not which way of "
    "cutting is best.",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; the exit status: 2 for what the user can correct."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", nargs="+", choices=list(TASKS), default=list(TASKS), help="datasets; all by default")
    parser.add_argument("--no-minilm", action="store_true", help="the linear model alone")
    parser.add_argument("--retrain", action="store_true", help="train again what is finished with the same recipe")
    options = parser.parse_args(argv)
    command = shlex.join(["python", "benchmarks/long_documents.py", *(sys.argv[1:] if argv is None else argv)])
    try:
        for name in options.task:
            encoder = ENCODER[name] if not options.no_minilm else []
            heading, text = measure(TASKS[name], encoder, options.retrain, command)
            write_section(heading, text)
            print(f"\n{text}\nwritten: {RESULTS.relative_to(ROOT)}", flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def measure(task: Task, encoder: Sequence[Variant], retrain: bool, command: str) -> tuple[str, str]:
    """Train what is not trained yet, evaluate; heading and text of the task's section."""
    source = data_source(task.folder)
    trainings = [training(task, "tfidf", "TF-IDF", variant, source) for variant in LINEAR[task.name]]
    trainings += [training(task, "chunks", "n-grams, reduced", variant, source) for variant in CHUNKS[task.name]]
    if encoder:
        model = override("model.name_or_path", str(model_folder()))
        trainings += [training(task, "minilm", "MiniLM", variant, source, model) for variant in encoder]
        features = override("model.features.name_or_path", str(model_folder()))
        chunked = ENCODER_CHUNKS[task.name]
        trainings += [training(task, "chunks", "MiniLM, fixed", variant, source, features) for variant in chunked]
    for one in trainings:
        train(one, retrain)
    comparison = evaluate(task.name, source, trainings)
    return section(task, comparison, trainings, command)


def training(task: Task, method: str, title: str, variant: Variant, *overrides: str) -> Training:
    """One run: the recipe of the method with the variant's segments."""
    segments = override("data.segments", variant.segments)
    output = WORK / f"{task.name}_{method}_{variant.slug}"
    name = f"{title}: {variant.name}"
    return Training(name, RECIPES / f"{task.name}_{method}.yaml", output, (*overrides, segments))


def section(task: Task, comparison: dict[str, Any], trainings: Sequence[Training], command: str) -> tuple[str, str]:
    """Heading and Markdown of a task's section."""
    runs = {one.name: Run.open(ROOT / one.output) for one in trainings}
    header = [
        "run",
        *(f"{title} [95%]" for _, title in task.measures),
        "segments a document",
        "training",
        "documents/s",
    ]
    rows = []
    for evaluated in comparison["runs"]:
        values, bounds = flat(evaluated["metrics"]), evaluated["metrics"]["intervals"]["measures"]
        cells = []
        for name, _ in task.measures:
            low, high = bounds.get(name) or (None, None)
            cells.append(f"{values[name]:.4f}" + (f" [{low:.4f}, {high:.4f}]" if low is not None else ""))
        speed = evaluated["documents_per_second"]
        pace = "-" if speed is None else f"{speed:.3g}"
        segments = _segments(runs.get(evaluated["name"]))
        rows.append([evaluated["name"], *cells, segments, duration(evaluated["training_seconds"]), pace])
    first = runs[trainings[0].name].manifest
    documents = {split: first["rows"][split] for split in ("train", "validation", "test")}
    with_encoder = any("MiniLM" in name for name in runs)
    encoder = f"- encoder: all-MiniLM-L6-v2 (sha256 of the weights {WEIGHTS_SHA256[:12]}...)"
    lines = [
        f"## {task.title}",
        "",
        f"Measured on the {documents['test']} documents of the test split, whatever a model read of them. "
        f"{REMARKS[task.name]}",
        "",
        markdown_table(header, rows, "l" + "r" * (len(header) - 1)),
        "",
        f"- documents: {', '.join(f'{n:,} {split}' for split, n in documents.items())}",
        "- numbers behind a cut are its tokens: plain ones for TF-IDF (docs/data.md), MiniLM's own for MiniLM",
        f"- recipes: `{RECIPES / f'{task.name}_*.yaml'}`"
        + ("; all trainings of MiniLM take the same number of steps" if with_encoder else ""),
        *([encoder] if with_encoder else []),
        *how_measured(command, first, ("scikit-learn",)),
    ]
    return lines[0], "\n".join(lines) + "\n"


def _segments(run: Run | None) -> str:
    counts = (run.manifest["details"].get("segments") or {}).get("train") if run is not None else None
    if run is None:
        return "-"
    return "1" if counts is None else f"{counts['segments'] / counts['documents']:.1f}"


if __name__ == "__main__":
    sys.exit(run_command(main))
