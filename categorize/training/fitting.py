"""From a trainer that is ready to a trained model in the run folder: what heads and causal models have in common."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from categorize.errors import UserError
from categorize.nn.parameters import parameter_counts
from categorize.processes import is_main_process, print0
from categorize.runs.fingerprint import weights_fingerprint
from categorize.runs.folder import LOG, RunWriter
from categorize.training.checkpoints import Progress, checkpoint_to_resume
from categorize.training.fit_summary import FitOptions, FitSummary
from categorize.training.inputs import Inputs
from categorize.training.stopping import deferred
from categorize.writing import disk_errors

_UNWANTED = ("training_args.bin", "README.md")  # a pickle, and peft's empty card


@dataclass(frozen=True)
class Prepared:
    """A trainer that is ready, and what its run holds and says beside weights.

    Attributes:
        trainer: a `StepBatches`.
        precision: what is computed in, and why.
        inputs: its rows before they were encoded.
        files: JSON files of the run by name, beside the log.
        base: the model that an adapter is trained on; None for full weights.
        max_length: longest input in tokens.
        details: the method's own facts of the summary.
    """

    trainer: Any
    precision: str
    inputs: Inputs
    files: dict[str, Any]
    base: str | None
    max_length: int
    details: dict[str, Any]

    @property
    def tokenizer(self) -> Any:
        """The model's."""
        return self.trainer.processing_class


def fit_with_trainer(prepared: Prepared, writer: RunWriter, options: FitOptions) -> FitSummary:
    """Train, from the last whole checkpoint where the run is resumed, and write the model and its files into the run.

    Raises:
        UserError: the run is to be resumed from a checkpoint without the optimizer, or on another base.
    """
    from categorize.training.throughput import Throughput
    from categorize.training.throughput import line as speed_line

    trainer, base = prepared.trainer, prepared.base
    checkpoint = checkpoint_to_resume(writer, options.resume)
    if checkpoint is not None and not any(checkpoint.glob("rng_state*")):  # saved where the optimizer is
        raise UserError(
            f"{checkpoint}: training.save_only_model left out the optimizer, so that the run cannot be continued as it "
            "was; start anew with --overwrite alone"
        )
    # Read now: training deletes old checkpoints, this one too in time.
    before = Progress() if checkpoint is None else Progress.read(checkpoint)
    fingerprint = None if base is None else weights_fingerprint(base, trainer.model.config)
    if before.base is not None and fingerprint != before.base:
        raise UserError(
            f"{base}: its weights are not those that the interrupted run began with, which its adapter belongs to; put "
            "those back, or start anew with --overwrite alone"
        )
    trained, total = parameter_counts(trainer.model)
    print0(f"  {prepared.precision}; {trained:,} of {total:,} parameters trained")
    if is_main_process():
        for name, content in prepared.files.items():  # now, so that a checkpoint can be read as the run at that step
            writer.write_json(name, content)
    _send_logs_to(writer.path / "logs", trainer)
    trainer.begin(replace(before, base=fingerprint))
    throughput = Throughput()
    with disk_errors(writer.path):
        with deferred(), throughput.watching(trainer):
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        trainer.save_model(str(writer.path))
    progress, state = trainer.progress(), trainer.state
    speed = throughput.facts(trainer)
    if speed:
        print0(f"  {speed_line(speed)}")
    if is_main_process():
        for name in _UNWANTED:
            (writer.path / name).unlink(missing_ok=True)
        for path in writer.checkpoints.glob("*"):
            if path.is_file():  # of a logger that knows no other place: CodeCarbon's emissions.csv
                path.replace(writer.stage(f"logs/{path.name}"))
        writer.write_json(LOG, state.log_history)
    if trainer.args.load_best_model_at_end and state.best_global_step:
        print0(
            f"  best {trainer.args.metric_for_best_model} {state.best_metric:.4f} at step {state.best_global_step} of "
            f"{state.global_step}; these weights are kept"
        )
    epochs = float(state.epoch or 0)
    facts = {
        "steps": int(state.global_step),
        "epochs": epochs,
        "train_loss": progress.loss / max(state.global_step, 1),
        "precision": prepared.precision,
        "best_metric": state.best_metric,
        "best_step": state.best_global_step,
        "resumed_from": checkpoint.name if checkpoint else None,
        "starts": progress.starts,
        **({"base_fingerprint": fingerprint} if fingerprint else {}),
        **trainer.facts(),
        "truncated_rows": trainer.rows.truncated,
        **speed,
        **prepared.inputs.details(),
        **prepared.details,
    }
    rows = round(trainer.rows_an_epoch * epochs)
    return FitSummary(
        trained,
        total,
        progress.seconds,
        rows,
        round(float(trainer.rows.lengths.mean()) * rows),  # with a balance, of rows of average length
        facts,
        rows_an_epoch=trainer.rows_an_epoch,
        seconds_before=before.seconds,
    )


def _send_logs_to(folder: Path, trainer: Any) -> None:
    """TensorBoard's files into the run itself: upstream puts them between the checkpoints, which may be deleted."""
    from transformers.integrations import TensorBoardCallback

    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, TensorBoardCallback) and callback.logging_dir is None:
            callback.logging_dir = str(folder / "tensorboard")
