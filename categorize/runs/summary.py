"""What the terminal says of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from categorize.metrics.progress import flat, spoken
from categorize.recipe.wording import counted

SHOWN = ("accuracy", "macro_f1", "weighted_f1", "pearson", "spearman", "rmse", "mae")
LABELS_NAMED = 5


def summary_lines(path: Path, manifest: dict[str, Any], metrics: dict[str, Any]) -> list[str]:
    """What a user wants to know at the end: how well, how fast, where."""

    def values(measured: dict[str, float]) -> str:
        return "  ".join(f"{spoken(name, manifest['task'])} {measured[name]:.4f}" for name in SHOWN if name in measured)

    lines = []
    unit = "documents" if "segments" in manifest["details"] else "rows"
    for split, measured in metrics.items():
        lines.append(
            f"{split:<10} {measured['rows']:>7,} {unit}  valid {measured['valid_rate'] or 0:.1%}  "
            f"{values(flat(measured))}{_macro_over(measured, len(manifest['labels']))}"
        )
        if (unseen := measured.get("unseen")) and unseen["rows"]:
            lines.append(f"{'':<10} {unseen['rows']:>7,} rows  whose text is not in train:  {values(unseen)}")
        for name, score in measured.get("auxiliary", {}).items():
            lines.append(f"{'':<10} {score['rows']:>7,} rows  of auxiliary {name}:  {values(flat(score))}")
        costs = {one["stage"]: one["seconds_a_row"] for one in manifest["details"].get("stages", [])}
        found = measured.get("stages", {})
        for name, stage in ((name, found[name]) for name in costs if name in found):
            lines.append(
                f"{'':<10} {stage['rows']:>7,} rows  ({stage['coverage']:.1%}) answered by {name}:  accuracy "
                f"{stage['accuracy']:.4f} ({stage['accuracy_low']:.4f} to {stage['accuracy_high']:.4f}), "
                f"{costs[name] * 1e3:.3g} ms a row"
            )
        if best := measured.get("macro_f1_swept_on_test"):
            lines.append(
                f"{'':<10} macro_f1 {best['per_label']:.4f} with thresholds swept on test ({best['global']:.4f} with "
                "one for all labels), as many published figures have them; used for nothing"
            )
    if truncated := manifest["details"].get("truncated_rows", 0):
        lines.append(f"{truncated:,} training rows were longer than model.max_length and were cut")
    return [
        *lines,
        f"trained in {manifest['training']['seconds']:.0f} s, {manifest['parameters_trained']:,} parameters; "
        f"predicts {manifest['prediction']['documents_per_second'] or 0:,.0f} documents/s",
        f"run folder: {path}  (metrics.json, predictions/, run.json)",
    ]


def _macro_over(measured: dict[str, Any], labels: int) -> str:
    """Of how many labels the macro averages are, where some have no row."""
    missing = measured.get("labels_without_support")
    if not missing:
        return ""
    named = ", ".join(missing[:LABELS_NAMED]) + (", ..." if len(missing) > LABELS_NAMED else "")
    return f"  (macro over {measured['labels_in_macro']} of {counted(labels, 'label')}: no row has {named})"
