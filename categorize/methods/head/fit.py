"""From a recipe and its rows to a trained head: whole, by adapter, or the head alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from categorize.data.auxiliary import auxiliary_scores
from categorize.data.splits import LoadedData
from categorize.engines.batching import model_inputs
from categorize.errors import UserError
from categorize.methods.head.model import HeadKind, HeadSettings, build_head
from categorize.methods.head.predictor import encode_texts
from categorize.methods.head.probe import begin_as_probe
from categorize.methods.head.section import HeadKeys
from categorize.nn.text_tokens import text_tokens
from categorize.predictions import FloatArray
from categorize.processes import print0
from categorize.recipe.sections import SeqclsRecipe
from categorize.runs.folder import PROMPT, RunWriter
from categorize.training.arguments import ADAPTER_DEFAULTS, HEAD_ONLY_DEFAULTS, check_metric
from categorize.training.costs import preview_lines
from categorize.training.fit_summary import FitOptions, FitSummary
from categorize.training.fitting import Prepared, fit_with_trainer
from categorize.training.inputs import training_inputs

if TYPE_CHECKING:
    from categorize.training.trainer import EncodedRows

EXAMPLE_TOKENS = 48


def fit(
    recipe: SeqclsRecipe, data: LoadedData, writer: RunWriter, options: FitOptions, kind: HeadKind | None = None
) -> FitSummary:
    """Train, and write model or adapter, tokenizer, head settings and prompt into the run."""
    prepared = prepare(recipe, data, writer.checkpoints, options, kind)
    return fit_with_trainer(prepared, writer, options)


def prepare(
    recipe: SeqclsRecipe, data: LoadedData, checkpoints: Path, options: FitOptions, kind: HeadKind | None = None
) -> Prepared:
    """Model, tokenized rows and trainer of a recipe. Seeds every generator first, so that a new head is the same
    each time."""
    from transformers import set_seed

    from categorize.training.heads import head_trainer, loss_options
    from categorize.training.trainer import EncodedRows

    section, label_set = recipe.model, data.label_set
    assert isinstance(section, HeadKeys)
    check_metric(recipe.training, label_set)
    names = list(recipe.training.auxiliary or {})
    for split in ("train", "validation", "test"):  # before a model is loaded
        auxiliary_scores(data.splits[split], names, label_set)
    set_seed(recipe.seed)
    head = build_head(recipe, label_set, options.trust_remote_code, kind)
    max_length, prompt = head.settings.max_length, head.prompt
    inputs = training_inputs(recipe, data, text_tokens(head.tokenizer, max_length, prompt))
    inputs.announce()
    targets = inputs.targets
    if label_set.is_regression:
        targets = np.hstack([targets, auxiliary_scores(inputs.train, names, label_set)])
        head.settings = scaled_to(head.settings, targets)
    output = head.output(label_set, **loss_options(recipe, data, inputs))

    def encode(rows: pa.Table, targets: FloatArray, weights: FloatArray) -> EncodedRows:
        return EncodedRows(encode_texts(head, model_inputs(rows, prompt)), output.scaled(targets), weights)

    learned = encode(inputs.train, targets, inputs.weights)
    if section.head_init == "probe":
        probe = begin_as_probe(head, output, learned.tokens, learned.targets, learned.weights, recipe.seed)
        head.note = "; ".join([*([head.note] if head.note else []), probe])
    if head.note:
        print0(f"  {head.note}")
    held_out, validation = None, inputs.validation
    if validation.num_rows:
        gold = label_set.encode_rows(validation)
        if label_set.is_regression:
            gold = np.hstack([gold, auxiliary_scores(validation, names, label_set)])
        held_out = encode(validation, gold, np.ones(validation.num_rows))
    trainer, precision = head_trainer(
        recipe,
        data,
        inputs,
        output,
        head.model,
        learned,
        held_out,
        tokenizer=head.tokenizer,
        max_length=max_length,
        checkpoints=checkpoints,
        defaults=ADAPTER_DEFAULTS if recipe.adapter else HEAD_ONLY_DEFAULTS if section.freeze else {},
        r_drop=recipe.training.r_drop or 0.0,
    )
    files = {head.kind.file: head.settings.to_dict(), **({} if prompt is None else {PROMPT: prompt.to_dict()})}
    details = {"head": head.note} if head.note else {}
    return Prepared(trainer, precision, inputs, files, head.settings.base, max_length, details)


def scaled_to(settings: HeadSettings, targets: FloatArray) -> HeadSettings:
    """Settings that scale scores to a mean of 0 and a deviation of 1 over these rows, [rows, scores]; of further scores
    over those that are known.

    Raises:
        UserError: a further score that no training row has.
    """
    scales = []
    for column, name in zip(targets.T, ["", *(one["name"] for one in settings.auxiliary)], strict=True):
        known = column[~np.isnan(column)]
        if name and not len(known):
            raise UserError(f"training.auxiliary: no training row has a number in column {name!r}; remove it")
        scales.append((float(known.mean()), float(known.std()) or 1.0))
    (mean, std), *others = scales
    pairs = zip(settings.auxiliary, others, strict=True)
    further = [{**one, "mean": of_one[0], "std": of_one[1]} for one, of_one in pairs]
    return replace(settings, target_mean=mean, target_std=std, auxiliary=further)


def preview(recipe: SeqclsRecipe, data: LoadedData, options: FitOptions, kind: HeadKind | None = None) -> list[str]:
    """Lines for the terminal. Model and trainer are built and take a few steps, in a folder that goes at once."""
    with TemporaryDirectory() as folder:
        prepared = prepare(recipe, data, Path(folder), options, kind)
        first = prepared.trainer.rows.tokens[0].tolist()
        pieces = prepared.tokenizer.convert_ids_to_tokens(first[:EXAMPLE_TOKENS])
        shown = " ".join(repr(piece)[1:-1] for piece in pieces)
        example = [
            f"example as the model reads it: {shown}{' ...' if len(first) > EXAMPLE_TOKENS else ''}",
            f"  {_target(data, prepared.inputs.train)}; the head reads every token, the loss is on that alone",
        ]
        return preview_lines(data, prepared, example, recipe)


def _target(data: LoadedData, rows: pa.Table) -> str:
    """What the first row is to be answered with."""
    if data.label_set.is_regression:
        return f"its score: {rows.column('gold_score')[0].as_py()}"
    labels = rows.column("gold")[0].as_py()
    return f"its label{'s' if data.label_set.is_multi_label else ''}: {', '.join(labels) or 'none'}"
