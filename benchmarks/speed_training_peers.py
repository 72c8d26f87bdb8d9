"""Trainings of `speed.py` by reference implementations, in the process of `speed_peers.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from speed_peers import Job, Timed

WARM_STEPS = 1


def clock() -> Any:
    """A callback of a trainer that times its steps behind the first ones, without what it does before them."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == WARM_STEPS:
                self.timed = Timed()

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.found = self.timed.result(0)
            self.share = 1 - WARM_STEPS / state.max_steps

    return Clock()


def head(job: Job) -> dict[str, Any]:
    """transformers' own example for classifying texts: rows padded to 128 tokens, or to the longest of their batch."""
    from datasets import Dataset
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
        default_data_collator,
        set_seed,
    )

    set_seed(1)
    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    names = sorted(set(job["labels"]))
    model = AutoModelForSequenceClassification.from_pretrained(job["model"], num_labels=len(names))
    padding = "max_length" if job["fixed"] else False
    arguments = TrainingArguments(
        job["work"],
        use_cpu=True,
        bf16=job["dtype"] == "bfloat16",
        report_to="none",
        save_strategy="no",
        num_train_epochs=1,
        per_device_train_batch_size=job["batch"],
        learning_rate=5e-5,
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )

    rows = Dataset.from_dict({"text": job["texts"], "label": [names.index(label) for label in job["labels"]]})
    rows = rows.map(
        lambda batch: tokenizer(batch["text"], padding=padding, truncation=True, max_length=128), batched=True
    )
    collator, timed = default_data_collator if job["fixed"] else DataCollatorWithPadding(tokenizer), clock()
    Trainer(
        model, arguments, train_dataset=rows, data_collator=collator, processing_class=tokenizer, callbacks=[timed]
    ).train()
    return {**timed.found, "rows": round(len(job["texts"]) * timed.share)}


def sft(job: Job) -> dict[str, Any]:
    """TRL's SFTTrainer on the same prompts and completions: stock (rows padded to the longest of their batch), packed,
    or with its language model head restricted to the positions with a loss."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
    from trl import SFTConfig, SFTTrainer

    class Restricted(SFTTrainer):  # type: ignore[misc]
        """Projects hidden states to the vocabulary only where some row of the batch has a loss."""

        def compute_loss(
            self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            targets = torch.nn.functional.pad(inputs["labels"], (0, 1), value=-100)[:, 1:]
            kept = torch.nonzero((targets != -100).any(dim=0)).flatten()
            outputs = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], logits_to_keep=kept)
            chosen = targets[:, kept]
            loss = torch.nn.functional.cross_entropy(
                outputs.logits.float().flatten(0, 1), chosen.flatten(), ignore_index=-100, reduction="sum"
            )
            loss = loss / (num_items_in_batch if num_items_in_batch is not None else (chosen != -100).sum())
            return (loss, outputs) if return_outputs else loss

    set_seed(1)
    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32)
    arguments = SFTConfig(
        output_dir=job["work"],
        use_cpu=True,
        bf16=job["dtype"] == "bfloat16",
        report_to="none",
        save_strategy="no",
        num_train_epochs=1,
        per_device_train_batch_size=1 if job["packing"] else job["batch"],
        learning_rate=2e-4,
        activation_checkpointing=False,
        packing=job["packing"],
        max_length=4096,
        disable_tqdm=True,
        dataloader_pin_memory=False,
        dataset_kwargs={"skip_prepare_dataset": not job["packing"]},
    )
    adapter = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")
    pairs, timed = list(zip(job["prompts"], job["completions"], strict=True)), clock()
    rows = {
        "input_ids": [prompt + completion for prompt, completion in pairs],
        "labels": [[-100] * len(prompt) + completion for prompt, completion in pairs],
    }
    data, trainer = Dataset.from_dict(rows), Restricted if job["restricted"] else SFTTrainer
    more = {"processing_class": tokenizer, "peft_config": adapter, "callbacks": [timed]}
    trainer(model, args=arguments, train_dataset=data, **more).train()
    return {**timed.found, "rows": round(len(pairs) * timed.share)}


def products(job: Job) -> dict[str, Any]:
    """The matrix products of a training alone: of every linear layer forward, for what lies before it and for its own
    gradient, on as many tokens as a step's rows have without padding; as if that were all that rows take."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    lengths = [len(ids) for ids in AutoTokenizer.from_pretrained(job["model"])(job["texts"])["input_ids"]]
    tokens, dtype = round(job["batch"] * sum(lengths) / len(lengths)), getattr(torch, job["dtype"])
    layers = [one for one in AutoModel.from_pretrained(job["model"]).modules() if isinstance(one, torch.nn.Linear)]
    shapes = [
        (torch.ones(tokens, one.in_features), one.weight.detach(), torch.ones(tokens, one.out_features))
        for one in layers
    ]
    cast = [tuple(part.to(dtype) for part in one) for one in shapes]
    with torch.inference_mode():
        for repeats in (1, 8):  # the first warms up
            timed = Timed()
            for inputs, weight, gradient in cast * repeats:
                torch.mm(inputs, weight.t())
                torch.mm(gradient, weight)
                torch.mm(gradient.t(), inputs)
    return timed.result(repeats * job["batch"])


SIDES: dict[str, Callable[[Job], dict[str, Any]]] = {each.__name__: each for each in (head, sft, products)}
