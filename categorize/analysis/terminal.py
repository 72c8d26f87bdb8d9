"""What the terminal says of a closer look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

LABELS_SHOWN = 10


def lines_of(found: Mapping[str, Any], most: int = 6) -> list[str]:
    """The findings, changed texts, shares, then the most serious advice."""
    lines: list[str] = []
    if found.get("findings"):
        lines += ["Findings", *found["findings"], ""]
    if found.get("invariance"):
        lines += ["Predictions that change with the text", *_changes(found["invariance"]), ""]
    if found.get("ablations"):
        lines += ["Without a part of the transcript", *_ablations(found["ablations"]), ""]
    if shares := _shares(found):
        lines += [*shares, ""]
    if given := found.get("advice"):
        lines.append("Advice (evaluation.ignore leaves out what does not matter)")
        for one in given[:most]:
            run = f"{one['run']}: " if one["run"] else ""
            lines.append(f"{one['code']} {run}{one['text']}")
        if len(given) > most:
            lines.append(f"and {len(given) - most} more in report.html")
    return lines


def _shares(found: Mapping[str, Any]) -> list[str]:
    """Counted and corrected shares of the best run, the most frequent labels first."""
    counts = found.get("counts") or {}
    every = counts.get("runs", {}).get(found.get("best"), {}).get("all", [])
    if not every:
        return []
    head = (
        f"Shares in {counts['unlabelled']:,} rows without a label and {counts['rows']:,} with one, by the predictions "
        f"of {found['best']} and corrected by these:"
    )
    form = ".1%" if all(0 <= (one["counted"] or 0) <= 1 for one in every) and len(every) > 1 else ".3f"
    shown = sorted(every, key=lambda one: -(one["counted"] or 0))[:LABELS_SHOWN]
    lines = [head]
    for one in shown:
        corrected = "not corrected: fewer than 20 rows have a label"
        if one["corrected"] is not None:
            low, high = one["corrected_low"], one["corrected_high"]
            bounds = "" if low is None or high is None else f" [{low:{form}}, {high:{form}}]"
            corrected = f"corrected {one['corrected']:{form}}{bounds}"
        lines.append(f"{one['label']}: counted {one['counted']:{form}}, {corrected}")
    more = len(every) - len(shown)
    return [*lines, *([f"and {more} more labels in report.json"] if more else [])]


def _changes(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [
        f"{run}: " + ", ".join(f"{name.replace('_', ' ')} {one['share']:.1%}" for name, one in changes.items())
        for run, changes in found.items()
    ]


def _ablations(found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for run, ablations in found.items():
        for name, one in ablations.items():
            if one["whole"] is None or one["without"] is None:
                continue
            bounds = "" if one.get("low") is None else f" [{one['low']:+.3f}, {one['high']:+.3f}]"
            yield (
                f"{run}: {name.replace('_', ' ')}: {one['measure']} {one['without']:.3f}, whole {one['whole']:.3f} "
                f"({one['without'] - one['whole']:+.3f}{bounds}, {one['rows']:,} documents)"
            )
