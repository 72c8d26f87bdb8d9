"""Checks of runs: no better than the baseline, invalid answers, overfit, untuned, poorly calibrated, cut texts, and
what several runs together could do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from categorize.analysis.advice import Advice
from categorize.analysis.inputs import Inputs, RunOutput
from categorize.errors import UserError
from categorize.methods.registry import METHODS
from categorize.metrics.progress import flat, greater_is_better, headline
from categorize.recipe.load import load_recipe
from categorize.recipe.sections import SeqclsRecipe, SftRecipe
from categorize.recipe.wording import counted
from categorize.runs.folder import LOG, METRICS, RECIPE, Run, is_run

INVALID_SHARE = 0.01
CALIBRATION_ERROR = 0.1
CUT_SHARE = 0.05
LOSS_RISE = 0.1  # of the least validation loss, while the training loss still fell
GAP = 0.05  # of the headline measure
TOGETHER = 0.03  # of the rows


def no_better_than_the_baseline(inputs: Inputs, found: Mapping[str, Any]) -> Iterator[Advice]:
    """C01: a run that the baseline without text reaches."""
    if not inputs.baseline:
        return
    measures = ("mae",) if inputs.label_set.is_regression else ("accuracy", headline(inputs.label_set))
    base = flat(inputs.baseline)
    for run in inputs.ranked:
        own = flat(run.metrics)
        beaten = []
        for name in measures:
            if name not in own or name not in base:
                continue
            bounds = ((run.metrics.get("intervals") or {}).get("measures") or {}).get(name) or (own[name], own[name])
            better = bounds[0] > base[name] if greater_is_better(name) else bounds[1] < base[name]
            if not better:
                beaten.append(f"{name} {own[name]:.3f} against {base[name]:.3f}")
        if beaten:
            text = (
                f"not shown to be better than always giving the most frequent answer: {', '.join(beaten)}; train "
                "longer or with a higher rate, balance the classes, or look whether text and label belong together"
            )
            numbers = {"run": own.get(measures[0]), "baseline": base.get(measures[0])}
            yield Advice("C01", "error" if len(beaten) == len(measures) else "warning", text, run.name, None, numbers)


def invalid_answers(inputs: Inputs, found: Mapping[str, Any]) -> Iterator[Advice]:
    """C02: many answers are not a label. Rows that a decision rule rejects are meant to have none and do not count."""
    for run, outcome in zip(inputs.runs, inputs.outcomes, strict=True):
        invalid, rows = int((~outcome.valid).sum()), len(outcome.valid)
        if run.predictions.scope is not None or invalid < max(1.0, INVALID_SHARE * rows):
            continue
        text = (
            f"{invalid:,} of {rows:,} answers ({invalid / rows:.1%}) are not valid and count as wrong; a causal model "
            "that scores labels (prediction.mode=scoring) or answers with codes always answers, and tolerant parsing "
            "reads more"
        )
        severity = "error" if invalid >= 0.1 * rows else "warning"
        yield Advice("C02", severity, text, run.name, None, {"invalid": invalid, "rows": rows})  # type: ignore[arg-type]


def overfit(inputs: Inputs, found: Mapping[str, Any]) -> Iterator[Advice]:
    """C04: the validation loss rose while the training loss fell on; or validation scored far above the split."""
    for run in inputs.runs:
        if (folder := _folder(run)) is None:
            continue
        yield from _loss_rose(run.name, folder)
        yield from _validation_flattered(inputs, run, folder)


def _loss_rose(run: str, folder: Run) -> Iterator[Advice]:
    log = folder.read_json(LOG) if folder.has(LOG) else []
    held = [(int(one["step"]), float(one["eval_loss"])) for one in log if one.get("eval_loss") is not None]
    trained = [(int(one["step"]), float(one["loss"])) for one in log if one.get("loss") is not None]
    if len(held) < 2 or len(trained) < 2:
        return
    step, least = min(held, key=lambda one: one[1])
    last = held[-1][1]
    after = [loss for at, loss in trained if at > step]
    before = [loss for at, loss in trained if at <= step]
    if last <= (1 + LOSS_RISE) * least or not after or not before or after[-1] >= before[-1]:
        return
    recipe = _recipe(folder)
    kept = recipe is None or (recipe.training.model_extra or {}).get("load_best_model_at_end") is not False
    text = (
        f"overfit: the validation loss was least ({least:.3f}) at step {step:,} and is {last:.3f} at the end (step "
        f"{held[-1][0]:,}), while the training loss fell to {after[-1]:.3f}; "
        + ("the best checkpoint was kept, and fewer epochs do as well" if kept else "train fewer epochs")
        + ", or raise dropout or weight_decay"
    )
    yield Advice("C04", "info" if kept else "warning", text, run, None, {"least": least, "last": last, "step": step})


def _validation_flattered(inputs: Inputs, run: RunOutput, folder: Run) -> Iterator[Advice]:
    name = headline(inputs.label_set)
    measured = folder.read_json(METRICS).get("validation") if folder.has(METRICS) else None
    here, there = flat(run.metrics).get(name), flat(measured or {}).get(name)
    if inputs.split != "test" or here is None or there is None or there - here < GAP:
        return
    bounds = ((run.metrics.get("intervals") or {}).get("measures") or {}).get(name)
    if bounds is not None and bounds[1] >= there:
        return  # the split alone may say so
    text = (
        f"{name} was {there:.3f} on validation and is {here:.3f} here: what was chosen on validation (thresholds, "
        "epochs, trials) may fit its rows alone, or the splits differ; take more validation rows, or folds"
    )
    yield Advice("C04", "warning", text, run.name, None, {"validation": there, "here": here})


def untuned(inputs: Inputs, found: Mapping[str, Any]) -> Iterator[Advice]:
    """C05: thresholds that nobody fitted, or hyperparameters that are all defaults."""
    for run in inputs.runs:
        folder = _folder(run)
        recipe = None if folder is None else _recipe(folder)
        if recipe is None:
            continue
        if inputs.label_set.is_multi_label and recipe.decision.thresholds == 0.5:
            text = "thresholds are 0.5 and not fitted; decision.thresholds=per_label usually raises macro-F1 most"
            yield Advice("C05", "warning", text, run.name)
        elif recipe.search is None and not _says_how(recipe):
            text = "every hyperparameter of its training is a default; a search section tries others on validation"
            yield Advice("C05", "info", text, run.name)


def calibration(inputs: Inputs, found: Mapping[str, Any]) -> Iterator[Advice]:
    """C06: probabilities that do not say how often a run is right."""
    for run, outcome in zip(inputs.runs, inputs.outcomes, strict=True):
        error = run.metrics.get("expected_calibration_error")
        if error is None or error < CALIBRATION_ERROR:
            continue
        at = np.isfinite(outcome.confidence)
        said, right = float(outcome.confidence[at].mean()), float(1 - outcome.loss[at].mean())
        text = (
            f"calibration error {error:.2f}: it says {said:.0%} on average and is right in {right:.0%}; do not use its "
            "probabilities as they are: decision.calibration=temperature fits them on validation"
        )
        yield Advice("C06", "warning", text, run.name, None, {"error": error, "confidence": said, "accuracy": right})


def cut_texts(inputs: Inputs, found: Mapping[str, Any]) -> Iterator[Advice]:
    """C11: many texts that are longer than the model reads."""
    for run in inputs.runs:
        usage = run.predictions.usage
        if usage.rows and usage.truncated_rows >= CUT_SHARE * usage.rows:
            share = usage.truncated_rows / usage.rows
            text = (
                f"{usage.truncated_rows:,} of {usage.rows:,} texts ({share:.0%}) were cut to its longest input; raise "
                "max_length, or cut documents into parts (data.segments)"
            )
            numbers = {"cut": usage.truncated_rows, "rows": usage.rows}
            yield Advice("C11", "warning", text, run.name, None, numbers)


def together(inputs: Inputs, found: Mapping[str, Any]) -> Iterator[Advice]:
    """C15: rows of which another run is right where the best is wrong."""
    apart = found.get("disagreements")
    if not apart:
        return
    best = 1 - float(inputs.outcomes[inputs.best_position].loss.mean())
    gain = apart["any_right"] - best
    if gain >= TOGETHER:
        text = (
            f"at least one of {counted(len(inputs.runs), 'run')} is right in {apart['any_right']:.1%} of the rows, "
            f"{inputs.best} alone in {best:.1%}; a fusion of them (method: fusion) can gain a part of that"
        )
        yield Advice("C15", "info", text, None, None, {"any_right": apart["any_right"], "best": best})


def _says_how(recipe: Any) -> bool:
    """Whether a recipe sets anything of how its model is fitted."""
    said = set(recipe.model.model_fields_set) - {"method", "name_or_path", "revision", "max_length"}
    training = recipe.training
    return bool(said or set(training.model_fields_set) or training.model_extra)


def _folder(run: RunOutput) -> Run | None:
    """The run's folder; None where it is not here, or not a run."""
    folder = Path(run.run).expanduser()
    return Run(folder) if run.run and is_run(folder) else None


def _recipe(folder: Run) -> Any:
    """The recipe that a run was trained with; None where there is none, or it is of another version."""
    if not folder.has(RECIPE):
        return None
    try:
        recipe = load_recipe(folder.path / RECIPE, environment={}, methods=METHODS).recipe
    except UserError:
        return None
    return recipe if isinstance(recipe, SeqclsRecipe | SftRecipe) else None
