"""The SFT method: tune a causal language model to answer with labels, whole, by adapter, or on quantized weights
(QLoRA)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from categorize.engines.batching import model_inputs
from categorize.engines.label_scoring import LabelScorer, share_prefix
from categorize.errors import UserError
from categorize.methods.sft.model import CAUSAL, Causal, align_end, build_causal
from categorize.methods.sft.predictor import CausalPredictor, prediction_mode
from categorize.metrics.decision import DecisionRule
from categorize.metrics.measures import measure
from categorize.metrics.progress import flat
from categorize.nn.text_tokens import PromptTokens
from categorize.prediction.predictor import SegmentPredictions
from categorize.predictions import FloatArray, Predictions
from categorize.processes import is_main_process
from categorize.prompts.tokens import EncodedPrompt, PromptFormat
from categorize.recipe.sections import CausalPredictionSection, SftRecipe
from categorize.runs.folder import PROMPT, RunWriter
from categorize.training.arguments import build_sft_arguments, check_metric
from categorize.training.balance import build_balance
from categorize.training.class_weights import class_weights, named_weights, weights_line
from categorize.training.fit_summary import FitOptions, FitSummary
from categorize.training.fitting import fit_with_trainer
from categorize.training.inputs import Inputs, training_inputs

if TYPE_CHECKING:
    from categorize.data.splits import LoadedData
    from categorize.labels import LabelSet
    from categorize.training.sft_trainer import LabelSFTTrainer


def fit(recipe: SftRecipe, data: LoadedData, writer: RunWriter, options: FitOptions) -> FitSummary:
    """Train, and write model or adapter, tokenizer, settings and prompt into the run."""
    causal, prompt, trainer, precision, inputs = prepare(recipe, data, writer.checkpoints, options)
    named = named_weights(recipe, data.label_set, inputs.train)
    return fit_with_trainer(
        trainer,
        writer,
        options,
        files={CAUSAL: causal.settings.to_dict(), PROMPT: prompt.to_dict()},
        lengths=trainer.rows.lengths,
        precision=precision,
        base=causal.settings.base,
        details={
            "truncated_rows": sum(row.truncated for row in trainer.train_rows),
            "prefix_tokens": len(prompt.prefix_ids),
            **({"class_weights": named} if named else {}),
            **inputs.details(),
        },
    )


def prepare(
    recipe: SftRecipe, data: LoadedData, checkpoints: Path, options: FitOptions
) -> tuple[Causal, PromptFormat, LabelSFTTrainer, str, Inputs]:
    """Model, prompt, trainer of a recipe, the reason for its precision, and its rows."""
    from transformers import EarlyStoppingCallback, PrinterCallback, ProgressCallback, set_seed

    from categorize.training.sft_trainer import LabelSFTTrainer
    from categorize.training.step_batches import ProgressLines

    prediction_mode(recipe.prediction, data.label_set)  # refuses what cannot work before weights are loaded
    check_metric(recipe.training, data.label_set)
    set_seed(recipe.seed)
    causal = build_causal(recipe, options.trust_remote_code)
    prompt = PromptFormat.from_section(recipe.prompt, data.label_set, causal.tokenizer, causal.settings.max_length)
    align_end(causal, prompt)
    inputs = training_inputs(data, PromptTokens(prompt))
    inputs.announce()
    train, validation = inputs.train, inputs.validation
    has_validation = validation.num_rows > 0
    arguments, precision = build_sft_arguments(
        recipe,
        checkpoints=checkpoints,
        label_set=data.label_set,
        max_length=causal.settings.max_length,
        has_validation=has_validation,
    )
    callbacks: list[Any] = [ProgressLines()]
    if recipe.training.early_stopping is not None:
        stopping = recipe.training.early_stopping
        callbacks.append(EarlyStoppingCallback(stopping.patience, stopping.threshold))
    targets = data.label_set.encode(train.column("gold").to_pylist(), train.column("gold_score").to_pylist())
    balance = build_balance(recipe.training.balance, data.label_set, targets)
    if balance is not None and is_main_process():
        print(f"  {balance.line()}", flush=True)
    weights = row_weights(recipe, data.label_set, train)
    if (named := named_weights(recipe, data.label_set, train)) and is_main_process():
        print(f"  {weights_line(named)}", flush=True)
    trainer = LabelSFTTrainer(
        model=causal.model,
        args=arguments,
        train_rows=encode_rows(prompt, train),
        eval_rows=encode_rows(prompt, validation),
        weights=weights,
        predict=answers_of(causal, prompt, recipe.prediction, arguments),
        measures=_measures(data, validation),
        grouping=recipe.training.length_grouping,
        balance=balance,
        processing_class=causal.tokenizer,
        callbacks=callbacks,
    )
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    return causal, prompt, trainer, precision.reason, inputs


def encode_rows(prompt: PromptFormat, rows: pa.Table) -> list[EncodedPrompt]:
    """Every row with its answer; texts that are too long are shortened, no row is dropped."""
    prompt.check_answers()
    fields = model_inputs(rows, prompt)
    gold, scores = rows.column("gold").to_pylist(), rows.column("gold_score").to_pylist()
    return [prompt.encode(*one) for one in zip(fields, gold, scores, strict=True)]


def row_weights(recipe: SftRecipe, label_set: LabelSet, rows: pa.Table) -> FloatArray:
    """Weight of each row: its own times its label's. Raises UserError for class weights without single labels."""
    weights: FloatArray = rows.column("weight").to_numpy().astype("float64")
    choice = recipe.training.class_weights
    if choice is None:
        return weights
    if label_set.task not in ("single_label", "ordinal"):
        raise UserError(f"training.class_weights: a row of a {label_set.task} task has no single label; leave it out")
    targets = label_set.encode(rows.column("gold").to_pylist())
    return weights * (targets @ class_weights(choice, label_set, targets, weights))


def answers_of(causal: Causal, prompt: PromptFormat, section: CausalPredictionSection, arguments: Any) -> Any:
    """What the model being trained answers to rows, for evaluation: one prediction a row.

    An evaluation batch is cut by the bounds of `section`, as predicting is: several labels of several tokens, or the
    keys and values of long rows, would not fit where the loss of the batch does. Several processes take whole
    sequences, in equally many passes: a sharded model must make the same ones everywhere.
    """
    from scipy.special import softmax

    mode = prediction_mode(section, prompt.label_set)
    alone = arguments.world_size == 1

    def score(model: Any, rows: list[EncodedPrompt]) -> list[Any]:
        scorer = LabelScorer(model, prompt, arguments.device, alone and share_prefix(causal.model))
        if alone:
            return list(softmax(scorer.in_batches(rows, section.batch_size, section.batch_tokens), axis=1))
        bound = max(1, min(section.batch_size, section.batch_tokens // prompt.max_length))
        sequences = arguments.eval_batch_size * len(scorer.plan.contexts)
        return list(softmax(scorer.in_passes(rows, -(-sequences // bound)), axis=1))

    def generate(model: Any, rows: list[EncodedPrompt]) -> list[Any]:
        predictor = CausalPredictor(causal, prompt, section, arguments.device)
        answers, _ = predictor.generate(rows, in_step=not alone)
        read = prompt.predictions([""] * len(rows), answers, section.parsing)
        return [read.take([i]) for i in range(len(rows))]

    return score if mode == "scoring" else generate


def _measures(data: LoadedData, segments: pa.Table) -> Any:
    """From the answers to the validation rows to the measures that are logged and choose the best checkpoint: those of
    documents, as in an evaluation, decided by the default rule."""
    label_set = data.label_set
    rows = data.input_spec.documents(segments)
    gold = label_set.encode(rows.column("gold").to_pylist(), rows.column("gold_score").to_pylist())
    ids = segments.column("id").to_pylist()
    rule = DecisionRule.default(label_set)

    def compute(answers: list[Any]) -> dict[str, float]:
        if isinstance(answers[0], Predictions):
            joined = replace(Predictions.concatenate(answers), ids=ids)
        else:
            joined = Predictions(ids, probabilities=np.stack(answers))
        return flat(measure(label_set, gold, SegmentPredictions(joined, segments, data.input_spec).decide(rule)))

    return compute
