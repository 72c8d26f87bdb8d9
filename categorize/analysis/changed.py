"""How runs answer changed texts: whether predictions stay where they should, and what is lost without a part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from categorize.analysis.inputs import Inputs, RunOutput
from categorize.analysis.variants import Variant, same_answers
from categorize.metrics.corrected import wilson
from categorize.metrics.intervals import paired_differences
from categorize.metrics.measures import measure
from categorize.metrics.progress import flat, headline
from categorize.predictions import Predictions


def invariance(inputs: Inputs) -> dict[str, dict[str, dict[str, Any]]] | None:
    """By run and change: `rows` whose text was changed, how many answers `changed` and their `share` with its 95%
    interval (of a regression scores by more than 0.001, and the mean absolute `difference`), and the accuracy (or
    Pearson's r) `before` and `after` on those of them with gold. None where nothing was changed."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for run, variant, before, after in _predicted(inputs, "invariance"):
        same = same_answers(before, after)
        share = wilson(float((~same).sum()), len(same))
        gold = inputs.gold[variant.documents]
        measured = (flat(measure(inputs.label_set, gold, one)) for one in (before, after))
        name = "pearson" if inputs.label_set.is_regression else "accuracy"
        old, new = (one.get(name) for one in measured)
        line = {
            "rows": len(same),
            "changed": int((~same).sum()),
            "share": share.value,
            "low": share.low,
            "high": share.high,
        }
        if before.score is not None and after.score is not None:
            line["difference"] = float(np.nanmean(np.abs(before.score - after.score)))
        found.setdefault(run.name, {})[variant.name] = {**line, "before": old, "after": new}
    return found or None


def ablations(inputs: Inputs, resamples: int = 1000) -> dict[str, dict[str, dict[str, Any]]] | None:
    """By run and ablation: `rows`, the documents that have the part that was taken away; `share` of their predictions
    that changed; the headline `measure` on them, of the `whole` documents and `without` the part, and their
    `difference` with the interval of a paired bootstrap (`low`, `high`). None where there are none."""
    name = headline(inputs.label_set)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for run, variant, before, after in _predicted(inputs, "ablation"):
        gold = inputs.gold[variant.documents]
        values = [flat(measure(inputs.label_set, gold, one)).get(name) for one in (before, after)]
        line: dict[str, Any] = {
            "rows": len(before),
            "share": float((~same_answers(before, after)).mean()),
            "measure": name,
            "whole": values[0],
            "without": values[1],
        }
        differences = paired_differences(
            inputs.label_set,
            gold,
            {"whole": before, "without": after},
            reference="whole",
            measures=[name],
            resamples=resamples,
            seed=inputs.seed,
        )
        for one in differences:
            line |= {"difference": one.estimate, "low": one.low, "high": one.high}
        found.setdefault(run.name, {})[variant.name] = line
    return found or None


def _predicted(inputs: Inputs, kind: str) -> Iterator[tuple[RunOutput, Variant, Predictions, Predictions]]:
    """Each run and variant of a kind that changed some documents, with the predictions of these before and after."""
    for run in inputs.runs:
        for variant in inputs.variants:
            after: Mapping[str, Predictions] = run.changed
            if variant.kind == kind and variant.name in after and len(variant.documents):
                yield run, variant, run.predictions.take(variant.documents), after[variant.name]
