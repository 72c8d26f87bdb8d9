#!/usr/bin/env python
"""Our recipes beside reference implementations: the same rows, encoder and threads; quality and CPU seconds of both.

    CATEGORIZE_DATA=... python benchmarks/peers.py --peer-python peer/bin/python --annif-python annif/bin/python

`benchmarks/README.md` says what is in the two environments. Each side is one command, ours an entry script and theirs
`peer_trainings.py`, without the vectors of an earlier run. What a pair gave is kept in `outputs/benchmarks/peers`, so
that the section of `RESULTS.md` has all that were measured.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # the library and its neighbours, installed or not

import many_labels  # noqa: E402
import numpy as np  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from results import DATA, RESULTS, write_section  # noqa: E402
from trainings import RECIPES, SPLITS, WEIGHTS_SHA256, local_overrides, model_folder, override  # noqa: E402

from categorize.errors import UserError  # noqa: E402
from categorize.metrics.scores import ranking_scores  # noqa: E402
from categorize.recipe.terminal import run_command  # noqa: E402
from categorize.runs.environment import environment, processor_name  # noqa: E402
from categorize.text_tables import markdown_table  # noqa: E402

HEADING = "## Beside reference implementations"
WORK = ROOT / "outputs" / "benchmarks" / "peers"
SEED, RESAMPLES = 42, 1000
INTENTS, EXAMPLES, PAIRED = 10, 8, 5  # of the few-shot pair; each text stands in so many pairs of a kind
STEPS, FIRST_STEPS, ALL_STEPS = 100, 10, 1410  # 282 a pass over the training rows; the recipe makes five
LABELS, LABEL_ROWS = 10_000, {"train": 1000, "validation": 250, "test": 500}  # of the generated task
STRENGTHS = [3.0, 10.0, 30.0]
# What `banking77_minilm.yaml` sets, but for the rate, which suits the few steps.
ARGUMENTS = {
    "per_device_train_batch_size": 32,
    "learning_rate": 2e-4,
    "weight_decay": 0.01,
    "label_smoothing_factor": 0.1,
    "lr_scheduler_type": "linear",
    "warmup_steps": 0.1,
    "bf16": True,
    "max_steps": STEPS,
    "seed": SEED,
}
PROJECTS = """[mllm]
name=MLLM
language=en
backend=mllm
analyzer=snowball(english)
vocab=labels
limit=100
"""
AS_TRAINER = (
    "model.pooling=default",
    "model.head_init=random",
    "training.learning_rate=2e-4",
    "training.eval_strategy=no",
)
Values = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Pair:
    """A reference implementation and ours.

    Attributes:
        peer: how the table names it.
        ours: how the table names ours; `recipe` is its recipe, `overrides` what is laid over it.
        job: what `peer_trainings.py` is told beside rows and model; its key `peer` names the function there.
        equal: what both sides have in common, beside rows and encoder.
        seeds: choices of rows, for the pair of few examples; None: all training rows of Banking77.
        test_rows: how many test rows are drawn; None for all.
    """

    peer: str
    ours: str
    recipe: str
    job: dict[str, Any]
    equal: str
    overrides: tuple[str, ...] = ()
    seeds: tuple[int, ...] | None = None
    test_rows: int | None = None


PAIRS = {
    "sentence_transformers": Pair(
        "sentence-transformers + scikit-learn",
        "embedding",
        "banking77_embedding",
        {"peer": "sentence_transformers", "C": STRENGTHS},
        "the three strengths, chosen on validation",
    ),
    "model2vec": Pair(
        "model2vec + scikit-learn",
        "embedding of static vectors",
        "banking77_static",
        {"peer": "model2vec", "C": STRENGTHS},
        "the static vectors, distilled by model2vec; the three strengths, chosen on validation",
    ),
    "model2vec_tuned": Pair(
        "model2vec, its classifier",
        "embedding of static vectors",
        "banking77_static",
        {"peer": "model2vec_tuned"},
        "the static vectors, which its classifier trains on and ours keeps as they are",
    ),
    "setfit": Pair(
        "SetFit",
        "contrastive",
        "banking77_few",
        {"peer": "setfit", "pairs": PAIRED},
        f"{EXAMPLES} examples of each of {INTENTS} intents, {2 * PAIRED} pairs a text, one epoch, batch 16, 2e-5, C 1",
        ("data.sample=null", "model.C=[1.0]", f"model.pairs={PAIRED}"),
        seeds=(SEED,),
    ),
    "transformers": Pair(
        "transformers' Trainer",
        "head",
        "banking77_minilm",
        {"peer": "transformers", "arguments": ARGUMENTS},
        f"the new head, {STEPS} steps and their settings, 2e-4",
        (*AS_TRAINER, f"training.max_steps={STEPS}"),
        test_rows=1000,
    ),
}
ANNIF = {
    "mllm": Pair(
        "Annif, MLLM",
        "lexical",
        "many_labels.py, lexical",
        {"projects": PROJECTS, "trained": ["mllm"]},
        "names and aliases of 10,000 generated labels",
    ),
}
PACKAGES = ("torch", "transformers", "sentence-transformers", "scikit-learn", "model2vec", "setfit")
ANNIF_PACKAGES = ("annif", "scikit-learn")


# ---------------------------------------------------------------- the two sides
def timed(command: Sequence[str], log: Path) -> dict[str, float]:
    """Seconds of a command and of all that it started: of CPU, and by the clock.

    Raises:
        UserError: it failed.
    """
    print(f"$ {shlex.join(command)[:200]}", flush=True)
    vectors = log.with_suffix(".vectors")
    shutil.rmtree(vectors, ignore_errors=True)  # none that an earlier run has kept
    own = {"CATEGORIZE_EMBEDDINGS_CACHE": str(vectors), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    start = time.perf_counter()
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file, env={**os.environ, **own})
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise UserError(f"status {process.returncode}: {log.read_text(encoding='utf-8')[-2000:]}")
    return {"cpu": usage.ru_utime + usage.ru_stime, "seconds": time.perf_counter() - start}


def ours(recipe: Path, overrides: Sequence[str], folder: Path) -> dict[str, float]:
    """The entry script on a recipe; the run is `folder/run`."""
    words = [*overrides, f"output_dir={folder / 'run'}", "--overwrite"]
    return timed([sys.executable, "run_seqcls.py", str(recipe), *words], folder / "ours.log")


def theirs(job: dict[str, Any], python: str, folder: Path) -> tuple[list[Any], dict[str, float]]:
    """The answers of a peer to the test rows, and its seconds."""
    path, output = folder / "job.json", folder / "answers.json"
    (folder / "work").mkdir(exist_ok=True)
    given = {**job, "model": str(model_folder()), "work": str(folder / "work"), "output": str(output)}
    path.write_text(json.dumps(given), encoding="utf-8")
    took = timed([python, "-P", str(ROOT / "benchmarks" / "peer_trainings.py"), str(path)], folder / "theirs.log")
    return json.loads(output.read_text(encoding="utf-8")), took


def write_rows(folder: Path, seed: int | None, test_rows: int | None) -> dict[str, Path]:
    """Files with the rows of Banking77 that both sides read; with a seed, the few examples that it draws."""
    named = os.environ.get(DATA)
    if not named:
        raise UserError(f"{DATA} is not set; set it to the folder with the datasets (benchmarks/README.md)")
    generator, intents, files = random.Random(seed), None, {}
    for split in SPLITS:
        with gzip.open(Path(named) / "banking77" / f"{split}.jsonl.gz", "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        if seed is not None:
            intents = intents or random.Random(SEED).sample(sorted({row["label"] for row in rows}), INTENTS)
            of = {label: [row for row in rows if row["label"] == label] for label in intents}
            if split != "test":
                of = {label: generator.sample(those, min(EXAMPLES, len(those))) for label, those in of.items()}
            rows = [row for those in of.values() for row in those]
        if split == "test" and test_rows is not None:
            rows = random.Random(SEED).sample(rows, test_rows)
        files[split] = folder / f"{split}.jsonl"
        lines = [json.dumps({"id": f"{split}-{n}", **row}, ensure_ascii=False) for n, row in enumerate(rows)]
        files[split].write_text("\n".join(lines) + "\n", encoding="utf-8")
    return files


def measure(name: str, pair: Pair, python: str) -> dict[str, Any]:
    """Both sides of a pair on the same rows: which test rows each has right, and its seconds."""
    found: dict[str, list[Any]] = {"ours": [], "theirs": [], "our_seconds": [], "their_seconds": []}
    rows = {}
    for seed in pair.seeds or (None,):
        folder = WORK / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        files = write_rows(folder, seed, pair.test_rows)
        where = {split: str(file) for split, file in files.items()}
        gold = [json.loads(line)["label"] for line in files["test"].read_text(encoding="utf-8").splitlines()]
        job = {**pair.job, **where, "seed": seed or SEED, "static": str(WORK / "static")}
        if "static" in pair.recipe and not (WORK / "static").is_dir():
            (WORK / "distilled").mkdir(parents=True, exist_ok=True)
            _, took = theirs({**job, "peer": "distill"}, python, WORK / "distilled")
            print(f"distilled in {took['cpu']:.1f} CPU seconds", flush=True)
        recipe = RECIPES / f"{pair.recipe}.yaml"
        columns = override("data.columns", {"text": "text", "label": "label", "id": "id"})
        overrides = [override("data.source", where), columns, f"seed={seed or SEED}", *local_overrides(recipe)]
        with ThreadPoolExecutor() as both:  # at the same time: what others do on the machine hits both alike
            command = both.submit(ours, recipe, [*overrides, *pair.overrides], folder)
            answers, took = theirs(job, python, folder)
            found["our_seconds"].append(command.result())
        found["their_seconds"].append(took)
        table = pq.read_table(folder / "run" / "predictions" / "test.parquet", columns=["id", "predicted"])
        said = dict(zip(table["id"].to_pylist(), table["predicted"].to_pylist(), strict=True))
        found["ours"].append([said[f"test-{n}"] == [label] for n, label in enumerate(gold)])
        found["theirs"].append([answer == label for answer, label in zip(answers, gold, strict=True)])
        rows = {split: len(file.read_text(encoding="utf-8").splitlines()) for split, file in files.items()}
    measures = {"accuracy": {side: np.mean(found.pop(side), axis=0).tolist() for side in ("ours", "theirs")}}
    return {"measures": measures, **found, "rows": rows}


def measure_annif(name: str, python: str) -> dict[str, Any]:
    """Our lexical method and a project of Annif on the generated task of `many_labels.py`."""
    folder = WORK / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    many_labels.write_task(folder, LABELS, LABEL_ROWS)
    took = ours(many_labels.write_recipe(many_labels.WAYS["lexical"], folder), [], folder)
    told = json.loads((folder / "task.yaml").read_text(encoding="utf-8"))["labels"]["names"]
    names = {one["name"]: n for n, one in enumerate(json.loads((folder / "run/label_set.json").read_text())["labels"])}
    table = pq.read_table(folder / "run" / "predictions" / "test.parquet", columns=["gold", "probabilities"])
    gold = np.zeros((len(table), len(names)), dtype=np.int8)
    for row, of_row in enumerate(table["gold"].to_pylist()):
        gold[row, [names[label] for label in of_row]] = 1
    scored = table["probabilities"].combine_chunks().flatten().to_numpy().reshape(gold.shape)
    job = {"peer": "annif", "labels": told, **ANNIF[name].job}
    answers, their = theirs({**job, **{split: str(folder / f"{split}.csv") for split in SPLITS}}, python, folder)
    suggested = np.full(gold.shape, np.nan)
    for row, of_row in enumerate(answers):
        for label, score in of_row:
            suggested[row, names[label]] = score
    both = {side: ranking_scores(gold, values) for side, values in (("ours", scored), ("theirs", suggested))}
    measures = {
        f"recall@{k}": {side: values[f"recall_at_{k}"].tolist() for side, values in both.items()} for k in (1, 10)
    }
    return {"measures": measures, "our_seconds": [took], "their_seconds": [their], "rows": LABEL_ROWS}


def measure_cost(folder: Path) -> list[dict[str, float]]:
    """CPU seconds of the first steps of fine-tuning, beside which the longer run tells what a step takes; and of
    embeddings and a linear model on all rows in bfloat16, in which the fine-tuning computes."""
    found = []
    short = (*AS_TRAINER, f"training.max_steps={FIRST_STEPS}")
    for name, rows, words in (("minilm", 1000, short), ("embedding", None, ("prediction.dtype=bfloat16",))):
        place, recipe = folder / name, RECIPES / f"banking77_{name}.yaml"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        where = {split: str(file) for split, file in write_rows(place, None, rows).items()}
        took = ours(recipe, [override("data.source", where), *local_overrides(recipe), *words], place)
        test = json.loads((place / "run" / "metrics.json").read_text(encoding="utf-8"))["test"]
        found.append({**took, "accuracy": test["accuracy"]})
    return found


# ---------------------------------------------------------------- results
def keep(name: str, found: dict[str, Any], versions: str) -> None:
    """Write what was measured, with versions of the peers, load and date."""
    made = {"date": time.strftime("%Y-%m-%d"), "load": os.getloadavg()[0]}
    made["versions"] = versions
    WORK.mkdir(parents=True, exist_ok=True)
    (WORK / f"{name}.json").write_text(json.dumps({**found, **made}), encoding="utf-8")


def kept(name: str) -> dict[str, Any] | None:
    """What was measured before; None where nothing was."""
    path = WORK / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def interval(values: Values) -> tuple[float, float, float]:
    """The mean of a value a row, and its 95% bootstrap interval."""
    drawn = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
    return float(values.mean()), float(low), float(high)


def row_of(pair: Pair, measure_name: str, found: dict[str, Any]) -> list[str]:
    """A line of the table."""
    both = {side: np.array(values) for side, values in found["measures"][measure_name].items()}
    cells = []
    for values in (both["ours"], both["theirs"], both["ours"] - both["theirs"]):
        mean, low, high = interval(values)
        sign = "+" if values.min() < 0 else ""
        cells.append(f"{mean:{sign}.4f} [{low:{sign}.4f}, {high:{sign}.4f}]")
    verdict = "better" if low > 0 else "worse" if high < 0 else "within"
    seconds = [
        f"{np.mean([one[unit] for one in found[side]]):.0f}"
        for unit in ("cpu", "seconds")
        for side in ("our_seconds", "their_seconds")
    ]
    return [pair.peer, pair.ours, measure_name, *cells, verdict, *seconds]


def cost_lines() -> list[str]:
    """What embeddings and a linear model cost beside fine-tuning; none before it is measured."""
    embedding, short, long = kept("sentence_transformers"), kept("cost"), kept("transformers")
    if embedding is None or short is None or long is None:
        return []
    linear, first, last = (one["our_seconds"][0]["cpu"] for one in (embedding, short, long))
    half = short["our_seconds"][1]
    step = (last - first) / (STEPS - FIRST_STEPS)
    whole = first + step * (ALL_STEPS - FIRST_STEPS)
    return [
        "",
        "Embeddings and a linear model beside fine-tuning on Banking77, CPU seconds of whole commands: "
        f"`banking77_embedding`, its vectors computed anew, took {linear:.0f} s in float32, and {half['cpu']:.0f} s "
        "with `prediction.dtype=bfloat16`, in which the fine-tuning computes, too (test accuracy "
        f"{half['accuracy']:.4f}). `banking77_minilm` took {first:.1f} s with {FIRST_STEPS} steps and {last:.1f} s "
        f"with {STEPS}, {step:.3f} s a step of 32 rows; so {first:.1f} + {step:.3f} x {ALL_STEPS - FIRST_STEPS:,} = "
        f"{whole:.0f} s for its {ALL_STEPS:,} steps. The probe that its head begins as and the evaluation after each "
        "of five passes, which the short runs left out, and the other 2,080 test rows come on top. That is at most "
        f"{linear / whole:.1%} of it in float32, and {half['cpu'] / whole:.1%} in bfloat16.",
    ]


def versions_of(python: str, packages: Sequence[str]) -> str:
    """Of an environment's Python and packages."""
    tell = "import importlib.metadata as m, sys; print('python', sys.version.split()[0])\n"
    tell += "for name in sys.argv[1:]: print(name, m.version(name))"
    done = subprocess.run([python, "-c", tell, *packages], capture_output=True, text=True, check=True)
    return ", ".join(done.stdout.splitlines())


def section() -> str:
    """The Markdown section, of all that was measured."""
    table, notes, made = [], [], []
    for name, pair in (PAIRS | ANNIF).items():
        found = kept(name)
        if found is None:
            continue
        table += [row_of(pair, one, found) for one in found["measures"]]
        seeds = f"; mean of {len(pair.seeds)} choices of examples" if len(pair.seeds or ()) > 1 else ""
        counts = f"{found['rows']['train']:,} training and {found['rows']['test']:,} test rows"
        notes.append(f"- {pair.peer}, {pair.ours}: the same are {pair.equal}; {counts}{seeds}; `{pair.recipe}`")
        made.append(found)
    header = ["peer", "ours", "measure", "ours [95%]", "peer [95%]", "difference [95%]", "ours is"]
    header += ["CPU s, ours", "CPU s, peer", "s, ours", "s, peer"]
    versions = environment()["versions"]
    mine = ", ".join(f"{one} {versions[one]}" for one in ("python", "torch", "transformers", "scikit-learn"))
    loads = [one["load"] for one in made]
    return "\n".join(
        [
            HEADING,
            "",
            "Both sides read the same rows, and but for Annif the same encoder, all-MiniLM-L6-v2 (sha256 of the "
            f"weights {WEIGHTS_SHA256[:12]}...), with the same threads. The difference is ours minus the peer's on the "
            "same test rows, with its 95% interval by a paired bootstrap: within, where it holds 0; else better or "
            "worse. "
            "Seconds are those of the whole command: ours with measures, intervals and written predictions of two "
            "splits, the peer's with its imports and the answers to the test rows. Others used the machine at the same "
            "time: seconds of CPU compare, those by the clock do not.",
            "",
            markdown_table(header, table, "lll" + "r" * 3 + "l" + "r" * 4),
            "",
            *notes,
            *cost_lines(),
            "",
            f"- command: `{DATA}=... OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', '')} python "
            "benchmarks/peers.py --peer-python peer/bin/python --annif-python annif/bin/python`, pair by pair",
            f"- hardware: {processor_name()}, {os.cpu_count()} cores that others used too; load average "
            f"{min(loads):.1f} to {max(loads):.1f}",
            f"- versions: {mine}",
            *(f"- versions of peers: {one}" for one in sorted({one["versions"] for one in made})),
            f"- date: {', '.join(sorted({one['date'] for one in made}))}",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write; the exit status: 1 where ours is worse, 2 for what the user can fix."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", help="python of the environment that the peers are installed in")
    parser.add_argument("--annif-python", help="python of the environment that Annif is installed in")
    names = [*PAIRS, *ANNIF, "cost"]
    parser.add_argument(
        "--pair",
        nargs="*",
        choices=names,
        default=names,
        help="what to measure; all by default, none: the section alone",
    )
    parser.add_argument("--no-write", dest="write", action="store_false", help="print the section, keep RESULTS.md")
    options = parser.parse_args(argv)
    try:
        for name in options.pair:
            python, flag = (
                (options.annif_python, "--annif-python") if name in ANNIF else (options.peer_python, "--peer-python")
            )
            if name == "cost":
                keep(name, {"our_seconds": measure_cost(WORK / name)}, "")
            elif python is None:
                parser.error(f"--pair {name}: needs {flag}")
            elif name in ANNIF:
                keep(name, measure_annif(name, python), versions_of(python, ANNIF_PACKAGES))
            else:
                keep(name, measure(name, PAIRS[name], python), versions_of(python, PACKAGES))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    text = section()
    if options.write:
        write_section(HEADING, text)
        text += f"\nwritten: {RESULTS.relative_to(ROOT)}"
    print(text)
    return int("| worse |" in text)


if __name__ == "__main__":
    sys.exit(run_command(main))
