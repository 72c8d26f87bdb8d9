"""The probability of every label as a causal model's answer, with the shared instruction computed once.

A label's score is the summed log-probability of its completion's tokens behind the prompt. The end token counts only
where one label's tokens begin another's: elsewhere the label is decided before it. With single-token codes one forward
pass of a row gives all labels.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from categorize.engines.batching import autocast, length_sorted_batches
from categorize.engines.scoring_plan import ScoringPlan
from categorize.nn.adapters import is_prompt_learning, virtual_tokens
from categorize.nn.tokenizer import pad
from categorize.predictions import BoolArray, FloatArray, IntArray
from categorize.prompts.tokens import EncodedPrompt, PromptFormat
from categorize.recipe.sections import PredictionSection

if TYPE_CHECKING:
    import torch


class LabelScorer:
    """Scores labels with a causal model.

    Args:
        model: called as is, so that wrappers keep their hooks.
        prompt: gives the labels' completions and the shared prefix.
        share_prefix: compute the shared prefix once and reuse its keys and values. Wrong for adapters that learn a
            prompt (peft concatenates their own cache) and not offered by sharded wrappers: those take whole sequences.
    """

    def __init__(self, model: Any, prompt: PromptFormat, device: torch.device, share_prefix: bool = True) -> None:
        self.model, self.prompt, self.device = model, prompt, device
        self.plan = ScoringPlan.of(prompt)
        self.share_prefix = share_prefix
        self.virtual_tokens = virtual_tokens(model)
        self._cache: Any = None

    def log_probabilities(self, rows: Sequence[EncodedPrompt]) -> FloatArray:
        """Scores [rows, labels] of a batch, in one forward pass for each of the two kinds of rows: summed
        log-probabilities; where each label is asked about by itself, that of yes less that of no."""
        return self._each(rows, [np.arange(len(rows) * len(self.plan.contexts))])

    def in_batches(
        self, rows: Sequence[EncodedPrompt], batch_size: int, batch_tokens: int, wanted: BoolArray | None = None
    ) -> FloatArray:
        """`log_probabilities` of many rows; the bounds hold for the sequences of a forward pass, of which every row has
        one a context. Those of like length go together, so that the contexts of one row may go in several passes.

        Args:
            wanted: bool [rows, labels], which labels of each row are scored; the others are NaN.
        """
        lengths = self._lengths(rows)
        if wanted is None:
            return self._each(rows, length_sorted_batches(lengths, batch_size, batch_tokens))
        needed = np.zeros((len(rows), len(self.plan.contexts)), dtype=bool)
        answers = np.array([context for context, _ in self.plan.labels]).reshape(wanted.shape[1], -1)
        at, labels = np.nonzero(wanted)
        needed[at[:, None], answers[labels]] = True
        sequences = np.flatnonzero(needed)
        parts = length_sorted_batches(lengths[sequences], batch_size, batch_tokens)
        return np.where(wanted, self._each(rows, (sequences[part] for part in parts)), np.nan)

    def in_passes(self, rows: Sequence[EncodedPrompt], passes: int) -> FloatArray:
        """The same in exactly so many forward passes, as the processes that share a model must all make; of rows that
        all take whole sequences."""
        parts = np.array_split(np.argsort(-self._lengths(rows), kind="stable"), passes)
        return self._each(rows, (part if len(part) else np.array([0]) for part in parts))

    def _each(self, rows: Sequence[EncodedPrompt], parts: Iterable[IntArray]) -> FloatArray:
        """Scores [rows, labels] from parts of the sequences, which are numbered context by context, row by row."""
        result = np.zeros((len(rows), len(self.plan.labels)))
        for part in parts:
            pairs = [divmod(int(sequence), len(self.plan.contexts)) for sequence in part]
            shared = [pair for pair in pairs if rows[pair[0]].prefix_ids and self._shares()]
            if shared:
                self._score(rows, shared, copy.deepcopy(self._cache), result)
            if len(shared) < len(pairs):
                whole = pairs if not shared else [pair for pair in pairs if not rows[pair[0]].prefix_ids]
                self._score(rows, whole, None, result)
        return self.plan.logits(result)

    def _lengths(self, rows: Sequence[EncodedPrompt]) -> IntArray:
        """Tokens of every sequence in a forward pass, int64 [rows * contexts]."""
        shared = self._shares()
        lengths = np.array([len(row.row_ids if shared else row.prompt_ids) for row in rows], dtype=np.int64)
        contexts = np.array([len(context) for context in self.plan.contexts], dtype=np.int64)
        return (lengths[:, None] + contexts).reshape(-1)

    def _shares(self) -> bool:
        """Whether the shared prefix is cached; computes it once.

        State-space models and layers of linear attention (Mamba, LFM2, Qwen3.5) keep a state in its place, which cannot
        be repeated for the rows of a batch.
        """
        import torch

        if self.share_prefix and self._cache is None and self.prompt.prefix_ids:
            ids = torch.tensor([self.prompt.prefix_ids], device=self.device)
            output = self.model(input_ids=ids, use_cache=True, logits_to_keep=1)
            self._cache = getattr(output, "past_key_values", None)
            layers = getattr(self._cache, "layers", None) or [None]
            self.share_prefix = all(hasattr(layer, "batch_repeat_interleave") for layer in layers)
        return self.share_prefix

    def _score(
        self, rows: Sequence[EncodedPrompt], pairs: Sequence[tuple[int, int]], cache: Any, result: FloatArray
    ) -> None:
        """One forward pass over pairs of a row and a context behind it, padded on the right; their labels' scores go
        into `result`, float64 [rows, labels].

        Padding on the left behind a cached prefix would move the window of models with sliding attention.
        """
        import torch

        prefix = len(self.prompt.prefix_ids) if cache is not None else 0
        before = [rows[row].row_ids if cache is not None else rows[row].prompt_ids for row, _ in pairs]
        sequences = [ids + self.plan.contexts[context] for ids, (_, context) in zip(before, pairs, strict=True)]
        padded = pad(sequences, int(self.prompt.tokenizer.pad_token_id or 0))
        ids, width = padded["input_ids"], padded["input_ids"].shape[1]
        mask = torch.nn.functional.pad(padded["attention_mask"], (prefix, 0), value=1)
        reading = self.plan.reading(list(map(len, before)), [context for _, context in pairs])
        kept = torch.tensor(reading.positions, device=self.device)  # the head is computed on these alone
        inputs: dict[str, Any] = {"logits_to_keep": kept + self.virtual_tokens}
        if cache is not None:
            cache.batch_repeat_interleave(len(sequences))
            inputs["past_key_values"] = cache
            inputs["position_ids"] = torch.arange(prefix, prefix + width, device=self.device).expand(len(sequences), -1)
        output = self.model(
            input_ids=ids.to(self.device), attention_mask=mask.to(self.device), use_cache=cache is not None, **inputs
        )
        found = reading.log_probabilities(output.logits, width)
        row_of = np.array([row for row, _ in pairs])[reading.sequence]
        # A pass that a process makes for the others' sake scores a sequence again.
        result[row_of, reading.column] = 0.0
        np.add.at(result, (row_of, reading.column), found.double().cpu().numpy())


class TorchLabelScorer:
    """The engine of label scores: batches within the bounds of `section`, a prefix that is computed once for all calls.

    Args:
        prompt: of a label set that has labels to score.
        section: batch bounds and the type of the computation.
        device: where the model is.
    """

    def __init__(self, model: Any, prompt: PromptFormat, section: PredictionSection, device: torch.device) -> None:
        self.section = section
        self.scorer = LabelScorer(model, prompt, device, share_prefix(model))

    def outputs(self, rows: Sequence[EncodedPrompt], wanted: BoolArray | None = None) -> FloatArray:
        """Scores of every label, or of those wanted, float64 [rows, labels], see `LabelScorer.log_probabilities`."""
        import torch

        section, scorer = self.section, self.scorer
        with torch.inference_mode(), autocast(section.dtype, scorer.model, scorer.device):
            return scorer.in_batches(rows, section.batch_size, section.batch_tokens, wanted)


def share_prefix(model: Any) -> bool:
    """Whether the shared prefix may be cached: not with adapters that bring a cache or tokens of their own."""
    return not is_prompt_learning(model)
