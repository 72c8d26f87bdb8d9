"""Predicts with a head: distinct texts once, sorted by length, in batches that a token budget bounds."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from categorize.data.segments.tokens import TokenCounter
from categorize.labels import LabelSet
from categorize.methods.head.model import HEAD, Head, HeadSettings, load_trained_head
from categorize.nn.text_tokens import text_tokens
from categorize.nn.tokenizer import TokenizedTexts, pad, tokenize
from categorize.prediction.predictor import Capabilities
from categorize.predictions import Predictions, Usage
from categorize.prompts.format import PromptFormat
from categorize.recipe.sections import PredictionSection
from categorize.runs.folder import LABEL_SET, PROMPT, Run

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa
    import torch

MAX_PADDING = 0.25  # largest share of padding in a batch: a token budget alone lets one long text pad many short ones


class HeadPredictor:
    """A model with a classification or regression head.

    Args:
        head: model, tokenizer and settings.
        label_set: labels in the order of the head's outputs.
        section: batch bounds and the type of the computation.
        prompt: renders rows before the head reads them, as it did in training.
    """

    def __init__(
        self,
        head: Head,
        label_set: LabelSet,
        section: PredictionSection | None = None,
        prompt: PromptFormat | None = None,
    ) -> None:
        import torch

        self.head = head
        self.label_set = label_set
        self.section = section or PredictionSection()
        self.prompt = prompt
        self.tokens: TokenCounter = text_tokens(head.tokenizer, head.settings.max_length, prompt)
        self.capabilities = Capabilities(probabilities=not label_set.is_regression, score=label_set.is_regression)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if head.settings.quantization is None:
            head.model.to(self.device)
        head.model.eval()

    @classmethod
    def load(
        cls,
        run: Run,
        section: PredictionSection | None = None,
        base: str | None = None,
        trust_remote_code: bool = False,
    ) -> HeadPredictor:
        """The predictor of a finished run."""
        label_set = LabelSet.load(run.path / LABEL_SET)
        settings = HeadSettings(**run.read_json(HEAD))
        head = load_trained_head(str(run.weights), label_set, settings, base, trust_remote_code)
        prompt = PromptFormat.from_dict(run.read_json(PROMPT), label_set, head.tokenizer) if run.has(PROMPT) else None
        return cls(head, label_set, section, prompt)

    def predict(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Predictions]:
        """Predictions of each record batch; equal texts are computed once."""
        import numpy as np

        for batch in batches:
            start = time.perf_counter()
            texts, inverse = distinct_inputs(model_inputs(batch, self.prompt), self.prompt)
            tokens = encode_texts(self.head, texts, self.prompt)
            logits = self.logits(tokens)[inverse]
            usage = Usage(
                rows=batch.num_rows,
                tokens=int(tokens.lengths.sum()),
                truncated_rows=int(tokens.cut[inverse].sum()),
                seconds=time.perf_counter() - start,
            )
            ids = batch.column("id").to_pylist()
            finite: npt.NDArray[np.bool_] = np.asarray(np.isfinite(logits).all(axis=1))
            if self.label_set.is_regression:
                score = logits[:, 0] * self.head.settings.target_std + self.head.settings.target_mean
                yield Predictions(ids, score=score, valid=finite, usage=usage)
            else:
                yield Predictions(
                    ids, probabilities=to_probabilities(logits, self.label_set), valid=finite, usage=usage
                )

    def logits(self, tokens: TokenizedTexts) -> npt.NDArray[np.float64]:
        """The head's outputs [n, labels], float64, in the order of the texts."""
        import numpy as np
        import torch

        result = np.zeros((len(tokens), len(self.label_set)), dtype=np.float64)
        multiple = 8 if self.device.type == "cuda" else 1
        with torch.inference_mode(), self._autocast():
            for positions in length_sorted_batches(tokens.lengths, self.section.batch_size, self.section.batch_tokens):
                inputs = pad([tokens[i] for i in positions], self.head.model.config.pad_token_id, multiple)
                output = self.head.model(**{key: value.to(self.device) for key, value in inputs.items()})
                result[positions] = output.logits.float().cpu().numpy()
        return result

    def _autocast(self) -> Any:
        import torch

        dtype = compute_dtype(self.section.dtype, self.head.model, self.device)
        return torch.autocast(self.device.type, dtype=dtype) if dtype is not None else nullcontext()


def compute_dtype(name: str, model: torch.nn.Module, device: torch.device) -> torch.dtype | None:
    """Half precision to compute in, or None for the weights' own type.

    `auto` is bfloat16 on a GPU that has it, and where any weights are in half precision already; float16 for bfloat16
    weights on a GPU that has no bfloat16.
    """
    import torch

    if name == "float32":
        return None
    if name in ("bfloat16", "float16"):
        half: torch.dtype = getattr(torch, name)
        return half
    # bitsandbytes turns biases into its compute type in the first forward pass: matrices alone tell.
    matrices = {parameter.dtype for parameter in model.parameters() if parameter.ndim > 1}
    halves = matrices & {torch.bfloat16, torch.float16}
    has_bfloat16 = device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    if halves:
        return torch.bfloat16 if torch.bfloat16 in halves and has_bfloat16 else torch.float16
    return torch.bfloat16 if device.type == "cuda" and has_bfloat16 else None


def model_inputs(rows: pa.Table | pa.RecordBatch, prompt: PromptFormat | None) -> list[Any]:
    """What the model reads of each row: its text, or the fields that its prompt is rendered from."""
    texts = rows.column("text").to_pylist()
    if prompt is None:
        return list(texts)
    fields = rows.column("fields").to_pylist()
    return [{**(raw or {}), "text": text} for raw, text in zip(fields, texts, strict=True)]


def distinct_inputs(inputs: list[Any], prompt: PromptFormat | None) -> tuple[list[Any], npt.NDArray[np.int64]]:
    """The distinct inputs, and for each row which of them it is, int64 [rows]."""
    import numpy as np

    keys = inputs if prompt is None else [tuple(one.get(column) for column in prompt.columns) for one in inputs]
    first: dict[Any, int] = {}
    inverse = np.fromiter((first.setdefault(key, len(first)) for key in keys), dtype=np.int64, count=len(keys))
    distinct: list[Any] = [None] * len(first)
    for one, position in zip(inputs, inverse, strict=True):
        distinct[position] = one
    return distinct, inverse


def encode_texts(head: Head, inputs: list[Any], prompt: PromptFormat | None) -> TokenizedTexts:
    """Token ids of texts, or of prompts where rows are rendered by one."""
    if prompt is None:
        return tokenize(head.tokenizer, inputs, head.settings.max_length)
    encoded = [prompt.encode(fields) for fields in inputs]
    return TokenizedTexts.from_lists([one.prompt_ids for one in encoded], [one.truncated for one in encoded])


def length_sorted_batches(
    lengths: npt.NDArray[np.int64], batch_size: int, batch_tokens: int
) -> Iterator[npt.NDArray[np.int64]]:
    """Positions in batches of like length, longest first, so that a memory shortage shows at once.

    A batch holds at most `batch_size` rows, `batch_tokens` tokens with padding, and a share of `MAX_PADDING` padding.
    """
    import numpy as np

    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        width = max(1, int(lengths[order[start]]))
        end, tokens = start, 0
        while end < len(order) and end - start < batch_size and width * (end - start + 1) <= max(batch_tokens, width):
            tokens += int(lengths[order[end]])
            if 1 - tokens / (width * (end - start + 1)) > MAX_PADDING and end > start:
                break
            end += 1
        yield order[start:end]
        start = end


def to_probabilities(logits: npt.NDArray[np.float64], label_set: LabelSet) -> npt.NDArray[np.float64]:
    """Softmax over labels, or a sigmoid for each label of a multi-label set; float64 [n, labels]."""
    import numpy as np

    if label_set.is_multi_label:
        return np.asarray(0.5 * (1 + np.tanh(logits / 2)))
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
