#!/usr/bin/env python
"""One side of a row of `speed.py`, in a process of its own: an entry script of ours, or a peer's inference.

    python speed_peers.py JOB.json

A job has `side`, one of `SIDES`, and what it is told; peers load their model, warm up on a few rows, and are timed on
the rest. Prints one line of JSON: rows, seconds by the clock and of CPU, and the most memory held, in bytes.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

Job = dict[str, Any]
WARM = 32  # rows
CALIBRATION = 300  # texts, NNCF's default
BARE_TOKENS = 2048  # of a batch of the bare forward pass


# ---------------------------------------------------------------- clocks
class Timed:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self.clock, self.worked = time.perf_counter(), time.process_time()

    def result(self, rows: int, **more: Any) -> dict[str, Any]:
        """What is measured, for so many rows."""
        return {
            "rows": rows,
            "seconds": time.perf_counter() - self.clock,
            "cpu": time.process_time() - self.worked,
            **more,
        }


def peak_bytes() -> int:
    """Most memory that this process has held."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def entry_script(job: Job) -> dict[str, Any]:
    """An entry script on few rows, again, then on all: the difference of the last two is the work, without imports and
    loading."""
    import runpy

    def run(words: Sequence[str]) -> dict[str, Any]:
        sys.argv = [job["script"], *words]
        timed = Timed()
        try:
            runpy.run_path(job["script"], run_name="__main__")
        except SystemExit as status:
            if status.code:
                raise SystemExit(f"{job['script']}: status {status.code}") from status
        return timed.result(0)

    run(job["few"])  # imports
    few, all_rows = run(job["few"]), run(job["all"])
    return {"rows": job["rows"], **{unit: all_rows[unit] - few[unit] for unit in ("seconds", "cpu")}}


# ---------------------------------------------------------------- heads
def pipeline(job: Job) -> dict[str, Any]:
    """`pipeline("text-classification")` at one batch size, or at the fastest on rows sorted by length."""
    import torch
    import transformers

    dtype = getattr(torch, job["dtype"])
    classify = transformers.pipeline("text-classification", job["model"], dtype=dtype, device="cpu")
    rows, sizes = job["texts"], job["batch_sizes"]
    if job["sorted"]:
        rows = sorted(rows, key=len)
    sample, tried = rows[:: max(len(rows) // (8 * WARM), 1)], {}
    for size in [*sizes, *sizes]:  # once to warm up, once to choose
        timed = Timed()
        classify(sample, batch_size=size)
        tried[size] = timed.result(0)["cpu"]
    best = min(tried, key=lambda size: tried[size])
    timed = Timed()
    classify(rows, batch_size=best)
    return timed.result(len(rows), batch=best)


def sentence_transformers(job: Job) -> dict[str, Any]:
    """`SentenceTransformer.encode`, which sorts by length itself; the encoder alone, without a head."""
    import torch
    from sentence_transformers import SentenceTransformer

    options = {"model_kwargs": {"dtype": getattr(torch, job["dtype"])}, "device": "cpu"}
    model = SentenceTransformer(job["encoder"], **options)
    model.encode(job["texts"][:WARM])
    timed = Timed()
    model.encode(job["texts"], batch_size=32)
    return timed.result(len(job["texts"]))


def setfit(job: Job) -> dict[str, Any]:
    """`SetFitModel.predict`: the encoder, and logistic regression on its vectors."""
    from setfit import SetFitModel

    rows, labels = job["texts"], job["labels"]
    model = SetFitModel.from_pretrained(job["encoder"], device="cpu", labels=sorted(set(labels[: 4 * WARM])))
    model.model_head.fit(model.model_body.encode(rows[: 4 * WARM]), labels[: 4 * WARM])
    timed = Timed()
    model.predict(rows)
    return timed.result(len(rows))


def sorted_batches(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Positions in batches of like length."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    for start in range(0, len(order), size):
        yield order[start : start + size]


def tokenized(job: Job, rows: Sequence[str], size: int) -> Iterator[dict[str, Any]]:
    """Batches of like length, of so many rows each."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    ids = tokenizer(list(rows), truncation=True, max_length=128)["input_ids"]
    for batch in sorted_batches([len(one) for one in ids], size):
        yield dict(tokenizer.pad({"input_ids": [ids[i] for i in batch]}, return_tensors="np"))


def by_hand(job: Job, run: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """A session that someone wrote by hand: rows tokenized, sorted by length, in batches of 32."""
    for batch in tokenized(job, job["texts"][:WARM], 32):
        run(batch)
    timed = Timed()
    for batch in tokenized(job, job["texts"], 32):
        run(batch)
    return timed.result(len(job["texts"]))


def exported(job: Job) -> Path:
    """The model as ONNX, quantized dynamically where the job says int8."""
    import torch
    from transformers import AutoModelForSequenceClassification

    place = Path(job["work"])
    place.mkdir(parents=True, exist_ok=True)
    path, int8 = place / "model.onnx", place / "int8.onnx"
    if not path.is_file():
        model = AutoModelForSequenceClassification.from_pretrained(job["model"], attn_implementation="eager").eval()
        names = ["input_ids", "attention_mask"]
        example = {name: torch.ones(2, 8, dtype=torch.int64) for name in names}
        shapes = {name: {0: "rows", 1: "tokens"} for name in names}
        torch.onnx.export(
            model, kwargs=example, f=path, input_names=names, output_names=["logits"], dynamic_axes=shapes, dynamo=False
        )
    if job["int8"] and not int8.is_file():
        from onnxruntime.quantization import quantize_dynamic

        quantize_dynamic(path, int8)
    return int8 if job["int8"] else path


def onnx(job: Job) -> dict[str, Any]:
    """ONNX Runtime by hand."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job["threads"]
    session = onnxruntime.InferenceSession(str(exported(job)), options, providers=["CPUExecutionProvider"])
    wanted = {one.name for one in session.get_inputs()}
    return by_hand(job, lambda batch: session.run(None, {k: v for k, v in batch.items() if k in wanted}))


def openvino(job: Job) -> dict[str, Any]:
    """OpenVINO by hand, on the same ONNX file; int8 as its guide has it, by NNCF's scales from a few hundred texts."""
    import openvino

    core = openvino.Core()
    model = core.read_model(str(exported({**job, "int8": False})))
    if job["int8"]:
        import nncf

        wanted = [one.get_any_name() for one in model.inputs]
        batches = tokenized(job, job["texts"][:CALIBRATION], 1)
        shown = nncf.Dataset([{name: one[name] for name in wanted} for one in batches])
        model = nncf.quantize(model, shown, subset_size=CALIBRATION, model_type=nncf.ModelType.TRANSFORMER)
    precision = {"float32": "f32", "bfloat16": "bf16"}[job.get("dtype", "float32")]
    settings = {"INFERENCE_NUM_THREADS": job["threads"], "INFERENCE_PRECISION_HINT": precision}
    compiled = core.compile_model(model, "CPU", settings)
    wanted = [one.get_any_name() for one in compiled.inputs]
    return by_hand(job, lambda batch: compiled({name: batch[name] for name in wanted}))


def bare(job: Job) -> dict[str, Any]:
    """The model's forward pass alone on tensors that are ready and hold no padding: rows of one length together."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    dtype = getattr(torch, job["dtype"])
    model = AutoModelForSequenceClassification.from_pretrained(job["model"], dtype=dtype).eval()
    of_length: dict[int, list[list[int]]] = {}
    for ids in tokenizer(job["texts"], truncation=True, max_length=128)["input_ids"]:
        of_length.setdefault(len(ids), []).append(ids)
    batches = [
        torch.tensor(rows[start : start + max(BARE_TOKENS // length, 1)])
        for length, rows in of_length.items()
        for start in range(0, len(rows), max(BARE_TOKENS // length, 1))
    ]
    with torch.inference_mode():
        model(input_ids=batches[0])
        timed = Timed()
        for batch in batches:
            model(input_ids=batch)
    return timed.result(len(job["texts"]))


# ---------------------------------------------------------------- labels behind an instruction
def decoder(job: Job) -> Any:
    """The causal model of a run."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(job["model"], dtype=getattr(torch, job["dtype"])).eval()


def left_padded(rows: Sequence[Sequence[int]], pad: int) -> dict[str, Any]:
    """A batch of token ids, padded on the left."""
    import torch

    width = max(map(len, rows))
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return {"input_ids": ids, "attention_mask": mask}


def decision(job: Job) -> dict[str, Any]:
    """`pipeline("decision")`, given the run's prompt by its template."""
    from transformers import pipeline as make

    decide = make("decision", decoder(job), tokenizer=job["model"], decision_config=job["model"])
    question = {"type": "choice", "criteria": dict.fromkeys(job["names"])}
    requests = [{"state": text, "questions": {"label": question}} for text in job["texts"]]
    decide(requests[:2])
    timed = Timed()
    decide(requests)
    return timed.result(len(requests))


def generate(job: Job) -> dict[str, Any]:
    """`generate` of 8 tokens, in batches of 16 prompts sorted by length."""
    import torch

    model = decoder(job)
    pad, rows = int(model.config.pad_token_id or 0), job["prompts"]
    settings = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": pad}
    with torch.inference_mode():
        model.generate(**left_padded(rows[:2], pad), **settings)
        timed = Timed()
        for batch in sorted_batches([len(row) for row in rows], 16):
            model.generate(**left_padded([rows[i] for i in batch], pad), **settings)
    return timed.result(len(rows))


def naive(job: Job) -> dict[str, Any]:
    """The labels' logits behind each whole prompt, in batches of 16 sorted by length."""
    import torch

    model = decoder(job)
    pad, rows, codes = int(model.config.pad_token_id or 0), job["prompts"], job["codes"]
    with torch.inference_mode():
        model(**left_padded(rows[:2], pad), logits_to_keep=1)
        timed = Timed()
        for batch in sorted_batches([len(row) for row in rows], 16):
            padded = left_padded([rows[i] for i in batch], pad)
            model(**padded, logits_to_keep=1, use_cache=False).logits[:, -1, codes].softmax(-1).tolist()
    return timed.result(len(rows))


SIDES: dict[str, Callable[[Job], dict[str, Any]]] = {
    each.__name__: each
    for each in (
        entry_script,
        pipeline,
        sentence_transformers,
        setfit,
        onnx,
        openvino,
        bare,
        decision,
        generate,
        naive,
    )
}


def main(job: Job) -> dict[str, Any]:
    """What was measured."""
    if job["side"] not in SIDES:
        from speed_training_peers import SIDES as trainers

        return {**trainers[job["side"]](job), "memory": peak_bytes()}
    return {**SIDES[job["side"]](job), "memory": peak_bytes()}


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    print(json.dumps(main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
