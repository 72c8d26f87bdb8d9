"""What published models take: `docs/models.md`, computed from the catalogue.

python -m categorize.memory.table
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from categorize.memory.cards import GIB, KNOWN, Card
from categorize.memory.catalogue import Published, catalogue
from categorize.memory.plans import is_countable
from categorize.memory.simulation import FRAGMENTS, Plan, Step, simulate
from categorize.memory.verdict import ROOM
from categorize.recipe.adapter_sections import AdapterSection
from categorize.recipe.terminal import run_command
from categorize.text_tables import markdown_table
from categorize.writing import write_whole

PAGE = Path("docs/models.md")
SIZES = (4, 6, 8, 12, 16, 24, 32, 40, 48, 80, 141)
CARDS = 4  # of sharded training
HEAD_BATCH, ANSWER_BATCH = (16, 128), (8, 512)  # rows, tokens
LORA = AdapterSection(type="lora")
INTRODUCTION = f"""# Models

What a training of published models takes, in GiB, and the smallest card that it fits. Computed by
`python -m categorize.memory.table` from `categorize/memory/models.yaml`, which has the dimensions of each model: a step
on tensors without storage is counted ([training.md](training.md#memory)). bfloat16 mixed precision, AdamW, gradient
accumulation. Counts were compared with measured peaks of small models on a CPU
([results](../benchmarks/RESULTS.md#memory-estimated-and-measured)), not on a GPU. For a recipe of yours: `--fit 24GB`.

* **Heads**: {HEAD_BATCH[0]} rows of {HEAD_BATCH[1]} tokens a batch. Full: all weights are trained. LoRA: r 16, all
  linear layers.
* **SFT**: {ANSWER_BATCH[0]} rows of {ANSWER_BATCH[1]} tokens, activation checkpointing. LoRA on bfloat16 weights, QLoRA
  on 4-bit ones, full on one card, and full with everything sharded over {CARDS} cards (FSDP2, ZeRO-3): of each card.
  Beside 4-bit weights peft holds the others in float32, embeddings above all: small models of large vocabularies gain
  nothing by QLoRA.
"""

_counted: dict[str, Step] = {}


def extended(plan: Plan, rows: int, tokens: int, count: Callable[..., Step] = simulate) -> Step:
    """The step of a deep model, by that of two shallow ones: what layers take grows with their number.

    Kinds of layers that alternate are kept in proportion. Gradients must be there from the beginning (`accumulation`
    2), else the peak of a shallow model is at another place than that of a deep one.
    """
    config = plan.config.get_text_config()
    layers, period = int(config.num_hidden_layers), _period(config)
    if period is None or layers <= 4 * period:
        return count(plan, rows, tokens)
    low, high = 2 * period, 4 * period
    first, second = (count(replace(plan, config=_shallow(plan.config, n)), rows, tokens) for n in (low, high))
    grown = {
        one.name: round(
            getattr(first, one.name)
            + (getattr(second, one.name) - getattr(first, one.name)) * (layers - low) / (high - low)
        )
        for one in fields(Step)
    }
    return Step(**grown)


def _period(config: Any) -> int | None:
    """After how many layers their kinds repeat; None where they do not."""
    if getattr(config, "num_kv_shared_layers", 0):
        return None
    kinds = list(getattr(config, "layer_types", None) or ["one"] * int(config.num_hidden_layers))
    return next(n for n in range(1, len(kinds) + 1) if all(a == b for a, b in zip(kinds, kinds[n:], strict=False)))


def _shallow(config: Any, layers: int) -> Any:
    cut = copy.deepcopy(config)
    values = {**cut.to_dict(), "num_hidden_layers": layers}
    for name in ("layer_types", "attention_window"):
        if isinstance(values.get(name), list):
            values[name] = values[name][:layers]
    return type(cut).from_dict(values)


def sharded(step: Step, cards: int) -> int:
    """Bytes of a card where weights, gradients and optimizer are cut over several: its part of them, its activations,
    and whole layers, the one that is computed with its gradients and the next one."""
    parts = (step.weights + step.gradients + step.optimizer) // cards
    return parts + max(step.activations - step.gradients, step.evaluation) + 3 * step.largest


def cells(model: Published) -> list[str]:
    """A row of its table."""
    config = model.config()
    context = getattr(config.get_text_config(), "max_position_embeddings", None)
    facts = [f"[{model.name}](https://huggingface.co/{model.id})", f"{model.parameters:,.0f}M"]
    about = [f"{context:,}" if context else "", model.languages, model.licence]
    if not is_countable(config):
        return [*facts, *["not counted"] * (5 if model.is_causal else 2), *about]
    if not model.is_causal:
        full = Plan(config, gpu=True, mixed="bfloat16", accumulation=2)
        return [*facts, *(_cell(_step(one, model, HEAD_BATCH).total) for one in (full, _lora(full))), *about]
    answers = Plan(config, causal=True, gpu=True, mixed="bfloat16", accumulation=2, checkpointing=True)
    lora = replace(answers, adapter=LORA, dtype="bfloat16")
    head = replace(_lora(answers), causal=False, checkpointing=False, dtype="bfloat16")
    whole = _step(answers, model, ANSWER_BATCH)
    taken = [
        _cell(_step(head, model, HEAD_BATCH).total) if model.has_head else "no head",
        _cell(_step(lora, model, ANSWER_BATCH).total),
        _cell(_step(replace(lora, bits="4"), model, ANSWER_BATCH).total),
        _cell(whole.total),
        _cell(sharded(whole, CARDS)),
    ]
    return [*facts, *taken, *about]


def _lora(plan: Plan) -> Plan:
    return replace(plan, adapter=LORA)


def _cell(size: int) -> str:
    needed = size * FRAGMENTS
    fits = next((n for n in SIZES if needed <= ROOM * Card("", n * GIB).usable), None)
    return f"{needed / GIB:.1f} ({f'{fits} GB' if fits else 'none'})"


def _step(plan: Plan, model: Published, batch: tuple[int, int]) -> Step:
    """Counted once for models of one shape."""
    of_plan = [getattr(plan, one.name) for one in fields(Plan) if one.name != "config"]
    key = repr((model.type, sorted(model.shape.items()), of_plan, batch))
    if key not in _counted:
        _counted[key] = extended(plan, *batch)
    return _counted[key]


def page(progress: Callable[[str], None] = lambda line: None) -> str:
    """The page as it should be."""
    models = list(catalogue().values())
    about = ["context", "languages", "licence"]
    rows = {}
    for number, one in enumerate(models, 1):
        rows[one.id] = cells(one)
        progress(f"{number} of {len(models)}: {' | '.join(rows[one.id])}")
    encoders = [rows[one.id] for one in models if not one.is_causal]
    decoders = [rows[one.id] for one in models if one.is_causal]
    kinds = ["head, LoRA", "SFT, LoRA", "SFT, QLoRA", "SFT, full", f"full, {CARDS} cards"]
    known = ", ".join(f"{name.upper()} {memory:g}" for name, (memory, _) in KNOWN.items())
    return "\n".join(
        [
            INTRODUCTION,
            "## Encoders\n",
            markdown_table(["model", "size", "head, full", "head, LoRA", *about], encoders, "lrrrrll"),
            "\n## Decoders\n",
            markdown_table(["model", "size", *kinds, *about], decoders, "lrrrrrrrll"),
            "\nLanguages are a code, or how many. A `none` has no card in this list; shard it, or choose QLoRA. "
            "Models that read pictures too (Gemma 4, Qwen3.5) stand with their text part; what the kernels of linear "
            "attention keep (Qwen3.5) is not counted.\n",
            f"Cards that `--fit` knows by name, in GB: {known}.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page."""
    from categorize.nn.console import quiet_libraries

    quiet_libraries()
    write_whole(PAGE, page(lambda line: print(line, flush=True)) + "\n")
    print(f"{PAGE}: {len(catalogue())} models")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
