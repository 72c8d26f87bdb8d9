"""The probability of every label as a causal model's answer, with the shared instruction computed once.

A label's score is the summed log-probability of its completion's tokens behind the prompt. The end token counts only
where one label's tokens begin another's: elsewhere the label is decided before it. With single-token codes one forward
pass of a row gives all labels.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from categorize.engines.batching import autocast, length_sorted_batches
from categorize.nn.adapters import is_prompt_learning, virtual_tokens
from categorize.nn.tokenizer import pad
from categorize.predictions import FloatArray, IntArray
from categorize.prompts.tokens import EncodedPrompt, PromptFormat
from categorize.recipe.sections import PredictionSection

if TYPE_CHECKING:
    import torch

Ids = tuple[int, ...]


@dataclass(frozen=True)
class ScoringPlan:
    """Which sequences behind a row give every label's tokens their probabilities.

    Attributes:
        contexts: token ids that are put behind the prompt; none begins another.
        labels: for each label the number of its context and its token ids.
    """

    contexts: tuple[Ids, ...]
    labels: tuple[tuple[int, Ids], ...]

    @classmethod
    def of(cls, prompt: PromptFormat) -> ScoringPlan:
        """The plan of a prompt format's labels."""
        whole = [prompt.completions[name] for name in prompt.label_set.names]
        bare = [ids[:-1] for ids in whole]
        begins_another = any(a != b and b[: len(a)] == a for a in bare for b in bare)
        wanted = whole if begins_another else bare
        contexts = sorted({ids[:-1] for ids in wanted}, key=len, reverse=True)
        kept: list[Ids] = []
        for context in contexts:
            if not any(other[: len(context)] == context for other in kept):
                kept.append(context)
        return cls(
            tuple(kept),
            tuple((next(i for i, c in enumerate(kept) if c[: len(ids) - 1] == ids[:-1]), ids) for ids in wanted),
        )


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
        self._labels: list[list[tuple[int, Ids]]] = [[] for _ in self.plan.contexts]  # columns and tokens by context
        for column, (context, tokens) in enumerate(self.plan.labels):
            self._labels[context].append((column, tokens))
        self.share_prefix = share_prefix
        self.virtual_tokens = virtual_tokens(model)
        self._cache: Any = None

    def log_probabilities(self, rows: Sequence[EncodedPrompt]) -> FloatArray:
        """Summed log-probabilities [rows, labels] of a batch, in one forward pass for each of the two kinds of rows."""
        return self._each(rows, [np.arange(len(rows) * len(self.plan.contexts))])

    def in_batches(self, rows: Sequence[EncodedPrompt], batch_size: int, batch_tokens: int) -> FloatArray:
        """`log_probabilities` of many rows; the bounds hold for the sequences of a forward pass, of which every row has
        one a context. Those of like length go together, so that the contexts of one row may go in several passes."""
        return self._each(rows, length_sorted_batches(self._lengths(rows), batch_size, batch_tokens))

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
        return result

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
        # Every token of a label that is read: its sequence, the position that it is next to, itself, its label.
        wanted = np.array(
            [
                (line, len(ids_before) - 1 + step, token, column)
                for line, (ids_before, (_, context)) in enumerate(zip(before, pairs, strict=True))
                for column, tokens in self._labels[context]
                for step, token in enumerate(tokens)
            ],
            dtype=np.int64,
        )
        positions, where = np.unique(wanted[:, 1], return_inverse=True)  # the head is computed on these alone
        kept = torch.tensor(positions, device=self.device)
        inputs: dict[str, Any] = {"logits_to_keep": kept + self.virtual_tokens}
        if cache is not None:
            cache.batch_repeat_interleave(len(sequences))
            inputs["past_key_values"] = cache
            inputs["position_ids"] = torch.arange(prefix, prefix + width, device=self.device).expand(len(sequences), -1)
        output = self.model(
            input_ids=ids.to(self.device), attention_mask=mask.to(self.device), use_cache=cache is not None, **inputs
        )
        logits = output.logits.float()
        if logits.shape[1] > len(positions):  # a model without `logits_to_keep`
            logits = logits[:, kept + logits.shape[1] - width]
        lines, at, tokens = (torch.tensor(one, device=self.device) for one in (wanted[:, 0], where, wanted[:, 2]))
        found = logits[lines, at, tokens] - torch.logsumexp(logits, dim=-1)[lines, at]
        row_of = np.array([row for row, _ in pairs])[wanted[:, 0]]
        # A pass that a process makes for the others' sake scores a sequence again.
        result[row_of, wanted[:, 3]] = 0.0
        np.add.at(result, (row_of, wanted[:, 3]), found.double().cpu().numpy())


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

    def outputs(self, rows: Sequence[EncodedPrompt]) -> FloatArray:
        """Summed log-probabilities of every label, float64 [rows, labels]."""
        import torch

        section, scorer = self.section, self.scorer
        with torch.inference_mode(), autocast(section.dtype, scorer.model, scorer.device):
            return scorer.in_batches(rows, section.batch_size, section.batch_tokens)


def share_prefix(model: Any) -> bool:
    """Whether the shared prefix may be cached: not with adapters that bring a cache or tokens of their own."""
    return not is_prompt_learning(model)
