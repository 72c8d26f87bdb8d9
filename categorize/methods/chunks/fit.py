"""From a recipe and its rows to a trained chunk encoder with its aggregator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from categorize.data.splits import LoadedData
from categorize.features.build import lines_of
from categorize.methods.chunks.documents import DocumentChunks, document_chunks
from categorize.methods.chunks.features import ChunkFeatures, Words
from categorize.methods.chunks.model import CHUNKS, build_chunks, build_on_vectors
from categorize.methods.chunks.section import ChunksModel
from categorize.nn.parameters import parameter_counts
from categorize.nn.tokenizer import tokenize
from categorize.predictions import FloatArray
from categorize.processes import is_main_process, print0
from categorize.recipe.sections import SeqclsRecipe
from categorize.runs.folder import RunWriter
from categorize.training.arguments import ADAPTER_DEFAULTS, HEAD_ONLY_DEFAULTS, check_metric
from categorize.training.costs import preview_lines
from categorize.training.fit_summary import FitOptions, FitSummary
from categorize.training.fitting import Prepared, fit_with_trainer
from categorize.training.inputs import training_inputs

FEATURE_DEFAULTS = {**HEAD_ONLY_DEFAULTS, "num_train_epochs": 20}

if TYPE_CHECKING:
    from categorize.methods.chunks.rows import ChunkRows


def fit(recipe: SeqclsRecipe, data: LoadedData, writer: RunWriter, options: FitOptions) -> FitSummary:
    """Train, and write the network or its adapter, tokenizer or features, and settings into the run."""
    prepared, features = prepare(recipe, data, writer.checkpoints, options)
    if features is not None and is_main_process():
        features.save(writer)
        section = recipe.model
        assert isinstance(section, ChunksModel)
        counter = Words(section.max_length)
        test = data.input_spec.expand(data.splits.test, counter)  # kept too, for the runs that share them
        features.featurizer.transform(document_chunks(test, counter, section.max_chunks, section.keep).texts)
    return fit_with_trainer(prepared, writer, options)


def prepare(
    recipe: SeqclsRecipe, data: LoadedData, checkpoints: Path, options: FitOptions
) -> tuple[Prepared, ChunkFeatures | None]:
    """Network, chunks as it reads them, trainer, and the features of a network without an encoder. Seeds every
    generator first, so that new layers are the same each time."""
    from transformers import set_seed

    from categorize.methods.chunks.rows import ChunkCollator, ChunkRows, VectorCollator
    from categorize.training.heads import head_trainer, loss_options

    section, label_set = recipe.model, data.label_set
    assert isinstance(section, ChunksModel)
    check_metric(recipe.training, label_set)
    set_seed(recipe.seed)
    encoded = None if section.features else build_chunks(recipe, label_set, options.trust_remote_code)
    counter = Words(section.max_length) if encoded is None else encoded.counter
    inputs = training_inputs(recipe, data, counter, unit="document")
    inputs.announce()
    cut: dict[str, DocumentChunks] = {}
    for split, rows in inputs.segments.items():
        if rows.num_rows:
            cut[split] = document_chunks(rows, counter, section.max_chunks, section.keep)
            if line := cut[split].line(split):
                print0(f"  {line}")
    features, vectors = None, None
    if encoded is None:
        features, vectors = ChunkFeatures.fit(recipe, cut["train"].texts, options.trust_remote_code)
        print0(f"  chunk vectors: {vectors.shape[1]:,} ({features.featurizer.name})")
        set_seed(recipe.seed)  # once more: vectors that are kept draw no random numbers, those that are computed may
        encoded = build_on_vectors(section, label_set, vectors.shape[1])
    chunks, max_length = encoded, encoded.settings.max_length
    if label_set.is_regression:
        mean, std = float(inputs.targets.mean()), float(inputs.targets.std())
        chunks.settings = replace(chunks.settings, target_mean=mean, target_std=std if std > 0 else 1.0)
    output = chunks.output(label_set, **loss_options(recipe, data, inputs))

    def encode(split: str, targets: FloatArray, weights: FloatArray) -> ChunkRows:
        read: Any
        if features is not None:
            read = vectors if split == "train" else features.transform(cut[split].texts)
        else:
            read = tokenize(chunks.tokenizer, cut[split].texts, max_length)  # type: ignore[arg-type]
        return ChunkRows(cut[split], read, output.scaled(targets), weights)

    held_out, validation = None, inputs.validation
    if validation.num_rows:
        held_out = encode("validation", label_set.encode_rows(validation), np.ones(validation.num_rows))
    trainer, precision = head_trainer(
        recipe,
        data,
        inputs,
        output,
        chunks.model,
        encode("train", inputs.targets, inputs.weights),
        held_out,
        tokenizer=chunks.tokenizer,
        max_length=max_length,
        checkpoints=checkpoints,
        defaults=ADAPTER_DEFAULTS if recipe.adapter else FEATURE_DEFAULTS if features else {},
        collator=ChunkCollator if features is None else VectorCollator,
    )
    details = {"chunks": {split: documents.to_dict() for split, documents in cut.items()}}
    for line in lines_of(features.featurizer) if features else ():
        print0(f"  {line}")
    files = {CHUNKS: chunks.settings.to_dict()}
    prepared = Prepared(trainer, precision, inputs, files, chunks.settings.base, max_length, details)
    return prepared, features


def preview(recipe: SeqclsRecipe, data: LoadedData, options: FitOptions) -> list[str]:
    """Lines for the terminal. Network and trainer are built and take a few steps, in a folder that goes at once."""
    with TemporaryDirectory() as folder:
        prepared, features = prepare(recipe, data, Path(folder), options)
        example = prepared.trainer.rows.documents.example()
        if features is None:
            return preview_lines(data, prepared, example)
        return [*example, f"parameters: {parameter_counts(prepared.trainer.model)[0]:,} trained; the features stay"]
