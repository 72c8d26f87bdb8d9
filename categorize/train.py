"""A training run from the recipe to the finished folder: data, method, decision rule, predictions, measures,
summary."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from categorize.connection import check_model
from categorize.errors import UserError
from categorize.methods.method import FitOptions, FitSummary, Method, get_method
from categorize.nn.console import quiet_loggers
from categorize.nn.device import settle_device
from categorize.processes import is_main_process
from categorize.recipe.sections import SftRecipe, TrainedRecipe
from categorize.recipe.wording import counted
from categorize.runs.card import card
from categorize.runs.folder import (
    CHECKPOINTS,
    DECISION_RULE,
    FINGERPRINTS,
    INPUT,
    LABEL_SET,
    METRICS,
    SPLITS,
    Run,
    RunWriter,
    disk_errors,
    is_run,
)
from categorize.runs.hub import check_push, describe_push, is_hub_model, push_run
from categorize.training.checkpoints import remove_all
from categorize.training.machine import check_machine
from categorize.training.stopping import stop_on_signals

_TRAINED_ON = b"trained_on"  # in the metadata of that file

if TYPE_CHECKING:
    import pyarrow as pa

    from categorize.data.load import LoadedData
    from categorize.metrics.decision import DecisionRule
    from categorize.prediction.predictor import SegmentPredictions
    from categorize.recipe.command import Command


def train(command: Command) -> None:
    """Train what the recipe says and leave a finished run folder; with `--dry-run`, show what would happen.

    Raises:
        UserError: see the parts: the recipe, the data, the model or the output folder is at fault.
    """
    with nullcontext() if command.dry_run else stop_on_signals():
        done = _train(command)
    if done is None:
        return
    run, recipe, data = done
    if recipe.hub is not None:
        say(describe_push(run, recipe.hub))
        say(f"pushed: {push_run(run, recipe.hub)}")
    if command.merge:
        from categorize.merge import merge_run

        merge_run(command, run, data)


def _train(command: Command) -> tuple[Run, TrainedRecipe, LoadedData] | None:
    """From the recipe to the run in its place; None where nothing is trained, and in processes that do not write."""
    from categorize.data.load import load_recipe_data

    recipe = command.recipe.recipe
    assert isinstance(recipe, TrainedRecipe)
    method = get_method("sft" if isinstance(recipe, SftRecipe) else recipe.model.method)
    if not method.together and not is_main_process():
        return None
    output = Path(recipe.output_path)
    # Together the flags continue an interrupted run that is to replace a finished one.
    resume = command.resume or (recipe.training.resume == "auto" and not command.overwrite)
    quiet_loggers()
    settle_device(recipe.training.upstream().get("use_cpu") is True)
    options = FitOptions(resume, command.trust_remote_code)
    say(f"{recipe.name}: {method.name} -> {output}")
    check_model_is_within_reach(recipe)
    if recipe.hub is not None and is_main_process():
        for line in check_push(recipe):
            say(line)
    if command.merge:
        from categorize.merge import check_merge, merge_finished, merged_path

        check_merge(recipe, overwrite=command.overwrite, trust_remote_code=command.trust_remote_code)
        RunWriter(merged_path(recipe), command.recipe.text, overwrite=command.overwrite, probe=True)
    trains = not (command.merge and is_run(output) and not command.overwrite)
    if trains:
        check_machine(recipe)
    if command.dry_run:
        if trains:
            RunWriter(output, command.recipe.text, resume=resume, overwrite=command.overwrite, probe=True)
        data = load_recipe_data(recipe, resplit=command.resplit, write=not command.dry_run)
        check_labelled(data)
        for line in [*data.report.lines(), *data.report.cleaning.lines(), *method.preview(recipe, data, options)]:
            say(line)
        say("dry run: nothing was trained or written")
        return None
    if not trains:
        merge_finished(command)
        return None
    # Before the data is read: a folder that is taken must not cost the user an hour.
    writer = RunWriter(output, command.recipe.text, resume=resume, overwrite=command.overwrite)
    data = load_recipe_data(recipe, resplit=command.resplit, write=not command.dry_run)
    check_labelled(data)
    for line in data.report.lines():
        say(line)
    start = time.perf_counter()
    if writer.resumed:
        check_same_rows(writer, data)
    writer_files(writer, data)
    summary = method.fit(recipe, data, writer, FitOptions(writer.resumed, options.trust_remote_code))
    if not is_main_process():
        return None
    return finish(recipe, data, method, writer, summary, start), recipe, data


def check_model_is_within_reach(recipe: TrainedRecipe) -> None:
    """Refuse a model of the Hub that cannot be had before the data is read and the heavy libraries are loaded."""
    name = getattr(recipe.model, "name_or_path", None)
    if name is not None and is_hub_model(name):
        check_model(name, getattr(recipe.model, "revision", None))


def check_labelled(data: LoadedData) -> None:
    """Refuse a source without labels, which loads as well: there is nothing to learn from."""
    if not data.splits.train.num_rows:
        raise UserError(
            f"{data.report.source}: no row has a label; name the column that holds the labels as data.columns.label"
        )


def writer_files(writer: RunWriter, data: LoadedData) -> None:
    """What every method's run holds from the start: label set, input spec, assignment."""
    if not is_main_process():
        return
    import pyarrow.parquet as pq

    with disk_errors(writer.path):
        data.label_set.save(writer.stage(LABEL_SET))
        data.input_spec.save(writer.stage(INPUT))
        known = {_TRAINED_ON: trained_on(data), FINGERPRINTS: json.dumps(data.splits.fingerprints)}
        assignment = data.splits.assignment.replace_schema_metadata(known)
        pq.write_table(assignment, writer.stage(SPLITS))


def trained_on(data: LoadedData) -> str:
    """SHA-256 of what an interrupted training hangs on: the training and validation rows in their order, with gold and
    weight. The fingerprint of a split does not tell orders apart, but batches are drawn by position."""
    import hashlib

    total = hashlib.sha256()
    for rows in (data.splits.train, data.splits.validation):
        columns = ("id", "content_hash", "gold", "gold_score", "weight")
        for row in zip(*(rows.column(name).to_pylist() for name in columns), strict=True):
            total.update(f"{row!r}\n".encode("utf-8", "surrogatepass"))
    return total.hexdigest()


def check_same_rows(writer: RunWriter, data: LoadedData) -> None:
    """Refuse to continue a training on other rows than it began with: a source that was edited in between.

    Raises:
        UserError: rows, their order, labels or weights are not those of the interrupted run.
    """
    import pyarrow.parquet as pq

    stored = writer.path / SPLITS
    if not is_main_process() or not stored.is_file():
        return
    before = (pq.read_schema(stored).metadata or {}).get(_TRAINED_ON)
    if before is not None and before.decode() != trained_on(data):
        raise UserError(
            f"{writer.path}: the interrupted run trained on other rows, or on the same in another order: "
            f"{data.report.source} was changed since; undo the change, or start anew with --overwrite"
        )


def finish(
    recipe: TrainedRecipe, data: LoadedData, method: Method, writer: RunWriter, summary: FitSummary, start: float
) -> Run:
    """Predict with what was saved, fit the decision rule, measure, and put the run in place.

    Predicting reloads the run, so that every finished run has been loaded once.
    """
    from categorize.metrics.decision import DecisionRule
    from categorize.prediction.loading import run_predictor
    from categorize.prediction.predictor import TrainedPredictor

    release_launcher()
    predictor = TrainedPredictor(
        run_predictor(Run(writer.path), method.name, recipe.prediction),
        data.input_spec,
        DecisionRule.default(data.label_set),
        recipe.name,
    )
    say("predicting validation and test with the saved run")
    undecided = {name: predictor.predict_segments(rows) for name, rows in held_out(data).items() if rows.num_rows}
    rule = fit_rule(recipe, data, undecided)
    with disk_errors(writer.path):
        rule.save(writer.stage(DECISION_RULE))
        metrics = write_predicted(recipe, data, rule, undecided, writer)
    writer.write_json(METRICS, metrics)
    manifest = build_manifest(recipe, data, method, summary, undecided, time.perf_counter() - start)
    with disk_errors(writer.path):
        writer.stage("README.md").write_text(card(recipe, data, manifest, metrics), encoding="utf-8")
    run = writer.commit(manifest)
    if not recipe.training.keep_checkpoints and (deleted := remove_all(run.path / CHECKPOINTS)):
        say(deleted)
    for line in summary_lines(run.path, manifest, metrics):
        say(line)
    return run


def write_predicted(
    recipe: TrainedRecipe,
    data: LoadedData,
    rule: DecisionRule,
    undecided: dict[str, SegmentPredictions],
    writer: RunWriter,
) -> dict[str, Any]:
    """Decide and write the predictions of each split; gives its measures."""
    from categorize.metrics.measures import measure, measure_unseen
    from categorize.prediction.tables import likeness_of_documents, predictions_table, write_predictions

    metrics: dict[str, Any] = {}
    for name, segments in undecided.items():
        rows = data.input_spec.documents(data.splits[name])
        decided = segments.decide(rule)
        gold = data.label_set.encode(rows.column("gold").to_pylist(), rows.column("gold_score").to_pylist())
        metrics[name] = measure(data.label_set, gold, decided)
        seen = likeness_of_documents(data.splits[name], data.splits.likeness_to_train(name))
        if (unseen := measure_unseen(data.label_set, gold, decided, seen)) is not None:
            metrics[name]["unseen"] = unseen
        table = predictions_table(rows, decided, recipe.data.columns.keep, seen)
        write_predictions(writer.stage(f"predictions/{name}.parquet"), table)
    return metrics


def release_launcher() -> None:
    """Let models be loaded whole again: under ZeRO-3 every new model would be cut over processes that are no longer
    here."""
    import sys

    if "deepspeed" in sys.modules:
        from transformers.integrations.deepspeed import unset_hf_deepspeed_config

        unset_hf_deepspeed_config()


def held_out(data: LoadedData) -> dict[str, pa.Table]:
    """Splits that a finished run predicts."""
    return {"validation": data.splits.validation, "test": data.splits.test}


def fit_rule(recipe: TrainedRecipe, data: LoadedData, undecided: dict[str, SegmentPredictions]) -> DecisionRule:
    """The decision rule, fitted on validation; the default where there are no validation rows.

    It is fitted on what it decides: documents, or their segments where these vote.
    """
    from categorize.methods.tfidf.fit import gives_margins
    from categorize.metrics.decision import DecisionRule

    if "validation" not in undecided:
        return DecisionRule.default(data.label_set)
    predictions, rows = undecided["validation"].for_rule(data.label_set)
    gold = data.label_set.encode(rows.column("gold").to_pylist(), rows.column("gold_score").to_pylist())
    section = recipe.decision
    if section.calibration is None and gives_margins(recipe, data.label_set):
        section = section.model_copy(update={"calibration": "temperature"})
    return DecisionRule.fit(section, data.label_set, predictions, gold)


def build_manifest(
    recipe: TrainedRecipe,
    data: LoadedData,
    method: Method,
    summary: FitSummary,
    undecided: dict[str, SegmentPredictions],
    seconds: float,
) -> dict[str, Any]:
    """What `run.json` says beside versions and hardware."""
    usages = [segments.predictions.usage for segments in undecided.values()]
    rows, spent = sum(usage.rows for usage in usages), sum(usage.seconds for usage in usages)
    documents = sum(len(set(one.segments["document_id"].to_pylist())) for one in undecided.values())
    return {
        "name": recipe.name,
        "kind": recipe.kind,
        "method": method.name,
        "model": getattr(recipe.model, "name_or_path", None),
        "task": data.label_set.task,
        "labels": data.label_set.names,
        "label_set_fingerprint": data.label_set.fingerprint,
        "split_fingerprints": data.splits.fingerprints,
        "rows": {name: getattr(data.splits, name).num_rows for name in ("train", "validation", "test", "unlabeled")},
        "seed": recipe.seed,
        "seconds": round(summary.seconds_before + seconds, 2),
        "notes": notes(recipe),
        **{name: getattr(summary, name) for name in ("parameters_trained", "parameters", "details")},
        "training": {
            "seconds": round(summary.seconds, 2),
            "rows": summary.rows,
            "rows_an_epoch": summary.rows_an_epoch,
            "tokens": summary.tokens,
            "rows_per_second": round(summary.rows / summary.seconds, 1) if summary.seconds else None,
        },
        "prediction": {
            "documents": documents,
            "rows": rows,
            "tokens": sum(usage.tokens for usage in usages),
            "truncated_rows": sum(usage.truncated_rows for usage in usages),
            "rows_per_second": round(rows / spent, 1) if spent else None,
            "documents_per_second": round(documents / spent, 1) if spent else None,
        },
    }


def notes(recipe: TrainedRecipe) -> list[str]:
    """How the run came about, where a comparison should say so."""
    if getattr(recipe.model, "freeze", False):
        return ["linear probe"]
    if recipe.adapter is not None:
        return [recipe.adapter.type + (f" on {_bits(recipe)}-bit weights" if recipe.quantization else "")]
    return []


def _bits(recipe: TrainedRecipe) -> int:
    assert recipe.quantization is not None
    return 4 if recipe.quantization.upstream().get("load_in_4bit") else 8


def summary_lines(path: Path, manifest: dict[str, Any], metrics: dict[str, Any]) -> list[str]:
    """What a user wants to know at the end: how well, how fast, where."""
    from categorize.metrics.progress import flat, spoken

    def called(name: str) -> str:
        return spoken(name, manifest["task"])

    shown = ("accuracy", "macro_f1", "weighted_f1", "pearson", "spearman", "rmse", "mae")
    lines = []
    unit = "documents" if "segments" in manifest["details"] else "rows"
    for split, measured in metrics.items():
        values = flat(measured)
        line = "  ".join(f"{called(name)} {values[name]:.4f}" for name in shown if name in values)
        if missing := measured.get("labels_without_support"):
            line += f"  (macro over {measured['labels_in_macro']} of {counted(len(manifest['labels']), 'label')}: "
            line += f"no row has {', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''})"
        lines.append(f"{split:<10} {measured['rows']:>7,} {unit}  valid {measured['valid_rate'] or 0:.1%}  {line}")
        if (unseen := measured.get("unseen")) and unseen["rows"]:
            line = "  ".join(f"{called(name)} {unseen[name]:.4f}" for name in shown if name in unseen)
            lines.append(f"{'':<10} {unseen['rows']:>7,} rows  whose text is not in train:  {line}")
    if truncated := manifest["details"].get("truncated_rows", 0):
        lines.append(f"{truncated:,} training rows were longer than model.max_length and were cut")
    lines.append(
        f"trained in {manifest['training']['seconds']:.0f} s, {manifest['parameters_trained']:,} parameters; "
        f"predicts {manifest['prediction']['documents_per_second'] or 0:,.0f} documents/s"
    )
    lines.append(f"run folder: {path}  (metrics.json, predictions/, run.json)")
    return lines


def say(line: str) -> None:
    """Print a line, from the first process only."""
    if is_main_process():
        print(line, flush=True)
