"""What a run says of itself to others: its model card, and the files that other tools read.

The card is made of the run alone: its measures with intervals beside a baseline that reads no text, each label, what
the evaluation shows of its limits, the data by their fingerprints, settings and machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from categorize.data.export.datasheet import guess_language
from categorize.data.report import LABELLED_SPLITS
from categorize.data.source import is_hub
from categorize.data.splits import LoadedData
from categorize.limitations import limitations
from categorize.methods.method import Method
from categorize.metrics.baselines import baseline
from categorize.metrics.intervals import bootstrap_intervals
from categorize.metrics.measures import measure
from categorize.metrics.progress import NO_RANK, flat, headline, spoken
from categorize.prediction.tables import gold_and_predictions
from categorize.recipe.sections import TrainedRecipe
from categorize.recipe.wording import counted
from categorize.runs.card import card, card_facts, front_matter
from categorize.runs.environment import environment
from categorize.runs.folder import RECIPE, Run, RunWriter
from categorize.text_tables import markdown_table

if TYPE_CHECKING:
    from categorize.labels import LabelSet

SHOWN = (
    "accuracy", "macro_f1", "weighted_f1", "balanced_accuracy", "mcc", "micro_f1", "hamming_loss", "log_loss",
    "expected_calibration_error", "pearson", "spearman", "rmse", "mae",
)  # fmt: skip
SETTINGS = ("model", "adapter", "quantization", "prompt", "training", "decision", "prediction")  # of the recipe
UNSHOWN = {"prompt": ("shots",)}  # texts of the data
RESAMPLES = 1000
CELLS = 20_000_000  # rows x labels x resamples, above which fewer resamples are drawn
EXAMPLE = 80  # characters
FINGERPRINT = 12  # characters of it that are shown
LIBRARIES = {"categorize": "other tools", "peft": "peft and transformers"}


def describe(
    recipe: TrainedRecipe,
    data: LoadedData,
    method: Method,
    manifest: dict[str, Any],
    metrics: dict[str, Any],
    writer: RunWriter,
) -> None:
    """Write the card, and the files for other tools, into a run that has its predictions and its decision rule."""
    manifest = {**environment(), **manifest}
    elsewhere = method.elsewhere(Run(writer.path), data.label_set, recipe.prediction)
    for name, text in elsewhere.files.items():
        writer.write_text(name, text)
    split = next((name for name in ("test", "validation") if name in metrics), None)
    facts = card_facts(recipe, method.card)
    results = {} if split is None else results_of(data, writer.path / f"predictions/{split}.parquet", metrics[split])
    source = str(recipe.data.source)
    hub = recipe.hub
    metadata = front_matter(
        recipe,
        manifest,
        facts,
        flat(metrics[split]) if split is not None else {},
        split=split or "test",
        dataset=source.partition("@")[0] if is_hub(recipe.data, source) else None,
        language=(hub.language if hub is not None else None) or guess_language(data),
    )
    sections: dict[str, Any] = {
        "name": manifest["name"],
        "task": manifest["task"].replace("_", "-"),
        "method": manifest["method"],
        "model": manifest["model"],
        "outputs": counted(len(data.label_set), "output"),
        "rows": counted(manifest["rows"]["train"], "row"),
        "segments": manifest["details"].get("segments", {}).get("train"),
        "aggregation": recipe.data.segments.aggregation,
        "labels": label_table(data, examples=hub is not None and hub.examples),
        "split": split,
        "results": "",
        "by_label": "",
        **results,
        "limits": limitations(data, metrics.get(split or "", {}), manifest, results.get("above_baseline")),
        "path": f'"{recipe.output_path}"',
        "library": LIBRARIES.get(facts.library, facts.library),
        "elsewhere": elsewhere,
        "data": data_table(recipe, data, manifest),
        "cleaning": ", ".join(f"`{step}`" for step in data.input_spec.cleaning if isinstance(step, str)),
        "unit_of_split": _unit_of_split(recipe),
        "facts": facts_table(manifest),
        "settings": settings_text(writer.path / RECIPE),
    }
    text = card(metadata, sections)
    writer.write_text("README.md", text.replace('"PLACE', f'"{recipe.output_path}'))


# ---------------------------------------------------------------- results
def results_of(data: LoadedData, predictions_file: Path, measured: dict[str, Any]) -> dict[str, Any]:
    """Tables of the measures of a split, with 95% intervals and the baseline's, and of each label."""
    label_set = data.label_set
    table = pq.read_table(predictions_file)
    gold, predictions = gold_and_predictions(table, label_set)
    training = label_set.encode_rows(data.input_spec.documents(data.splits.train))
    if not (~np.isnan(gold).any(axis=1)).any() or not (~np.isnan(training).any(axis=1)).any():
        return {}
    ids = table["id"].to_pylist()
    cells = max(len(ids) * len(label_set), 1)
    resamples = min(RESAMPLES, max(CELLS // cells, 50))
    intervals = (bootstrap_intervals(label_set, gold, predictions, resamples=resamples) or {}).get("measures", {})
    ignorant = baseline(label_set, training, ids)
    numbers, at_best = flat(measured), flat(measure(label_set, gold, ignorant))
    rows = []
    for name in (name for name in SHOWN if name in numbers):
        bounds = intervals.get(name)
        shown = f"{bounds[0]:.4f} to {bounds[1]:.4f}" if bounds else ""
        other = f"{at_best[name]:.4f}" if name in at_best and name not in NO_RANK else ""
        rows.append([spoken(name, label_set.task), f"{numbers[name]:.4f}", shown, other])
    return {
        "rows_measured": counted(measured["rows"], "row"),
        "baseline": _answer_of(label_set, ignorant.decided, training),
        "results": markdown_table(["measure", "value", "95% interval", "baseline"], rows, "lrrr"),
        "by_label": _by_label(measured),
        "above_baseline": _above(label_set, intervals, at_best),
    }


def _answer_of(label_set: LabelSet, decided: Any, training: Any) -> str:
    """What the baseline gives every row, in words."""
    if label_set.is_regression:
        return f"the mean of the training scores, {np.nanmean(training):.4g}"
    return " and ".join(f"`{name}`" for name in decided[0]) or "no label"


def _by_label(measured: dict[str, Any]) -> str:
    if "per_class" not in measured:
        return ""
    columns = ("precision", "recall", "f1")
    rows = [
        [one["label"], *(f"{one[name]:.4f}" for name in columns), f"{one['support']:,}", f"{one['predicted']:,}"]
        for one in measured["per_class"]
    ]
    return markdown_table(["label", *columns, "rows", "predicted"], rows, "lrrrrr")


def _above(label_set: LabelSet, intervals: dict[str, Any], at_best: dict[str, float]) -> bool | None:
    """Whether the interval of the headline measure lies above the baseline; None where there is nothing to tell."""
    name = headline(label_set)
    if name not in at_best or not intervals.get(name):
        return None
    return bool(intervals[name][0] > at_best[name])


# ---------------------------------------------------------------- data
def label_table(data: LoadedData, *, examples: bool) -> str:
    """Each label with its description, its training rows, and a text of them where the recipe lets texts be shown."""
    counts = data.report.label_counts
    header = ["label", "description", *(["training rows"] if counts else []), *(["example"] if examples else [])]
    shown = example_texts(data) if examples else {}
    rows = []
    for label in data.label_set.labels:
        count = f"{counts.get(label.name, {}).get('train', 0):,}"
        more = [count] if counts else []
        rows.append([label.name, label.description, *more, *([shown.get(label.name, "")] if examples else [])])
    return markdown_table(header, rows, "ll" + "r" * bool(counts) + "l" * examples)


def example_texts(data: LoadedData) -> dict[str, str]:
    """For each label a training text of middling length, cut where it is long."""
    by_label: dict[str, list[str]] = {}
    for text, labels in zip(data.splits.train["text"].to_pylist(), data.splits.train["gold"].to_pylist(), strict=True):
        for name in labels or ():
            by_label.setdefault(name, []).append(text)
    chosen = {
        name: sorted(texts, key=lambda text: (len(text), text))[len(texts) // 2] for name, texts in by_label.items()
    }
    return {name: text if len(text) <= EXAMPLE else text[:EXAMPLE] + "..." for name, text in chosen.items()}


def data_table(recipe: TrainedRecipe, data: LoadedData, manifest: dict[str, Any]) -> str:
    """Rows and fingerprint of each split."""
    source = recipe.data.source
    name = source if isinstance(source, str) else "published splits"
    rows = [
        [split, f"{manifest['rows'][split]:,}", f"`{manifest['split_fingerprints'][split][:FINGERPRINT]}`"]
        for split in LABELLED_SPLITS
        if manifest["rows"].get(split)
    ]
    table = markdown_table(["split", "rows", "fingerprint"], rows, "lrl")
    lengths = data.report.lengths
    return (
        f"From `{name}`: {data.report.rows:,} rows, {data.report.texts:,} distinct texts of {lengths['median']:.0f} "
        f"characters in the median and {lengths['max']:.0f} at most.\n\n{table}"
    )


def _unit_of_split(recipe: TrainedRecipe) -> str:
    columns = recipe.data.columns
    named = columns.group or columns.document
    return f"same `{named}`" if named else "same text"


# ---------------------------------------------------------------- training
def facts_table(manifest: dict[str, Any]) -> str:
    """Time, size, memory, machine and versions."""
    training, hardware, details = manifest["training"], manifest["hardware"], manifest["details"]
    gpus = hardware.get("gpus")
    machine = (
        ", ".join(gpus)
        if gpus
        else f"{hardware['processor']}, {counted(hardware.get('threads') or hardware['cpus'], 'thread')}"
    )
    found = {
        "parameters": f"{manifest['parameters']:,}, {manifest['parameters_trained']:,} of them trained",
        "steps": f"{details['steps']:,}" if "steps" in details else None,
        "epochs": f"{details['epochs']:.3g}" if "epochs" in details else None,
        "time": f"{training['seconds']:,.0f} s",
        "peak memory": f"{training['memory'] / 2**30:.2f} GiB" if training.get("memory") else None,
        "energy": energy_text(training["energy"], bool(gpus)) if "energy" in training else None,
        "precision": details.get("precision"),
        "machine": machine + (f", {hardware['processes']} processes" if hardware.get("processes", 1) > 1 else ""),
        "seed": str(manifest["seed"]),
        "versions": ", ".join(f"{name} {version}" for name, version in manifest["versions"].items()),
    }
    return markdown_table(["", ""], [[name, value] for name, value in found.items() if value is not None], "ll")


def energy_text(used: dict[str, float] | None, with_gpus: bool) -> str:
    """What fitting took, in words; a part that was not measured is said to be so.

    >>> energy_text({"processor": 7200.0}, with_gpus=False)
    '0.002 kWh (processor, whole machine)'
    >>> energy_text({"processor": 7200.0, "gpu": 3.6e6}, with_gpus=True)
    '0.002 kWh (processor, whole machine), 1 kWh (GPU)'
    >>> energy_text({}, with_gpus=True)
    'not measurable on this machine'
    """
    if not used:
        return "not measurable on this machine" if used is not None else "not measured over all starts and machines"
    names = {"processor": "processor, whole machine", "gpu": "GPU"}
    parts = [f"{joules / 3.6e6:.3g} kWh ({names[name]})" for name, joules in used.items()]
    return ", ".join(parts + (["GPU not measured"] if with_gpus and "gpu" not in used else []))


def settings_text(recipe_file: Path) -> str:
    """The parts of the recipe that shape the model, without texts of the data."""
    import yaml

    written = yaml.safe_load(recipe_file.read_text(encoding="utf-8"))
    kept = {
        name: {key: value for key, value in written[name].items() if key not in UNSHOWN.get(name, ())}
        for name in SETTINGS
        if isinstance(written.get(name), dict)
    }
    return yaml.safe_dump({**kept, "seed": written.get("seed", 42)}, allow_unicode=True, sort_keys=False).rstrip("\n")
