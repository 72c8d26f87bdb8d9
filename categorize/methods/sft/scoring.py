"""How scores of labels are made of summed log-probabilities: what is taken away for what the prompt says of labels by
itself, and whether lengths are divided by; measured, chosen on validation, kept with the run."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, NamedTuple, get_args

import numpy as np
import pyarrow as pa

from categorize.data.splits import LoadedData
from categorize.engines.batching import distinct_inputs, model_inputs
from categorize.engines.label_scoring import TorchLabelScorer
from categorize.engines.scoring_plan import ScoringPlan
from categorize.errors import UserError
from categorize.methods.sft.model import CAUSAL, CausalSettings
from categorize.methods.sft.predictor import CausalPredictor
from categorize.metrics.decision import DecisionRule
from categorize.metrics.intervals import paired_differences
from categorize.metrics.measures import measure
from categorize.metrics.progress import flat, greater_is_better, headline
from categorize.prediction.predictor import SegmentPredictions
from categorize.predictions import FloatArray, Predictions
from categorize.processes import print0
from categorize.recipe.decision_sections import CausalPredictionSection, PredictionSection
from categorize.recipe.sections import TrainedRecipe
from categorize.runs.folder import MANIFEST, Run, RunWriter

MOST_ROWS = 512  # distinct texts that the mean of `batch` is of
Prior = Literal["none", "contextual", "batch"]
KEYS = ("prior", "length_normalization")  # of a recipe's `prediction`, which `auto` leaves to validation


class Scoring(NamedTuple):
    """A way from sums to scores."""

    prior: Prior
    length_normalization: bool

    @property
    def name(self) -> str:
        """What reports call it."""
        return self.prior + "_normalized" * self.length_normalization


def as_trained(section: PredictionSection | None, settings: CausalSettings, run: Run) -> CausalPredictionSection:
    """The section with what the run was trained with where it says nothing of how labels are scored.

    Raises:
        UserError: it asks for `batch` with candidates, of a finished run that was not trained with it, or of a
            checkpoint of a run that is not finished.
    """
    if not isinstance(section, CausalPredictionSection):
        given = {name: getattr(section, name) for name in PredictionSection.model_fields} if section else {}
        section = CausalPredictionSection(**given)
    if section.mode == "generation":
        return section
    if section.prior == "batch" and not settings.leaning and (run.has(MANIFEST) or run.checkpoint is not None):
        why = (
            "was not trained with it and keeps no mean of its validation rows; write contextual, or train it with "
            "prediction.prior: batch"
            if run.has(MANIFEST)
            else "is not finished, and the mean of its validation rows is measured at the end; write contextual or none"
        )
        raise UserError(f"prediction.prior: batch: {run.path} {why}")
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
    normalized = settings.length_normalization if normalized in (None, "auto") else normalized
    return section.model_copy(update={"prior": prior, "length_normalization": normalized})


def settled(predictor: CausalPredictor, recipe: TrainedRecipe, data: LoadedData, writer: RunWriter) -> CausalPredictor:
    """The predictor with what the recipe's `prior` and `length_normalization` leave to the validation rows, which is
    written into the run."""
    section = recipe.prediction
    if not isinstance(section, CausalPredictionSection) or not {"batch", "auto"} & {getattr(section, k) for k in KEYS}:
        return predictor
    found: dict[str, float] = {}
    if section.prior in ("batch", "auto"):
        held_out = data.splits.validation if data.splits.validation.num_rows else data.splits.train
        rows = first_by_hash(held_out)
        print0(f"  mean scores of labels (prediction.prior: {section.prior}): of {len(rows)} distinct texts")
        found = leaning(predictor, data.input_spec.expand(rows, predictor.tokens))
    predictor.causal.settings = replace(predictor.causal.settings, leaning=found)
    options = tried(section, ScoringPlan.of(predictor.prompt))
    chosen, values = choice(predictor, recipe, data, options) if len(options) > 1 else (options[0], {})
    kept = found if chosen.prior == "batch" else {}
    predictor.causal.settings = replace(predictor.causal.settings, **chosen._asdict(), leaning=kept)
    writer.write_json(CAUSAL, predictor.causal.settings.to_dict())
    told = scoring_by(predictor, chosen)
    if values:
        told.computed["scoring_on_validation"] = values
    return told


def tried(section: CausalPredictionSection, plan: ScoringPlan) -> list[Scoring]:
    """What a recipe leaves to validation, the plainest first; one where it leaves nothing, or nothing that could make a
    difference."""
    priors = get_args(Prior) if section.prior == "auto" else (section.prior or "none",)
    divided: tuple[bool, ...] = (section.length_normalization is True,)
    if section.length_normalization == "auto":
        divided = (False,) if plan.of_one_length else (False, True)
        if plan.of_one_length:
            print0("prediction.length_normalization: false, for all labels have equally many tokens")
    return [Scoring(prior, one) for one in divided for prior in priors]


def scoring_by(predictor: CausalPredictor, scoring: Scoring) -> CausalPredictor:
    """The same model with another way to scores."""
    section = predictor.section.model_copy(update=scoring._asdict())
    return CausalPredictor(predictor.causal, predictor.prompt, section, predictor.device, predictor.shared)


def first_by_hash(rows: pa.Table) -> pa.Table:
    """At most `MOST_ROWS` rows of distinct texts, first by the hashes of these: the same in any order of the rows."""
    _, first = np.unique(rows.column("content_hash").to_numpy(zero_copy_only=False), return_index=True)
    return rows.take(pa.array(first[:MOST_ROWS]))


def scorer_of_sums(predictor: CausalPredictor) -> TorchLabelScorer:
    """One that takes nothing away; not the predictor's own, which is made once the prior is measured."""
    return predictor.scorer(predictor.section.model_copy(update={"prior": None}))


def sums_of(predictor: CausalPredictor, rows: pa.Table) -> FloatArray:
    """Summed log-probabilities [rows, columns], of which any scores are made."""
    inputs, inverse = distinct_inputs(model_inputs(rows, predictor.prompt), predictor.prompt)
    return scorer_of_sums(predictor).sums(predictor.prompt.encode_all(inputs))[inverse]


def leaning(predictor: CausalPredictor, rows: pa.Table) -> dict[str, float]:
    """Mean score of every label over the rows, by its name, before any division by lengths; "Batch Calibration" (Zhou
    et al. 2023, arXiv:2309.17249)."""
    plan = ScoringPlan.of(predictor.prompt)
    mean = plan.logits(sums_of(predictor, rows)).mean(axis=0)
    return dict(zip(predictor.label_set.names, mean.tolist(), strict=True))


def choice(
    predictor: CausalPredictor, recipe: TrainedRecipe, data: LoadedData, options: list[Scoring]
) -> tuple[Scoring, dict[str, float]]:
    """The best of those that are better than the first on validation by more than chance, else the first; and what each
    reaches.

    By the measure that chooses checkpoints, in a paired bootstrap of the documents (of their groups) that is corrected
    for how many are tried. Validation goes through the model once, whatever is tried.
    """
    spec, label_set, plain = data.input_spec, data.label_set, options[0]
    told = [key for key in KEYS if len({getattr(one, key) for one in options}) > 1]
    segments = spec.expand(data.splits.validation, predictor.tokens)
    documents = spec.documents(segments)
    gold = label_set.encode_rows(documents)
    if not (~np.isnan(gold)).all(axis=1).any():
        print0(f"{_as_written(plain, told)}, for there are no labelled validation rows to choose by")
        return plain, {}
    ids, rule = segments.column("id").to_pylist(), DecisionRule.default(label_set)
    sums, content_free = sums_of(predictor, segments), None
    if any(one.prior == "contextual" for one in options):
        plainest = scorer_of_sums(predictor)
        content_free = plainest.sums(plainest.scorer.content_free())

    def decided_by(one: Scoring) -> Predictions:
        section = predictor.section.model_copy(update=one._asdict())
        scores = predictor.scorer(section).scorer.scores(sums, content_free)
        return SegmentPredictions(predictor.output.predictions(ids, scores), segments, spec).decide(rule)

    decided = {one.name: decided_by(one) for one in options}
    values = {name: flat(measure(label_set, gold, one)) for name, one in decided.items()}
    asked = str(recipe.training.upstream().get("metric_for_best_model") or "").removeprefix("eval_")
    metric = asked if all(asked in one for one in values.values()) else headline(label_set)
    reached = {name: one[metric] for name, one in values.items()}
    groups = documents.column("group").to_pylist()
    differences = paired_differences(
        label_set, gold, decided, reference=plain.name, measures=[metric], seed=recipe.seed, groups=groups
    )
    sign = 1 if greater_is_better(metric) else -1
    better = {one.run: sign * one.estimate for one in differences if one.is_shown and sign * one.estimate > 0}
    chosen = max(options, key=lambda one: better.get(one.name, 0.0))
    why = f"better than {plain.name} by more than chance" if better else "no other is better by more than chance"
    measured = ", ".join(f"{name} {value:.4f}" for name, value in reached.items())
    print0(f"{_as_written(chosen, told)}, {why} on validation ({metric}: {measured})")
    return chosen, {f"{name}_{metric}": round(value, 6) for name, value in reached.items()}


def _as_written(scoring: Scoring, keys: list[str]) -> str:
    """The values of these keys as a recipe has them."""
    return ", ".join(f"prediction.{key}: {str(getattr(scoring, key)).lower()}" for key in keys)
