"""A head computed by ONNX Runtime or OpenVINO, once it agrees with the torch model."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from filelock import FileLock

from categorize.engines.batching import ON_CPU, ROWS_ON_CPU, length_sorted_batches
from categorize.engines.first_token import narrow_last_layer
from categorize.engines.half_precision import PAYS, Agreement, bfloat16_gain, kept_in
from categorize.errors import UserError
from categorize.methods.head import by_onnxruntime, by_openvino
from categorize.nn.console import quiet_libraries
from categorize.nn.tokenizer import TokenizedTexts, pad
from categorize.predictions import FloatArray
from categorize.processes import print0
from categorize.recipe.decision_sections import PredictionSection
from categorize.writing import disk_errors, json_text, put_in_place

if TYPE_CHECKING:
    from categorize.methods.head.model import Head

ONNX = "model.onnx"
TRACED = 2  # changes with what is traced, so that older graphs are not taken for these
INPUTS = ("input_ids", "attention_mask")
AGREEMENT = "agreement.json"
CALIBRATION = "calibration.json"
GATED = 1024  # texts that are computed by torch, too; of fewer a few near ties would decide
CHANGED = 0.005  # largest share of them that may be decided otherwise; a single one always may
APART = 0.01  # largest mean difference of probabilities
ENOUGH = 256  # texts that activations are measured on
AT_ONCE = 16  # of them in a batch


class Library(Protocol):
    """What computes a graph."""

    GRAPH: str
    EXTRA: str
    PACKAGES: tuple[str, ...]
    CALIBRATED: tuple[str, ...]
    finish: Callable[[Path, str, list[dict[str, Any]]], None]
    Session: Callable[[Path, str], Callable[[dict[str, Any]], FloatArray]]


def library_of(engine: str) -> Library:
    """Of an engine other than torch."""
    return by_openvino if engine.startswith("openvino") else by_onnxruntime


def check_engine(engine: str) -> None:
    """Raises UserError where packages of `prediction.engine` are missing."""
    if engine == "torch":
        return
    library = library_of(engine)
    if missing := [name for name in library.PACKAGES if find_spec(name) is None]:
        raise UserError(
            f"prediction.engine: {engine} needs {', '.join(missing)}: pip install 'categorize[{library.EXTRA}]'"
        )


class GraphEncoder:
    """The engine of a traced head.

    Args:
        graph: the file; takes `input_ids` and `attention_mask`, gives `logits`.
        width: outputs of a text.
        section: which engine, and batch bounds.
        dtype: float32 or bfloat16; OpenVINO's.
        agreement: of earlier comparisons with the torch model.
    """

    def __init__(
        self,
        graph: Path,
        width: int,
        pad_token_id: int,
        section: PredictionSection,
        dtype: str = "float32",
        agreement: Agreement | None = None,
    ) -> None:
        self.session = library_of(section.engine).Session(graph, dtype)
        self.graph, self.width, self.pad_token_id, self.section = graph, width, pad_token_id, section
        self.dtype, self.agreement = dtype, agreement or Agreement()

    @property
    def told(self) -> str:
        """What computes, in words."""
        texts = calibrated_on(self.graph.parent)
        return (
            self.section.engine
            + (" in bfloat16" if self.dtype == "bfloat16" else "")
            + (f", calibrated on {texts} texts" if texts else "")
        )

    def outputs(self, texts: TokenizedTexts) -> FloatArray:
        """The graph's logits, float64 [texts, width]."""
        result = np.zeros((len(texts), self.width), dtype=np.float64)
        rows, budget = self.section.batch_size or ROWS_ON_CPU, self.section.batch_tokens or ON_CPU
        for at in length_sorted_batches(texts.lengths, rows, budget):
            result[at] = self.session(graph_inputs(texts, at, self.pad_token_id))
        return result

    def admit(self, seen: Agreement) -> None:
        """Add a comparison with the torch model, and keep it beside the graph.

        Raises:
            UserError: too many labels change, or probabilities are too far off.
        """
        self.agreement = self.agreement + seen
        with suppress(OSError):
            (self.graph.parent / AGREEMENT).write_text(json_text(self.agreement.kept()), encoding="utf-8")
        self.check()

    def check(self) -> None:
        """Raises UserError where what was compared is too far off."""
        found, rows = self.agreement, max(self.agreement.rows, 1)
        if found.changed > max(CHANGED * rows, 1) or not found.apart <= APART * rows:
            texts = calibrated_on(self.graph.parent)
            more = (
                f", or predict {ENOUGH} texts at once first: it was calibrated on {texts}" if 0 < texts < ENOUGH else ""
            )
            raise UserError(
                f"prediction.engine: {self.section.engine} does not give what the run gives: {found.told()}; at most "
                f"{CHANGED:.1%} may change and the mean differ by {APART:g}; use another engine, such as torch{more}"
            )


def graph_inputs(texts: TokenizedTexts, at: Any, pad_token_id: int) -> dict[str, Any]:
    """A batch of these texts as the graph takes it: int64 [rows, tokens] each."""
    padded = pad([texts[i] for i in at], pad_token_id)
    return {name: padded[name].numpy() for name in INPUTS}


def graph_engine(head: Head, width: int, section: PredictionSection, sample: TokenizedTexts) -> GraphEncoder:
    """The head as `prediction.engine` says, traced and quantized once and kept in `CATEGORIZE_CACHE`, by its weights.

    Args:
        sample: texts such as those to come, on which activations are measured where the engine asks for it; a graph
            that was made with fewer of them is made again.

    Raises:
        UserError: the packages are missing, or the head cannot be traced.
    """
    check_engine(section.engine)
    if head.settings.quantization is not None:
        raise UserError(f"prediction.engine: {section.engine} takes no quantized base; use torch")
    library, dtype = library_of(section.engine), "float32"
    if section.engine == "openvino" and section.dtype in ("auto", "bfloat16"):
        pays = section.dtype == "bfloat16" or bfloat16_gain(head.model) >= PAYS
        dtype = "bfloat16" if pays else "float32"
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(head.model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(memoryview(tensor.detach().cpu().float().contiguous().numpy()).cast("B"))
    versions = [version(name) for name in (*library.PACKAGES, "transformers")]
    digest.update(repr((TRACED, head.settings, section.engine, dtype, versions)).encode())
    folder = kept_in("graphs") / digest.hexdigest()
    pad_token_id = int(head.model.config.pad_token_id)
    measured = len(sample) if section.engine in library.CALIBRATED else 0
    with disk_errors(folder):
        if not _is_made(folder, library, measured):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.with_suffix(".lock")):  # the processes of a launch all want it
                if not _is_made(folder, library, measured):
                    _make(head, folder, library, section.engine, sample if measured else None)
    agreement = Agreement()
    with suppress(OSError, ValueError, TypeError):
        agreement = Agreement(**json.loads((folder / AGREEMENT).read_text(encoding="utf-8")))
    return GraphEncoder(folder / library.GRAPH, width, pad_token_id, section, dtype, agreement)


def _is_made(folder: Path, library: Library, measured: int) -> bool:
    return (folder / library.GRAPH).is_file() and calibrated_on(folder) >= measured


def _make(head: Head, folder: Path, library: Library, engine: str, sample: TokenizedTexts | None) -> None:
    """Trace, let the library finish, and put the graph in its place with how many texts it was calibrated on."""
    print0(f"making the graph of {engine}, once for these weights")
    quiet_libraries()
    staged = folder.with_name(f"{folder.name}.incomplete")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir()
    trace(head, staged / ONNX)
    inputs: list[dict[str, Any]] = []
    if sample is not None:
        pad_token_id = int(head.model.config.pad_token_id)
        batches = length_sorted_batches(sample.lengths, AT_ONCE, ON_CPU)
        inputs = [graph_inputs(sample, at, pad_token_id) for at in batches]
        (staged / CALIBRATION).write_text(json_text({"texts": len(sample)}), encoding="utf-8")
    try:
        library.finish(staged / ONNX, engine, inputs)
    except OSError:
        raise
    except Exception as error:  # of an architecture that the library does not know
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"prediction.engine: {engine} cannot take {head.model.config.model_type}: {reason}") from error
    put_in_place(staged, folder)


def calibrated_on(folder: Path) -> int:
    """Texts that the scales of a kept graph come from; 0 where it needs none, or there is none."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return int(json.loads((folder / CALIBRATION).read_text(encoding="utf-8"))["texts"])
    return 0


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
