"""A Trainer for heads whose loss is right under accumulation, several processes and uneven batches.

Upstream counts items by labels that are not -100 and believes that `*ForSequenceClassification` normalises by that
count
itself (transformers#47688). Here every micro-batch gives a weighted sum, divided by the weights of the whole
optimizer step
over all processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, Dataset
from transformers import Trainer, TrainerCallback
from transformers.trainer_utils import EvalLoopOutput

from categorize.models.tokenizer import TokenizedTexts, pad
from categorize.training.checkpoints import mark_complete
from categorize.training.objectives import Objective
from categorize.training.sampler import StepBatchSampler

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

WEIGHTS = "loss_weights"
SHOWN = ("loss", "accuracy", "macro_f1", "micro_f1", "pearson", "rmse")
Measures = Callable[["npt.NDArray[np.float64]"], dict[str, float]]


class EncodedRows(Dataset[dict[str, Any]]):
    """Tokenized rows with targets and loss weights.

    Item `~i` is row i as a repeat: it has weight 0 and is not counted as seen, see `StepBatchSampler`.
    """

    def __init__(
        self, tokens: TokenizedTexts, targets: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]
    ) -> None:
        self.tokens, self.targets, self.weights = tokens, targets, weights

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, i: int) -> dict[str, Any]:
        row = i if i >= 0 else ~i
        return {
            "row": row,
            "ids": self.tokens[row],
            "target": self.targets[row],
            "weight": self.weights[row] if i >= 0 else 0.0,
            "repeat": i < 0,
        }


class Collator:
    """Pads a micro-batch on the right; gives input_ids, attention_mask, labels [rows, labels], loss weights and row
    positions."""

    def __init__(self, pad_token_id: int, multiple: int = 1) -> None:
        self.pad_token_id, self.multiple = pad_token_id, multiple

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """The batch of these items."""
        import numpy as np

        batch = pad([item["ids"] for item in items], self.pad_token_id, self.multiple)
        batch["labels"] = torch.from_numpy(np.stack([item["target"] for item in items]).astype(np.float32))
        batch[WEIGHTS] = torch.tensor([item["weight"] for item in items], dtype=torch.float32)
        # -1 marks a repeat, which is neither trained on nor evaluated.
        batch["rows"] = torch.tensor([-1 if item["repeat"] else item["row"] for item in items], dtype=torch.int64)
        return batch


class _SetEpoch(TrainerCallback):  # type: ignore[misc]
    """Tells the sampler which epoch begins; the loader is not accelerate's own, which would do it."""

    def __init__(self, sampler: StepBatchSampler) -> None:
        self.sampler = sampler

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.sampler.set_epoch(int(state.epoch or 0))


class HeadTrainer(Trainer):  # type: ignore[misc]
    """Trains a head.

    Args:
        objective: the loss, as a sum over rows.
        measures: from logits [n, labels] of the evaluation rows, in their order, to what is logged.
        grouping: batches of rows of like length.
    """

    def __init__(
        self, *args: Any, objective: Objective, measures: Measures, grouping: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.objective = objective
        self.measures = measures
        self.grouping = grouping
        self.control: Any
        self.loss_is_scaled_for_ga = True  # `compute_loss` divides by the step's weights itself
        self.seen_rows: list[int] | None = None  # set to a list to record the rows of every forward pass, for tests

    # ------------------------------------------------------------ batches
    def _sampler(self, rows: EncodedRows, batch_size: int, accumulation: int) -> StepBatchSampler:
        return StepBatchSampler(
            rows.tokens.lengths,
            batch_size,
            accumulation=accumulation,
            processes=self.args.world_size,
            process=self.args.process_index,
            seed=self.args.seed,
            grouping=self.grouping,
        )

    def get_train_dataloader(self) -> DataLoader[Any]:
        """This process's batches. Not prepared by accelerate, which would shard what is sharded already and repeat
        rows."""
        sampler = self._sampler(self.train_dataset, self._train_batch_size, self.args.gradient_accumulation_steps)
        for callback in [one for one in self.callback_handler.callbacks if isinstance(one, _SetEpoch)]:
            self.remove_callback(callback)
        self.add_callback(_SetEpoch(sampler))
        return self._loader(self.train_dataset, sampler)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """This process's share of the evaluation rows."""
        rows = self.eval_dataset if eval_dataset is None else eval_dataset
        return self._loader(rows, self._sampler(rows, self.args.eval_batch_size, 1))

    def _loader(self, rows: Any, sampler: StepBatchSampler) -> DataLoader[Any]:
        generator = torch.Generator()
        generator.manual_seed(self.args.seed)
        return DataLoader(
            rows,
            batch_sampler=sampler,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
            generator=generator,
        )

    # ------------------------------------------------------------ loss
    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> torch.Tensor:
        """Sum of the loss weights of the optimizer step, over all processes."""
        total = torch.stack([batch[WEIGHTS].sum() for batch in batch_samples]).sum().to(device)
        if self.args.world_size > 1:
            total = self.accelerator.gather(total.reshape(1)).sum()
        return total

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """This micro-batch's share of the step's mean loss, times the number of processes, for gradients are
        averaged."""
        targets, weights, rows = inputs.pop("labels"), inputs.pop(WEIGHTS), inputs.pop("rows")
        if self.seen_rows is not None:
            self.seen_rows.extend(rows[rows >= 0].tolist())
        outputs = model(**inputs)
        loss = self.objective(outputs.logits, targets, weights)
        total = num_items_in_batch if num_items_in_batch is not None else weights.sum()
        # All weights of a step may be 0 (rows weighted away): its loss is 0, not a division by 0.
        loss = loss / total.clamp(min=torch.finfo(torch.float32).tiny) * self.args.world_size
        return (loss, outputs) if return_outputs else loss

    # ------------------------------------------------------------ evaluation
    def evaluation_loop(
        self,
        dataloader: DataLoader[Any],
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Logits of every evaluation row once, gathered from all processes, and the measures of them.

        Only logits are kept, so memory does not grow with hidden states (transformers#12878).
        """
        import numpy as np

        model = self._evaluation_model()
        model.eval()
        rows: list[int] = []
        logits: list[torch.Tensor] = []
        sums = torch.zeros(2, dtype=torch.float64)
        for batch in dataloader:
            batch = self._prepare_inputs(batch)
            targets, weights, positions = batch.pop("labels"), batch.pop(WEIGHTS), batch.pop("rows")
            with torch.no_grad(), self.compute_loss_context_manager():
                output = model(**batch).logits.float()
            kept = positions >= 0
            sums += torch.stack([self.objective(output, targets, weights), weights.sum()]).double().cpu()
            rows.extend(positions[kept].tolist())
            logits.append(output[kept].cpu())
            self.control = self.callback_handler.on_prediction_step(self.args, self.state, self.control)
        parts = self._gather((rows, torch.cat(logits).numpy() if logits else None, sums))
        dataset: Any = dataloader.dataset
        gathered = np.full((len(dataset), len(dataset.targets[0])), np.nan)
        for positions, values, _ in parts:
            gathered[positions] = values
        loss, weight = sum(part[2] for part in parts).tolist()
        metrics = {"loss": loss / weight if weight else 0.0, **self.measures(gathered)}
        prefixed = {f"{metric_key_prefix}_{name}": value for name, value in metrics.items()}
        return EvalLoopOutput(predictions=gathered, label_ids=None, metrics=prefixed, num_samples=len(dataset))

    def _evaluation_model(self) -> Any:
        """The wrapped model while training (sharded weights are gathered by its hooks), the bare one otherwise."""
        return self.model_wrapped if self.is_in_train else self.model

    def _gather(self, part: Any) -> list[Any]:
        if self.args.world_size == 1:
            return [part]
        from accelerate.utils import gather_object

        return list(gather_object([part]))

    # ------------------------------------------------------------ checkpoints
    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            mark_complete(Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}")


class ProgressLines(TrainerCallback):  # type: ignore[misc]
    """Prints losses and evaluations as plain lines, at most one a few seconds, with the time left."""

    SECONDS = 5.0

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.printed = 0.0
        self.first_step = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock."""
        self.started, self.first_step = time.monotonic(), state.global_step

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float] | None = None, **_: Any) -> None:
        """Print what was logged."""
        if not state.is_world_process_zero or not logs:
            return
        now = time.monotonic()
        at = f"step {state.global_step}/{state.max_steps}  epoch {state.epoch or 0:.2f}"
        if "loss" in logs:
            last = state.global_step >= state.max_steps
            if now - self.printed < self.SECONDS and not last:
                return
            self.printed = now
            done = max(state.global_step - self.first_step, 1)
            left = (now - self.started) / done * (state.max_steps - state.global_step)
            print(
                f"  {at}  loss {logs['loss']:.4f}  learning rate {logs.get('learning_rate', 0):.2e}  {left:.0f} s left",
                flush=True,
            )
        elif any(key.startswith("eval_") for key in logs):
            values = {name: logs[f"eval_{name}"] for name in SHOWN if f"eval_{name}" in logs}
            print(
                f"  {at}  validation: " + "  ".join(f"{key} {value:.4f}" for key, value in values.items()), flush=True
            )
