"""One small SFT whose every gradient and logged loss can be recorded; also a script, for several processes.

torchrun --nproc_per_node 2 -m tests.training.tiny_sft MODEL OUT BATCH ACCUMULATION COMPLETION [shared]

COMPLETION: none for the loss on tokens, else the kind of completion of the loss on the label set. shared: what rows
begin with is computed once a batch.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from categorize.labels import Label, LabelSet
from categorize.prompts.messages import PromptSettings
from categorize.prompts.tokens import PromptFormat

ROWS = 21  # no multiple of 8: the last optimizer step is short
LABELS = LabelSet("single_label", (Label("good"), Label("not so good"), Label("差评")))
SYSTEM = "Say how it was.\n{labels}"


def texts(rows: int = ROWS) -> list[str]:
    """Texts of unlike lengths."""
    return [f"row {i} {'好看 ' * (i % 5)}{'word ' * (i * 7 % 11)}" for i in range(rows)]


def build_sft_trainer(
    model_folder: str,
    output: str,
    batch: int,
    accumulation: int,
    *,
    weights: list[float] | None = None,
    rows: int = ROWS,
    adapter: dict[str, Any] | None = None,
    bits: str | None = None,
    among_labels: str | None = None,
    shared: bool = False,
    **training: Any,
) -> Any:
    """A `LabelSFTTrainer` with plain SGD, so that the gradient is the update; answers cycle through the labels.

    Args:
        among_labels: learn by the loss on the label set, with this kind of completion.
        shared: what rows begin with is computed once a batch.
    """
    import numpy as np
    import torch
    from trl import SFTConfig

    from categorize.engines.scoring_plan import ScoringPlan
    from categorize.methods.sft.model import load_causal
    from categorize.nn.adapters import add_adapter
    from categorize.nn.head_output import head_output
    from categorize.recipe.adapter_sections import AdapterSection, QuantizationSection
    from categorize.training.label_set_loss import LabelSetLoss
    from categorize.training.sft_trainer import LabelSFTTrainer
    from categorize.training.shared_prefix import share_prefix

    quantization = QuantizationSection(**{bits: True}) if bits else None
    causal = load_causal(model_folder, dtype=torch.float32, quantization=quantization, max_length=400)
    model: Any = causal.model
    if adapter is not None:
        torch.manual_seed(0)
        recomputed = bool(training.get("activation_checkpointing"))
        model = add_adapter(model, AdapterSection(**adapter), "CAUSAL_LM", (), activation_checkpointing=recomputed)
    label_set = replace(LABELS, task="multi_label") if among_labels == "yes_no" else LABELS
    prompt = PromptFormat(PromptSettings(SYSTEM, completion=among_labels or "names"), label_set, causal.tokenizer, 400)
    gold = [[LABELS.names[i % 3]] for i in range(rows)]
    encoded = [prompt.encode({"text": text}, one) for text, one in zip(texts(rows), gold, strict=True)]
    among: dict[str, Any] = {}
    if among_labels is not None:
        targets = label_set.encode(gold)
        loss = LabelSetLoss(ScoringPlan.of(prompt), head_output(label_set))
        among = {"label_set_loss": loss, "targets": (targets, targets[:5])}
    arguments = SFTConfig(
        output_dir=output,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        **{
            "use_cpu": True,
            "bf16": False,
            "seed": 3,
            "report_to": "none",
            "remove_unused_columns": False,
            "dataloader_pin_memory": False,
            "disable_tqdm": True,
            "optim": "sgd",
            "learning_rate": 0.1,
            "lr_scheduler_type": "constant",
            "num_train_epochs": 2,
            "logging_steps": 1,
            "max_grad_norm": 0.0,
            "save_strategy": "no",
            "eval_strategy": "no",
            "max_length": None,
            "activation_checkpointing": False,
            "dataset_kwargs": {"skip_prepare_dataset": True},
            **training,
        },
    )
    trainer = LabelSFTTrainer(
        model=model,
        args=arguments,
        train_rows=encoded,
        eval_rows=encoded[:5],
        weights=np.array(weights if weights is not None else np.random.default_rng(0).uniform(0.5, 2.0, size=rows)),
        predict=lambda model, rows: [len(row) for row in rows],
        measures=lambda answers: {"sum": float(np.sum(answers))},
        processing_class=causal.tokenizer,
        **among,
    )
    share_prefix(trainer, shared)
    trainer.prompt = prompt
    return trainer


if __name__ == "__main__":
    from tests.training.tiny_training import record
    from tests.training.two_processes import write_record

    model, out, batch, accumulation = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    completion = None if sys.argv[5] == "none" else sys.argv[5]
    shared = sys.argv[6:] == ["shared"]
    trainer = build_sft_trainer(model, str(out / "run"), batch, accumulation, among_labels=completion, shared=shared)
    write_record(trainer, record(trainer), out)
