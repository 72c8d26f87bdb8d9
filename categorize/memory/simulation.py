"""One training step of a model that exists in name only, counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from categorize.memory.optimizers import state_bytes
from categorize.nn.adapters import add_adapter
from categorize.nn.quantization import HEAD_MODULES
from categorize.recipe.adapter_sections import AdapterSection

FRAGMENTS = 1.05  # an allocator's blocks are never filled whole
OUTPUTS = ("classifier", "score", "classification_head")


@dataclass(frozen=True)
class Plan:
    """What memory depends on, beside the batch.

    Attributes:
        config: of the model, as transformers has it.
        causal: a model that answers; else a classifier with a head.
        labels: outputs of a head.
        adapter: None: the weights themselves are trained.
        bits: of quantized weights, `4` or `8`; None: whole.
        dtype: in which weights are held, unless they are packed.
        mixed: type of mixed precision, None: none.
        compute: type that packed weights are computed in.
        checkpointing: activations are recomputed.
        optimizer: its name in `training.optim`.
        accumulation: micro-batches of a step; above 1 gradients are there while others are made.
        freeze: the head alone is trained.
        gpu: whether a GPU's operations are counted.
        readings: sequences that are read for each row: two with R-Drop, one a label where each is asked about.
        answer: tokens of an answer at most.
    """

    config: Any
    causal: bool = False
    labels: int = 2
    adapter: AdapterSection | None = None
    bits: str | None = None
    dtype: str = "float32"
    mixed: str | None = None
    compute: str = "bfloat16"
    checkpointing: bool = False
    optimizer: str = "adamw_torch_fused"
    accumulation: int = 1
    freeze: bool = False
    gpu: bool = False
    readings: int = 1
    answer: int = 8
    modules: tuple[str, ...] = field(default=OUTPUTS)


@dataclass(frozen=True)
class Step:
    """Bytes of one process in a training step.

    Attributes:
        weights: all of them, with buffers.
        gradients, optimizer: of what is trained.
        activations: most of what is held beside weights and optimizer, without `gradients` where these come later.
        evaluation: most of what an evaluation holds beside weights and optimizer.
        flops: floating-point operations of a micro-batch, forward and backward.
        trained, parameters: how many.
        largest: bytes of the weights of the largest layer, which sharded training gathers.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    evaluation: int
    flops: int
    trained: int
    parameters: int
    largest: int = 0

    @property
    def total(self) -> int:
        """Most bytes at once."""
        return self.weights + self.optimizer + max(self.activations, self.gradients, self.evaluation)


def simulate(plan: Plan, rows: int, tokens: int, evaluated: int = 0) -> Step:
    """One step on so many rows of so many tokens, and an evaluation of `evaluated` rows; 0: none."""
    import torch

    from categorize.memory.tally import Tally

    with torch.device("meta"):
        model = build(plan)
    tally = Tally()
    with _nameless(plan) as enter:
        enter(tally)
        _materialise(model)
        trained = [one for one in model.parameters() if one.requires_grad]
        gradients = sum(one.numel() * one.element_size() for one in trained)
        held = {id(one): one.numel() * one.element_size() for one in (*model.parameters(), *model.buffers())}
        weights = sum(held.values())
        trunk = _trunk(model)
        if plan.accumulation > 1:
            for parameter in trained:
                parameter.grad = torch.empty_like(parameter)
        before = tally.live - (gradients if plan.accumulation > 1 else 0)
        tally.reset()
        _loss(plan, model, trunk, rows * plan.readings, tokens).backward()
        activations, flops = tally.peak - before, tally.flops
        evaluation = 0
        if evaluated:
            for parameter in trained:
                parameter.grad = None
            model.eval()
            tally.reset()
            with torch.no_grad():
                _loss(plan, model, trunk, evaluated * (plan.readings if plan.causal else 1), tokens)
            evaluation = tally.peak - before
    return Step(
        weights=weights,
        gradients=gradients,
        optimizer=state_bytes(plan.optimizer, trained),
        activations=activations,
        evaluation=evaluation,
        flops=flops,
        trained=sum(one.numel() for one in trained),
        parameters=_count(model),
        largest=_largest(model),
    )


@contextmanager
def _nameless(plan: Plan) -> Iterator[Any]:
    """Tensors without storage, and a GPU's operations where the plan says so."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    from categorize.memory.tally import as_on_gpu

    with ExitStack() as stack:
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        if plan.gpu:
            stack.enter_context(as_on_gpu(plan.mixed is not None))
        yield stack.enter_context


def build(plan: Plan) -> Any:
    """The model of a plan, with adapter and quantization, ready to be trained."""
    import copy

    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
    from transformers.initialization import no_init_weights

    from categorize.memory.four_bit import BITS, quantize

    config = copy.deepcopy(plan.config)
    config.use_cache = False
    if not plan.causal:
        config.num_labels = plan.labels
        config.pad_token_id = config.get_text_config().pad_token_id = 0
    auto = AutoModelForCausalLM if plan.causal else AutoModelForSequenceClassification
    with no_init_weights():
        model = auto.from_config(config, dtype=getattr(torch, plan.dtype))
        model.tie_weights()
    heads = [name for name, _ in model.named_children() if name in plan.modules] if not plan.causal else []
    if plan.bits is not None:
        quantize(model, BITS[plan.bits], getattr(torch, plan.compute), {*HEAD_MODULES, *heads})
    if plan.causal:
        from trl.trainer.utils import add_fused_lm_head

        add_fused_lm_head(model)
    if plan.adapter is not None:
        kind = "CAUSAL_LM" if plan.causal else "SEQ_CLS"
        model = add_adapter(model, plan.adapter, kind, heads, activation_checkpointing=plan.checkpointing)
    elif plan.freeze:
        for name, parameter in model.named_parameters():
            parameter.requires_grad = name.startswith(tuple(f"{head}." for head in heads))
    if plan.checkpointing:
        model.activation_checkpointing_enable()
        if plan.adapter is not None:
            model.enable_input_require_grads()
    model.train()
    return model


def _largest(model: Any) -> int:
    """Bytes of the weights of the largest module that sharded training gathers at once."""
    import torch

    parts = [one for stack in model.modules() if isinstance(stack, torch.nn.ModuleList) for one in stack]
    parts += [one for one in (model.get_input_embeddings(), model.get_output_embeddings()) if one is not None]
    return max(sum(one.numel() * one.element_size() for one in part.parameters()) for part in parts)


def _materialise(model: Any) -> None:
    """Give parameters and buffers, which stand on the device of no storage, the place of the step; shared ones once."""
    import torch

    made: dict[int, Any] = {}
    for module in model.modules():
        for name, one in module._parameters.items():
            if one is not None:
                if id(one) not in made:
                    made[id(one)] = torch.nn.Parameter(torch.empty(one.shape, dtype=one.dtype), one.requires_grad)
                module._parameters[name] = made[id(one)]
        for name, one in module._buffers.items():
            if one is not None:
                module._buffers[name] = made.setdefault(id(one), torch.empty(one.shape, dtype=one.dtype))


def _trunk(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _loss(plan: Plan, model: Any, trunk: Any, rows: int, tokens: int) -> Any:
    """The loss of a batch, as the trainers compute it."""
    import torch

    ids = torch.zeros(rows, tokens, dtype=torch.long)
    batch: dict[str, Any] = {"input_ids": ids}
    if not str(plan.config._attn_implementation or "").startswith("flash"):
        batch["attention_mask"] = torch.ones(rows, tokens, dtype=torch.long)
    mixed = torch.autocast("cpu", dtype=getattr(torch, plan.mixed or "bfloat16"), enabled=plan.mixed is not None)
    with mixed:
        if not plan.causal:
            return model(**batch).logits.float().sum()
        if not plan.gpu:
            return model(**batch, labels=ids, use_cache=False, fused_lm_head=True).log_probs.sum()
        return _answered(plan, model, trunk, batch)


def _answered(plan: Plan, model: Any, trunk: Any, batch: dict[str, Any]) -> Any:
    """On a GPU the head is computed on the answers' positions alone."""

    base, own = trunk.base_model, trunk.base_model.forward

    def shortened(*args: Any, **kwargs: Any) -> Any:
        output = own(*args, **kwargs)
        output.last_hidden_state = output.last_hidden_state[:, -plan.answer - 1 :]
        return output

    base.forward = shortened
    try:
        return model(**batch, labels=batch["input_ids"][:, -plan.answer - 1 :], fused_lm_head=True).log_probs.sum()
    finally:
        del base.forward


def _count(model: Any) -> int:
    """Parameters, of which packed ones count as what they stand for, and shared ones once."""
    from categorize.memory.four_bit import PackedLinear

    packed = {id(one.weight): one.shape.numel() for one in model.modules() if isinstance(one, PackedLinear)}
    return sum(packed.get(id(one), one.numel()) for one in model.parameters())
