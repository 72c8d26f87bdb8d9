"""From a trainer that is ready to a trained model in the run folder: what heads and causal models have in common."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from categorize.errors import UserError
from categorize.models.head import parameter_counts
from categorize.processes import is_main_process
from categorize.runs import LOG, RunWriter, disk_errors
from categorize.training.checkpoints import checkpoint_to_resume
from categorize.training.method import FitOptions, FitSummary
from categorize.training.stopping import deferred

_UNWANTED = ("training_args.bin", "README.md")  # a pickle, and peft's empty card


def fit_with_trainer(
    trainer: Any,
    writer: RunWriter,
    options: FitOptions,
    *,
    files: dict[str, Any],
    lengths: npt.NDArray[np.int64],
    precision: str,
    details: dict[str, Any],
) -> FitSummary:
    """Train, from the last whole checkpoint where the run is resumed, and write the model and `files` into the run.

    Args:
        trainer: a `transformers.Trainer` with `StepBatches`.
        files: JSON files of the run by name, beside the log.
        lengths: tokens of each training row.
        precision: what is computed in, and why.
        details: the family's own facts of the summary.

    Raises:
        UserError: the run is to be resumed from a checkpoint without the optimizer.
    """
    checkpoint = checkpoint_to_resume(writer, options.resume)
    if checkpoint is not None and not any(checkpoint.glob("rng_state*")):  # saved where the optimizer is
        raise UserError(
            f"{checkpoint}: training.save_only_model left out the optimizer, so that the run cannot be continued as it "
            "was; start anew with --overwrite alone"
        )
    epochs_before = _epochs_before(checkpoint)  # now: training deletes old checkpoints, this one too in time
    trained, total = parameter_counts(trainer.model)
    if is_main_process():
        print(f"  {precision}; {trained:,} of {total:,} parameters trained", flush=True)
    _send_logs_to(writer.path / "logs", trainer)
    start = time.perf_counter()
    with disk_errors(writer.path):
        with deferred():
            output = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        trainer.save_model(str(writer.path))
    seconds = time.perf_counter() - start
    state = trainer.state
    if is_main_process():
        for name in _UNWANTED:
            (writer.path / name).unlink(missing_ok=True)
        for path in writer.checkpoints.glob("*"):
            if path.is_file():  # of a logger that knows no other place: CodeCarbon's emissions.csv
                path.replace(writer.stage(f"logs/{path.name}"))
        for name, content in {**files, LOG: state.log_history}.items():
            writer.write_json(name, content)
        if trainer.args.load_best_model_at_end and state.best_global_step:
            print(
                f"  best {trainer.args.metric_for_best_model} {state.best_metric:.4f} at step "
                f"{state.best_global_step} of {state.global_step}; these weights are kept",
                flush=True,
            )
    epochs = float(state.epoch or 0)
    facts = {
        "steps": int(state.global_step),
        "epochs": epochs,
        "train_loss": float(output.training_loss),
        "precision": precision,
        "best_metric": state.best_metric,
        "best_step": state.best_global_step,
        "resumed_from": checkpoint.name if checkpoint else None,
        **details,
    }
    # Seconds are this start's alone, and so are rows and tokens: those before a checkpoint took other seconds.
    rows = round(trainer.rows_an_epoch * (epochs - epochs_before))
    tokens = round(float(lengths.mean()) * rows)  # with a balance, of rows of average length
    return FitSummary(trained, total, seconds, rows, tokens, facts)


def _send_logs_to(folder: Path, trainer: Any) -> None:
    """TensorBoard's files into the run itself: upstream puts them between the checkpoints, which may be deleted."""
    from transformers.integrations import TensorBoardCallback

    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, TensorBoardCallback) and callback.logging_dir is None:
            callback.logging_dir = str(folder / "tensorboard")


def _epochs_before(checkpoint: Path | None) -> float:
    if checkpoint is None:
        return 0.0
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    return float(state["epoch"] or 0)
