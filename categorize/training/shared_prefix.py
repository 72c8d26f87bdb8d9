"""Whether a training shares what its rows begin with: where that pays, and where the model gives the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch

from categorize.engines.shared_prefix import is_repeatable
from categorize.errors import UserError
from categorize.nn.adapters import is_prompt_learning
from categorize.processes import print0
from categorize.training.packed_attention import COMPUTED_BY, LAYOUT, packed_attention, text_config
from categorize.training.packs import Sizes, logits_at

PAYS = 1.1  # auto: times less work
SAMPLE = 50  # batches that the work is counted on
# Largest difference of logits, as a share of how much they vary: rounding is far below, a token that reads another
# row's far above.
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-4}
TOLERANCE_OF_HALF = 0.05

Setting = Literal["auto"] | bool
Found = TypeVar("Found")


def share_prefix(trainer: Any, setting: Setting) -> None:
    """Let a `LabelSFTTrainer` compute shared beginnings once, and say so, or why it does not.

    Raises:
        UserError: it must, and cannot.
    """
    if setting is False:
        return
    saving = _of_main(trainer, Saving.of(trainer))
    if setting == "auto" and saving.work < PAYS:
        return
    reason = _known_obstacle(trainer) or _of_main(trainer, _differs(trainer))
    if reason and setting is True:
        raise UserError(f"training.shared_prefix: true, but {reason}; leave it out")
    trainer.data_collator.share = not reason
    print0(f"  shared prefix: {f'no, {reason}; every row is computed whole' if reason else saving.line()}")


def _of_main(trainer: Any, found: Found) -> Found:
    """What the main process found: each has batches of its own, and sharded weights may lie in that one alone. All must
    look, for quantized weights are laid out anew by their first use."""
    if trainer.args.world_size == 1:
        return found
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([found])[0]  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Saving:
    """What sharing spares, counted on some batches of an epoch.

    Attributes:
        prefix: tokens that rows begin with.
        packed, padded: tokens that are computed with it and without.
        heads: share of the tokens of the output layer that is left.
        work: how many times less work, attention between tokens and the output layer included.
    """

    prefix: int
    packed: int
    padded: int
    heads: float
    work: float

    @classmethod
    def of(cls, trainer: Any) -> Saving:
        """Of the trainer's batches."""
        batches = list(trainer.sampler())
        sampled = batches[:: -(-len(batches) // SAMPLE)]
        sizes = [trainer.data_collator.sizes([trainer.rows[row] for row in batch]) for batch in sampled]
        config = text_config(trainer.model)
        width, layers = getattr(config, "hidden_size", 1024), getattr(config, "num_hidden_layers", 12)
        head = getattr(config, "vocab_size", 32000) / layers
        padded = sum(_padded_work(one, width) + one.heads * head for one in sizes)
        packed = sum(_packed_work(one, width) + one.places * head for one in sizes)
        return cls(
            sorted(one.prefix for one in sizes)[len(sizes) // 2],
            sum(one.packed for one in sizes),
            sum(one.padded for one in sizes),
            sum(one.places for one in sizes) / sum(one.heads for one in sizes),
            padded / packed,
        )

    def line(self) -> str:
        """For the terminal."""
        times = self.padded / self.packed
        once = f"the {self.prefix} tokens that rows begin with are computed once a batch"
        what = once if times > 1.05 else "rows are read one behind another"
        tokens = f"{what}, {1 / times:.0%} of the tokens are left ({times:.1f} times fewer)"
        return tokens + (f"; of the output layer {self.heads:.0%}" if self.heads < 0.9 else "")


def _padded_work(sizes: Sizes, width: int) -> float:
    """Multiplications a layer and unit of width: about 12 times the width for the matrices of each token, and 2 for
    each token that it reads."""
    return sizes.padded * (12 * width + sizes.longest)


def _packed_work(sizes: Sizes, width: int) -> float:
    rests = sizes.sequences * (sizes.longest - sizes.prefix)
    return sizes.packed * 12 * width + sizes.prefix**2 + 2 * rests * sizes.longest


def _known_obstacle(trainer: Any) -> str | None:
    """Why the prefix cannot be shared, whatever the model."""
    from transformers.integrations import is_deepspeed_zero3_enabled

    attention = text_config(trainer.model)._attn_implementation
    if is_prompt_learning(trainer.model):
        return "the adapter puts tokens or keys of its own before every row"
    if attention not in COMPUTED_BY:
        return f"attention is computed by {attention} (it can with model.attn_implementation: sdpa)"
    if trainer.args.torch_compile:
        return "training.torch_compile would compile anew for each batch, whose length is its own"
    if is_deepspeed_zero3_enabled():
        return "DeepSpeed ZeRO-3 shards the weights before it could be tried"
    return None


def _differs(trainer: Any) -> str | None:
    """Why two rows behind one prefix do not give what each gives by itself; None where they do."""
    model, lengths = trainer.model, trainer.rows.lengths
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return _compared(trainer, [int(lengths.argmax()), int(lengths.argmin())])
    except NotImplementedError as error:
        return " ".join(str(error).split())
    except Exception as error:  # whatever an architecture makes of it
        return f"the model does not take it: {' '.join(str(error).split())[:150]}"
    finally:
        model.train(training)


def _compared(trainer: Any, rows: Sequence[int]) -> str | None:
    collator, model = trainer.data_collator, trainer.model
    found = [collator.sequences([trainer.rows[row]]) for row in rows]
    ids = torch.tensor([list(found[-1][0][0])], device=trainer.args.device)
    cache: Any = getattr(model(input_ids=ids, use_cache=True, logits_to_keep=1), "past_key_values", None)
    if not is_repeatable(cache):
        return "the model keeps a state of what it has read in place of keys and values"
    alone = torch.cat([logits_at(model, trainer._prepare_inputs(collator.padded(*one))) for one in found]).float()
    pack = trainer._prepare_inputs(collator.pack(*collator.sequences([trainer.rows[row] for row in rows])))
    layers: set[Any] = set()
    pack[LAYOUT]["layers"] = layers
    with packed_attention(model):
        together = logits_at(model, pack).float()
    if len(layers) < len(cache.layers):
        return f"{len(cache.layers) - len(layers)} of its {len(cache.layers)} layers compute attention in their own way"
    difference = float((together - alone).norm() / (alone - alone.mean(dim=-1, keepdim=True)).norm())
    dtypes = {one.dtype for one in model.parameters() if one.is_floating_point()}
    if not difference < max(TOLERANCE.get(dtype, TOLERANCE_OF_HALF) for dtype in dtypes):
        return f"the model gives other numbers then (by {difference:.1%})"
    return None
