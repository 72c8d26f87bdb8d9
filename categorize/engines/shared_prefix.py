"""Rows behind what they all begin with: its keys and values are computed once and serve every row, whether labels are
scored or a decoder's head reads them.

How they serve is tried, not looked up: the first batch decides which form gives the logits of whole sequences.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

from categorize.engines.label_tree import Branches, Tree
from categorize.engines.output_rows import is_plain, only
from categorize.engines.shared_attention import attending, before
from categorize.nn.adapters import is_prompt_learning, virtual_tokens
from categorize.nn.tokenizer import pad
from categorize.processes import print0
from categorize.recipe.section import DType

Ids = tuple[int, ...]
# All rows attend to one copy; each to its own, where a model attends in a way of its own; or rows are computed whole.
Form = Literal["attention", "copies", "whole"]
KEPT_BYTES = 2**30  # keys and values of several prefixes (of worked examples, or candidates) that are kept
# Difference of logits from those of whole sequences that rounding makes, root mean square as a share of their spread:
# in float32, and where anything is in half precision or quantized. A wrong window or position makes ten times as much.
EXACT, ROUGH = 1e-3, 4e-2


class SharedPrefix:
    """Runs a causal model on rows, with what they begin with computed once.

    Args:
        model: called as is, so that wrappers keep their hooks; of a learned prompt, which peft puts before every input,
            the base alone reads what stands behind a prefix.
        device: where the model is.
        allowed: else rows are computed whole, as the processes that share a model must.
        pad_token_id: of a sequence classifier, which gives one row of logits a text, read at its last other token;
            None: a causal model, which has some for every token.
    """

    def __init__(self, model: Any, device: Any, allowed: bool = True, pad_token_id: int | None = None) -> None:
        self.device, self.pad_token_id = device, pad_token_id
        self.form: Form | None = None if allowed else "whole"  # None: not tried yet
        self.dtype: DType | None = None  # in place of `auto`, where a trial chose it
        self.narrows = False  # whether logits of some tokens can be computed alone
        self._branches = False
        self._caches: dict[Ids, Any] = {}  # the last used ones are the last
        self.through(model)

    def through(self, model: Any) -> SharedPrefix:
        """The same, that calls this model: itself with other wrappers."""
        self.model = model
        self.base = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.behind = self.base if is_prompt_learning(model) else model
        return self

    def forget(self) -> None:
        """Call where the weights have changed; the form stays."""
        self._caches.clear()

    def settle(self, prefix: Ids, rows: Sequence[Ids]) -> None:
        """Choose the form by the longest and the shortest of these rows; once. What it costs is said, if anything."""
        import torch

        if self.form is not None or not prefix or not rows:
            return
        asked = [max(rows, key=len), min(rows, key=len)]
        whole = self._ends((), [prefix + row for row in asked])
        reason = ""
        for form in ("attention", "copies"):
            self.form = form
            try:
                found = self._ends(prefix, asked)
            except torch.OutOfMemoryError:
                self.form = None
                raise
            except Exception as error:  # whatever a model raises where it cannot read behind a cache
                reason = f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
                continue
            off = _difference(found, whole, whole)
            if off <= self._tolerance():
                if self.pad_token_id is not None:
                    return
                self.narrows = self._can_narrow(prefix, asked, found)
                self._branches = form == "attention" and self._can_branch(prefix, asked[1])
                return
            reason = f"logits differ by {off:.0%} of their spread"
        self.form = "whole"
        self.forget()
        print0(
            f"  {type(self.base).__name__}: the instruction of {len(prefix)} tokens is computed for every row, for "
            f"what the model keeps of it does not serve other rows ({reason})"
        )

    @contextmanager
    def tokens_alone(self, tokens: Ids) -> Iterator[Ids]:
        """Within it, logits are computed for these tokens alone where the model can; gives them, or none."""
        if not tokens or not self.narrows:
            yield ()
            return
        with only(self.base, tokens):
            yield tokens

    def served(self, prefix: Ids) -> Ids:
        """The prefix, if it is computed once; else none."""
        return prefix if self.form in ("attention", "copies") else ()

    def groups(self, prefixes: Sequence[Ids]) -> list[list[Ids]]:
        """Prefixes in groups, as many as are kept at a time in each; none (of whole rows) is a group of its own."""
        shared = [prefix for prefix in prefixes if prefix]
        most = max(1, KEPT_BYTES // _size(self._cache(max(shared, key=len)))) if shared else 1
        groups = [shared[start : start + most] for start in range(0, len(shared), most)]
        return groups + [[()]] * (len(shared) < len(prefixes))

    @contextmanager
    def serving(self, group: Sequence[Ids]) -> Iterator[None]:
        """Within it, several threads may call `forward` at once with the prefixes of one of `groups`: what is kept of
        them is there, and the model attends as they all need."""
        for prefix in filter(None, group):
            self._caches[prefix] = self._caches.pop(prefix, None) or self._cache(prefix)
        with attending(self.base) if self.form == "attention" and any(group) else nullcontext():
            yield

    def branches(self, prefix: Ids, tokens: int) -> bool:
        """Whether a row of so many tokens may branch behind this prefix: where a window slides, it must reach all of
        them, for a token's place in the sequence is not its position."""
        if not self._branches or not prefix:
            return False
        cache = self._cache(prefix)
        sliding = [layer for layer in cache.layers if layer.is_sliding]
        return all(cache.get_seq_length() + tokens < layer.sliding_window for layer in sliding)

    @property
    def vocabulary(self) -> int:
        """Tokens that have logits."""
        return int(self.base.config.get_text_config().vocab_size)

    def forward(
        self, prefix: Ids, padded: Mapping[str, Any], keep: Any = None, branches: Branches | None = None
    ) -> Any:
        """The model's output for rows behind a prefix (none: whole rows).

        Padding on the left behind a prefix would move the window of models with sliding attention.

        Args:
            padded: `input_ids` and `attention_mask` of the rows, padded on the right.
            keep: int64, positions in the padded rows of which a causal model's output layer is computed.
            branches: where tokens stand and what they see, if not all before them; see `branches`.
        """
        import torch

        inputs = {name: values.to(self.device) for name, values in padded.items()}
        if not prefix:
            if keep is None:
                return self.model(**inputs)  # of a classifier, which may know no cache
            return self.model(**inputs, use_cache=False, logits_to_keep=keep + virtual_tokens(self.model))
        cache = self._cache(prefix)
        rows, width = inputs["input_ids"].shape
        start = cache.get_seq_length()
        inputs["attention_mask"] = torch.nn.functional.pad(inputs["attention_mask"], (start, 0), value=1)
        places = torch.arange(width).expand(rows, -1) if branches is None else branches.positions
        inputs["position_ids"] = start + places.to(self.device)
        one_copy = self.form == "attention"
        seen = None if branches is None else branches.seen.to(self.device)
        with attending(self.base) if one_copy else nullcontext():
            before_rows = _for_rows(cache, one_copy, seen)
            kept = {} if keep is None else {"logits_to_keep": keep}
            return self.behind(**inputs, **kept, past_key_values=before_rows, use_cache=True)

    def _cache(self, prefix: Ids) -> Any:
        """Keys and values of a prefix, for one row."""
        import torch

        cache = self._caches.get(prefix)
        if cache is None:
            ids = torch.tensor([prefix], device=self.device)
            kept = {"logits_to_keep": 1} if self.pad_token_id is None else {}
            cache = self.model(input_ids=ids, **kept, use_cache=True).past_key_values
            while self._caches and _size(cache) * (len(self._caches) + 1) > KEPT_BYTES:
                del self._caches[next(iter(self._caches))]
            self._caches[prefix] = cache
        return cache

    def _can_narrow(self, prefix: Ids, rows: Sequence[Ids], whole: Any) -> bool:
        """Whether logits of a few tokens alone are what they are among all."""
        if not is_plain(self.base):
            return False
        tokens = whole[0].topk(min(8, whole.shape[1])).indices.tolist()
        with only(self.base, tokens):
            found = self._ends(prefix, rows)
        same = found.shape == (len(rows), len(tokens))
        return same and _difference(found, whole[:, tokens], whole) <= self._tolerance()

    def _can_branch(self, prefix: Ids, row: Ids) -> bool:
        """Whether two tokens behind a row, of which none sees the other, have the logits that each has alone."""
        import torch

        two = sorted({*prefix, *row})[:2]
        alone = self._ends(prefix, [(*row, token) for token in two])
        (sequence,), branches = Branches.of([row], [Tree.of((token,) for token in two)])
        output = self.forward(prefix, pad([sequence], 0), torch.arange(2, device=self.device), branches)
        found = output.logits[0].float()
        return found.shape == alone.shape and _difference(found, alone, alone) <= self._tolerance()

    def _tolerance(self) -> float:
        import torch

        single = all(parameter.dtype == torch.float32 for parameter in self.base.parameters())
        return EXACT if single and not torch.is_autocast_enabled(torch.device(self.device).type) else ROUGH

    def _ends(self, prefix: Ids, rows: Sequence[Ids]) -> Any:
        """Logits behind the last token of every row, float32 [rows, vocabulary]; of a classifier [rows, labels]."""
        import torch

        if self.pad_token_id is not None:
            return self.forward(prefix, pad([list(row) for row in rows], self.pad_token_id)).logits.float()
        last = torch.tensor([len(row) - 1 for row in rows], device=self.device)
        padded = pad([list(row) for row in rows], 0)
        keep = torch.unique(last)
        logits = self.forward(prefix, padded, keep).logits
        if logits.shape[1] > len(keep):  # of a model that cannot leave positions out
            at = last + logits.shape[1] - padded["input_ids"].shape[1]
        else:
            at = torch.searchsorted(keep, last)
        return logits[torch.arange(len(rows), device=self.device), at].float()


def _difference(logits: Any, expected: Any, among: Any) -> float:
    """Root mean square difference, as a share of the spread of the logits that these are among."""
    spread = float(among.std()) or float(among.abs().max())  # one output of one text does not differ among itself
    return float((logits - expected).square().mean().sqrt()) / spread


def _size(cache: Any) -> int:
    """Bytes of keys and values."""
    return sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)


def _for_rows(cache: Any, one_copy: bool, own: Any = None) -> Any:
    """A cache that stands before any number of rows and stays as it is: its layers give the rows' keys and values with
    those of the prefix before them, or with word of these (`before`), and of what rows see of their own."""
    seen = copy.copy(cache)
    seen.layers = [_layer_for_rows(layer, one_copy, own) for layer in cache.layers]
    return seen


def _layer_for_rows(layer: Any, one_copy: bool, own: Any) -> Any:
    import torch

    def joined(key: Any, value: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
        if one_copy:
            return before(key, (layer.keys, layer.values), own), value
        first = (one.expand(len(key), -1, -1, -1) for one in (layer.keys, layer.values))
        return torch.cat([next(first), key], dim=2), torch.cat([next(first), value], dim=2)

    seen = copy.copy(layer)
    seen.update = joined
    return seen


def is_repeatable(cache: Any) -> bool:
    """Whether what a model kept of one row can be repeated for several: state-space models and layers of linear
    attention (Mamba, LFM2, Qwen3.5) keep a state in place of keys and values, and others nothing."""
    layers = getattr(cache, "layers", None) or [None]
    return all(hasattr(layer, "batch_repeat_interleave") for layer in layers)


def head_shares_prefix(model: Any) -> bool:
    """Whether a sequence classifier is a decoder that reads from left to right and takes cached keys and values."""
    import inspect

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = base.config.get_text_config()
    return (
        hasattr(base, "score")
        and getattr(config, "is_causal", True) is not False
        and {"past_key_values", "position_ids"} <= set(inspect.signature(base.forward).parameters)
        and not is_prompt_learning(model)  # it brings a cache or tokens of its own
    )


def begins_with(ids: Any, prefix: Sequence[int]) -> bool:
    """Whether a text's token ids begin with the prefix and go on behind it."""
    return len(ids) > len(prefix) and list(ids[: len(prefix)]) == list(prefix)
