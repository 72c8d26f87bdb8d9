"""The rows of `speed.py`: which sides are measured, what they are told, and which ratio is wanted."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import speed_tasks as tasks
from speed_tasks import LABELS, PREFIX, QUESTIONS, SHORT, WORK
from trainings import RECIPES, model_folder, override

Job = dict[str, Any]
FEW = 64  # rows of the first of two runs of an entry script, whose difference is timed
SETTLED = 600  # rows behind which a head has chosen its type, or its engine has been compared
HALF = {"float32": "fp32", "bfloat16": "bf16"}


@dataclass(frozen=True)
class Ratio:
    """How many times as fast one side is to be as the fastest of others, in rows a second.

    Attributes:
        needs: instructions without which the target does not hold: `bf16` or `vnni`.
    """

    ours: str
    peers: tuple[str, ...]
    target: float | None
    needs: str | None = None
    text: str = ""


@dataclass
class Case:
    """Sides by name, each with its job, and the ratios that are wanted of them.

    Attributes:
        borrows: row whose peers stand here too, for they do with these texts what they do with those.
    """

    title: str
    borrows: str | None = None
    sides: dict[str, Job] = field(default_factory=dict)
    ratios: list[Ratio] = field(default_factory=list)


@dataclass(frozen=True)
class Sizes:
    """How much is measured: `scale` of the rows, on so many threads, with a Python that has SetFit or none."""

    scale: float = 1.0
    threads: int = 2
    setfit: str | None = None

    def rows(self, count: int, least: int = 32) -> int:
        """So many rows at this scale."""
        return max(int(count * self.scale), least)


# ---------------------------------------------------------------- ours
def entry(script: str, recipe: str, name: str, few: Sequence[str], all_rows: Sequence[str], rows: int) -> Job:
    """An entry script on few rows and on all."""

    def words(part: str, overrides: Sequence[str]) -> list[str]:
        return [
            str(RECIPES / f"{recipe}.yaml"),
            *overrides,
            f"output_dir={WORK / 'runs' / f'{name}_{part}'}",
            "--overwrite",
        ]

    told = {"few": words("few", few), "all": words("all", all_rows), "rows": rows}
    return {"side": "entry_script", "script": script, **told}


def labelling(name: str, run: Path, rows: Sequence[str], *overrides: str, few: int = FEW) -> Job:
    """`run_label.py` with a run, from a file to a table of labels."""

    def told(file: Path) -> list[str]:
        return [override("data.source", str(file)), override("labeling.teacher.run", str(run)), *overrides]

    few_rows = tasks.write_rows(f"{name}_few", rows[:few], 1)
    all_rows = tasks.write_rows(name, rows, 1)
    return entry("run_label.py", "speed_label", name, told(few_rows), told(all_rows), len(rows) - few)


def training(script: str, recipe: str, name: str, rows: Sequence[str], few: int, labels: int, *overrides: str) -> Job:
    """An entry script that trains for an epoch, on the first few rows and on all."""
    test = tasks.write_rows(f"{name}_test", rows[:8], labels)
    files = [
        tasks.write_rows(f"{name}_{part}", part_rows, labels)
        for part, part_rows in (("few", rows[:few]), ("all", rows))
    ]
    told = [[*tasks.source(file, test), *overrides] for file in files]
    return entry(script, recipe, name, *told, len(rows) - few)


# ---------------------------------------------------------------- heads
def heads(sizes: Sizes, repeats: bool = False) -> Case:
    """Short comments labelled by a head."""

    def ours(part: str, *overrides: str) -> Job:
        return labelling(f"{name}_{part}", run, rows, *overrides, few=SETTLED)

    name = "repeats" if repeats else "comments"
    distinct = tasks.texts(sizes.rows(20_000, 2 * SETTLED), SHORT, seed=7)
    rows = tasks.with_repeats(distinct) if repeats else distinct
    run = tasks.head_run()
    case = Case(
        f"head inference, {len(rows):,} comments of 13 tokens on average, "
        + (
            "half of them repeats, which peers compute again: theirs are the figures above"
            if repeats
            else "all distinct"
        ),
        "heads" if repeats else None,
    )
    for dtype in ("float32", "bfloat16"):
        case.sides[f"ours {HALF[dtype]}"] = ours(dtype, f"prediction.dtype={dtype}")
    case.sides["ours int8"] = ours("int8", "prediction.engine=onnx_int8")
    openvino = importlib.util.find_spec("nncf") is not None
    if openvino:
        for engine, side in (("openvino", "ours OpenVINO bf16"), ("openvino_int8", "ours OpenVINO int8")):
            case.sides[side] = ours(engine, f"prediction.engine={engine}", "prediction.dtype=bfloat16")
    peer: Job = {"model": str(run), "encoder": str(model_folder()), "threads": sizes.threads}

    def sample(count: int) -> Job:
        return {**peer, "texts": rows[: sizes.rows(count, 128)]}

    def by_pipeline(dtype: str, *batch_sizes: int, count: int = 1500) -> Job:
        several = len(batch_sizes) > 1
        return {**sample(count), "side": "pipeline", "dtype": dtype, "batch_sizes": batch_sizes, "sorted": several}

    if not repeats:
        case.sides["pipeline, batch 1"] = by_pipeline("float32", 1, count=750)
    case.sides["pipeline, batch 64"] = by_pipeline("float32", 64, count=4000)
    case.sides["pipeline, sorted, best batch"] = by_pipeline("float32", 1, 8, 32, 64)
    encode = {**sample(4000), "side": "sentence_transformers"}
    case.sides["sentence-transformers encode"] = {**encode, "dtype": "float32"}
    case.sides["ONNX Runtime fp32, by hand"] = {**sample(4000), **onnx_file("onnx", int8=False)}
    case.sides["ONNX Runtime int8, by hand"] = {**sample(6000), **onnx_file("onnx", int8=True)}
    fp32 = ["pipeline, sorted, best batch", "sentence-transformers encode", "ONNX Runtime fp32, by hand"]
    int8 = ["ONNX Runtime int8, by hand"]
    bf16 = ["ours bf16"]
    if openvino:
        by_openvino = onnx_file("openvino", int8=False)
        case.sides["OpenVINO fp32, by hand"] = {**sample(4000), **by_openvino}
        case.sides["OpenVINO bf16, by hand"] = {**sample(4000), **by_openvino, "dtype": "bfloat16"}
        case.sides["OpenVINO int8, by hand"] = {**sample(6000), **onnx_file("openvino", int8=True)}
        fp32, int8 = [*fp32, "OpenVINO fp32, by hand"], [*int8, "OpenVINO int8, by hand"]
        bf16.append("ours OpenVINO bf16")
    if sizes.setfit is not None and not repeats:
        labels = [f"label {i % LABELS}" for i in range(sizes.rows(2000, 128))]
        case.sides["SetFit predict"] = {**sample(2000), "side": "setfit", "labels": labels, "python": sizes.setfit}
        fp32.append("SetFit predict")
    more, best_int8 = 1.8 if repeats else 1.0, "ours OpenVINO int8" if openvino else "ours int8"
    case.ratios = [
        Ratio("ours fp32", ("pipeline, batch 64",), 3 * more),
        *(Ratio(side, ("pipeline, batch 64",), 10 * more, "bf16") for side in bf16),
        *(Ratio(side, tuple(fp32), 1.8 * more, "bf16", "the fastest in fp32") for side in bf16),
        Ratio("ours int8", ("ONNX Runtime int8, by hand",), more),
        Ratio(best_int8, tuple(int8), more, None, "the fastest in int8"),
        Ratio(best_int8, tuple(fp32), 2.5 * more, "vnni", "the fastest in fp32"),
    ]
    if repeats:
        case.sides = {side: job for side, job in case.sides.items() if side.startswith(("ours", "pipeline, batch"))}
    else:
        for dtype in ("float32", "bfloat16"):
            side = f"bare forward pass, {HALF[dtype]}"
            case.sides[side] = {**sample(6000), "side": "bare", "dtype": dtype}
        case.ratios += [
            Ratio("ours fp32", ("bare forward pass, fp32",), 0.9),
            Ratio("ours bf16", ("bare forward pass, bf16",), 0.9, "bf16"),
        ]
    return case


def onnx_file(side: str, int8: bool) -> Job:
    """What reads the exported model."""
    return {"side": side, "int8": int8, "work": str(WORK / "onnx")}


# ---------------------------------------------------------------- labels behind an instruction
def scoring(sizes: Sizes) -> Case:
    """Labels scored behind an instruction."""
    rows = tasks.decoder_rows(sizes.rows(4000, 128), seed=9)
    run = tasks.scorer_run()
    few = rows[: sizes.rows(160)]
    given = tasks.prompts(few, PREFIX, LABELS)
    own = sum(map(len, given["prompts"])) / len(few) - given["prefix"]
    tokens = (given["prefix"] + own) / own
    case = Case(
        f"label scoring, {given['prefix']} tokens of instruction, {own:.0f} of a row on average, {LABELS} labels; "
        f"{tokens:.1f} times the tokens without sharing"
    )
    for dtype in ("float32", "bfloat16"):
        case.sides[f"ours {HALF[dtype]}"] = labelling(f"scored_{dtype}", run, rows, f"prediction.dtype={dtype}")
    for dtype in ("float32", "bfloat16"):
        peer: Job = {"model": str(run), "dtype": dtype, "texts": few, **given}
        case.sides[f"pipeline decision, {HALF[dtype]}"] = {**peer, "side": "decision"}
        case.sides[f"generate 8 tokens, {HALF[dtype]}"] = {**peer, "side": "generate"}
        case.sides[f"naive batched scoring, {HALF[dtype]}"] = {**peer, "side": "naive"}
    case.ratios = [
        Ratio("ours fp32", ("naive batched scoring, fp32",), round(0.7 * tokens, 1)),
        Ratio("ours bf16", ("pipeline decision, bf16",), 20.0, "bf16"),
        Ratio("ours bf16", ("generate 8 tokens, bf16",), 20.0, "bf16"),
        Ratio("ours bf16", ("naive batched scoring, bf16",), 18.0, "bf16"),
    ]
    return case


# ---------------------------------------------------------------- training
def sft(sizes: Sizes, prefix: int = PREFIX) -> Case:
    """LoRA on the same prompts, in steps of 16 and of 64 rows; without an instruction, of 16 alone."""
    batches = (16, 64) if prefix else (16,)
    case = Case("")
    for batch in batches:
        rows = tasks.decoder_rows(
            batch * (1 + max(round(sizes.scale * (192 if batch == 16 else 256) / batch), 1)), seed=11
        )
        given = tasks.prompts(rows, prefix, LABELS)
        own = sum(map(len, given["prompts"] + given["completions"])) / len(rows) - given["prefix"]
        tokens = batch * (given["prefix"] + own) / (given["prefix"] + batch * own)
        case.title = case.title or (
            f"SFT with LoRA, {given['prefix']} tokens of instruction, {own:.0f} of a row with its answer"
        )
        name = f"{batch} rows a step"
        size = [f"training.per_device_train_batch_size={batch}", *tasks.asked(prefix, LABELS)]
        case.sides[f"ours, {name}"] = training(
            "run_sft.py", "speed_sft", f"sft_{prefix}_{batch}", rows, batch, LABELS, *size
        )
        few = 2 * batch  # of which the first step warms up
        peer: Job = {
            "side": "sft",
            "model": str(tasks.decoder()),
            "dtype": "float32",
            "batch": batch,
            "work": str(WORK / "trl"),
            "prompts": given["prompts"][:few],
            "completions": given["completions"][:few],
            "packing": False,
            "restricted": False,
        }
        restricted = "SFTTrainer, head restricted, 16 rows a step"
        if batch == 16:
            case.sides[f"SFTTrainer, {name}"] = peer
            case.sides[restricted] = {**peer, "restricted": True}
            if prefix:
                case.sides[f"SFTTrainer, packed, {name}"] = {**peer, "packing": True}
            case.ratios.append(Ratio(f"ours, {name}", (f"SFTTrainer, {name}",), None if prefix else 1.0))
        wanted = round(0.7 * tokens, 1) if prefix else None
        told = f"{restricted}; {tokens:.1f} times fewer tokens"
        case.ratios.append(Ratio(f"ours, {name}", (restricted,), wanted, text=told if prefix else ""))
    return case


def training_heads(sizes: Sizes) -> Case:
    """A head fine-tuned on questions as long as Banking77's."""
    batch = 32
    rows = tasks.texts(batch * (2 + sizes.rows(2048, 64) // batch), QUESTIONS, seed=13)
    labels = [f"label {i % tasks.INTENTS}" for i in range(len(rows))]
    case = Case(f"head training, {len(rows):,} questions with the lengths of Banking77's, {batch} a step")
    named = override("labels.names", sorted(set(labels)))
    for dtype in ("float32", "bfloat16"):
        half = HALF[dtype]
        bf16 = f"training.bf16={'true' if dtype == 'bfloat16' else 'false'}"
        case.sides[f"ours {half}"] = training(
            "run_seqcls.py",
            "speed_head",
            f"head_{half}",
            rows,
            batch,
            tasks.INTENTS,
            *tasks.training_model(),
            named,
            bf16,
        )
        peer: Job = {
            "side": "head",
            "model": str(model_folder()),
            "dtype": dtype,
            "batch": batch,
            "work": str(WORK / "trainer"),
            "labels": labels[: sizes.rows(1024, 64)],
        }
        for fixed, padding in ((True, "fixed 128"), (False, "dynamic padding")):
            texts = rows[: sizes.rows(512 if fixed else 1024, 64)]
            case.sides[f"Trainer, {padding}, {half}"] = {
                **peer,
                "fixed": fixed,
                "texts": texts,
                "labels": labels[: len(texts)],
            }
        case.sides[f"matrix products alone, {half}"] = {**peer, "side": "products", "texts": rows[:1024]}
        needs = "bf16" if dtype == "bfloat16" else None
        case.ratios.append(Ratio(f"ours {half}", (f"Trainer, dynamic padding, {half}",), 1.8, needs))
        case.ratios.append(Ratio(f"ours {half}", (f"Trainer, fixed 128, {half}",), None, needs))
        case.ratios.append(Ratio(f"ours {half}", (f"matrix products alone, {half}",), 0.45, needs))
    return case


CASES: dict[str, Callable[[Sizes], Case]] = {
    "heads": heads,
    "repeats": partial(heads, repeats=True),
    "scoring": scoring,
    "sft": sft,
    "sft-no-prefix": partial(sft, prefix=0),
    "training": training_heads,
}
