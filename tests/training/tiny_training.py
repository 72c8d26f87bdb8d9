"""One small training whose every gradient and logged loss is recorded; also a script, for several processes.

torchrun --nproc_per_node 2 -m tests.training.tiny_training MODEL OUT BATCH ACCUMULATION [BALANCE [TASK LOSS]]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROWS = 22  # no multiple of 8: the last optimizer step is short


def build_trainer(
    model_folder: str,
    output: str,
    batch: int,
    accumulation: int,
    *,
    task: str = "single_label",
    rows: int = ROWS,
    balance: str | None = None,
    loss: str | None = None,
    adapter: dict[str, Any] | None = None,
    bits: str | None = None,
    **training: Any,
) -> Any:
    """A `HeadTrainer` on rows of unlike lengths and weights, with plain SGD so that the gradient is the update.

    Args:
        loss: name of the loss; the task's usual one, smoothed, where there is none.
        adapter: section of a recipe.
        bits: what quantizes the base, such as `load_in_4bit`.
    """
    from dataclasses import replace

    import numpy as np
    import torch
    from transformers import TrainingArguments

    from categorize.labels import Label, LabelSet
    from categorize.methods.head.model import load_sequence_classifier
    from categorize.nn.adapters import add_adapter
    from categorize.nn.head_output import head_output
    from categorize.nn.tokenizer import TokenizedTexts
    from categorize.recipe.adapter_sections import AdapterSection, QuantizationSection
    from categorize.recipe.loss_sections import loss_of
    from categorize.training.balance import build_balance
    from categorize.training.class_weights import logit_adjustment
    from categorize.training.trainer import EncodedRows, HeadTrainer

    names = ("score",) if task == "regression" else ("a", "b", "c")
    label_set = LabelSet(task, tuple(Label(name) for name in names))  # type: ignore[arg-type]
    torch.manual_seed(0)
    quantization = QuantizationSection(**{bits: True}) if bits else None
    objective = loss_of(loss, task)
    head = head_output(label_set, objective=objective)
    loaded = load_sequence_classifier(
        model_folder, label_set, output=head, dtype=torch.float32, quantization=quantization
    )
    model: Any = loaded.model
    if adapter is not None:
        section = AdapterSection(**adapter)
        model = add_adapter(model, section, "SEQ_CLS", loaded.head_modules, activation_checkpointing=False)
    rng = np.random.default_rng(0)
    lists = [rng.integers(5, 40, size=int(rng.integers(3, 30))).tolist() for _ in range(rows)]
    if task == "regression":
        targets = rng.normal(size=(rows, 1))
    elif task == "multi_label":
        targets = (rng.random((rows, 3)) < 0.4).astype(float)
    else:
        targets = np.eye(3)[rng.integers(0, 3, size=rows)]
    data = EncodedRows(TokenizedTexts.from_lists(lists), targets, rng.uniform(0.5, 2.0, size=rows))
    head = replace(
        head,
        label_smoothing=0.1 if loss is None else 0.0,
        adjustment=logit_adjustment(objective, label_set, targets),
    )
    arguments = TrainingArguments(
        output_dir=output,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        use_cpu=True,
        seed=3,
        report_to="none",
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        disable_tqdm=True,
        **{
            "optim": "sgd",
            "learning_rate": 0.1,
            "lr_scheduler_type": "constant",
            "num_train_epochs": 2,
            "logging_steps": 1,
            "max_grad_norm": 0.0,
            "save_strategy": "no",
            "eval_strategy": "no",
            **training,
        },
    )
    return HeadTrainer(
        model=model,
        args=arguments,
        train_dataset=data,
        eval_dataset=data,
        objective=head.loss,
        balance=build_balance(balance, label_set, targets),
        measures=lambda logits: {"sum": float(np.abs(logits).sum())},
    )


def record(trainer: Any) -> dict[str, Any]:
    """Train; gives every optimizer step's gradient, the logged losses, the final weights and the rows that were
    seen."""
    import torch
    from transformers import TrainerCallback

    gradients: list[torch.Tensor] = []

    class Gradients(TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            grads = [p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None]
            gradients.append(torch.cat(grads).clone())

    trainer.add_callback(Gradients())
    trainer.seen_rows = []
    trainer.train()
    return {
        "gradients": gradients,
        "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
        "weights": {name: value.clone() for name, value in trainer.model.state_dict().items()},
        "seen": list(trainer.seen_rows),
    }


if __name__ == "__main__":
    from tests.training.two_processes import write_record

    model, out, batch, accumulation = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    balance, task, loss = (*sys.argv[5:], *["none", "single_label", "none"][len(sys.argv) - 5 :])
    trainer = build_trainer(
        model,
        str(out / "run"),
        batch,
        accumulation,
        balance=None if balance == "none" else balance,
        task=task,
        loss=None if loss == "none" else loss,
    )
    write_record(trainer, record(trainer), out)
