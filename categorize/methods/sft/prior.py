"""What is taken away from the scores of labels for what the prompt says of them by itself: measured, chosen on
validation, kept with the run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from categorize.data.splits import LoadedData
from categorize.engines.batching import distinct_inputs, model_inputs
from categorize.errors import UserError
from categorize.methods.sft.model import CAUSAL, CausalSettings
from categorize.methods.sft.predictor import CausalPredictor
from categorize.metrics.decision import DecisionRule
from categorize.metrics.intervals import paired_differences
from categorize.metrics.measures import measure
from categorize.metrics.progress import flat, greater_is_better, headline
from categorize.prediction.predictor import SegmentPredictions
from categorize.predictions import FloatArray
from categorize.processes import print0
from categorize.recipe.decision_sections import CausalPredictionSection, PredictionSection
from categorize.recipe.sections import TrainedRecipe
from categorize.runs.folder import MANIFEST, Run, RunWriter

MOST_ROWS = 512  # distinct texts that the mean of `batch` is of
Prior = Literal["none", "contextual", "batch"]


def as_trained(section: PredictionSection | None, settings: CausalSettings, run: Run) -> CausalPredictionSection:
    """The section with what the run was trained with where it says nothing of how labels are scored.

    Raises:
        UserError: it asks for `batch`, which a finished run was not trained with, or with candidates.
    """
    if not isinstance(section, CausalPredictionSection):
        given = {name: getattr(section, name) for name in PredictionSection.model_fields} if section else {}
        section = CausalPredictionSection(**given)
    if section.mode == "generation":
        return section
    if section.prior == "batch" and not settings.leaning and run.has(MANIFEST):
        raise UserError(
            f"prediction.prior: batch: {run.path} was not trained with it and keeps no mean of its validation rows; "
            "write contextual, or train it with prediction.prior: batch"
        )
    if section.prior == "batch" and section.candidates is not None:
        raise UserError(
            "prediction.prior: batch is measured of one prompt, but with prediction.candidates rows have several; "
            "write contextual"
        )
    prior, normalized = section.prior, section.length_normalization
    if prior in (None, "auto"):
        prior = settings.prior if section.candidates is None or settings.prior != "batch" else "none"
    elif prior == "batch" and not settings.leaning:
        prior = "none"  # until it is measured
    normalized = settings.length_normalization if normalized is None else normalized
    return section.model_copy(update={"prior": prior, "length_normalization": normalized})


def settled(predictor: CausalPredictor, recipe: TrainedRecipe, data: LoadedData, writer: RunWriter) -> CausalPredictor:
    """The predictor with the prior `batch` or `auto` of the recipe, which is written into the run."""
    section = recipe.prediction
    if not isinstance(section, CausalPredictionSection) or section.prior not in ("batch", "auto"):
        return predictor
    held_out = data.splits.validation if data.splits.validation.num_rows else data.splits.train
    rows = first_by_hash(held_out)
    print0(f"  mean scores of labels (prediction.prior: {section.prior}): of {len(rows)} distinct texts")
    found = leaning(predictor, data.input_spec.expand(rows, predictor.tokens))
    predictor.causal.settings = replace(predictor.causal.settings, leaning=found)
    prior: Prior = "batch"
    values: dict[str, float] = {}
    if section.prior == "auto":
        prior, values = choice(predictor, recipe, data)
    settings = replace(predictor.causal.settings, prior=prior, leaning=found if prior == "batch" else {})
    writer.write_json(CAUSAL, settings.to_dict())
    predictor.causal.settings = settings
    told = replace_prior(predictor, prior)
    told.computed["prior"] = prior
    if values:
        told.computed["prior_on_validation"] = values
    return told


def replace_prior(predictor: CausalPredictor, prior: Prior) -> CausalPredictor:
    """The same model with another prior."""
    section = predictor.section.model_copy(update={"prior": prior})
    return CausalPredictor(predictor.causal, predictor.prompt, section, predictor.device, predictor.shared)


def first_by_hash(rows: pa.Table) -> pa.Table:
    """At most `MOST_ROWS` rows of distinct texts, first by the hashes of these: the same in any order of the rows."""
    _, first = np.unique(rows.column("content_hash").to_numpy(zero_copy_only=False), return_index=True)
    return rows.take(pa.array(first[:MOST_ROWS]))


def scores(predictor: CausalPredictor, rows: pa.Table, **changes: Any) -> FloatArray:
    """Scores [rows, labels] without a prior."""
    section = predictor.section.model_copy(update={"prior": None, **changes})
    inputs, inverse = distinct_inputs(model_inputs(rows, predictor.prompt), predictor.prompt)
    return predictor.scorer(section).outputs(predictor.prompt.encode_all(inputs))[inverse]


def leaning(predictor: CausalPredictor, rows: pa.Table) -> dict[str, float]:
    """Mean score of every label over the rows, by its name, before any division by lengths; "Batch Calibration" (Zhou
    et al. 2023, arXiv:2309.17249)."""
    mean = scores(predictor, rows, length_normalization=False).mean(axis=0)
    return dict(zip(predictor.label_set.names, mean.tolist(), strict=True))


def choice(predictor: CausalPredictor, recipe: TrainedRecipe, data: LoadedData) -> tuple[Prior, dict[str, float]]:
    """The prior that is better than none on validation by more than chance, the best of them; and what each reaches.

    By the measure that chooses checkpoints, in a paired bootstrap of the documents (of their groups) that is corrected
    for the two that are tried.
    """
    spec, label_set = data.input_spec, data.label_set
    segments = spec.expand(data.splits.validation, predictor.tokens)
    documents = spec.documents(segments)
    gold = label_set.encode_rows(documents)
    if not (~np.isnan(gold)).all(axis=1).any():
        print0("prediction.prior: none, for there are no labelled validation rows to choose by")
        return "none", {}
    plain = scores(predictor, segments)
    contextual = predictor.scorer(predictor.section.model_copy(update={"prior": "contextual"}))
    batch = predictor.scorer(predictor.section.model_copy(update={"prior": "batch"})).scorer
    assert batch.leaning is not None
    tried: dict[str, FloatArray] = {
        "none": plain,
        "contextual": plain - contextual.contextual(),
        "batch": plain - batch.normalized(batch.leaning),
    }
    ids, rule = segments.column("id").to_pylist(), DecisionRule.default(label_set)
    decided = {
        name: SegmentPredictions(predictor.output.predictions(ids, one), segments, spec).decide(rule)
        for name, one in tried.items()
    }
    values = {name: flat(measure(label_set, gold, one)) for name, one in decided.items()}
    asked = str(recipe.training.upstream().get("metric_for_best_model") or "").removeprefix("eval_")
    metric = asked if all(asked in one for one in values.values()) else headline(label_set)
    reached = {name: one[metric] for name, one in values.items()}
    groups = documents.column("group").to_pylist()
    differences = paired_differences(
        label_set, gold, decided, reference="none", measures=[metric], seed=recipe.seed, groups=groups
    )
    sign = 1 if greater_is_better(metric) else -1
    better = {one.run: sign * one.estimate for one in differences if one.is_shown and sign * one.estimate > 0}
    prior: Any = max(better, key=lambda name: better[name]) if better else "none"
    why = "better than none by more than chance" if better else "no other is better by more than chance"
    measured = ", ".join(f"{name} {value:.4f}" for name, value in reached.items())
    print0(f"prediction.prior: {prior}, {why} on validation ({metric}: {measured})")
    return prior, {f"{name}_{metric}": round(value, 6) for name, value in reached.items()}
