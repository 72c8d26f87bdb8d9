"""Checks of single labels: never found, taken for each other, too few rows to judge, with rows in doubt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from categorize.analysis.advice import Advice, few
from categorize.analysis.inputs import Inputs
from categorize.recipe.wording import counted

SUPPORTED = 5  # rows of a label without which nothing is said of it
LABELS = 5  # of a run that are named one by one
FEW_ROWS = 10
CONFUSED_ROWS, CONFUSED_SHARE = 10, 0.2
DOUBTFUL = 0.01  # of the rows


def never_found(inputs: Inputs, found: Mapping[str, Any]) -> Iterator[Advice]:
    """C03: a label that a run never finds, with where its rows go and how many rows it was trained on."""
    for run, lines in (found.get("labels") or {}).items():
        missed = [one for one in lines if one["support"] >= SUPPORTED and not one["recall"]]
        missed.sort(key=lambda one: -one["support"])
        for one in missed[:LABELS]:
            goes = ""
            if (taken := one.get("taken")) and taken > 1:
                goes = f"; {taken / one['support']:.0%} go to {one['taken_for']}"
            untrained = one["training_rows"] == 0
            way = "add training rows, or leave it out" if untrained else "try class weights, more rows or merge it"
            yield Advice(
                "C03",
                "error" if one["support"] >= 0.01 * len(inputs.known) else "warning",
                f"{one['label']}: recall 0.00 of {one['support']:,}{goes}; "
                f"{counted(one['training_rows'], 'training row')}; {way}",
                run,
                one["label"],
                {name: one.get(name) for name in ("support", "taken", "training_rows")},
            )
        if rest := missed[LABELS:]:
            names = few([one["label"] for one in rest])
            text = (
                f"{counted(len(rest), 'more label')} with recall 0.00: {names}; per_class.csv has the figures of each"
            )
            yield Advice("C03", "warning", text, run, None, {"labels": len(rest)})


def confused(inputs: Inputs, found: Mapping[str, Any]) -> Iterator[Advice]:
    """C14: two labels that the best run takes for each other, in both directions."""
    best = inputs.best
    pairs = ((found.get("confusion") or {}).get("runs", {}).get(best) or {}).get("pairs", [])
    rows = {(one["gold"], one["predicted"]): one["rows"] for one in pairs}
    support = {one["label"]: one["support"] for one in (found.get("labels") or {}).get(best, [])}
    told = []
    for (a, b), n in rows.items():
        back, total = rows.get((b, a), 0), support.get(a, 0) + support.get(b, 0)
        both_ways = a < b and min(n, back) > 0 and n + back >= CONFUSED_ROWS
        if both_ways and n + back >= CONFUSED_SHARE * total:
            told.append((n + back, total, a, b))
    for n, total, a, b in sorted(told, reverse=True)[:LABELS]:
        text = f"{a} and {b} are taken for each other in {n:,} of {total:,} rows; merge them, or describe them better"
        yield Advice("C14", "warning", text, best, a, {"rows": n, "of": total})


def few_test_rows(inputs: Inputs, found: Mapping[str, Any]) -> Iterator[Advice]:
    """C09: labels with so few rows in the split that their figures say little."""
    lines: list[dict[str, Any]] = next(iter((found.get("labels") or {}).values()), [])
    rare = sorted((one["support"], one["label"]) for one in lines if 0 < one["support"] < FEW_ROWS)
    if not rare:
        return
    names, n = few([f"{label} ({support})" for support, label in rare]), len(rare)
    text = (
        f"{n} of {counted(len(lines), 'label')} {'has' if n == 1 else 'have'} fewer than {FEW_ROWS} rows in the "
        f"{inputs.split} split: {names}; one row moves their F1, and macro-F1 with it, by much"
    )
    severity = "warning" if n >= len(lines) / 4 else "info"
    yield Advice("C09", severity, text, None, None, {"labels": n, "of": len(lines)})  # type: ignore[arg-type]


def gold_in_doubt(inputs: Inputs, found: Mapping[str, Any]) -> Iterator[Advice]:
    """C12: gold labels that are likely wrong."""
    doubtful = found.get("label_errors") or []
    if not doubtful or (n := found["label_errors_found"]) < DOUBTFUL * len(inputs.known):
        return
    first = doubtful[0]
    text = (
        f"{n:,} of {len(inputs.known):,} gold labels are in doubt, such as {first['text'][:60]!r}: {first['gold']}, "
        f"rather {first['suggested']}; read them (tag 'likely label error') before you tune on them"
    )
    yield Advice("C12", "warning", text, None, None, {"rows": n, "of": len(inputs.known)})
