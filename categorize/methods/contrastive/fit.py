"""Tunes a sentence encoder on pairs, and fits a linear model on its vectors."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from categorize.data.segments.tokens import PlainTokens
from categorize.data.splits import LoadedData
from categorize.errors import UserError
from categorize.features.sentences import SentenceTransformersFeaturizer
from categorize.labels import Label, LabelSet
from categorize.methods.contrastive.pairs import Pairs, draw_pairs
from categorize.methods.contrastive.section import ContrastiveModel
from categorize.methods.embedding.fit import featured, fit_estimator
from categorize.methods.embedding.section import EmbeddingModel
from categorize.nn.console import quiet_libraries
from categorize.nn.parameters import parameter_counts
from categorize.nn.precision import cpu_computes_bfloat16
from categorize.nn.tokenizer import loading
from categorize.predictions import FloatArray
from categorize.processes import print0
from categorize.recipe.feature_sections import SentenceTransformersFeatures
from categorize.recipe.sections import SeqclsRecipe
from categorize.runs.folder import RunWriter
from categorize.training.fit_summary import FitOptions, FitSummary
from categorize.training.inputs import Inputs, training_inputs
from categorize.writing import disk_errors

SETTINGS = "contrastive.json"
LINES = 20  # of progress


def fit(recipe: SeqclsRecipe, data: LoadedData, writer: RunWriter, options: FitOptions) -> FitSummary:
    """Tune the encoder, save it, and fit logistic regression on the vectors of the saved one."""
    from transformers import set_seed

    section = recipe.model
    assert isinstance(section, ContrastiveModel)
    set_seed(recipe.seed)
    start = time.perf_counter()
    inputs = training_inputs(recipe, data, PlainTokens())
    inputs.announce()
    writer.write_json(SETTINGS, {"max_length": section.max_length})
    texts, targets = examples(section, data.label_set, inputs)
    pairs = draw_pairs(targets, section.pairs, recipe.seed)
    if not len(pairs) or not 0 < pairs.alike.sum() < len(pairs):
        raise UserError("model.pairs: there are no two training rows of one label, or none of two; label more rows")
    model = load_model(section, options.trust_remote_code)
    trained, total = parameter_counts(model)
    steps = steps_of(section, pairs)
    print0(f"  {len(texts):,} texts, {len(pairs):,} pairs, {steps:,} steps; {trained:,} parameters trained")
    tune(model, section, texts, pairs)
    with disk_errors(writer.path):
        model.save_pretrained(str(writer.path), create_model_card=False)
    featurizer = tuned_featurizer(str(writer.path), section.max_length, recipe.prediction)
    train, validation = featured(featurizer, inputs, data.label_set, recipe.seed)
    linear = EmbeddingModel(method="embedding", features=_features(str(writer.path), None), C=section.C)
    estimator, chosen = fit_estimator(linear, data.label_set, train, validation, recipe.seed)
    estimator.save(writer)
    return FitSummary(
        trained + estimator.parameters,
        total + estimator.parameters,
        time.perf_counter() - start,
        2 * len(pairs) * section.epochs,
        details={"pairs": len(pairs), "steps": steps, **chosen, **inputs.details()},
        rows_an_epoch=2 * len(pairs),
    )


def examples(section: ContrastiveModel, label_set: LabelSet, inputs: Inputs) -> tuple[list[str], FloatArray]:
    """Training texts with their labels, and one for each label where the recipe has words for it."""
    texts, targets = inputs.train.column("text").to_pylist(), inputs.targets
    if section.label_words is None:
        return texts, targets
    words = [section.label_words.format(**words_of(label)) for label in label_set.labels]
    return [*texts, *words], np.concatenate([targets, np.eye(len(label_set))])


def words_of(label: Label) -> dict[str, str]:
    """What a template may hold of a label."""
    return {"name": label.name, "description": label.description, "aliases": ", ".join(label.aliases)}


def load_model(section: ContrastiveModel, trust_remote_code: bool = False) -> Any:
    """The sentence encoder; any other encoder gets the mean over its tokens. Raises UserError where it is missing."""
    from sentence_transformers import SentenceTransformer

    quiet_libraries()
    with loading(section.name_or_path, "the model"):
        model = SentenceTransformer(
            section.name_or_path, revision=section.revision, trust_remote_code=trust_remote_code
        )
    if section.max_length is not None:
        model.max_seq_length = section.max_length
    return model


def tune(model: Any, section: ContrastiveModel, texts: list[str], pairs: Pairs) -> None:
    """Gradient descent on the squared difference between the cosine of two vectors and the likeness of their texts, in
    bfloat16 where the machine computes it faster."""
    import torch
    from sentence_transformers.sentence_transformer.losses import CosineSimilarityLoss
    from sentence_transformers.util import batch_to_device
    from transformers import get_linear_schedule_with_warmup

    loss, steps = CosineSimilarityLoss(model), steps_of(section, pairs)
    optimizer = torch.optim.AdamW(model.parameters(), lr=section.learning_rate, weight_decay=0.01)
    schedule = get_linear_schedule_with_warmup(optimizer, round(section.warmup * steps), steps)
    device, sum_of_losses, begun = model.device, 0.0, time.perf_counter()
    half = torch.cuda.is_bf16_supported() if device.type == "cuda" else cpu_computes_bfloat16()
    model.train()
    for step in range(steps):
        at = (step * section.batch_size) % len(pairs)
        chosen = slice(at, at + section.batch_size)
        sides = [
            batch_to_device(model.preprocess([texts[i] for i in side[chosen]]), device)
            for side in (pairs.first, pairs.second)
        ]
        alike = torch.tensor(pairs.alike[chosen], dtype=torch.float32, device=device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
            value = loss(sides, alike)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        sum_of_losses += float(value)
        every = max(steps // LINES, 1)
        if (step + 1) % every == 0:
            left = (time.perf_counter() - begun) / (step + 1) * (steps - step - 1)
            print0(f"  step {step + 1}/{steps}  loss {sum_of_losses / every:.4f}  {left:.0f} s left")
            sum_of_losses = 0.0
    model.eval()


def steps_of(section: ContrastiveModel, pairs: Pairs) -> int:
    """Optimizer steps."""
    return section.epochs * -(-len(pairs) // section.batch_size)


def tuned_featurizer(folder: str, max_length: int | None, prediction: Any = None) -> SentenceTransformersFeaturizer:
    """Vectors of the tuned encoder; none are kept on the disk, for the run holds what made them."""
    return SentenceTransformersFeaturizer(_features(folder, max_length), prediction)


def _features(folder: str, max_length: int | None) -> SentenceTransformersFeatures:
    return SentenceTransformersFeatures(
        type="sentence_transformers", name_or_path=folder, max_length=max_length, cache=False, normalize=True
    )


def preview(recipe: SeqclsRecipe, data: LoadedData, options: FitOptions) -> list[str]:
    """How many pairs and steps there would be."""
    section = recipe.model
    assert isinstance(section, ContrastiveModel)
    inputs = training_inputs(recipe, data, PlainTokens())
    texts, targets = examples(section, data.label_set, inputs)
    pairs = draw_pairs(targets, section.pairs, recipe.seed)
    trained, _ = parameter_counts(load_model(section, options.trust_remote_code))
    return [
        *inputs.lines(),
        f"pairs: {len(pairs):,} of {len(texts):,} texts; {steps_of(section, pairs):,} steps",
        f"parameters: {trained:,} trained",
    ]
