"""The probability of every label as a causal model's answer, with a shared instruction computed once.

A label's score is the summed log-probability of its completion's tokens behind the prompt. The end token counts only
where one label's tokens begin another's: elsewhere the label is decided before it. With single-token codes one forward
pass of a row gives all labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from categorize.engines.batching import autocast, length_sorted_batches
from categorize.engines.scoring_plan import Ids, ScoringPlan
from categorize.engines.shared_prefix import behind_prefix, is_repeatable, share_prefix
from categorize.nn.adapters import virtual_tokens
from categorize.nn.tokenizer import pad
from categorize.predictions import BoolArray, FloatArray, IntArray
from categorize.prompts.tokens import EncodedPrompt, PromptFormat
from categorize.recipe.decision_sections import PredictionSection

if TYPE_CHECKING:
    import torch


class LabelScorer:
    """Scores labels with a causal model.

    Args:
        model: called as is, so that wrappers keep their hooks.
        prompt: gives the labels' completions.
        share_prefix: compute a prefix once for all rows that have it, and reuse its keys and values. Wrong for adapters
            that learn a prompt (peft concatenates their own cache) and not offered by sharded wrappers: those take
            whole sequences.
    """

    def __init__(self, model: Any, prompt: PromptFormat, device: torch.device, share_prefix: bool = True) -> None:
        self.model, self.prompt, self.device = model, prompt, device
        self.plan = ScoringPlan.of(prompt)
        self.share_prefix = share_prefix
        self.virtual_tokens = virtual_tokens(model)
        self._cached: tuple[Ids, Any] = ((), None)  # the last prefix, and its keys and values

    def log_probabilities(self, rows: Sequence[EncodedPrompt]) -> FloatArray:
        """Scores [rows, labels] of a batch, in one forward pass for each prefix: summed log-probabilities; where each
        label is asked about by itself, that of yes less that of no."""
        return self._each(rows, [np.arange(len(rows) * len(self.plan.contexts))])

    def in_batches(
        self, rows: Sequence[EncodedPrompt], batch_size: int, batch_tokens: int, wanted: BoolArray | None = None
    ) -> FloatArray:
        """`log_probabilities` of many rows; the bounds hold for the sequences of a forward pass, of which every row has
        one a context. Those of like length go together, so that the contexts of one row may go in several passes.

        Args:
            wanted: bool [rows, labels], which labels of each row are scored; the others are NaN.
        """
        contexts = len(self.plan.contexts)
        needed = np.full((len(rows), contexts), wanted is None)
        if wanted is not None:
            answers = np.array([context for context, _ in self.plan.labels]).reshape(wanted.shape[1], -1)
            at, labels = np.nonzero(wanted)
            needed[at[:, None], answers[labels]] = True
        of_prefix: dict[Ids, list[int]] = {}
        for i, row in enumerate(rows):
            of_prefix.setdefault(self._prefix(row), []).append(i)
        lengths, parts = self._lengths(rows), []
        for members in map(np.array, of_prefix.values()):
            sequences = (members[:, None] * contexts + np.arange(contexts))[needed[members]]
            batches = length_sorted_batches(lengths[sequences], batch_size, batch_tokens)
            parts += [sequences[batch] for batch in batches]
        scores = self._each(rows, parts)
        return scores if wanted is None else np.where(wanted, scores, np.nan)

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
            of_prefix: dict[Ids, list[tuple[int, int]]] = {}
            for pair in pairs:
                of_prefix.setdefault(self._prefix(rows[pair[0]]), []).append(pair)
            for prefix, group in of_prefix.items():
                self._score(rows, group, prefix, result)
        return self.plan.logits(result)

    def _lengths(self, rows: Sequence[EncodedPrompt]) -> IntArray:
        """Tokens of every sequence in a forward pass, int64 [rows * contexts]."""
        lengths = np.array([len(row.prompt_ids) - len(self._prefix(row)) for row in rows], dtype=np.int64)
        contexts = np.array([len(context) for context in self.plan.contexts], dtype=np.int64)
        return (lengths[:, None] + contexts).reshape(-1)

    def _prefix(self, row: EncodedPrompt) -> Ids:
        """The prefix of a row whose keys and values are stored; empty where the row takes a whole sequence."""
        if self.share_prefix and row.prefix_ids and self._cached[1] is None:
            self.share_prefix = is_repeatable(self._cache_of(row.prefix_ids))
        return row.prefix_ids if self.share_prefix else ()

    def _cache_of(self, prefix: Ids) -> Any:
        """Keys and values of a prefix, for one sequence; those of the last one are kept."""
        import torch

        if self._cached[0] != prefix:
            ids = torch.tensor([prefix], device=self.device)
            output = self.model(input_ids=ids, use_cache=True, logits_to_keep=1)
            self._cached = prefix, getattr(output, "past_key_values", None)
        return self._cached[1]

    def _score(
        self, rows: Sequence[EncodedPrompt], pairs: Sequence[tuple[int, int]], shared: Ids, result: FloatArray
    ) -> None:
        """One forward pass over pairs of a row and a context behind it, padded on the right; their labels' scores go
        into `result`, float64 [rows, labels]. All rows begin with the `shared` tokens, or take whole sequences (none).
        """
        import torch

        prefix = len(shared)
        before = [rows[row].prompt_ids[prefix:] for row, _ in pairs]
        sequences = [ids + self.plan.contexts[context] for ids, (_, context) in zip(before, pairs, strict=True)]
        padded = pad(sequences, int(self.prompt.tokenizer.pad_token_id or 0))
        width = padded["input_ids"].shape[1]
        reading = self.plan.reading(list(map(len, before)), [context for _, context in pairs])
        kept = torch.tensor(reading.positions, device=self.device)  # the head is computed on these alone
        inputs: dict[str, Any] = {**{key: value.to(self.device) for key, value in padded.items()}, "use_cache": False}
        if shared:
            inputs = behind_prefix(self._cache_of(shared), prefix, padded, self.device)
        output = self.model(**inputs, logits_to_keep=kept + self.virtual_tokens)
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
