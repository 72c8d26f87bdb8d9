"""What `run.json` says of a training, beside versions and hardware."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from categorize.recipe.sections import TrainedRecipe
from categorize.training.fit_summary import FitSummary

if TYPE_CHECKING:
    from categorize.data.splits import LoadedData
    from categorize.prediction.predictor import SegmentPredictions


def build_manifest(
    recipe: TrainedRecipe,
    data: LoadedData,
    method: str,
    summary: FitSummary,
    undecided: dict[str, SegmentPredictions],
    seconds: float,
) -> dict[str, Any]:
    """The manifest of a run of this method, of which the held-out splits were predicted."""
    usages = [segments.predictions.usage for segments in undecided.values()]
    rows, spent = sum(usage.rows for usage in usages), sum(usage.seconds for usage in usages)
    documents = sum(len(set(one.segments["document_id"].to_pylist())) for one in undecided.values())
    return {
        "name": recipe.name,
        "kind": recipe.kind,
        "method": method,
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
