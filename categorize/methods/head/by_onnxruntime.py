"""A traced head computed by ONNX Runtime, in float32 or with int8 weights.

https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html (dynamic quantization: weights a channel,
activations as they come).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from categorize.predictions import FloatArray

GRAPH = "model.onnx"
EXTRA, PACKAGES = "onnx", ("onnxruntime", "onnx", "onnxscript")
CALIBRATED: tuple[str, ...] = ()  # engines whose graph depends on texts


def finish(traced: Path, engine: str, batches: list[dict[str, Any]]) -> None:
    """Make the weights of a traced graph int8, one scale a channel, in its place, where the engine has such."""
    if engine != "onnx_int8":
        return
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared, whole = traced.with_suffix(".prepared.onnx"), traced.with_suffix(".int8.onnx")
    quant_pre_process(str(traced), str(prepared), skip_symbolic_shape=True)
    quantize_dynamic(str(prepared), str(whole), per_channel=True, weight_type=QuantType.QInt8)
    for file in traced.parent.glob("model.*"):
        if file != whole:
            file.unlink()
    whole.rename(traced)


class Session:
    """A graph that is ready to run, with as many threads as torch has."""

    def __init__(self, graph: Path, dtype: str) -> None:
        import onnxruntime
        import torch

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self._session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])

    def __call__(self, inputs: dict[str, Any]) -> FloatArray:
        """Logits of a batch, float32 [rows, width]."""
        (logits,) = self._session.run(["logits"], inputs)
        return logits  # type: ignore[no-any-return]
