"""Checks of the rows: shared with train, too few to tell runs apart, another mix than train, segments that are weak,
labels that contradict each other, errors that no training row is like, counts that are off, changes that matter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from categorize.analysis.advice import Advice, few
from categorize.analysis.inputs import Inputs
from categorize.analysis.neighbours import shown
from categorize.analysis.rows import DISAGREE, NO_CLOSE_ROW
from categorize.metrics.corrected import Z
from categorize.recipe.wording import counted

SEEN_SHARE = 0.01
SHIFTED, RATIO = 0.001, 1.5
TAGGED_SHARE = 0.25
SEGMENTS = 3
COUNTED_OFF = 0.02
CHANGED = 0.05
_CHANGED = {
    "punctuation": "the last punctuation mark",
    "typos": "a typo",
    "full_width": "full-width writing",
    "script": "the other Chinese script",
}
_AGAINST = {"full_width": "add nfkc to data.cleaning", "script": "convert all texts to one script before training"}


def seen_in_train(inputs: Inputs, found: Mapping[str, Any]) -> Iterator[Advice]:
    """C07: rows whose text stands in train too, word for word or nearly."""
    rows = [inputs.overlap[i] for i in inputs.known] if len(inputs.overlap) else []
    exact, near = rows.count("exact"), rows.count("near")
    if inputs.split == "train" or exact + near < max(SEEN_SHARE * len(rows), 1):
        return
    text = (
        f"the text of {counted(exact, 'row')} stands in train word for word, of {near:,} nearly (of {len(rows):,}); "
        "figures of the other rows stand beside the headline; data.splits.near_duplicates=group keeps such texts "
        "together"
    )
    yield Advice("C07", "warning", text, None, None, {"exact": exact, "near": near, "rows": len(rows)})


def too_few_to_tell(inputs: Inputs, found: Mapping[str, Any]) -> Iterator[Advice]:
    """C08: the two best runs differ by less than this split can show."""
    ranked = [i for i, run in enumerate(inputs.runs) if run.is_ranked]
    if len(ranked) < 2 or inputs.label_set.is_regression:
        return
    right = 1 - np.stack([inputs.outcomes[i].loss for i in ranked], axis=1)
    first, second = np.argsort(-right.mean(axis=0), kind="stable")[:2]
    n = len(right)
    apart = right[:, first] - right[:, second]
    difference, spread = float(apart.mean()), float(apart.std())
    least = Z * spread / np.sqrt(n)
    if not spread or difference > least:
        return
    a, b = inputs.runs[ranked[first]].name, inputs.runs[ranked[second]].name
    needed = f"; about {(Z * spread / difference) ** 2:,.0f} rows would show it" if difference else ""
    text = (
        f"{n:,} rows do not show which of {a} and {b} is better: they differ by {100 * difference:.1f} points of "
        f"accuracy, and less than {100 * least:.1f} can be chance{needed}"
    )
    yield Advice("C08", "warning", text, None, None, {"difference": difference, "least": least, "rows": n})


def other_mix(inputs: Inputs, found: Mapping[str, Any]) -> Iterator[Advice]:
    """C10: labels that are more or less frequent than in train."""
    classes = (found.get("shift") or {}).get("classes")
    if not classes:
        return
    moved = [
        one
        for one in classes["labels"]
        if one["adjusted_p"] < SHIFTED
        and max(one["share"], one["train_share"]) >= RATIO * min(one["share"], one["train_share"])
    ]
    if moved:
        named = few([f"{one['label']} {one['train_share']:.1%} of train, {one['share']:.1%} here" for one in moved])
        text = (
            f"{counted(len(moved), 'label')} with another share than in train: {named}; a model learns the shares of "
            "train: try class weights, or train on rows drawn as these are"
        )
        yield Advice("C10", "info", text, None, None, {"labels": len(moved)})


def biased_counts(inputs: Inputs, found: Mapping[str, Any]) -> Iterator[Advice]:
    """C18: the best run gives labels more or less often than the gold has them."""
    lines = (found.get("counts") or {}).get("runs", {}).get(inputs.best, {}).get("lines", [])
    if inputs.label_set.is_regression:
        return
    off = [one for one in lines if one["low"] is not None and (one["low"] > 0 or one["high"] < 0)]
    off = sorted((one for one in off if abs(one["difference"]) >= COUNTED_OFF), key=lambda one: -abs(one["difference"]))
    if off:
        asked = found["counts"]["unlabelled"]
        todo = "report the corrected shares" if asked else "evaluation.counts=20000 estimates corrected shares"
        named = few([f"{one['label']} {one['predicted']:.1%} of the rows, gold {one['gold']:.1%}" for one in off])
        text = f"counting its predictions is off by 2 points or more: {named}; {todo}"
        yield Advice("C18", "warning", text, inputs.best, off[0]["label"], {"labels": len(off)})


def changes_matter(inputs: Inputs, found: Mapping[str, Any]) -> Iterator[Advice]:
    """C19: changes that should not matter change many predictions."""
    for run, changes in (found.get("invariance") or {}).items():
        for name, one in changes.items():
            if inputs.label_set.is_regression or one["low"] < CHANGED:
                continue
            text = f"{_CHANGED[name]} changes {one['share']:.1%} of its predictions"
            if one["before"] is not None and one["after"] is not None:
                text += f" (accuracy {one['before']:.3f}, then {one['after']:.3f})"
            todo = _AGAINST.get(name, "train on rows that are changed so, too, or clean them away")
            yield Advice("C19", "warning", f"{text}; {todo}", run, None, {"share": one["share"], "rows": one["rows"]})


def weak(inputs: Inputs, found: Mapping[str, Any]) -> Iterator[Advice]:
    """C13: segments in which the best run errs more than elsewhere."""
    segments = (found.get("weak_segments") or {}).get("runs", {}).get(inputs.best, [])
    for one in segments[:SEGMENTS]:
        if inputs.label_set.is_regression:
            rates = f"mean absolute error {one['error_rate']:.3f}, elsewhere {one['elsewhere']:.3f}"
        else:
            rates = f"{one['error_rate']:.0%} wrong, elsewhere {one['elsewhere']:.0%}"
        todo = "add training rows like these, or look what is hard in them"
        text = f"{one['segment']}: {rates} ({one['rows']:,} rows); {todo}"
        numbers = {name: one[name] for name in ("rows", "error_rate", "elsewhere", "adjusted_p")}
        yield Advice("C13", "warning", text, inputs.best, None, numbers)


def contradictions(inputs: Inputs, found: Mapping[str, Any]) -> Iterator[Advice]:
    """C16: training texts that stand there with different labels."""
    if inputs.label_set.is_regression:
        return
    labels: dict[str, set[str]] = {}
    examples: dict[str, str] = {}
    columns = (inputs.train[name].to_pylist() for name in ("content_hash", "gold", "text"))
    for key, gold, text in zip(*columns, strict=True):
        if gold is not None:
            labels.setdefault(key, set()).add(shown(sorted(gold)))
            examples.setdefault(key, text or "")
    against = [key for key, of_text in labels.items() if len(of_text) > 1]
    if against:
        first = against[0]
        text = (
            f"{counted(len(against), 'training text')} with different labels, such as {examples[first][:60]!r}: "
            f"{' / '.join(sorted(labels[first])[:3])}; agree on one label, or leave them out"
        )
        severity = "warning" if len(against) >= 0.005 * len(labels) else "info"
        yield Advice("C16", severity, text, None, None, {"texts": len(against)})  # type: ignore[arg-type]


def unlike_train(inputs: Inputs, found: Mapping[str, Any]) -> Iterator[Advice]:
    """C17: many errors that no training row is like, or whose nearest rows have all kinds of labels."""
    tags = (found.get("errors") or {}).get("tags", {}).get(inputs.best, {})
    wrong = (found.get("errors") or {}).get("searched", {}).get(inputs.best, 0)
    for tag, said in (
        (NO_CLOSE_ROW, "have no training row that is like them: label more such rows"),
        (DISAGREE, "have nearest training rows that disagree: the labels overlap there, describe them more sharply"),
    ):
        n = tags.get(tag, 0)
        if wrong and n >= TAGGED_SHARE * wrong:
            text = f"{n:,} of {wrong:,} errors {said} (tag {tag!r} in rows.parquet)"
            yield Advice("C17", "info", text, inputs.best, None, {"rows": n, "of": wrong})
