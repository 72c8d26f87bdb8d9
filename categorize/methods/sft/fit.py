"""From a recipe and its rows to a causal model that answers with labels: tuned whole, by adapter, or on quantized
weights (QLoRA)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from categorize.data.splits import LoadedData
from categorize.engines.batching import model_inputs
from categorize.engines.label_scoring import LabelScorer
from categorize.engines.scoring_plan import ScoringPlan
from categorize.engines.shared_prefix import SharedPrefix
from categorize.features.shots import RetrievedPrompt, ShotSets
from categorize.methods.sft.model import CAUSAL, Causal, align_end, build_causal, label_counts
from categorize.methods.sft.predictor import CausalPredictor, prediction_mode
from categorize.methods.sft.section import learns_among_labels
from categorize.nn.head_output import head_output
from categorize.nn.text_tokens import PromptTokens
from categorize.predictions import Predictions
from categorize.processes import is_main_process, print0
from categorize.prompts.tokens import EncodedPrompt, PromptFormat
from categorize.recipe.decision_sections import CausalPredictionSection
from categorize.recipe.sections import SftRecipe
from categorize.runs.folder import PROMPT, RunWriter
from categorize.training.arguments import build_sft_arguments, check_metric
from categorize.training.costs import preview_lines
from categorize.training.fit_summary import FitOptions, FitSummary
from categorize.training.fitting import Prepared, fit_with_trainer
from categorize.training.inputs import Inputs, training_inputs
from categorize.training.watching import Read, early_stopping, measures_of_documents

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from categorize.training.label_set_loss import LabelSetLoss
    from categorize.training.sft_trainer import Predict


def fit(recipe: SftRecipe, data: LoadedData, writer: RunWriter, options: FitOptions) -> FitSummary:
    """Train, and write model or adapter, tokenizer, settings and prompt into the run."""
    prepared = prepare(recipe, data, writer.checkpoints, options, writer)
    return fit_with_trainer(prepared, writer, options)


def prepare(
    recipe: SftRecipe, data: LoadedData, checkpoints: Path, options: FitOptions, writer: RunWriter | None = None
) -> Prepared:
    """Model, rows with their prompts and trainer of a recipe; examples that were chosen for the prompts are written."""
    from transformers import set_seed

    from categorize.training.sft_trainer import LabelSFTTrainer
    from categorize.training.shared_prefix import share_prefix

    label_set, among = data.label_set, learns_among_labels(recipe)
    prediction_mode(recipe.prediction, label_set, recipe.prompt.completion)  # refuses before weights are loaded
    check_metric(recipe.training, label_set)
    shots = None
    if recipe.prompt.retrieval is not None:
        shots = ShotSets.choose(recipe.prompt, data.splits.train, label_set)
        if writer is not None and is_main_process():
            shots.save(writer)
    set_seed(recipe.seed)

    def prompt_for(tokenizer: PreTrainedTokenizerBase, max_length: int) -> PromptFormat:
        prompt = PromptFormat.from_section(recipe.prompt, label_set, tokenizer, max_length)
        prompt.check_answers()
        return prompt if shots is None else RetrievedPrompt(prompt, shots)

    causal = build_causal(recipe, options.trust_remote_code, fits=prompt_for)
    max_length = causal.settings.max_length
    prompt = prompt_for(causal.tokenizer, max_length)
    if shots is not None:
        print0(f"  {shots.line()}")
    align_end(causal, prompt)
    inputs = training_inputs(recipe, data, PromptTokens(prompt))
    inputs.announce()
    loss = label_set_loss(recipe, prompt, inputs) if among else None
    arguments, precision = build_sft_arguments(
        recipe,
        checkpoints=checkpoints,
        label_set=label_set,
        max_length=max_length * (len(loss.plan.contexts) if loss is not None else 1),
        has_validation=inputs.validation.num_rows > 0,
    )
    shared = SharedPrefix(causal.model, arguments.device, allowed=arguments.world_size == 1)
    answer, read = answering(causal, prompt, recipe.prediction, arguments, shared)
    if loss is not None:
        read = loss.read
    trainer = LabelSFTTrainer(
        model=causal.model,
        args=arguments,
        train_rows=encode_rows(prompt, inputs.train),
        eval_rows=encode_rows(prompt, inputs.validation),
        weights=inputs.weights,
        predict=answer,
        begin_evaluation=shared.forget,
        label_set_loss=loss,
        targets=(inputs.targets, label_set.encode_rows(inputs.validation)),
        measures=measures_of_documents(data, inputs.validation, read),
        grouping=recipe.training.length_grouping,
        balance=inputs.balance,
        processing_class=causal.tokenizer,
        callbacks=early_stopping(recipe.training),
    )
    share_prefix(trainer, recipe.training.shared_prefix)
    kind = "tokens" if loss is None else "label_set"
    causal.settings = replace(
        causal.settings,
        loss=kind,
        label_counts=label_counts(data.splits.train),
        prior="contextual" if recipe.prediction.prior == "contextual" else "none",  # others once it is trained
        length_normalization=recipe.prediction.length_normalization is True,
    )
    files = {CAUSAL: causal.settings.to_dict(), PROMPT: prompt.to_dict()}
    details = {"prefix_tokens": len(prompt.prefix_ids)}
    return Prepared(trainer, precision.reason, inputs, files, causal.settings.base, max_length, details)


def label_set_loss(recipe: SftRecipe, prompt: PromptFormat, inputs: Inputs) -> LabelSetLoss:
    """What learns labels among each other, read as predicting reads them."""
    from categorize.training.label_set_loss import LabelSetLoss

    label_set = prompt.label_set
    output = head_output(
        label_set,
        label_smoothing=float(recipe.training.upstream().get("label_smoothing_factor", 0.0)),
        positive_weight=tuple(inputs.class_weights.values()) if label_set.is_multi_label else None,
    )
    return LabelSetLoss(ScoringPlan.of(prompt), output)


def encode_rows(prompt: PromptFormat, rows: pa.Table) -> list[EncodedPrompt]:
    """Every row with its answer; texts that are too long are shortened, no row is dropped."""
    prompt.check_answers()
    fields = model_inputs(rows, prompt)
    gold, scores = rows.column("gold").to_pylist(), rows.column("gold_score").to_pylist()
    return prompt.encode_all(fields, gold=gold, score=scores)


def answering(
    causal: Causal, prompt: PromptFormat, section: CausalPredictionSection, arguments: Any, shared: SharedPrefix
) -> tuple[Predict, Read]:
    """What the model being trained answers to rows, for evaluation, and how the answers are read.

    An evaluation batch is cut by the bounds of `section`, as predicting is: several labels of several tokens, or the
    keys and values of long rows, would not fit where the loss of the batch does. Several processes take whole
    sequences, in equally many passes: a sharded model must make the same ones everywhere.
    """
    from scipy.special import softmax

    alone = arguments.world_size == 1

    def score(model: Any, rows: Sequence[EncodedPrompt]) -> list[Any]:
        scorer = LabelScorer(prompt, shared.through(model), section)
        if alone:
            return list(softmax(scorer.in_batches(rows, section.most_rows, section.most_tokens), axis=1))
        bound = max(1, min(section.most_rows, section.most_tokens // prompt.max_length))
        sequences = arguments.eval_batch_size * len(scorer.plan.contexts)
        return list(softmax(scorer.in_passes(rows, -(-sequences // bound)), axis=1))

    def scored(ids: list[str], answers: list[Any]) -> Predictions:
        return Predictions(ids, probabilities=np.stack(answers))

    def generate(model: Any, rows: Sequence[EncodedPrompt]) -> list[Any]:
        predictor = CausalPredictor(causal, prompt, section, arguments.device)
        return list(predictor.generate(rows, in_step=not alone)[0])

    def generated(ids: list[str], answers: list[Any]) -> Predictions:
        return prompt.predictions(ids, answers, section.parsing)

    mode = prediction_mode(section, prompt.label_set, prompt.settings.completion)
    return (score, scored) if mode == "scoring" else (generate, generated)


def preview(recipe: SftRecipe, data: LoadedData, options: FitOptions) -> list[str]:
    """Lines for the terminal, with a rendered example whose loss mask is shown. Model and trainer are built and take a
    few steps, in a folder that goes at once."""
    with TemporaryDirectory() as folder:
        prepared = prepare(recipe, data, Path(folder), options)
        rows, lengths, decode = prepared.trainer.train_rows, prepared.trainer.rows.lengths, prepared.tokenizer.decode
        shared = sum(len(row.prefix_ids) for row in rows) / lengths.sum()
        example = [
            f"shared instruction: {prepared.details['prefix_tokens']} tokens, {shared:.0%} of all tokens",
            "example, no loss on this:",
            *(f"  | {line}" for line in decode(rows[0].prompt_ids).splitlines()),
            *_learned(prepared.trainer, decode),
        ]
        return preview_lines(data, prepared, example, recipe)


def _learned(trainer: Any, decode: Any) -> list[str]:
    """What the loss is on of the first row."""
    loss, answer = trainer.label_set_loss, trainer.train_rows[0].completion_ids
    if loss is None:
        return [f"loss on these {len(answer)} tokens: {decode(answer)!r}"]
    names, plan = loss.output.label_set.names, loss.plan
    gold = [name for name, value in zip(names, trainer.rows.targets[0], strict=True) if value > 0.5]
    return [
        *([f"  | (a label each) {decode(plan.contexts[0])!r}"] if plan.yes_no else []),
        f"loss on the probability of {', '.join(gold) or 'none'} among {len(names)} labels, from "
        f"{len(plan.contexts)} sequence{'s' * (len(plan.contexts) > 1)} a row",
    ]
