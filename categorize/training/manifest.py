"""What `run.json` says of a training, beside versions and hardware."""

from __future__ import annotations

from typing import Any

from categorize.data.splits import LoadedData
from categorize.prediction.predictor import SegmentPredictions
from categorize.predictions import Usage
from categorize.recipe.sections import TrainedRecipe
from categorize.training.fit_summary import FitSummary


def build_manifest(
    recipe: TrainedRecipe,
    data: LoadedData,
    method: str,
    summary: FitSummary,
    undecided: dict[str, SegmentPredictions],
    seconds: float,
) -> dict[str, Any]:
    """The manifest of a run of this method, of which the held-out splits were predicted."""
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
        "members": list(summary.members),
        **{name: getattr(summary, name) for name in ("parameters_trained", "parameters", "details")},
        "training": {
            "seconds": round(summary.seconds, 2),
            "rows": summary.rows,
            "rows_an_epoch": summary.rows_an_epoch,
            "tokens": summary.tokens,
            "memory": summary.memory,
            "energy": summary.energy,
            "rows_per_second": round(summary.rows / summary.seconds, 1) if summary.seconds else None,
        },
        "prediction": prediction_facts(undecided),
    }


def prediction_facts(undecided: dict[str, SegmentPredictions]) -> dict[str, Any]:
    """How much was predicted of the held-out splits, and how fast."""
    usage = sum((segments.predictions.usage for segments in undecided.values()), Usage())
    documents = sum(len(set(one.segments["document_id"].to_pylist())) for one in undecided.values())
    return {
        "documents": documents,
        "rows": usage.rows,
        "tokens": usage.tokens,
        "truncated_rows": usage.truncated_rows,
        **({"filled_rows": usage.filled_rows} if usage.filled_rows else {}),
        "rows_per_second": round(usage.rows / usage.seconds, 1) if usage.seconds else None,
        "documents_per_second": round(documents / usage.seconds, 1) if usage.seconds else None,
    }


def notes(recipe: TrainedRecipe) -> list[str]:
    """How the run came about, where a comparison should say so."""
    if getattr(recipe.model, "freeze", False):
        return ["linear probe"]
    if recipe.adapter is not None:
        bits = 4 if recipe.quantization and recipe.quantization.upstream().get("load_in_4bit") else 8
        return [recipe.adapter.type + (f" on {bits}-bit weights" if recipe.quantization else "")]
    return []
