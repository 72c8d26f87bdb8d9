"""What the evaluation of a run shows that it cannot do, in sentences for its card."""

from __future__ import annotations

from typing import Any

from categorize.data.splits import LoadedData
from categorize.recipe.wording import counted

LOW_RECALL = 0.5  # under it, a label is found less often than it is missed
FEW_ROWS = 20  # of a split, under which a label's measures say little
UNSURE = 0.1  # expected calibration error from where on probabilities mislead
NAMED = 10


def limitations(
    data: LoadedData, measured: dict[str, Any], manifest: dict[str, Any], above_baseline: bool | None
) -> list[str]:
    """Sentences, the gravest first; at least one.

    Args:
        measured: of the split that the card shows; empty where nothing was held out.
        above_baseline: whether the headline measure is clearly above that of the baseline; None: not known.
    """
    found = []
    if not measured:
        return ["Nothing was held out, so that nothing is known of its errors."]
    if above_baseline is False:
        found.append("It is not clearly better than the baseline: the interval reaches the baseline's value.")
    found += _of_labels(data, measured.get("per_class", ()))
    if measured["valid_rate"] is not None and measured["valid_rate"] < 1:
        found.append(f"{1 - measured['valid_rate']:.1%} of its answers were not valid; they count as wrong.")
    if measured.get("expected_calibration_error", 0) >= UNSURE:
        error = measured["expected_calibration_error"]
        found.append(f"Its probabilities are {error:.0%} off on average; set decision.calibration before using them.")
    if (cut := manifest["details"].get("truncated_rows", 0)) and manifest["rows"]["train"]:
        found.append(f"{counted(cut, 'training text')} of {manifest['rows']['train']:,} were longer than it reads.")
    if overlap := sum(data.report.overlaps.values()):
        found.append(f"{counted(overlap, 'held-out row')} had a text that stands in train too.")
    if data.report.conflicts:
        found.append(f"{counted(data.report.conflicts, 'text')} had rows with different labels.")
    found.append("Measured on texts like those of its training; of others, nothing is known.")
    return found


def _of_labels(data: LoadedData, per_class: Any) -> list[str]:
    found = []
    weak = sorted(
        (one for one in per_class if one["support"] and one["recall"] < LOW_RECALL), key=lambda one: one["recall"]
    )
    if weak:
        shown = [f"`{one['label']}` ({one['recall']:.2f} of {one['support']:,})" for one in weak]
        found.append(f"Labels that it misses more often than it finds them, by recall: {_listed(shown)}.")
    few = [f"`{one['label']}` ({one['support']})" for one in per_class if 0 < one["support"] < FEW_ROWS]
    if few:
        found.append(f"Labels with fewer than {FEW_ROWS} rows to measure on, whose numbers say little: {_listed(few)}.")
    if none := [f"`{one['label']}`" for one in per_class if not one["support"]]:
        found.append(f"Labels that no row was there to measure on: {_listed(none)}.")
    counts = data.report.label_counts
    unlearned = [
        f"`{one.name}`" for one in data.label_set.labels if counts and not counts.get(one.name, {}).get("train")
    ]
    if unlearned:
        found.append(f"Labels without a training row: {_listed(unlearned)}.")
    return found


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
