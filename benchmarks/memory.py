#!/usr/bin/env python
"""The memory that a training is estimated to take, beside what real trainings of small models take on this CPU.

    python benchmarks/memory.py
    python benchmarks/memory.py --case "SFT, LoRA" --no-write

Each case is a process of its own: the recipe's model, rows and trainer as a run prepares them, then two optimizer
steps, and the most that the process held meanwhile, without what it held before and beside its weights (libraries,
data). The models have random weights. glibc's heap is told to give back what is freed (`MALLOC_MMAP_THRESHOLD_`): what
it would keep is its own, up to as much again, and no GPU's allocator has that habit. The table goes to
`benchmarks/RESULTS.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # the library and its neighbours, installed or not


from results import RESULTS, how_measured, write_section  # noqa: E402

from categorize.errors import UserError  # noqa: E402
from categorize.recipe.terminal import run_command  # noqa: E402
from categorize.runs.environment import environment  # noqa: E402
from categorize.text_tables import markdown_table  # noqa: E402

HEADING = "## Memory: estimated and measured"
PACKAGES = ("torch", "transformers", "peft", "trl", "bitsandbytes")
MIB = 2**20
LARGEST = 0.15  # difference of an estimate
LORA = {"adapter": {"type": "lora"}}
FOUR_BIT = {"quantization": {"load_in_4bit": True}, **LORA}
WIDE = {"hidden_size": 384, "num_hidden_layers": 4, "num_attention_heads": 6, "intermediate_size": 1536}
DECODER = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
           "intermediate_size": 1024}  # fmt: skip
# Case -> (architecture, its size, vocabulary, rows, tokens a row, sections of the recipe)
CASES: dict[str, tuple[str, dict[str, int], int, int, int, dict[str, Any]]] = {
    "BERT, full": ("bert", WIDE, 8000, 16, 128, {}),
    "BERT, full, checkpointing": ("bert", WIDE, 8000, 32, 128, {"training": {"activation_checkpointing": True}}),
    "BERT, full, eager, accumulation 2": (
        *("bert", WIDE, 8000, 12, 128),
        {"model": {"attn_implementation": "eager"}, "training": {"gradient_accumulation_steps": 2}},
    ),
    "ModernBERT, full": ("modernbert", WIDE, 8000, 12, 128, {}),
    "DeBERTa, LoRA": ("deberta", WIDE, 8000, 8, 128, LORA),
    "Qwen3 head, LoRA": ("qwen3", DECODER, 32000, 8, 256, LORA),
    "Llama head, QLoRA": ("llama", DECODER, 32000, 8, 256, FOUR_BIT),
    "Qwen2 SFT, LoRA": ("qwen2", DECODER, 32000, 8, 256, {"kind": "sft", **LORA}),
    "Qwen3 SFT, LoRA, no checkpointing": (
        *("qwen3", DECODER, 32000, 4, 256),
        {"kind": "sft", "training": {"activation_checkpointing": False}, **LORA},
    ),
    "Mistral SFT, full": ("mistral", DECODER, 16000, 4, 256, {"kind": "sft"}),
    "Gemma SFT, QLoRA": ("gemma", DECODER, 16000, 8, 256, {"kind": "sft", **FOUR_BIT}),
}


def prepare(name: str, folder: Path, narrow: bool = False) -> tuple[Any, Any]:
    """The recipe of a case, and its model, rows and trainer; `narrow`: of a tiny model."""
    import transformers

    from categorize.data.splits import load_recipe_data
    from categorize.methods.head import fit as head
    from categorize.methods.registry import METHODS
    from categorize.methods.sft import fit as sft
    from categorize.recipe.load import load_recipe
    from categorize.training.fit_summary import FitOptions
    from tests.tiny_models import build_byte_level, build_wordpiece, tiny_config

    architecture, size, vocabulary, rows, tokens, sections = CASES[name]
    if narrow:
        narrowed = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
        size, rows, tokens = {**size, **narrowed}, 1, 256
    kind, is_decoder = sections.get("kind", "seqcls"), "num_key_value_heads" in size
    folder.mkdir()
    (build_byte_level if is_decoder else build_wordpiece)(folder / "model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "model")
    tokenizer.model_max_length = 512
    tokenizer.save_pretrained(folder / "model")
    config = tiny_config(architecture, vocabulary, tokenizer.pad_token_id, tokenizer.eos_token_id, size["hidden_size"])
    changed = {**config.to_dict(), **size, "max_position_embeddings": 512, "layer_types": None}
    if "head_dim" in changed:
        changed["head_dim"] = size["hidden_size"] // size["num_attention_heads"]
    config = type(config)(**changed)
    auto = transformers.AutoModelForCausalLM if is_decoder else transformers.AutoModelForMaskedLM
    auto.from_config(config).save_pretrained(folder / "model")
    accumulation = sections.get("training", {}).get("gradient_accumulation_steps", 1)
    texts = [
        f"{i},{'good movie ' * tokens}{i},{'good' if i % 2 else 'bad'}\n" for i in range(8 + 3 * rows * accumulation)
    ]
    (folder / "rows.csv").write_text("id,text,mood\n" + "".join(texts), encoding="utf-8")
    recipe: dict[str, Any] = {
        "kind": kind,
        "name": "case",
        "output_dir": str(folder / "run"),
        "data": {
            "source": str(folder / "rows.csv"),
            "columns": {"id": "id", "text": "text", "label": "mood"},
            "splits": {"validation": 0.0, "test": 0.1},
        },
        "labels": {"names": ["good", "bad"]},
        "model": {"name_or_path": str(folder / "model"), "max_length": tokens},
        "training": {"per_device_train_batch_size": rows, "max_steps": 2, "lr_scheduler_type": "constant"},
    }
    for key, value in sections.items():
        if key != "kind":
            recipe[key] = {**recipe.get(key, {}), **value}
    (folder / "case.yaml").write_text(json.dumps(recipe), encoding="utf-8")
    loaded = load_recipe(folder / "case.yaml", [], kind, methods=METHODS).recipe
    data = load_recipe_data(loaded, write=False)
    build: Any = sft.prepare if kind == "sft" else head.prepare
    return loaded, build(loaded, data, folder / "checkpoints", FitOptions(False, False)).trainer


def measure(name: str, folder: Path) -> dict[str, int]:
    """Bytes estimated and measured of a case; in this process, which should do nothing else."""
    import transformers

    from categorize.memory.plans import plan_of
    from categorize.memory.simulation import FRAGMENTS, simulate
    from categorize.nn.device import free_memory, trim_heap
    from categorize.nn.memory import peak, reset_peak

    prepare(name, folder / "narrow", narrow=True)[1].train()  # libraries are loaded as they are needed
    recipe, trainer = prepare(name, folder / "case")
    storages = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in trainer.model.parameters()}
    free_memory()
    trim_heap()
    reset_peak()
    before = peak()
    base = before - sum(storages.values())
    trainer.train()
    measured = peak() - base
    config = transformers.AutoConfig.from_pretrained(recipe.model.name_or_path)
    mixed = "bfloat16" if trainer.args.bf16 else None
    plan = plan_of(recipe, config, vars(trainer.args), gpu=False, mixed=mixed)
    rows, tokens = trainer.args.train_batch_size, int(trainer.rows.lengths.max())
    step = simulate(plan, rows, tokens)
    return {
        "rows": rows,
        "tokens": tokens,
        "libraries": base,
        "weights": step.weights,
        "really": sum(storages.values()),
        "optimizer": step.optimizer,
        "activations": step.activations,
        "estimated": int(step.total * FRAGMENTS),
        "measured": measured,
    }


def measured_apart(name: str) -> dict[str, int]:
    """What `measure` gives, in a process of its own.

    Raises:
        UserError: it failed.
    """
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "131072"}
    command = [sys.executable, __file__, "--child", name]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise UserError(f"{name}: {done.stderr[-1500:]}")
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def row(name: str, found: dict[str, int]) -> list[str]:
    """A case's row of the table."""
    parts = [f"{found[key] / MIB:.0f}" for key in ("weights", "optimizer", "activations", "estimated", "measured")]
    return [name, f"{found['rows']} x {found['tokens']}", *parts, f"{found['estimated'] / found['measured'] - 1:+.1%}"]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; write it unless told otherwise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="*", default=list(CASES), help="cases to run")
    parser.add_argument("--no-write", action="store_true", help="leave RESULTS.md as it is")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child is not None:
        with TemporaryDirectory() as folder:
            print(json.dumps(measure(options.child, Path(folder))))
        return 0
    if unknown := set(options.case) - set(CASES):
        raise UserError(f"--case {sorted(unknown)[0]!r} is not one of: {', '.join(CASES)}")
    rows, worst = [], 0.0
    for name in options.case:
        found = measured_apart(name)
        rows.append(row(name, found))
        worst = max(worst, abs(found["estimated"] / found["measured"] - 1))
        print("  ".join(rows[-1]), flush=True)
    header = ["case", "rows x tokens", "weights", "optimizer", "activations", "estimated", "measured", "off by"]
    about = {**environment(), "finished": datetime.now(UTC).isoformat()}
    lines = how_measured("python benchmarks/memory.py", about, PACKAGES, data=False)
    table = markdown_table(header, rows, "llrrrrrr")
    text = "\n".join([HEADING, "", "MiB of a training step, beside libraries and data.", "", *lines, "", table, ""])
    if options.no_write:
        print(text)
    else:
        write_section(HEADING, text)
        print(f"written to {RESULTS.relative_to(ROOT)}")
    return 1 if worst > LARGEST else 0


if __name__ == "__main__":
    sys.exit(run_command(main))
