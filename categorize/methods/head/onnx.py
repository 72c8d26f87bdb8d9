"""A head as a graph for ONNX Runtime, adapter and pooling in it, compared with the run on its held-out texts.

https://pytorch.org/docs/stable/onnx.html (`torch.onnx.export`, through `torch.export`).
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from categorize.errors import UserError
from categorize.labels import LabelSet
from categorize.methods.head.by_onnxruntime import GRAPH
from categorize.methods.head.model import Head, HeadKind, HeadSettings, load_trained_head
from categorize.methods.head.predictor import encode_texts
from categorize.methods.head.runtime import GraphEncoder, trace
from categorize.nn.console import quiet_libraries
from categorize.nn.merging import merge_or_refuse
from categorize.nn.tokenizer import TokenizedTexts, pad
from categorize.predictions import FloatArray
from categorize.processes import print0
from categorize.prompts.tokens import PromptFormat
from categorize.recipe.decision_sections import PredictionSection
from categorize.runs.contents import ADAPTER_CONFIG
from categorize.runs.folder import DECISION_RULE, INPUT, LABEL_SET, PROMPT, Run
from categorize.writing import disk_errors, put_in_place

ROWS = 256  # held-out texts that are compared
AT_ONCE = 8
TOLERANCE = 1e-3  # of a probability, or of a score's deviation: a graph that is further off is not the run


def export_onnx(run: Run, kind: HeadKind, base: str | None, trust_remote_code: bool, overwrite: bool) -> Path:
    """Write the graph and what is read beside it into a folder beside the run, which appears when it is compared.

    Raises:
        UserError: the packages are missing, the folder is there already, the architecture cannot be traced, or the
            graph gives something else than the run.
    """
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"--to onnx needs {error.name}: pip install 'categorize[onnx]'") from None
    target = run.path.with_name(f"{run.path.name}_onnx")
    if target.exists() and not overwrite:
        raise UserError(f"{target}: is there already; remove it, or replace it with --overwrite")
    quiet_libraries()
    label_set = LabelSet.load(run.path / LABEL_SET)
    settings = replace(HeadSettings(**run.read_json(kind.file)), quantization=None, dtype="float32")
    head = load_trained_head(str(run.path), label_set, settings, base, trust_remote_code, kind)
    if run.has(ADAPTER_CONFIG):
        head.model = merge_or_refuse(head.model, run.path)  # type: ignore[arg-type]
    if run.has(PROMPT):
        head.prompt = PromptFormat.from_dict(run.read_json(PROMPT), label_set, head.tokenizer)
    staged = target.with_name(f"{target.name}.incomplete")
    with disk_errors(staged):
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True)
        trace(head, staged / GRAPH)
        head.tokenizer.save_pretrained(str(staged))
        head.model.config.save_pretrained(str(staged))
        for name in (LABEL_SET, INPUT, DECISION_RULE, PROMPT, kind.file):
            if run.has(name):
                shutil.copyfile(run.path / name, staged / name)
        print0(_compare(run, head, label_set, staged / GRAPH))
        put_in_place(staged, target)
    print0(f"exported: {target / GRAPH}, beside it the tokenizer and the run's settings")
    return target


def _compare(run: Run, head: Head, label_set: LabelSet, graph: Path) -> str:
    """What the graph gives of held-out texts beside what the model gives; a line for the terminal.

    Raises:
        UserError: they differ.
    """
    file = next(
        (path for name in ("validation", "test") if (path := run.path / f"predictions/{name}.parquet").is_file()), None
    )
    texts = pq.read_table(file, columns=["text"])["text"].to_pylist()[:ROWS] if file is not None else []
    texts = list(dict.fromkeys([*texts, "", "a", "words " * head.settings.max_length]))
    inputs = (
        texts if head.prompt is None else [{"text": text} | dict.fromkeys(head.prompt.columns, text) for text in texts]
    )
    tokens = encode_texts(head, inputs)
    output = head.output(label_set)
    ids = [str(i) for i in range(len(texts))]
    section = PredictionSection(engine="onnx")
    engine = GraphEncoder(graph, output.width, int(head.model.config.pad_token_id), section)
    ours, theirs = (output.predictions(ids, logits) for logits in (_torch(head, tokens), engine.outputs(tokens)))
    if label_set.is_regression:
        assert ours.score is not None and theirs.score is not None
        apart = float(np.abs(ours.score - theirs.score).max()) / head.settings.target_std
        return _told(run, len(texts), apart, None)
    assert ours.probabilities is not None and theirs.probabilities is not None
    apart = float(np.abs(ours.probabilities - theirs.probabilities).max())
    decided = [
        one >= 0.5 if label_set.is_multi_label else one.argmax(axis=1)[:, None]
        for one in (ours.probabilities, theirs.probabilities)
    ]
    otherwise = float((decided[0] != decided[1]).any(axis=1).mean())
    return _told(run, len(texts), apart, otherwise)


def _told(run: Run, rows: int, apart: float, otherwise: float | None) -> str:
    if not apart <= TOLERANCE:
        raise UserError(
            f"{run.path}: the ONNX graph is up to {apart:.2g} off the run's predictions, more than {TOLERANCE:g}; "
            "nothing was exported"
        )
    changed = "" if otherwise is None else f", {otherwise:.1%} of them decided otherwise"
    return f"compared on {rows} texts: largest difference {apart:.2g}{changed}"


def _torch(head: Head, tokens: TokenizedTexts) -> FloatArray:
    import torch

    with torch.inference_mode():
        return np.concatenate([head.model(**batch).logits.float().numpy() for batch in _batches(head, tokens)])


def _batches(head: Head, tokens: TokenizedTexts) -> list[dict[str, Any]]:
    """Texts in their order, so that lengths are mixed."""
    pad_token_id = int(head.model.config.pad_token_id)
    rows = range(len(tokens))
    return [pad([tokens[i] for i in rows[start : start + AT_ONCE]], pad_token_id) for start in rows[::AT_ONCE]]
