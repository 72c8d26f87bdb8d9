"""From the predictions of every run to the comparison: measures, the baseline's, differences from the best run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from categorize.labels import LabelSet
from categorize.metrics.baselines import baseline
from categorize.metrics.curve_points import curves
from categorize.metrics.intervals import Difference, Resampled, differences_of, mean_of, resample
from categorize.metrics.measures import measure, measure_seen_and_unseen, measure_unseen_texts
from categorize.metrics.progress import NO_RANK, headline, spread
from categorize.metrics.raters import measure_raters
from categorize.metrics.rejection import measure_scope
from categorize.metrics.stages import measure_stages
from categorize.predictions import Predictions
from categorize.recipe.sections import EvalRecipe
from categorize.reports.columns import measures
from categorize.reports.comparison import Comparison, EvaluatedRun, SeedGroup, best_run, compare
from categorize.reports.predicted import RunPredictions
from categorize.reports.split import EvaluatedSplit
from categorize.reports.write import prediction_files


def compare_predictions(
    predicted: Sequence[RunPredictions],
    recipe: EvalRecipe,
    split: EvaluatedSplit,
    train: pa.Table,
    seeds: Mapping[str, Sequence[str]] | None = None,
) -> Comparison:
    """Measure what every run predicted; the baseline of the training rows stands first where the recipe wants it.

    A labelling run is not ranked, except among all runs on the rows that people reviewed of every one that is there.

    Args:
        seeds: names of the runs of several seeds of a recipe, by the name that they have together.
    """
    whole = _compare(predicted, recipe, split, train, seeds or {})
    masks = [one.reviewed for one in predicted if one.reviewed is not None]
    if not masks or not (rows := np.logical_and.reduce(masks)).any():
        return whole
    reviewed = [replace(one.at(rows), reviewed=None, notes=()) for one in predicted]
    return replace(whole, reviewed=_compare(reviewed, recipe, split.at(rows), train, seeds or {}))


def _compare(
    predicted: Sequence[RunPredictions],
    recipe: EvalRecipe,
    split: EvaluatedSplit,
    train: pa.Table,
    seeds: Mapping[str, Sequence[str]],
) -> Comparison:
    files, unseen = prediction_files(one.name for one in predicted), unseen_labels(predicted, split.label_set)
    drawn = {one.name: resampled(one.predictions, recipe, split) for one in predicted}
    runs = [
        EvaluatedRun(
            name=one.name,
            method=str(one.facts.get("method", "head")),
            metrics=measured(one.predictions, drawn[one.name], split, unseen, one.scope_label),
            notes=one.notes,
            documents_per_second=one.documents_per_second,
            parameters_trained=one.facts.get("parameters_trained"),
            parameters_total=one.facts.get("parameters"),
            training_rows=(one.facts.get("rows") or {}).get("train"),
            training_seconds=(one.facts.get("training") or {}).get("seconds"),
            training_memory=(one.facts.get("training") or {}).get("memory"),
            prediction_memory=one.memory,
            money_per_document=one.facts.get("money_per_document"),
            predictions=files[one.name],
            is_ranked=one.reviewed is None,
        )
        for one in predicted
    ]
    groups = [seed_group(name, [run for run in runs if run.name in of], drawn) for name, of in seeds.items()]
    differences = differences_from_best(runs, groups, drawn, split.label_set)
    if "majority" in recipe.evaluation.baselines:
        runs.insert(0, baseline_run(train, recipe, split, unseen))
    unit = "documents" if any(one.in_parts for one in predicted) else "rows"
    told = {"split": split.name, "unit": unit, "fingerprint": split.fingerprint}
    return compare(runs, differences=differences, seeds=groups, **told)


def unseen_labels(predicted: Sequence[RunPredictions], label_set: LabelSet) -> list[str]:
    """Labels that any of the runs was not trained on: one division of the labels for all."""
    known = [set(one.facts["labels"]) for one in predicted if "labels" in one.facts]
    return [name for name in label_set.names if not all(name in names for names in known)]


def measured(
    predictions: Predictions,
    drawn: Resampled,
    split: EvaluatedSplit,
    unseen: Sequence[str] = (),
    scope_label: str | None = None,
) -> dict[str, Any]:
    """Measures with intervals and curves; agreement with raters where the data has some; measures of the rows whose
    text is not in train where some are, of seen and unseen labels where there are such, and how well rows out of scope
    are told where some are."""
    args = (split.label_set, split.gold, predictions)
    metrics = {**measure(*args), "intervals": drawn.intervals}
    if points := curves(*args):
        metrics["curves"] = points
    if split.ratings is not None:
        metrics["raters"] = measure_raters(split.label_set, split.ratings, predictions)
    if (texts := measure_unseen_texts(*args, split.train_overlap)) is not None:
        metrics["unseen"] = texts
    if (scope := measure_scope(*args, scope_label)) is not None:
        metrics["scope"] = scope
    if (stages := measure_stages(*args)) is not None:
        metrics["stages"] = stages
    if unseen and metrics["rows"]:
        metrics["unseen_labels"] = measure_seen_and_unseen(split.label_set, metrics, split.gold, predictions, unseen)
    return metrics


def seed_group(name: str, runs: Sequence[EvaluatedRun], drawn: Mapping[str, Resampled]) -> SeedGroup:
    """Mean and spread of the runs of several seeds, with the interval of the mean."""
    measures_of_all = spread([run.numbers for run in runs])
    intervals = mean_of([drawn[run.name] for run in runs]).intervals or {"measures": {}}
    return SeedGroup(name, tuple(run.name for run in runs), **measures_of_all, intervals=intervals["measures"])


def differences_from_best(
    runs: Sequence[EvaluatedRun], groups: Sequence[SeedGroup], drawn: Mapping[str, Resampled], label_set: LabelSet
) -> list[Difference]:
    """Every run minus the best by the headline measure, in each measure that has intervals; seeds by their mean."""
    ranked = [run for run in runs if run.is_ranked]
    grouped = {name for group in groups for name in group.runs}
    rivals: list[EvaluatedRun | SeedGroup] = [*(run for run in ranked if run.name not in grouped), *groups]
    if len(rivals) < 2 or not drawn[ranked[0].name].drawn:
        return []
    means = {group.name: mean_of([drawn[name] for name in group.runs]) for group in groups}
    names = [
        one.name for one in measures(label_set.task) if one.name in ranked[0].intervals and one.name not in NO_RANK
    ]
    of_rivals = {one.name: means.get(one.name) or drawn[one.name] for one in rivals}
    return differences_of(of_rivals, best_run(rivals, headline(label_set)), names)


def resampled(predictions: Predictions, recipe: EvalRecipe, split: EvaluatedSplit) -> Resampled:
    """The measures of a run in resamples of the split, which are the same for every run."""
    resamples, groups = recipe.evaluation.bootstrap, split.groups
    told: dict[str, Any] = {"resamples": resamples, "seed": recipe.seed, "groups": groups, "ratings": split.ratings}
    return resample(split.label_set, split.gold, predictions, **told)


def baseline_run(
    train: pa.Table, recipe: EvalRecipe, split: EvaluatedSplit, unseen: Sequence[str] = ()
) -> EvaluatedRun:
    """What predicting the most frequent label (or the mean score) of the training rows would score; rows of unseen
    labels do not count, for the runs had none of them."""
    gold = split.label_set.encode_rows(train)
    gold = gold[~(gold[:, [split.label_set.index[name] for name in unseen]] > 0).any(axis=1)]
    predictions = baseline(split.label_set, gold, split.documents.column("id").to_pylist())
    metrics = measured(predictions, resampled(predictions, recipe, split), split, unseen)
    return EvaluatedRun(baseline_name(split.label_set), "baseline", metrics, parameters_trained=0)


def baseline_name(label_set: LabelSet) -> str:
    """What a comparison calls its baseline."""
    return "mean score" if label_set.is_regression else "majority label"
