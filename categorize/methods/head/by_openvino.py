"""A traced head computed by OpenVINO, in float32, bfloat16, or with int8 weights and activations.

https://docs.openvino.ai (CPU device; post-training quantization by NNCF: scales of activations come from texts,
SmoothQuant and bias correction, as its model type `transformer` has them).
"""

from __future__ import annotations

import logging
import os
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from categorize.predictions import FloatArray

GRAPH = "model.xml"
EXTRA, PACKAGES = "openvino", ("openvino", "nncf", "onnx", "onnxscript")
CALIBRATED = ("openvino_int8",)  # engines whose graph depends on texts
PRECISION = {"float32": "f32", "bfloat16": "bf16"}


def finish(traced: Path, engine: str, batches: list[dict[str, Any]]) -> None:
    """Put OpenVINO's own format in the place of a traced graph; int8 where the engine has such.

    Args:
        batches: inputs that show how large activations are.
    """
    import openvino

    model = openvino.Core().read_model(str(traced))
    if engine in CALIBRATED:
        model = _quantized(model, batches)
    openvino.save_model(model, str(traced.with_name(GRAPH)), compress_to_fp16=False)
    for file in traced.parent.glob(f"{traced.name}*"):
        file.unlink()


def _quantized(model: Any, batches: list[dict[str, Any]]) -> Any:
    os.environ.setdefault("NNCF_CI", "1")  # else it reports its use to its makers
    with redirect_stdout(StringIO()):  # its bars
        import nncf

        nncf.set_log_level(logging.ERROR)
        return nncf.quantize(
            model, nncf.Dataset(batches), subset_size=len(batches), model_type=nncf.ModelType.TRANSFORMER
        )


class Session:
    """A graph that is ready to run, with as many threads as torch has and free to move between cores, for the
    processes of a launch would all be bound to the first ones."""

    def __init__(self, graph: Path, dtype: str) -> None:
        import openvino
        import torch

        settings = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": PRECISION[dtype],
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
        }
        core = openvino.Core()
        self._request = core.compile_model(str(graph), "CPU", settings).create_infer_request()

    def __call__(self, inputs: dict[str, Any]) -> FloatArray:
        """Logits of a batch, float32 [rows, width]; valid until the next call."""
        logits: FloatArray = self._request.infer(inputs, share_inputs=True, share_outputs=True)["logits"]
        return logits
