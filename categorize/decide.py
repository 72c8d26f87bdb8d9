"""Fit the decision rule of a finished run anew, without training it again.

python -m categorize.decide outputs/mine decision.thresholds=global
python -m categorize.decide outputs/mine decision.calibration=isotonic --dry-run

The overrides are laid over the `decision` section of the run's own recipe. The rule is fitted on the validation rows
and measured on validation and test, as at the end of a training; rule, recipe, measures and predictions of the run are
replaced together or not at all.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from categorize.data.splits import LoadedData
from categorize.description import describe
from categorize.errors import UserError
from categorize.methods.registry import METHODS
from categorize.metrics.decision import DecisionRule
from categorize.prediction.held_out import predict_held_out, write_predicted
from categorize.prediction.predictor import SegmentPredictions, TrainedPredictor
from categorize.prediction.scope import SCOPE_FILES, learn_scope
from categorize.prediction.tables import gold_and_predictions
from categorize.recipe.command import TRAINING_KINDS
from categorize.recipe.load import LoadedRecipe, load_recipe
from categorize.recipe.overrides import split
from categorize.recipe.sections import TrainedRecipe
from categorize.recipe.terminal import CommandParser, exit_status, run_command
from categorize.runs.contents import MEMBERS, is_made_of_others
from categorize.runs.folder import DECISION_RULE, MANIFEST, METRICS, RECIPE, Run, RunWriter, incomplete_path, is_run
from categorize.runs.holding import release
from categorize.train import fit_rule
from categorize.training.checkpoints import has_checkpoints
from categorize.writing import disk_errors

if TYPE_CHECKING:
    from categorize.methods.method import Method

BEGUN = ".deciding"  # in a folder that this command writes: no training is lost with it
VALIDATION, TEST = "predictions/validation.parquet", "predictions/test.parquet"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit status: 2 for what the user can fix, 130 where it was interrupted."""
    return exit_status(lambda: decide(_parse(argv)), "interrupted; the run is as it was")


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser("python -m categorize.decide", __doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished training run")
    parser.add_argument("overrides", nargs="*", metavar="decision.key=value", help="what the new rule is fitted by")
    parser.add_argument("--dry-run", action="store_true", help="show the measures, and leave the run as it is")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="write a copy of the run, and leave it as it is")
    parser.add_argument("--base", metavar="MODEL", help="the base of an adapter, where it is not found any more")
    parser.add_argument("--trust-remote-code", action="store_true", help="let a model bring its own code")
    return parser.parse_intermixed_args(argv)


def decide(options: argparse.Namespace) -> None:
    """Fit, measure, show, and put the run in place anew.

    Raises:
        UserError: the run has nothing to fit a rule on, the section is at fault, or the data are others by now.
    """
    from categorize.data.splits import load_recipe_data

    run = Run.open(options.run)
    loaded = _recipe(run, options.overrides)
    trained = loaded.recipe
    assert isinstance(trained, TrainedRecipe)
    _check_fits(run)
    target: Path = options.output or run.path
    copies = target.resolve() != run.path.resolve()
    if not options.dry_run:
        _check_place(run, target, copies)
    data = load_recipe_data(trained, write=False)
    same = data.splits.fingerprints == run.manifest["split_fingerprints"]
    if not same or data.label_set.fingerprint != run.manifest["label_set_fingerprint"]:
        raise UserError(
            f"{run.path}: its rows or labels are not those of the data now; put the data back, or train the run anew"
        )
    if copies:
        loaded = _of_copy(run, options.overrides, target)
    recipe = loaded.recipe
    assert isinstance(recipe, TrainedRecipe)
    method = METHODS.of_run(run)
    with ExitStack() as stack:
        if options.dry_run:
            target = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="decide-"))) / "run"
        writer = RunWriter(target, loaded.text, overwrite=not copies, holds_work=_holds_training)
        stack.callback(release, writer.path)
        writer.write_text(BEGUN, "")
        undecided = _undecided(run, recipe, data, method, writer, options)
        rule = fit_rule(recipe, data, method, undecided)
        writer.write_json(DECISION_RULE, rule.to_dict())
        metrics = write_predicted(recipe, data, rule, undecided, writer)
        for line in _shown(run, rule, metrics):
            print(line, flush=True)
        if options.dry_run:
            print(f"{run.path}: left as it is (--dry-run)")
            return
        done = _commit(run, recipe, data, method, metrics, writer, copies)
    (done.path / BEGUN).unlink(missing_ok=True)
    print(f"run folder: {done.path}  ({DECISION_RULE}, {RECIPE}, {METRICS} and predictions/ are new)")


# ---------------------------------------------------------------- what can be decided anew
def _recipe(run: Run, overrides: Sequence[str]) -> LoadedRecipe:
    """The run's own recipe with another decision section."""
    if not overrides:
        raise UserError("name what the rule is fitted by, such as decision.thresholds=global")
    for argument in overrides:
        try:
            path, _ = split(argument)
        except ValueError:
            continue  # the recipe says what is wrong with it
        if path[0] != "decision":
            raise UserError(
                f"{argument}: only keys of decision can change on a finished run, such as decision.thresholds=global; "
                "train the run anew for others"
            )
    if (kind := run.manifest.get("kind")) not in TRAINING_KINDS:
        raise UserError(f"{run.path}: a run of kind {kind} has no decision rule; name a training run")
    return load_recipe(run.path / RECIPE, overrides, methods=METHODS)


def _of_copy(run: Run, overrides: Sequence[str], output: Path) -> LoadedRecipe:
    """The recipe of a copy, which names the folder of that; its data are found by the run's own."""
    place = f"output_dir={json.dumps(str(output), ensure_ascii=False)}"
    return load_recipe(run.path / RECIPE, (*overrides, place), methods=METHODS)


def _check_fits(run: Run) -> None:
    if run.manifest["task"] == "regression":
        raise UserError(f"{run.path}: a regression gives scores; there are no labels to decide")
    if not run.has(VALIDATION):
        raise UserError(
            f"{run.path}: has no validation rows to fit a rule on, and test rows are only measured; train it with "
            "data.splits.validation above 0"
        )
    if pq.read_table(run.path / VALIDATION, columns=["probabilities"])["probabilities"].null_count:
        raise UserError(
            f"{run.path}: its answers are generated, without probabilities that a rule could decide by; train it with "
            "prediction.mode: scoring"
        )


def _check_place(run: Run, target: Path, copies: bool) -> None:
    """Refuse a place that holds another run, or where a run would not find its members."""
    if copies and is_run(target):
        raise UserError(f"{target}: holds a run already; name another folder with --output")
    if copies and is_made_of_others(run.path) and not (run.path / MEMBERS).is_dir():
        raise UserError(
            f"{run.path}: is made of other runs, which a copy would not find; leave --output out, or train it with "
            "model.copy_members: true"
        )
    if _holds_training(staged := incomplete_path(target)):
        raise UserError(
            f"{staged}: a training that was interrupted waits here; finish it with --overwrite --resume, or remove the "
            "folder"
        )


def _holds_training(folder: Path) -> bool:
    return has_checkpoints(folder) and not (folder / BEGUN).exists()


# ---------------------------------------------------------------- predictions before any rule
def _undecided(
    run: Run, recipe: TrainedRecipe, data: LoadedData, method: Method, writer: RunWriter, options: argparse.Namespace
) -> dict[str, SegmentPredictions]:
    """Predictions of validation, and of test where the run has them: the kept ones where its rule left their
    probabilities alone, else those of the reloaded model."""
    scope = recipe.decision.reject is not None and recipe.decision.reject.by != "softmax"
    old = DecisionRule.load(run.path / DECISION_RULE)
    splits = ["validation", *(["test"] if run.has(TEST) else [])]
    raw = old.temperature == 1 and old.curves is None and old.reject is None and old.hierarchy != "capped"
    if raw and not scope and all(_whole(data, name) for name in splits):
        return {name: _kept(run, recipe, data, name) for name in splits}
    print(f"predicting {' and '.join(splits)} anew", flush=True)
    inner = method.predictor(run, recipe.prediction, options.base, options.trust_remote_code)
    predictor = TrainedPredictor(inner, data.input_spec, DecisionRule.default(data.label_set), recipe.name)
    predictor.scope = learn_scope(recipe.decision.reject, data, writer, recipe.prediction, options.trust_remote_code)
    return predict_held_out(predictor, data, validation_only="test" not in splits)


def _whole(data: LoadedData, name: str) -> bool:
    """Whether each document of a split is one row that is predicted in one piece."""
    documents = data.splits[name]["document_id"]
    return data.input_spec.segments.by == "document" and len(documents.unique()) == len(documents)


def _kept(run: Run, recipe: TrainedRecipe, data: LoadedData, name: str) -> SegmentPredictions:
    """The predictions that the run keeps of a split, as they were before they were decided."""
    path = run.path / f"predictions/{name}.parquet"
    table = pq.read_table(path)
    rows = data.input_spec.documents(data.splits[name])
    if table["id"].to_pylist() != rows["id"].to_pylist():
        raise UserError(f"{path}: holds other rows than the run's {name} split; the run folder is damaged")
    _, found = gold_and_predictions(table, data.label_set)
    scores = getattr(recipe.training, "auxiliary", None) or {}
    auxiliary = {one: table[f"score of {one}"].to_numpy() for one in scores}
    raw = None if table["raw"].null_count == len(table) else table["raw"].to_pylist()
    undecided = replace(found, decided=None, raw=raw, auxiliary=auxiliary or None)
    return SegmentPredictions(undecided, rows, data.input_spec)


# ---------------------------------------------------------------- what is shown and written
def _shown(run: Run, rule: DecisionRule, metrics: dict[str, Any]) -> list[str]:
    """The rules and the measures, before and after."""
    from categorize.metrics.progress import flat
    from categorize.reports.columns import measures
    from categorize.text_tables import text_table

    before = run.read_json(METRICS)
    sides = [
        (split, when, flat(of[split])) for split in metrics for when, of in (("before", before), ("after", metrics))
    ]
    columns = [one for one in measures(rule.task) if one.terminal and all(one.name in values for *_, values in sides)]
    rows = [[name, when, *(f"{values[one.name]:.4f}" for one in columns)] for name, when, values in sides]
    header = ["split", "rule", *(one.title for one in columns)]
    return [
        f"before: {_rule_line(DecisionRule.load(run.path / DECISION_RULE))}",
        f"after:  {_rule_line(rule)}",
        text_table(header, rows, "ll" + "r" * len(columns), width=120),
        "fitted on validation, whose measures flatter a rule that was fitted on it; test was only measured",
        *(f"warning: {note}" for note in rule.notes),
    ]


def _rule_line(rule: DecisionRule) -> str:
    parts = [f"temperature {rule.temperature:.3g}"] if rule.temperature != 1 else []
    parts += ["calibration curves"] if rule.curves is not None else []
    if rule.thresholds:
        low, high = min(rule.thresholds), max(rule.thresholds)
        parts.append(f"threshold {low:.3g}" if low == high else f"thresholds {low:.3g} to {high:.3g}")
    parts += [f"fallback {rule.fallback}"] if rule.fallback != "none" else []
    parts += [f"hierarchy {rule.hierarchy}"] if rule.hierarchy != "none" else []
    parts += ["the median"] if rule.ordinal == "median" else []
    parts += [f"rejects by {rule.reject.by} under {rule.reject.threshold:.3g}"] if rule.reject is not None else []
    return ", ".join(parts) or "the most probable label"


def _commit(
    run: Run,
    recipe: TrainedRecipe,
    data: LoadedData,
    method: Method,
    metrics: dict[str, Any],
    writer: RunWriter,
    copies: bool,
) -> Run:
    """Everything that the new rule leaves alone comes along; the run goes in place whole."""
    manifest = {**run.manifest, "decided": datetime.now(UTC).isoformat(timespec="seconds")}
    described = recipe
    if "merge" in manifest["details"]:  # its recipe is that of the run which it was merged from
        whole = {"name": manifest["name"], "output_dir": str(writer.final), "adapter": None, "quantization": None}
        described = recipe.model_copy(update=whole)

    def written(folder: str, names: list[str]) -> set[str]:
        inside = Path(folder).relative_to(run.path)
        left_out = {MANIFEST, BEGUN, *SCOPE_FILES} if inside == Path() else set()
        return {name for name in names if name in left_out or (writer.path / inside / name).is_file()}

    with disk_errors(writer.path):
        shutil.copytree(
            run.path,
            writer.path,
            symlinks=not copies,
            ignore=written,
            copy_function=shutil.copy2 if copies else _link,
            dirs_exist_ok=True,
        )
    describe(described, data, method, manifest, metrics, writer)
    return writer.commit(manifest)


def _link(source: str, target: str) -> None:
    """The same file once more: weights are not written twice. A copy where the file system has no links."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target)


if __name__ == "__main__":
    sys.exit(run_command(main))
