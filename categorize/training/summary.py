"""What the terminal says of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from categorize.metrics.progress import flat, spoken
from categorize.recipe.wording import counted


def summary_lines(path: Path, manifest: dict[str, Any], metrics: dict[str, Any]) -> list[str]:
    """What a user wants to know at the end: how well, how fast, where."""

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
