"""The probability of every label as a causal model's answer, with a shared instruction computed once.

A label's score is the summed log-probability of its completion's tokens behind the prompt. The end token counts only
where one label's tokens begin another's: elsewhere the label is decided before it. With single-token codes one forward
pass of a row gives all labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import numpy as np

from categorize.engines.at_once import changes_by_batch, for_each, workers
from categorize.engines.batching import autocast, length_sorted_batches
from categorize.engines.label_tree import Branches, Tree
from categorize.engines.scoring_plan import Ids, ScoringPlan
from categorize.engines.shared_prefix import SharedPrefix
from categorize.nn.tokenizer import pad
from categorize.predictions import BoolArray, FloatArray, IntArray
from categorize.prompts.tokens import EncodedPrompt, PromptFormat
from categorize.recipe.decision_sections import CausalPredictionSection

CONTENT_FREE = ("N/A", "[MASK]", "")  # as Zhao et al. have them
MOST_LOGITS = 2**26  # numbers that forward passes over trees give at a time


class LabelScorer:
    """Scores labels with a causal model.

    Args:
        prompt: gives the labels' completions.
        shared: the model, and what it keeps of prefixes.
        section: whether scores are divided by lengths, and whether a contextual prior is taken away from them.
        leaning: float [labels], mean scores of some rows before any division, to take away: "Batch Calibration" (Zhou
            et al. 2023, arXiv:2309.17249).
        within: the context that each thread computes in, where several batches may be computed at once.
    """

    def __init__(
        self,
        prompt: PromptFormat,
        shared: SharedPrefix,
        section: CausalPredictionSection | None = None,
        leaning: FloatArray | None = None,
        within: Callable[[], AbstractContextManager[None]] | None = None,
    ) -> None:
        self.prompt, self.shared, self.within = prompt, shared, within
        self.section = section or CausalPredictionSection()
        self.leaning = leaning
        self.plan = ScoringPlan.of(prompt)

    def in_batches(
        self, rows: Sequence[EncodedPrompt], batch_size: int, batch_tokens: int, wanted: BoolArray | None = None
    ) -> FloatArray:
        """Scores [rows, labels]: summed log-probabilities, where labels are one token each among these tokens; where
        each label is asked about by itself, that of yes less that of no.

        The bounds hold for the sequences of a forward pass. Those of like length go together. Rows whose answers cannot
        branch have a sequence for each context, so that the contexts of one row may go in several passes.

        Args:
            wanted: bool [rows, labels], which labels of each row are scored; the others are NaN.
        """
        sums, before = self.sums(rows, batch_size, batch_tokens, wanted), None
        if self.section.prior == "contextual":
            before = self.sums(self.content_free(), batch_size, batch_tokens)
        scores = self.scores(sums, before)
        return scores if wanted is None else np.where(wanted, scores, np.nan)

    def in_passes(self, rows: Sequence[EncodedPrompt], passes: int) -> FloatArray:
        """The same in exactly so many forward passes, as the processes that share a model must all make; of rows that
        all take whole sequences. With a contextual prior there are as many more as it has texts."""
        sums = self._sums_in_passes(rows, passes)
        if self.section.prior != "contextual":
            return self.scores(sums)
        return self.scores(sums, self._sums_in_passes(self.content_free(), len(CONTENT_FREE)))

    def scores(self, sums: FloatArray, content_free: FloatArray | None = None) -> FloatArray:
        """Scores [rows, labels] of summed log-probabilities [rows, columns], as `section` says; the sums may serve
        several sections.

        Args:
            content_free: the sums of `content_free`, for a contextual prior.
        """
        scores = self._before_prior(sums)
        if self.section.prior == "contextual":
            assert content_free is not None
            scores = scores - self._contextual(content_free)
        elif self.leaning is not None:
            scores = scores - self._normalized(self.leaning)
        return scores

    def _before_prior(self, sums: FloatArray) -> FloatArray:
        return self.plan.logits(self._normalized(sums))

    def _normalized(self, sums: FloatArray) -> FloatArray:
        """By the tokens that they are of where `section` says so; before `auto` is settled it does not."""
        if self.section.length_normalization is True and not self.plan.yes_no:
            sums = sums / np.array([len(ids) for _, ids in self.plan.labels])
        return sums

    def content_free(self) -> list[EncodedPrompt]:
        """Texts that say nothing, behind which a prompt shows its leaning."""
        return [self.prompt.encode(dict.fromkeys(self.prompt.columns, text)) for text in CONTENT_FREE]

    def _contextual(self, sums: FloatArray) -> FloatArray:
        """What the prompt says of each label before the text says anything, as a logit [labels], from the summed
        log-probabilities behind texts without content: "Calibrate Before Use" (Zhao et al. 2021, arXiv:2102.09690)."""
        from scipy.special import softmax

        scores = self._before_prior(sums)
        prior: FloatArray = scores.mean(axis=0)
        if not self.plan.yes_no:
            prior = np.log(softmax(scores, axis=1).mean(axis=0))
        return prior

    def sums(
        self, rows: Sequence[EncodedPrompt], batch_size: int, batch_tokens: int, wanted: BoolArray | None = None
    ) -> FloatArray:
        """Summed log-probabilities of the answers, [rows, columns]."""
        self._settle(rows)
        contexts = len(self.plan.contexts)
        columns = self._columns(len(rows), wanted)
        result = np.zeros((len(rows), len(self.plan.labels)))
        trees = self._trees(rows, columns) if contexts > 1 else {}
        needed = np.zeros((len(rows), contexts), dtype=bool)
        of_prefix: dict[Ids, list[int]] = {}
        for i, row in enumerate(rows):
            if i not in trees:
                needed[i, [self.plan.labels[column][0] for column in columns[i]]] = True
            of_prefix.setdefault(self.shared.served(row.prefix_ids), []).append(i)
        lengths = self._lengths(rows)
        with self.shared.tokens_alone(self.plan.one_place) as tokens:
            for together in self.shared.groups(list(of_prefix)):
                passes: list[Callable[[], None]] = []
                for prefix in together:
                    members = np.array(of_prefix[prefix])
                    branching = np.array([i for i in of_prefix[prefix] if i in trees], dtype=np.int64)
                    widths = np.array([len(rows[i].row_ids) + len(trees[i].places) for i in branching], dtype=np.int64)
                    size = min(batch_size, self._most_trees(trees, branching, tokens))
                    for batch in length_sorted_batches(widths, size, batch_tokens):
                        own = (branching[batch], trees, columns, prefix, tokens, result)
                        passes.append(partial(self._score_trees, rows, *own))
                    sequences = (members[:, None] * contexts + np.arange(contexts))[needed[members]]
                    for batch in length_sorted_batches(lengths[sequences], batch_size, batch_tokens):
                        passes.append(partial(self._score, rows, sequences[batch], prefix, tokens, result))
                with self.shared.serving(together):
                    for_each(passes, lambda one: one(), self.within is not None, self.within or nullcontext)
        return result

    def _sums_in_passes(self, rows: Sequence[EncodedPrompt], passes: int) -> FloatArray:
        """The same in so many forward passes."""
        parts = np.array_split(np.argsort(-self._lengths(rows), kind="stable"), passes)
        result = np.zeros((len(rows), len(self.plan.labels)))
        for part in (part if len(part) else np.array([0]) for part in parts):
            self._score(rows, part, (), (), result)
        return result

    def _columns(self, rows: int, wanted: BoolArray | None) -> list[tuple[int, ...]]:
        """The columns of scores that each row needs."""
        if wanted is None:
            return [tuple(range(len(self.plan.labels)))] * rows
        times = len(self.plan.labels) // wanted.shape[1]
        return [tuple(np.flatnonzero(np.repeat(one, times)).tolist()) for one in wanted]

    def _trees(self, rows: Sequence[EncodedPrompt], columns: Sequence[tuple[int, ...]]) -> dict[int, Tree]:
        """Of each row whose answers may branch, their tree."""
        found: dict[tuple[int, ...], Tree] = {}
        trees: dict[int, Tree] = {}
        for i, (row, needed) in enumerate(zip(rows, columns, strict=True)):
            if needed not in found:
                found[needed] = Tree.of(self.plan.labels[column][1][:-1] for column in needed)
            if self.shared.branches(row.prefix_ids, len(row.row_ids) + len(found[needed].places)):
                trees[i] = found[needed]
        return trees

    def _most_trees(self, trees: dict[int, Tree], rows: IntArray, tokens: Ids) -> int:
        """Rows that a batch may have for the logits of all its places."""
        places = max((len(trees[i].places) + 1 for i in rows), default=1)
        most = MOST_LOGITS // workers(self.within is not None)
        return max(1, most // (places * (len(tokens) or self.shared.vocabulary)))

    def _score_trees(
        self,
        rows: Sequence[EncodedPrompt],
        batch: IntArray,
        trees: dict[int, Tree],
        columns: Sequence[tuple[int, ...]],
        prefix: Ids,
        tokens: Ids,
        result: FloatArray,
    ) -> None:
        """One forward pass over rows behind a prefix, with the tree of their answers each, see `_score`."""
        import torch

        own = [(trees[i], rows[i].row_ids, columns[i]) for i in batch]
        sequences, branches = Branches.of([ids for _, ids, _ in own], [tree for tree, _, _ in own])
        padded = pad(sequences, int(self.prompt.tokenizer.pad_token_id or 0))
        reading = self.plan.reading_in_trees([(tree, len(ids), needed) for tree, ids, needed in own])
        keep = torch.tensor(reading.positions, device=self.shared.device)
        output = self.shared.forward(prefix, padded, keep, branches)
        found = reading.log_probabilities(output.logits, padded["input_ids"].shape[1], tokens)
        np.add.at(result, (batch[reading.sequence], reading.column), found.double().cpu().numpy())

    def _lengths(self, rows: Sequence[EncodedPrompt]) -> IntArray:
        """Tokens of every sequence in a forward pass, int64 [rows * contexts]."""
        lengths = np.array(
            [len(row.prompt_ids) - len(self.shared.served(row.prefix_ids)) for row in rows], dtype=np.int64
        )
        contexts = np.array([len(context) for context in self.plan.contexts], dtype=np.int64)
        return (lengths[:, None] + contexts).reshape(-1)

    def _settle(self, rows: Sequence[EncodedPrompt]) -> None:
        """See `SharedPrefix.settle`; by the first prefix, behind which the longest context stands."""
        prefix = next((row.prefix_ids for row in rows if row.prefix_ids), ())
        texts = [row.row_ids + self.plan.contexts[0] for row in rows if row.prefix_ids == prefix]
        self.shared.settle(prefix, texts)

    def _score(
        self,
        rows: Sequence[EncodedPrompt],
        batch: IntArray,
        shared: Ids,
        tokens: Ids,
        result: FloatArray,
    ) -> None:
        """One forward pass over sequences, which are numbered context by context, row by row, padded on the right;
        their labels' scores go into `result`, float64 [rows, labels]. All begin with the `shared` tokens, or are whole
        (none); logits are of `tokens` alone, if there are any.
        """
        import torch

        pairs = [divmod(int(sequence), len(self.plan.contexts)) for sequence in batch]
        prefix = len(shared)
        before = [rows[row].prompt_ids[prefix:] for row, _ in pairs]
        sequences = [ids + self.plan.contexts[context] for ids, (_, context) in zip(before, pairs, strict=True)]
        padded = pad(sequences, int(self.prompt.tokenizer.pad_token_id or 0))
        width = padded["input_ids"].shape[1]
        reading = self.plan.reading(list(map(len, before)), [context for _, context in pairs])
        keep = torch.tensor(reading.positions, device=self.shared.device)  # the head is computed on these alone
        output = self.shared.forward(shared, padded, keep)
        found = reading.log_probabilities(output.logits, width, tokens)
        row_of = np.array([row for row, _ in pairs])[reading.sequence]
        # A pass that a process makes for the others' sake scores a sequence again.
        result[row_of, reading.column] = 0.0
        np.add.at(result, (row_of, reading.column), found.double().cpu().numpy())


class TorchLabelScorer:
    """The engine of label scores: batches within the bounds of `section`, a prefix that is computed once for all calls.

    Args:
        prompt: of a label set that has labels to score.
        section: batch bounds, the type of the computation, and how scores are made of it.
        shared: the model, and what it keeps of prefixes.
        leaning: see `LabelScorer`.
    """

    def __init__(
        self,
        prompt: PromptFormat,
        section: CausalPredictionSection,
        shared: SharedPrefix,
        leaning: FloatArray | None = None,
    ) -> None:
        self.section = section
        at_once = shared.device.type == "cpu" and not changes_by_batch(shared.model)
        self.scorer = LabelScorer(prompt, shared, section, leaning, self._computing if at_once else None)

    def outputs(self, rows: Sequence[EncodedPrompt], wanted: BoolArray | None = None) -> FloatArray:
        """Scores of every label, or of those wanted, float64 [rows, labels], see `LabelScorer.in_batches`."""
        with self._computing():
            return self.scorer.in_batches(rows, self.section.most_rows, self.section.most_tokens, wanted)

    def sums(self, rows: Sequence[EncodedPrompt]) -> FloatArray:
        """Summed log-probabilities, float64 [rows, columns], of which `LabelScorer.scores` makes scores."""
        with self._computing():
            return self.scorer.sums(rows, self.section.most_rows, self.section.most_tokens)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        import torch

        shared = self.scorer.shared
        with torch.inference_mode(), autocast(shared.dtype or self.section.dtype, shared.model, shared.device):
            yield
