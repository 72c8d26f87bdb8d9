"""The probability of every label as a causal model's answer, with the shared instruction computed once.

A label's score is the summed log-probability of its completion's tokens behind the prompt. The end token counts only
where
one label's tokens begin another's: elsewhere the label is decided before it. With single-token codes one forward pass
of a row gives all labels.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from categorize.inference.head import length_sorted_batches
from categorize.prompts import EncodedPrompt, PromptFormat

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
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
        prompt
            (peft concatenates their own cache) and not offered by sharded wrappers: those take whole sequences.
    """

    def __init__(self, model: Any, prompt: PromptFormat, device: torch.device, share_prefix: bool = True) -> None:
        self.model, self.prompt, self.device = model, prompt, device
        self.plan = ScoringPlan.of(prompt)
        self.share_prefix = share_prefix
        self.virtual_tokens = virtual_tokens(model)
        self._cache: Any = None

    def log_probabilities(self, rows: Sequence[EncodedPrompt]) -> npt.NDArray[np.float64]:
        """Summed log-probabilities [rows, labels] of a batch, in one forward pass for each of the two kinds of rows."""
        import numpy as np

        result = np.zeros((len(rows), len(self.plan.labels)))
        shared = [i for i, row in enumerate(rows) if row.prefix_ids and self._shares()]
        whole = [i for i in range(len(rows)) if i not in set(shared)]
        if shared:
            result[shared] = self._score([rows[i].row_ids for i in shared], self._prefix())
        if whole:
            result[whole] = self._score([rows[i].prompt_ids for i in whole], None)
        return result

    def in_batches(self, rows: Sequence[EncodedPrompt], batch_size: int, batch_tokens: int) -> npt.NDArray[np.float64]:
        """`log_probabilities` of many rows, of like length together; the bounds hold for sequences, of which every
        row has one a context."""
        import numpy as np

        many = len(self.plan.contexts)
        batches = length_sorted_batches(self._lengths(rows), max(1, batch_size // many), max(1, batch_tokens // many))
        return self._each(rows, (np.asarray(at) for at in batches))

    def in_passes(self, rows: Sequence[EncodedPrompt], passes: int) -> npt.NDArray[np.float64]:
        """The same in exactly so many forward passes, as the processes that share a model must all make; of rows that
        all take whole sequences."""
        import numpy as np

        parts = np.array_split(np.argsort(-self._lengths(rows), kind="stable"), passes)
        return self._each(rows, (part if len(part) else np.array([0]) for part in parts))

    def _each(self, rows: Sequence[EncodedPrompt], parts: Iterable[npt.NDArray[np.int64]]) -> npt.NDArray[np.float64]:
        import numpy as np

        result = np.zeros((len(rows), len(self.plan.labels)))
        for at in parts:
            result[at] = self.log_probabilities([rows[i] for i in at])
        return result

    def _lengths(self, rows: Sequence[EncodedPrompt]) -> npt.NDArray[np.int64]:
        """Tokens of each row's longest sequence in a forward pass."""
        import numpy as np

        longest, shared = max(map(len, self.plan.contexts)), self._shares()
        return np.array([len(row.row_ids if shared else row.prompt_ids) + longest for row in rows])

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

    def _prefix(self) -> Any:
        return copy.deepcopy(self._cache)

    def _score(self, rows: Sequence[Ids], cache: Any) -> npt.NDArray[np.float64]:
        """One forward pass over every row with every context behind it, padded on the right.

        Padding on the left behind a cached prefix would move the window of models with sliding attention.
        """
        import numpy as np
        import torch

        plan, prefix = self.plan, len(self.prompt.prefix_ids) if cache is not None else 0
        sequences = [row + context for row in rows for context in plan.contexts]
        width = max(map(len, sequences))
        pad = int(self.prompt.tokenizer.pad_token_id or 0)
        ids = torch.full((len(sequences), width), pad, dtype=torch.int64)
        mask = torch.zeros((len(sequences), prefix + width), dtype=torch.int64)
        for i, sequence in enumerate(sequences):
            ids[i, : len(sequence)] = torch.tensor(sequence)
            mask[i, : prefix + len(sequence)] = 1
        # The positions whose next token matters, over the whole batch: the head is computed on these alone.
        last = np.array([len(row) - 1 for row in rows])
        depth = max(len(tokens) for _, tokens in plan.labels)
        positions = sorted({int(at) for start in set(last) for at in range(start, min(start + depth, width))})
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
        normalizer = torch.logsumexp(logits, dim=-1)
        at = {position: i for i, position in enumerate(positions)}
        result = np.zeros((len(rows), len(plan.labels)))
        for column, (context, tokens) in enumerate(plan.labels):
            lines = torch.arange(len(rows), device=self.device) * len(plan.contexts) + context
            total = torch.zeros(len(rows), dtype=torch.float64)
            for step, token in enumerate(tokens):
                where = torch.tensor([at[int(start) + step] for start in last], device=self.device)
                total += (logits[lines, where, token] - normalizer[lines, where]).double().cpu()
            result[:, column] = total.numpy()
        return result


def virtual_tokens(model: Any) -> int:
    """Embeddings that a learned prompt puts before every row; a learned prefix comes as keys and values instead."""
    configs = getattr(getattr(model, "module", model), "peft_config", None) or {}
    learned = [one for one in configs.values() if one.is_prompt_learning and one.peft_type != "PREFIX_TUNING"]
    return sum(int(one.num_virtual_tokens) for one in learned)


def to_distribution(log_probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Probabilities of the labels given that one of them is the answer; float64 [rows, labels]."""
    import numpy as np

    shifted = np.exp(log_probabilities - log_probabilities.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
