#!/usr/bin/env python
"""Labels by a student: rows a second of the whole way, from the file to the table, beside the predictor alone; memory.

    python benchmarks/student_labels.py --rows 100000 1000000
    python benchmarks/student_labels.py --rows 20000 --encoder demo/models/encoder

Each measurement is a process of its own, and the two take turns. The predictor alone gets rows that were read and
prepared before its clock starts. The student is trained here, on generated comments; the generated files are deleted.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the library is importable from the checkout, installed or not

from benchmarks.readers import CHARACTERS, peak_megabytes  # noqa: E402
from categorize.recipe.terminal import run_command  # noqa: E402

WORK = ROOT / "outputs" / "benchmarks" / "student_labels"
NAMES = "abcd"


def write_comments(path: Path, rows: int, labelled: bool = False) -> None:
    """Comments of 5 to 40 characters, a tenth of them repeats; with labels, each label has characters of its own."""
    draw = random.Random(7)
    seen: list[str] = []
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "label" if labelled else "video"])
        for i in range(rows):
            kind = i % len(NAMES)
            letters = CHARACTERS[8 * kind : 8 * kind + 20] if labelled else CHARACTERS
            text = "".join(draw.choices(letters, k=draw.randint(5, 40)))
            if not labelled and i % 10 == 0 and seen:
                text = draw.choice(seen)
            if len(seen) < 5000:
                seen.append(text)
            writer.writerow([f"c{i:08}", text, NAMES[kind] if labelled else f"v{i % 1000}"])


def train_student(encoder: str | None) -> Path:
    """A run on 4,000 comments: TF-IDF, or a head on an encoder."""
    from categorize.methods.registry import METHODS
    from categorize.recipe.command import main as command
    from categorize.train import train

    source, recipe = WORK / "train.csv", WORK / "student.yaml"
    write_comments(source, 4_000, labelled=True)
    model = "{method: tfidf}" if encoder is None else f"{{name_or_path: {encoder}, pooling: mean, max_length: 64}}"
    training = "" if encoder is None else "training: {num_train_epochs: 1, learning_rate: 1e-3}\n"
    recipe.write_text(
        f"kind: seqcls\nname: student\noutput_dir: {WORK / 'student'}\n"
        f"data: {{source: {source}, columns: {{id: id, text: text, label: label}}, "
        f"splits: {{near_duplicates: off, file: {WORK / 'splits.parquet'}}}}}\n"
        f"labels: {{names: [{', '.join(NAMES)}]}}\nmodel: {model}\n{training}",
        encoding="utf-8",
    )
    if command("run_seqcls.py", "seqcls", train, METHODS, [str(recipe)]):
        raise SystemExit("the student cannot be trained")
    return WORK / "student"


def alone(source: str) -> None:
    """The predictor alone, on rows that are there."""
    from categorize import load_predictor
    from categorize.data.stream import stream_rows
    from categorize.recipe.data_sections import DataSection

    predictor = load_predictor(str(WORK / "student"))
    data = DataSection.model_validate({"source": source, "columns": {"id": "id", "text": "text", "label": None}})
    batches = [batch for table in stream_rows(data) for batch in table.to_batches()]
    start, worked = time.perf_counter(), time.process_time()
    rows = sum(len(block) for block in predictor.predict(batches))
    tell(rows, time.perf_counter() - start, time.process_time() - worked)


def bulk(source: str) -> None:
    """The whole way: read, prepared, predicted and written."""
    from categorize.labeling.bulk import label_in_bulk
    from categorize.labeling.student import load_student
    from categorize.methods.registry import METHODS
    from categorize.recipe.load import load_recipe
    from categorize.recipe.sections import LabelRecipe
    from categorize.runs.folder import Run

    path = WORK / "label.yaml"
    path.write_text(
        f"kind: label\nname: labels\noutput_dir: {WORK / 'labels'}\n"
        f"data: {{source: {source}, columns: {{id: id, text: text, label: null}}}}\n"
        f"labeling: {{teacher: {{type: run, run: {WORK / 'student'}}}}}\n",
        encoding="utf-8",
    )
    loaded = load_recipe(str(path), (), "label", methods=METHODS)
    assert isinstance(loaded.recipe, LabelRecipe)
    predictor = load_student(loaded.recipe)
    start, worked = time.perf_counter(), time.process_time()
    label_in_bulk(loaded.recipe, loaded.text, predictor, restart=True)
    seconds, worked = time.perf_counter() - start, time.process_time() - worked
    tell(int(Run.open(WORK / "labels").manifest["rows"]), seconds, worked)


def tell(rows: int, seconds: float, worked: float) -> None:
    """Print what was measured as JSON, last."""
    print(json.dumps({"rows": rows, "seconds": seconds, "cpu": worked, "peak": peak_megabytes()}))


MEASURED = {"alone": alone, "bulk": bulk}


def measure(what: str, source: Path) -> dict[str, float]:
    """One measurement in a process of its own."""
    command = [sys.executable, __file__, "--measure", what, str(source)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; the exit status: 1 where the whole way is slower than the target."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["--measure"]:
        MEASURED[arguments[1]](arguments[2])
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--pairs", type=int, default=3, help="measurements of each")
    parser.add_argument("--encoder", metavar="MODEL", help="a head on this encoder, instead of TF-IDF")
    options = parser.parse_args(arguments)
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    worst = 1.0
    try:
        train_student(options.encoder)
        for rows in options.rows:
            source = WORK / f"{rows}.csv"
            write_comments(source, rows)
            pairs = [{what: measure(what, source) for what in MEASURED} for _ in range(options.pairs)]
            rates = {what: median(rows / pair[what]["seconds"] for pair in pairs) for what in MEASURED}
            share = median(pair["alone"]["seconds"] / pair["bulk"]["seconds"] for pair in pairs)
            worked = median(pair["alone"]["cpu"] / pair["bulk"]["cpu"] for pair in pairs)
            worst = min(worst, share)
            peak = max(pair["bulk"]["peak"] for pair in pairs)
            print(
                f"{rows:,} rows: the predictor alone {rates['alone']:,.0f} rows/s, the whole way {rates['bulk']:,.0f}: "
                f"{share:.0%} (by CPU time {worked:.0%}), peak {peak:,.0f} MB; load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
    finally:
        shutil.rmtree(WORK)
    return 0 if worst >= 0.9 else 1


if __name__ == "__main__":
    sys.exit(run_command(main))
