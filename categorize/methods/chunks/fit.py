"""From a recipe and its rows to a trained chunk encoder with its aggregator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from categorize.data.splits import LoadedData
from categorize.methods.chunks.documents import DocumentChunks, document_chunks
from categorize.methods.chunks.model import CHUNKS, build_chunks
from categorize.methods.chunks.section import ChunksModel
from categorize.nn.text_tokens import text_tokens
from categorize.nn.tokenizer import tokenize
from categorize.predictions import FloatArray
from categorize.processes import print0
from categorize.recipe.loss_sections import loss_of
from categorize.recipe.sections import SeqclsRecipe
from categorize.runs.folder import RunWriter
from categorize.training.arguments import ADAPTER_DEFAULTS, build_arguments, check_metric
from categorize.training.costs import preview_lines
from categorize.training.fit_summary import FitOptions, FitSummary
from categorize.training.fitting import Prepared, fit_with_trainer
from categorize.training.inputs import training_inputs
from categorize.training.watching import early_stopping, measures_of_documents

if TYPE_CHECKING:
    from categorize.methods.chunks.rows import ChunkRows


def fit(recipe: SeqclsRecipe, data: LoadedData, writer: RunWriter, options: FitOptions) -> FitSummary:
    """Train, and write the network or its adapter, tokenizer and settings into the run."""
    return fit_with_trainer(prepare(recipe, data, writer.checkpoints, options), writer, options)


def prepare(recipe: SeqclsRecipe, data: LoadedData, checkpoints: Path, options: FitOptions) -> Prepared:
    """Network, tokenized chunks and trainer of a recipe. Seeds every generator first, so that new layers are the same
    each time."""
    from transformers import set_seed

    from categorize.methods.chunks.rows import ChunkCollator, ChunkRows
    from categorize.training.trainer import HeadTrainer

    section, label_set = recipe.model, data.label_set
    assert isinstance(section, ChunksModel)
    check_metric(recipe.training, label_set)
    set_seed(recipe.seed)
    chunks = build_chunks(recipe, label_set, options.trust_remote_code)
    max_length = chunks.settings.max_length
    counter = text_tokens(chunks.tokenizer, max_length)
    inputs = training_inputs(recipe, data, counter, unit="document")
    inputs.announce()
    if label_set.is_regression:
        mean, std = float(inputs.targets.mean()), float(inputs.targets.std())
        chunks.settings = replace(chunks.settings, target_mean=mean, target_std=std if std > 0 else 1.0)
    output = chunks.output(
        label_set,
        objective=loss_of(recipe.training.loss, label_set.task),
        label_smoothing=float(recipe.training.upstream().get("label_smoothing_factor", 0.0)),
        positive_weight=tuple(inputs.class_weights.values()) if label_set.is_multi_label else None,
        adjustment=inputs.adjustment,
    )
    cut: dict[str, DocumentChunks] = {}

    def encode(split: str, targets: FloatArray, weights: FloatArray) -> ChunkRows:
        cut[split] = documents = document_chunks(inputs.segments[split], counter, section.max_chunks, section.keep)
        if line := documents.line(split):
            print0(f"  {line}")
        tokens = tokenize(chunks.tokenizer, documents.texts, max_length)
        return ChunkRows(documents, tokens, output.scaled(targets), weights)

    held_out, validation = None, inputs.validation
    if validation.num_rows:
        held_out = encode("validation", label_set.encode_rows(validation), np.ones(validation.num_rows))
    arguments, precision = build_arguments(
        recipe.training,
        checkpoints=checkpoints,
        seed=recipe.seed,
        label_set=label_set,
        max_length=max_length,
        defaults=ADAPTER_DEFAULTS if recipe.adapter else {},
        has_validation=held_out is not None,
    )
    trainer = HeadTrainer(
        model=chunks.model,
        args=arguments,
        train_dataset=encode("train", inputs.targets, inputs.weights),
        eval_dataset=held_out,
        collator=ChunkCollator,
        processing_class=chunks.tokenizer,
        callbacks=early_stopping(recipe.training),
        objective=output.loss,
        measures=measures_of_documents(
            data, validation, lambda ids, logits: output.predictions(ids, np.stack(logits).astype(np.float64))
        ),
        grouping=recipe.training.length_grouping,
        balance=inputs.balance,
    )
    details = {"chunks": {split: documents.to_dict() for split, documents in cut.items()}}
    return Prepared(
        trainer,
        precision.reason,
        inputs,
        {CHUNKS: chunks.settings.to_dict()},
        chunks.settings.base,
        max_length,
        details,
    )


def preview(recipe: SeqclsRecipe, data: LoadedData, options: FitOptions) -> list[str]:
    """Lines for the terminal. Network and trainer are built and take a few steps, in a folder that goes at once."""
    with TemporaryDirectory() as folder:
        prepared = prepare(recipe, data, Path(folder), options)
        return preview_lines(data, prepared, prepared.trainer.rows.documents.example())
