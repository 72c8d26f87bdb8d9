"""The head method: fine-tune an encoder or decoder with a classification or regression head, whole, by adapter, or
head alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from categorize.methods.head.model import HEAD, Head, build_head
from categorize.methods.head.predictor import encode_texts
from categorize.methods.head.section import HeadModel
from categorize.metrics.decision import DecisionRule
from categorize.metrics.measures import measure
from categorize.metrics.progress import flat
from categorize.nn.head_output import Output
from categorize.nn.text_tokens import text_tokens
from categorize.prediction.predictor import SegmentPredictions
from categorize.predictions import FloatArray
from categorize.processes import is_main_process
from categorize.prompts.tokens import PromptFormat
from categorize.recipe.sections import SeqclsRecipe
from categorize.runs.folder import PROMPT, RunWriter
from categorize.training.arguments import (
    ADAPTER_DEFAULTS,
    HEAD_ONLY_DEFAULTS,
    build_arguments,
    check_metric,
)
from categorize.training.balance import build_balance
from categorize.training.class_weights import class_weights, named_weights, weights_line
from categorize.training.fit_summary import FitOptions, FitSummary
from categorize.training.fitting import fit_with_trainer
from categorize.training.inputs import Inputs, training_inputs

if TYPE_CHECKING:
    from categorize.data.splits import LoadedData
    from categorize.labels import LabelSet
    from categorize.training.trainer import EncodedRows, HeadTrainer


def fit(recipe: SeqclsRecipe, data: LoadedData, writer: RunWriter, options: FitOptions) -> FitSummary:
    """Train, and write model or adapter, tokenizer, head settings and prompt into the run."""
    prepared = prepare(recipe, data, writer.checkpoints, options)
    files = {HEAD: prepared.head.settings.to_dict()}
    if prepared.prompt is not None:
        files[PROMPT] = prepared.prompt.to_dict()
    return fit_with_trainer(
        prepared.trainer,
        writer,
        options,
        files=files,
        lengths=prepared.rows.tokens.lengths,
        precision=prepared.precision,
        base=prepared.head.settings.base,
        details={
            "truncated_rows": prepared.truncated,
            **({"head": prepared.head.note} if prepared.head.note else {}),
            **({"class_weights": prepared.class_weights} if prepared.class_weights else {}),
            **prepared.inputs.details(),
        },
    )


@dataclass(frozen=True)
class Prepared:
    """Everything that training a head needs, built from a recipe and its rows."""

    head: Head
    prompt: PromptFormat | None
    rows: EncodedRows
    trainer: HeadTrainer
    precision: str
    truncated: int
    inputs: Inputs
    class_weights: dict[str, float]


def prepare(recipe: SeqclsRecipe, data: LoadedData, checkpoints: Path, options: FitOptions) -> Prepared:
    """Model, tokenized rows and trainer of a recipe. Seeds every generator first, so that a new head is the same
    each time."""
    from transformers import EarlyStoppingCallback, PrinterCallback, ProgressCallback, set_seed

    from categorize.training.step_batches import ProgressLines
    from categorize.training.trainer import Collator, HeadTrainer

    section = recipe.model
    assert isinstance(section, HeadModel)
    check_metric(recipe.training, data.label_set)
    set_seed(recipe.seed)
    head = build_head(recipe, data.label_set, options.trust_remote_code)
    prompt = None
    if recipe.prompt is not None:
        prompt = PromptFormat.from_section(recipe.prompt, data.label_set, head.tokenizer, head.settings.max_length)
    inputs = training_inputs(data, text_tokens(head.tokenizer, head.settings.max_length, prompt))
    if head.note and is_main_process():
        print(f"  {head.note}", flush=True)
    inputs.announce()
    train, validation = inputs.train, inputs.validation
    targets = _targets(data.label_set, train)
    if data.label_set.is_regression:
        mean, std = float(targets.mean()), float(targets.std())
        head.settings = replace(head.settings, target_mean=mean, target_std=std if std > 0 else 1.0)
    weights = train.column("weight").to_numpy().astype("float64")
    per_label = class_weights(recipe.training.class_weights, data.label_set, targets, weights)
    named = named_weights(recipe, data.label_set, train)
    if named and is_main_process():
        print(f"  {weights_line(named)}", flush=True)
    positive = None
    if data.label_set.is_multi_label:
        positive = tuple(per_label.tolist()) if recipe.training.class_weights is not None else None
    elif not data.label_set.is_regression:
        weights = weights * (targets @ per_label)
    balance = build_balance(recipe.training.balance, data.label_set, targets)
    if balance is not None and is_main_process():
        print(f"  {balance.line()}", flush=True)
    smoothing = float(recipe.training.upstream().get("label_smoothing_factor", 0.0))
    output = head.output(data.label_set, label_smoothing=smoothing, positive_weight=positive)
    rows = _encode(head, output, prompt, train, targets, weights)
    held_out = None
    if validation.num_rows:
        held_out = _encode(head, output, prompt, validation, _targets(data.label_set, validation), None)

    defaults = ADAPTER_DEFAULTS if recipe.adapter else HEAD_ONLY_DEFAULTS if section.freeze else {}
    arguments, precision = build_arguments(
        recipe.training,
        checkpoints=checkpoints,
        seed=recipe.seed,
        label_set=data.label_set,
        max_length=head.settings.max_length,
        defaults=defaults,
        has_validation=held_out is not None,
    )
    callbacks: list[Any] = [ProgressLines()]
    stopping = recipe.training.early_stopping
    if stopping is not None:
        callbacks.append(EarlyStoppingCallback(stopping.patience, stopping.threshold))
    import torch

    trainer = HeadTrainer(
        model=head.model,
        args=arguments,
        train_dataset=rows,
        eval_dataset=held_out,
        data_collator=Collator(head.model.config.pad_token_id, 8 if torch.cuda.is_available() else 1),
        processing_class=head.tokenizer,
        callbacks=callbacks,
        objective=output.loss,
        measures=_measures(data, validation, output),
        grouping=recipe.training.length_grouping,
        balance=balance,
    )
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    return Prepared(head, prompt, rows, trainer, precision.reason, rows.tokens.truncated, inputs, named)


def _targets(label_set: LabelSet, rows: pa.Table) -> FloatArray:
    return label_set.encode(rows.column("gold").to_pylist(), rows.column("gold_score").to_pylist())


def _encode(
    head: Head,
    output: Output,
    prompt: PromptFormat | None,
    rows: pa.Table,
    targets: FloatArray,
    weights: FloatArray | None,
) -> EncodedRows:
    """Tokenized rows with (standardised) targets; weight 1 each where none are given."""
    from categorize.engines.batching import model_inputs
    from categorize.training.trainer import EncodedRows

    tokens = encode_texts(head, model_inputs(rows, prompt), prompt)
    return EncodedRows(tokens, output.scaled(targets), weights if weights is not None else np.ones(rows.num_rows))


def _measures(data: LoadedData, segments: pa.Table, output: Output) -> Any:
    """From logits of the validation rows to the measures that are logged and choose the best checkpoint: those of
    documents, as in an evaluation, decided by the default rule."""
    label_set, spec = data.label_set, data.input_spec
    gold = _targets(label_set, spec.documents(segments))
    ids = segments.column("id").to_pylist()
    rule = DecisionRule.default(label_set)

    def compute(logits: FloatArray) -> dict[str, float]:
        predictions = output.predictions(ids, logits)
        return flat(measure(label_set, gold, SegmentPredictions(predictions, segments, spec).decide(rule)))

    return compute
