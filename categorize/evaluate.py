"""The evaluation run: every run predicts the same split, one comparison comes out."""

from __future__ import annotations

import itertools
import time
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from categorize.data.load import load_recipe_data
from categorize.errors import UserError
from categorize.labels import LabelSet
from categorize.loading import load_predictor
from categorize.metrics.baselines import baseline
from categorize.metrics.intervals import measure_with_intervals, paired_differences
from categorize.metrics.measures import measure_unseen
from categorize.metrics.progress import headline
from categorize.nn.device import free_memory
from categorize.prediction.predictor import TrainedPredictor
from categorize.prediction.tables import likeness_of_documents, predictions_table
from categorize.predictions import Predictions
from categorize.processes import is_main_process
from categorize.recipe.sections import EvalRecipe, RunReference
from categorize.recipe.wording import counted
from categorize.reports import columns
from categorize.reports.comparison import EvaluatedRun, best_run, compare
from categorize.reports.per_class import per_class_text
from categorize.reports.write import COMPARISON, write_comparison
from categorize.runs.folder import Run, is_run

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from categorize.data.load import LoadedData
    from categorize.recipe.command import Command


@dataclass(frozen=True)
class Rows:
    """The split that every run predicts: rows, their documents, gold [documents, labels], and which documents' text
    stands in train ("exact", "near" or None)."""

    name: str
    rows: pa.Table
    documents: pa.Table
    gold: npt.NDArray[np.float64]
    fingerprint: str
    seen_in_train: list[str | None]


def evaluate(command: Command) -> None:
    """Predict one split with every run, print and write the comparison; of several processes, the first does.

    Raises:
        UserError: a run is missing or unfinished, was split otherwise, or has other labels.
    """
    recipe = command.recipe.recipe
    assert isinstance(recipe, EvalRecipe)
    if not is_main_process():
        return  # one process predicts; all of a launch would write the same files
    output = Path(recipe.output_path)
    check_output(output, command.overwrite)
    data = load_recipe_data(recipe, write=not command.dry_run)
    split = chosen_rows(recipe, data)
    references = [one if isinstance(one, RunReference) else RunReference(run=one) for one in recipe.evaluation.runs]
    print(
        f"{recipe.name}: {counted(len(references), 'run')} on the {split.name} split, "
        f"{counted(split.documents.num_rows, 'document')}",
        flush=True,
    )
    if command.dry_run:
        for line in [*data.report.lines(), *data.report.cleaning.lines()]:
            print(line)
        for one in references:
            print(
                f"  would predict with {one.run}: "
                f"{'found' if Path(one.run).exists() else 'no such folder yet; taken as a Hub id if it is one'}"
            )
        print("dry run: nothing was predicted or written")
        return
    taken = {baseline_name(data.label_set)} if recipe.evaluation.majority else set()
    check_runs(references, split, data.label_set, taken)
    predicted: dict[str, Predictions] = {}
    evaluated: list[EvaluatedRun] = []
    cut = False  # whether any run read documents in parts
    for one in references:
        predictor = load_predictor(
            one.run,
            base=one.base,
            label_set=data.label_set,
            input_spec=data.input_spec,
            section=recipe.prediction.model_copy(update={"mode": one.mode or recipe.prediction.mode}),
            prompt=recipe.prompt,
            name=one.name,
            trust_remote_code=command.trust_remote_code,
        )
        check_labels(predictor.label_set.task, predictor.label_set.names, data.label_set, one.run)
        check_split(predictor.fingerprints, split, one.run)
        check_name(predictor.name, predicted, taken)
        start = time.perf_counter()
        predictions = aligned_labels(predictor.predict_rows(split.rows), predictor.label_set, data.label_set, one.run)
        speed = len(predictions) / (time.perf_counter() - start)
        print(f"  {predictor.name}: {speed:,.0f} documents/s", flush=True)
        predicted[predictor.name] = predictions
        parts = segment_notes(predictor, predictions)
        cut = cut or bool(parts)
        notes = [*predictor.notes, *parts, *reading_notes(predictor, predictions)]
        evaluated.append(evaluated_run(recipe, data, split, predictor, predictions, speed, notes))
        del predictor  # else the next model is loaded beside this one
        free_memory()
    differences = []
    if len(evaluated) > 1 and recipe.evaluation.bootstrap:
        best = best_run(evaluated, headline(data.label_set))
        drawn = (evaluated[0].metrics["intervals"] or {}).get("measures", {})
        differences = paired_differences(
            data.label_set,
            split.gold,
            predicted,
            reference=best,
            measures=[one.name for one in columns.measures(data.label_set.task) if one.name in drawn],
            resamples=recipe.evaluation.bootstrap,
            seed=recipe.seed,
            groups=groups(split),
        )
    if recipe.evaluation.majority:
        evaluated.insert(0, majority(recipe, data, split))
    files = prediction_files(predicted)
    evaluated = [replace(one, predictions=files.get(one.name)) for one in evaluated]
    comparison = compare(evaluated, split=split.name, differences=differences, unit="documents" if cut else "rows")
    tables = (
        (files[name], predictions_table(split.documents, one, recipe.data.columns.keep, split.seen_in_train))
        for name, one in predicted.items()
    )
    written = write_comparison(output, comparison, tables)
    print()
    print(comparison.text())
    if len(data.label_set) <= 30 and (table := per_class_text(evaluated)):
        print("\nF1 by label\n" + table)
    print("\nwritten: " + ", ".join(str(path) for path in written))


def check_output(output: Path, overwrite: bool) -> None:
    """Refuse a folder that holds a training run, or an earlier comparison unless told."""
    if is_run(output):
        raise UserError(f"{output}: output_dir holds a training run; name another output_dir")
    if (output / COMPARISON).exists() and not overwrite:
        raise UserError(
            f"{output}: output_dir holds a comparison; name another output_dir or replace it with --overwrite"
        )


def chosen_rows(recipe: EvalRecipe, data: LoadedData) -> Rows:
    """The rows that the recipe compares on. Raises UserError where the split is empty."""
    name = recipe.evaluation.split
    rows = data.splits[name]
    if not rows.num_rows:
        raise UserError(
            f"evaluation.split: the {name} split is empty; raise data.splits.{name} or choose another split"
        )
    kept = data.input_spec.documents(rows)
    gold = data.label_set.encode(kept.column("gold").to_pylist(), kept.column("gold_score").to_pylist())
    likeness = data.splits.likeness_to_train(name) if name != "train" else [None] * rows.num_rows
    return Rows(name, rows, kept, gold, data.splits.fingerprints[name], likeness_of_documents(rows, likeness))


def check_runs(references: Sequence[RunReference], split: Rows, wanted: LabelSet, taken: Container[str]) -> None:
    """Refuse what can be told from the runs' manifests: the last run of a list should not cost the hours of the others.

    Args:
        taken: names that the comparison gives itself.

    Raises:
        UserError: as `check_split` and `check_labels`; a run is missing or not finished; two have one name.
    """
    names: set[str] = set()
    for one in references:
        folder = Path(one.run).expanduser()
        if not folder.exists() and "@" not in one.run and folder.parent != Path() and folder.parent.is_dir():
            Run.open(folder)  # no Hub id: says that it is missing, or not finished
        if is_run(folder):
            manifest = Run.open(folder).manifest
            # First: gold of other labels makes the split another one too.
            check_labels(manifest["task"], manifest["labels"], wanted, one.run)
            check_split(manifest.get("split_fingerprints", {}), split, one.run)
            check_name(one.name or manifest["name"], names, taken)
            names.add(one.name or manifest["name"])


def check_name(name: str, names: Container[str], taken: Container[str]) -> None:
    """Refuse a second run of one name, and a run that is named as the comparison names its baseline."""
    if name in taken:
        raise UserError(
            f"evaluation.runs: {name!r} is what the table calls the baseline; give the run another name (name: ...), "
            "or leave the baseline out with evaluation.majority: false"
        )
    if name in names:
        raise UserError(f"evaluation.runs: two runs are named {name!r}; give each a name of its own (name: ...)")


def check_split(fingerprints: Mapping[str, str], split: Rows, run: str) -> None:
    """Refuse a run that was trained with another split: it may have seen these rows."""
    found = fingerprints.get(split.name)
    if found is not None and found != split.fingerprint:
        raise UserError(
            f"{run}: its {split.name} split ({found[:12]}) is not this recipe's ({split.fingerprint[:12]}); "
            "scores would not be comparable: use the data section that the run was trained with, or train it again"
        )


def listed(labels: Iterable[str], most: int = 10) -> str:
    """Labels in quotes, the first `most` of them."""
    names = sorted(labels)
    return ", ".join(map(repr, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")


def check_labels(task: str, names: Sequence[str], wanted: LabelSet, run: str) -> None:
    """Refuse a run that predicts other labels or another task."""
    if task != wanted.task:
        raise UserError(f"{run}: predicts {task}, the evaluation is {wanted.task}")
    if set(names) != set(wanted.names):
        alone = (
            ("only the run has", set(names) - set(wanted.names)),
            ("only the evaluation has", set(wanted.names) - set(names)),
        )
        told = "; ".join(f"{who} {listed(labels)}" for who, labels in alone if labels)
        raise UserError(
            f"{run}: its labels are not the evaluation's: {told}; name them in labels as the run was trained with them"
        )


def aligned_labels(predictions: Predictions, found: LabelSet, wanted: LabelSet, run: str) -> Predictions:
    """Predictions with probabilities in the order of the evaluation's label set.

    Raises:
        UserError: the run predicts other labels or another task.
    """
    check_labels(found.task, found.names, wanted, run)
    if predictions.probabilities is None or found.names == wanted.names:
        return predictions
    order = [found.index[name] for name in wanted.names]
    return replace(predictions, probabilities=predictions.probabilities[:, order])


def groups(split: Rows) -> list[str | None] | None:
    """Group of each document where the data has groups."""
    values = split.documents.column("group").to_pylist()
    return values if any(value is not None for value in values) else None


def evaluated_run(
    recipe: EvalRecipe,
    data: LoadedData,
    split: Rows,
    predictor: TrainedPredictor,
    predictions: Predictions,
    speed: float,
    notes: list[str],
) -> EvaluatedRun:
    """One line of the comparison."""
    facts: dict[str, Any] = predictor.facts
    metrics = measured(recipe, data, split, predictions)
    return EvaluatedRun(
        name=predictor.name,
        method=str(facts["method"]),
        metrics=metrics,
        notes=tuple(notes),
        documents_per_second=speed,
        parameters_trained=facts.get("parameters_trained"),
        parameters_total=facts.get("parameters"),
        training_rows=(facts.get("rows") or {}).get("train"),
        training_seconds=(facts.get("training") or {}).get("seconds"),
    )


def segment_notes(predictor: TrainedPredictor, predictions: Predictions) -> list[str]:
    """How documents were read, where they were not read whole."""
    cut, rows = predictor.input_spec.segments, predictions.usage.rows
    if not predictor.input_spec.is_cut and rows == len(predictions):
        return []
    together = "" if rows == len(predictions) else f", aggregated by {cut.aggregation}"
    by = cut.by if predictor.input_spec.is_cut else "row"
    return [f"measured on {len(predictions):,} documents, read as {rows:,} segments (by {by}{together})"]


def reading_notes(predictor: TrainedPredictor, predictions: Predictions) -> list[str]:
    """What a reader must know of how answers were read: both valid rates of generated ones, and texts that were cut."""
    notes = []
    inner: Any = predictor.inner
    # The answers of several segments stand in one text.
    if predictions.raw is not None and hasattr(inner, "read_answers") and predictions.usage.rows == len(predictions):
        raw = [text or "" for text in predictions.raw]
        rates = {
            parsing: inner.read_answers(predictions.ids, raw, parsing).is_valid.mean()
            for parsing in ("strict", "tolerant")
        }
        notes.append(
            f"answers were generated: {rates['strict']:.1%} are a label to the letter, "
            f"{rates['tolerant']:.1%} can be read (the table reads {inner.section.parsing})"
        )
    if predictions.usage.truncated_rows:
        notes.append(f"{predictions.usage.truncated_rows:,} texts were cut to the model's longest input")
    return notes


def majority(recipe: EvalRecipe, data: LoadedData, split: Rows) -> EvaluatedRun:
    """What predicting the most frequent label (or the mean score) of the training rows would score."""
    train = data.splits.train
    gold = data.label_set.encode(train.column("gold").to_pylist(), train.column("gold_score").to_pylist())
    predictions = baseline(data.label_set, gold, split.documents.column("id").to_pylist())
    name = baseline_name(data.label_set)
    return EvaluatedRun(name, "baseline", measured(recipe, data, split, predictions), parameters_trained=0)


def baseline_name(label_set: LabelSet) -> str:
    """What a comparison calls its baseline."""
    return "mean score" if label_set.is_regression else "majority label"


def measured(recipe: EvalRecipe, data: LoadedData, split: Rows, predictions: Predictions) -> dict[str, Any]:
    """Measures with intervals, and those of the rows whose text is not in train where some are."""
    metrics = measure_with_intervals(
        data.label_set,
        split.gold,
        predictions,
        resamples=recipe.evaluation.bootstrap,
        seed=recipe.seed,
        groups=groups(split),
    )
    unseen = measure_unseen(data.label_set, split.gold, predictions, split.seen_in_train)
    return metrics if unseen is None else {**metrics, "unseen": unseen}


def prediction_files(names: Iterable[str]) -> dict[str, str]:
    """Where a comparison keeps each run's predictions, from its folder: `predictions/<name>.parquet`.

    Names that would share a file ("a b" and "a_b", or letters that differ in case alone) are numbered.
    """
    files: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
        numbered = (f"{safe}-{n}" for n in itertools.count(2))
        file = next(f for f in itertools.chain([safe], numbered) if f.lower() not in taken)
        taken.add(file.lower())
        files[name] = f"predictions/{file}.parquet"
    return files
