"""A head computed by ONNX Runtime, in float32 or with int8 weights, once it agrees with the torch model.

https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html (dynamic quantization: weights a channel,
activations as they come).
"""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from categorize.engines.batching import ON_CPU, length_sorted_batches
from categorize.engines.first_token import narrow_last_layer
from categorize.engines.half_precision import Agreement, kept_in
from categorize.errors import UserError
from categorize.nn.console import quiet_libraries
from categorize.nn.tokenizer import TokenizedTexts, pad
from categorize.predictions import FloatArray
from categorize.recipe.decision_sections import PredictionSection
from categorize.writing import disk_errors, json_text, put_in_place

if TYPE_CHECKING:
    from categorize.methods.head.model import Head

GRAPH = "model.onnx"
TRACED = 2  # changes with what is traced, so that older graphs are not taken for these
INPUTS = ("input_ids", "attention_mask")
AGREEMENT = "agreement.json"
CHANGED = 0.005  # largest share of texts that may be decided otherwise
APART = 0.01  # largest mean difference of probabilities


class OnnxEncoder:
    """The engine of a traced head.

    Args:
        graph: the file; takes `input_ids` and `attention_mask`, gives `logits`.
        width: outputs of a text.
        section: batch bounds.
        agreement: of earlier comparisons with the torch model.
    """

    def __init__(
        self,
        graph: Path,
        width: int,
        pad_token_id: int,
        section: PredictionSection,
        agreement: Agreement | None = None,
    ) -> None:
        import onnxruntime
        import torch

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        self.graph, self.width, self.pad_token_id, self.section = graph, width, pad_token_id, section
        self.agreement = agreement or Agreement()

    def outputs(self, texts: TokenizedTexts) -> FloatArray:
        """The graph's logits, float64 [texts, width]."""
        result = np.zeros((len(texts), self.width), dtype=np.float64)
        budget = self.section.batch_tokens or ON_CPU
        for at in length_sorted_batches(texts.lengths, self.section.batch_size, budget):
            padded = pad([texts[i] for i in at], self.pad_token_id)
            (result[at],) = self.session.run(["logits"], {name: padded[name].numpy() for name in INPUTS})
        return result

    def admit(self, seen: Agreement) -> None:
        """Add a comparison with the torch model, and keep it beside the graph.

        Raises:
            UserError: too many labels change, or probabilities are too far off.
        """
        self.agreement = self.agreement + seen
        found, rows = self.agreement, max(self.agreement.rows, 1)
        with suppress(OSError):
            (self.graph.parent / AGREEMENT).write_text(json_text(found.kept()), encoding="utf-8")
        if found.changed > CHANGED * rows or not found.apart <= APART * rows:
            raise UserError(
                f"prediction.engine: {self.section.engine} does not give what the run gives: {found.told()}; at most "
                f"{CHANGED:.1%} may change and the mean differ by {APART:g}; use another engine, such as torch"
            )


def onnx_engine(head: Head, width: int, section: PredictionSection) -> OnnxEncoder:
    """The head as `prediction.engine` says, traced and quantized once and kept in `CATEGORIZE_CACHE`, by its weights.

    Raises:
        UserError: the packages are missing, or the head cannot be traced.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"prediction.engine: {section.engine} needs {error.name}: pip install 'categorize[onnx]'"
        ) from None
    if head.settings.quantization is not None:
        raise UserError(f"prediction.engine: {section.engine} takes no quantized base; use torch")
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(head.model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(memoryview(tensor.detach().cpu().float().contiguous().numpy()).cast("B"))
    about = (TRACED, head.settings, section.engine, onnxruntime.__version__, version("transformers"))
    digest.update(repr(about).encode())
    folder = kept_in("onnx") / digest.hexdigest()
    if not (folder / GRAPH).is_file():
        quiet_libraries()
        staged = folder.with_name(f"{folder.name}.incomplete")
        with disk_errors(staged):
            shutil.rmtree(staged, ignore_errors=True)
            staged.mkdir(parents=True)
            trace(head, staged / GRAPH)
            if section.engine == "onnx_int8":
                quantize(staged / GRAPH)
            put_in_place(staged, folder)
    agreement = Agreement()
    with suppress(OSError, ValueError, TypeError):
        agreement = Agreement(**json.loads((folder / AGREEMENT).read_text(encoding="utf-8")))
    return OnnxEncoder(folder / GRAPH, width, int(head.model.config.pad_token_id), section, agreement)


def quantize(graph: Path) -> None:
    """Make the weights of a graph int8, one scale a channel, in its place."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared, whole = graph.with_suffix(".prepared.onnx"), graph.with_suffix(".int8.onnx")
    quant_pre_process(str(graph), str(prepared), skip_symbolic_shape=True)
    quantize_dynamic(str(prepared), str(whole), per_channel=True, weight_type=QuantType.QInt8)
    for file in graph.parent.glob("model.*"):
        if file != whole:
            file.unlink()
    whole.rename(graph)


def trace(head: Head, graph: Path) -> None:
    """Write the graph: any number of rows and tokens; `input_ids` and `attention_mask`, int64 [rows, tokens], to
    `logits`.

    Raises:
        UserError: the architecture cannot be traced.
    """
    import torch

    model = head.model.float().cpu().eval()
    model.config.use_cache = False

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.model(input_ids=input_ids, attention_mask=attention_mask).logits

    longest = max(head.settings.max_length, 3)
    pad_token_id = int(model.config.pad_token_id)
    # Two rows of different length, so that neither number is taken for a constant, nor padding for absent.
    example = pad([[7, 8, 9], [7, 8]], pad_token_id)
    rows, tokens = torch.export.Dim("rows", min=1, max=4096), torch.export.Dim("tokens", min=1, max=longest)
    shape = {0: rows, 1: tokens}
    narrowed = narrow_last_layer(model)
    try:
        program: Any = torch.onnx.export(
            Logits(),
            tuple(example[name] for name in INPUTS),
            dynamo=True,
            verbose=False,
            input_names=list(INPUTS),
            output_names=["logits"],
            dynamic_shapes=dict.fromkeys(INPUTS, shape),
        )
        program.save(str(graph))
    except OSError:
        raise
    except Exception as error:  # of tracing, of conversion
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{model.config.model_type} cannot be exported to ONNX: {reason}") from error
    finally:
        for undo in narrowed.values():
            undo()
