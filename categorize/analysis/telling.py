"""The findings that say most, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from categorize.analysis.inputs import Inputs
from categorize.analysis.rows import AS_PREDICTED, CONTRADICTED, EVERY_MODEL, NEAR_TAGS, NO_CLOSE_ROW, TOP_3
from categorize.analysis.segments import ALPHA
from categorize.analysis.traits import condition_text

FINDINGS = 3
_SAID = {
    TOP_3: "have the right label among the three most probable",
    EVERY_MODEL: "are wrong in every run",
    AS_PREDICTED: "have nearest training rows with the label that was predicted",
    NO_CLOSE_ROW: "have no training row that is like them",
    CONTRADICTED: "have the same text with another label in train",
}


def findings(inputs: Inputs, found: Mapping[str, Any]) -> list[str]:
    """Three at most, those that speak of the most rows first."""
    told = sorted(_candidates(inputs, found), key=lambda one: -one[0])
    return [text for _, text in told[:FINDINGS]]


def _candidates(inputs: Inputs, found: Mapping[str, Any]) -> Iterator[tuple[float, str]]:
    """Findings with how many rows each speaks of."""
    best = inputs.best
    errors, wrong = found["errors"], found["errors"]["wrong"][best]
    if wrong and not inputs.label_set.is_regression:
        tags = sorted(errors["tags"][best].items(), key=lambda one: -one[1])
        searched = max(errors["searched"][best], 1)
        shares = {tag: n / (searched if tag in NEAR_TAGS else wrong) for tag, n in tags if tag in _SAID}
        parts = [f"{share:.0%} {_SAID[tag]}" for tag, share in shares.items() if share >= 0.05]
        if parts:
            yield wrong, f"of the {wrong:,} errors of {best}, {'; '.join(parts)}"
    if pairs := (found.get("confusion") or {}).get("runs", {}).get(best, {}).get("pairs"):
        most = pairs[0]
        share = f", {most['of_gold']:.0%} of its rows" if most["of_gold"] else ""
        taken = "is missing where" if inputs.label_set.is_multi_label else "is most often taken for"
        given = " was given" if inputs.label_set.is_multi_label else ""
        yield most["rows"], f"{most['gold']} {taken} {most['predicted']}{given}: {most['rows']:,} rows{share}"
    if lines := (found.get("labels") or {}).get(best):
        worst = lines[0]
        n = worst["missed"] + worst["false"]
        text = (
            f"{worst['label']} has most errors: {worst['missed']:,} of {worst['support']:,} rows are missed, "
            f"{worst['false']:,} given to rows of others (F1 {worst['f1'] or 0:.2f})"
        )
        if n:
            yield n, text
    if apart := found.get("disagreements"):
        pair = max(apart["pairs"], key=lambda one: one["rows"])
        text = (
            f"{pair['a']} and {pair['b']} say different things of {pair['rows']:,} rows ({pair['share']:.1%}): "
            f"{pair['a']} is right in {pair['only_a_right']:,} of them, {pair['b']} in {pair['only_b_right']:,}, "
            f"neither in {pair['none_right']:,}"
        )
        yield min(pair["only_a_right"], pair["only_b_right"]), text
    if fifths := (found.get("residuals") or {}).get(best):
        low, high = fifths[0], fifths[-1]
        text = (
            f"the fifth of the rows with the lowest gold (mean {low['gold']:.2f}) is predicted {low['predicted']:.2f} "
            f"on average, that with the highest (mean {high['gold']:.2f}) {high['predicted']:.2f}"
        )
        yield low["rows"] + high["rows"], text
    clear = [one for one in (found.get("slices") or {}).get(best, []) if one["adjusted_p"] < ALPHA]
    if clear:
        mean = float(inputs.outcomes[inputs.best_position].loss.mean())
        one = max(clear, key=lambda one: one["rows"] * (one["error_rate"] - mean))
        if one["error_rate"] > mean:
            form, what = (".3f", "mean absolute error") if inputs.label_set.is_regression else (".0%", "error rate")
            where = condition_text(one["column"], one["value"])
            excess = one["rows"] * (one["error_rate"] - mean)
            yield excess, f"{where}: {what} {one['error_rate']:{form}}, of all rows {mean:{form}}"
