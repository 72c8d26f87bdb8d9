"""How well a training used the machine: the share of padding, and its FLOP/s beside those of a plain matrix product."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import TrainerCallback

MEASURED = 0.2  # seconds of matrix products
MOST_TOKENS = 2048  # rows of a matrix product: as many as a batch has, up to these


class Throughput(TrainerCallback):  # type: ignore[misc]
    """Counts what the training's forward passes read, and the seconds of its steps, without evaluations and saving.

    Attributes:
        tokens: read by the model, padding too; `padding`: how many of them were padding.
        seconds: of the steps, with the reading of their batches.
    """

    def __init__(self) -> None:
        self.tokens, self.seconds = 0, 0.0
        self._texts = torch.zeros((), dtype=torch.int64)  # summed where the batches are, read at the end
        self._since: float | None = None

    @property
    def padding(self) -> int:
        """Tokens that were padding."""
        return self.tokens - int(self._texts)

    def count(self, module: Any, arguments: Any, inputs: dict[str, Any]) -> None:
        """What a forward pass of the training reads; without padding where its mask says more than what is padding."""
        ids, mask = inputs.get("input_ids"), inputs.get("attention_mask")
        if not module.training or ids is None:
            return
        self.tokens += ids.numel()
        read = mask.sum() if mask is not None and mask.ndim == 2 else ids.numel()
        self._texts = self._texts.to(ids.device) + read

    @contextmanager
    def watching(self, trainer: Any) -> Iterator[None]:
        """Context in which the trainer's training is counted. A compiled model is not: hooks would cut its graph."""
        if trainer.args.torch_compile:
            yield
            return
        hook = trainer.model.register_forward_pre_hook(self.count, with_kwargs=True)
        trainer.add_callback(self)
        try:
            yield
        finally:
            hook.remove()
            trainer.remove_callback(self)

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The batches of a step are read."""
        self._add()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The weights have moved."""
        self._add()

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """What took until now was no training."""
        self._since = time.perf_counter()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Nor was this."""
        self._since = time.perf_counter()

    def _add(self) -> None:
        now = time.perf_counter()
        self.seconds += 0.0 if self._since is None else now - self._since
        self._since = now

    def facts(self, trainer: Any) -> dict[str, float]:
        """For `run.json`: share of padding; floating-point operations a second on tokens that are none, and those of a
        matrix product of the model's shape and type. Empty where nothing was counted.

        A weight that a token is multiplied by takes 2 operations forward, 2 for what lies before it and 2 for its own
        gradient (Kaplan et al. 2020, arXiv 2001.08361); attention between tokens is not counted.
        """
        if not self.tokens or not self.seconds:
            return {}
        work = operations_a_token(trainer.model) * (self.tokens - self.padding)
        width = trainer.model.config.get_text_config().hidden_size
        rows = min(MOST_TOKENS, max(self.tokens // max(trainer.state.global_step, 1), 1))
        mixed = torch.bfloat16 if trainer.args.bf16 else torch.float16 if trainer.args.fp16 else None
        return {
            "padding_share": round(self.padding / self.tokens, 4),
            "flops_per_second": round(work / self.seconds),
            "matmul_flops_per_second": round(matmul_speed(rows, width, mixed or torch.float32, trainer.args.device)),
        }


def operations_a_token(model: Any) -> int:
    """Floating-point operations of a training step for a token, in all layers; embeddings are looked up, and a language
    model's head is computed for few tokens."""
    from categorize.nn.parameters import parameter_counts

    trained, total = parameter_counts(model)
    ends = (getattr(one, "weight", None) for one in (model.get_input_embeddings(), model.get_output_embeddings()))
    # Tied ones once; a sharded one (ZeRO-3) knows its size apart.
    sizes = {id(one): int(getattr(one, "ds_numel", one.numel())) for one in ends if one is not None}
    layers = max(total - sum(sizes.values()), 1)
    if trained == total:
        return 6 * layers
    backbone = getattr(model, "base_model", model)
    return (4 if any(parameter.requires_grad for parameter in backbone.parameters()) else 2) * layers


def matmul_speed(rows: int, width: int, dtype: torch.dtype, device: torch.device) -> float:
    """FLOP/s of [rows, width] by [width, 4 width], as a feed-forward layer multiplies, for a fifth of a second."""
    left = torch.ones(rows, width, dtype=dtype, device=device)  # random numbers would move those of what follows
    right = torch.ones(width, 4 * width, dtype=dtype, device=device)

    def multiply() -> None:
        torch.mm(left, right)
        if device.type == "cuda":
            torch.cuda.synchronize()

    with torch.inference_mode():
        multiply()
        start, done = time.perf_counter(), 0
        while (passed := time.perf_counter() - start) < MEASURED or not done:
            multiply()
            done += 1
    return 8.0 * rows * width * width * done / passed


def line(facts: dict[str, float]) -> str:
    """What the terminal says of `Throughput.facts`."""
    share = facts["flops_per_second"] / facts["matmul_flops_per_second"]
    return (
        f"{facts['padding_share']:.1%} of the tokens were padding; {_scaled(facts['flops_per_second'])}, {share:.0%} "
        f"of what a matrix product reaches here ({_scaled(facts['matmul_flops_per_second'])})"
    )


def _scaled(flops: float) -> str:
    return f"{flops / 1e12:.1f} TFLOP/s" if flops >= 1e12 else f"{flops / 1e9:.1f} GFLOP/s"
