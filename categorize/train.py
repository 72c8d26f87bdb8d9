"""A training run, from the recipe to the finished folder: data, method, predictions, decision rule, measures."""

from __future__ import annotations

import sys
import time
from dataclasses import replace

from categorize.beforehand import check_beforehand
from categorize.data.splits import LoadedData
from categorize.description import describe
from categorize.dry_run import dry_run
from categorize.errors import UserError
from categorize.fit_on_card import fit_on_card
from categorize.merge import merge_finished, merge_run, merges, only_merges, only_pushes
from categorize.methods.method import Method
from categorize.methods.registry import METHODS
from categorize.metrics.decision import DecisionRule
from categorize.nn.energy import EnergyMeter
from categorize.nn.memory import peak, reset_peak
from categorize.prediction.predictor import SegmentPredictions
from categorize.predictions import Predictions
from categorize.processes import is_main_process, on_one_machine, print0
from categorize.recipe.command import Command
from categorize.recipe.sections import SeqclsRecipe, TrainedRecipe
from categorize.reports.seed_groups import seeds_folder
from categorize.runs.folder import CHECKPOINTS, DECISION_RULE, Run, RunWriter
from categorize.runs.pushing import push
from categorize.runs.summary import summary_lines
from categorize.search import search_line, with_best_values
from categorize.seeds import train_seeds
from categorize.training.beginning import check_labelled, check_same_rows, write_beginning
from categorize.training.checkpoints import has_checkpoints, remove_all
from categorize.training.fit_summary import FitOptions, FitSummary
from categorize.training.manifest import build_manifest
from categorize.training.stopping import stop_on_signals
from categorize.training_curves import written_into


def train(command: Command) -> None:
    """Train what the recipe says and leave a finished run folder; with `--dry-run`, show what would happen;
    with `--fit`, say whether it fits on a card.

    Raises:
        UserError: see the parts: the recipe, the data, the model or the output folder is at fault.
    """
    recipe = command.recipe.recipe
    assert isinstance(recipe, TrainedRecipe)
    method = METHODS.of(recipe)
    if not method.together and not is_main_process():
        return
    if command.fit is not None:
        fit_on_card(command.fit, recipe, method, command.trust_remote_code)
    if command.push and recipe.hub is None:
        raise UserError("--push: the recipe has no hub section; add one, or write hub.repo_id=owner/name")
    trains = not (only_merges(command, recipe) or only_pushes(command, recipe))
    if command.dry_run:
        dry_run(command, recipe, method)
        if recipe.search is not None:
            print0(search_line(recipe.search))
        if recipe.seeds is not None:
            print0(f"seeds: {len(recipe.seeds)} runs, in {seeds_folder(recipe.output_path)}")
        return
    if recipe.search is not None and trains:
        command = with_best_values(command, METHODS)
        recipe = command.recipe.recipe
        assert isinstance(recipe, TrainedRecipe)
    if recipe.seeds is not None and trains:
        train_seeds(command, METHODS)
        return
    with stop_on_signals():
        check_beforehand(command, recipe, method)
        if only_merges(command, recipe):
            merge_finished(command, recipe, method)
        if only_pushes(command, recipe) and recipe.hub is not None:
            push(Run.open(recipe.output_path), recipe.hub, METHODS.files)
        if not trains:
            return
        done = _run(command, recipe, method)
    if done is None:
        return
    run, data = done
    if merges(command, recipe):
        merge_run(command, recipe, method, run, data)
    if recipe.hub is not None:
        push(run, recipe.hub, METHODS.files)


def _run(command: Command, recipe: TrainedRecipe, method: Method) -> tuple[Run, LoadedData] | None:
    """From the data to the run in its place; None in processes that do not write."""
    from categorize.data.splits import load_recipe_data

    # Before the data is read: a folder that is taken must not cost the user an hour.
    writer = RunWriter(
        recipe.output_path,
        command.recipe.text,
        resume=command.resumes(recipe),
        overwrite=command.overwrite,
        holds_work=has_checkpoints,
    )
    data = load_recipe_data(recipe, resplit=command.resplit)
    if method.trains:
        check_labelled(data)
    for line in data.report.lines():
        print0(line)
    start = time.perf_counter()
    auxiliary = list(recipe.training.auxiliary or {}) if isinstance(recipe, SeqclsRecipe) else []
    if writer.resumed:
        check_same_rows(writer, data, auxiliary)
    write_beginning(writer, data, auxiliary)
    reset_peak()
    meter = EnergyMeter()
    summary = method.fit(recipe, data, writer, FitOptions(writer.resumed, command.trust_remote_code))
    if not is_main_process():
        return None
    used = meter.stop()
    whole = not summary.seconds_before and on_one_machine()
    summary = replace(summary, memory=peak(), energy=used if whole else None)
    return _finish(command, recipe, data, method, writer, summary, start), data


def _finish(
    command: Command,
    recipe: TrainedRecipe,
    data: LoadedData,
    method: Method,
    writer: RunWriter,
    summary: FitSummary,
    start: float,
) -> Run:
    """Predict with what was saved, fit the decision rule, measure, and put the run in place.

    Predicting reloads the run, so that every finished run has been loaded once.
    """
    from categorize.metrics.decision import DecisionRule
    from categorize.prediction.held_out import predict_held_out, write_predicted
    from categorize.prediction.predictor import TrainedPredictor
    from categorize.prediction.scope import learn_scope

    release_launcher()
    inner = method.settle(method.predictor(Run(writer.path), recipe.prediction), recipe, data, writer)
    predictor = TrainedPredictor(inner, data.input_spec, DecisionRule.default(data.label_set), recipe.name)
    predictor.scope = learn_scope(recipe.decision.reject, data, writer, recipe.prediction, command.trust_remote_code)
    held_out = "validation" if command.validation_only else "validation and test"
    print0(f"predicting {held_out} with the saved run")
    undecided = predict_held_out(predictor, data, validation_only=command.validation_only)
    rule = fit_rule(recipe, data, method, undecided)
    writer.write_json(DECISION_RULE, rule.to_dict())
    for note in rule.notes:
        print0(f"warning: {note}")
    metrics = write_predicted(recipe, data, rule, undecided, writer)
    manifest = build_manifest(recipe, data, method.name, summary, undecided, time.perf_counter() - start)
    manifest["prediction"] |= getattr(inner, "computed", {})
    describe(recipe, data, method, manifest, metrics, writer)
    if (why := written_into(writer.path)) is not None:
        print0(why)
    run = writer.commit(manifest)
    if not recipe.training.keep_checkpoints and (deleted := remove_all(run.path / CHECKPOINTS)):
        print0(deleted)
    for line in summary_lines(run.path, manifest, metrics):
        print0(line)
    return run


def release_launcher() -> None:
    """Let models be loaded whole again: under ZeRO-3 every new model would be cut over processes that are no longer
    here."""
    if "deepspeed" in sys.modules:
        from transformers.integrations.deepspeed import unset_hf_deepspeed_config

        unset_hf_deepspeed_config()


def fit_rule(
    recipe: TrainedRecipe, data: LoadedData, method: Method, undecided: dict[str, SegmentPredictions]
) -> DecisionRule:
    """The decision rule, fitted on validation; where there are no validation rows, what the recipe says of it.

    It is fitted on what it decides: documents, or their segments where these vote.
    """
    from categorize.metrics.decision import DecisionRule

    if "validation" not in undecided:  # the number and the fallback of the recipe hold without rows
        nothing = data.label_set.encode([])
        return DecisionRule.fit(recipe.decision, data.label_set, Predictions(ids=[], probabilities=nothing), nothing)
    predictions, rows = undecided["validation"].for_rule(data.label_set)
    gold = data.label_set.encode_rows(rows)
    section = recipe.decision
    if section.calibration is None and method.gives_margins(recipe, data.label_set):
        section = section.model_copy(update={"calibration": "temperature"})
    return DecisionRule.fit(section, data.label_set, predictions, gold)
