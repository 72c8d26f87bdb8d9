"""The subjects of a closer look that have tables of their own: which lines and columns these have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from categorize.analysis.rows import NEAR_TAGS

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Subject:
    """How a subject becomes a table: its lines, and title and kind of each column by key."""

    title: str
    caption: str
    lines: Callable[[Mapping[str, Any]], Sequence[Line]]
    columns: Mapping[str, tuple[str, str]]


def _by_run(of_runs: Mapping[str, Sequence[Line]]) -> list[Line]:
    return [{"run": run, **line} for run, lines in of_runs.items() for line in lines]


def _tags(analysis: Mapping[str, Any]) -> list[Line]:
    """A line for each run and kind of error."""
    errors = analysis["errors"]
    return [
        {"run": run, "tag": tag, "rows": rows, "share": rows / max(errors[_base(tag)][run], 1)}
        for run, tags in errors.get("tags", {}).items()
        for tag, rows in sorted(tags.items(), key=lambda one: -one[1])
    ]


def _base(tag: str) -> str:
    """Of which errors a tag is: of those whose neighbours were looked up, or of all."""
    return "searched" if tag in NEAR_TAGS else "wrong"


def _changes(of_runs: Mapping[str, Mapping[str, Line]]) -> list[Line]:
    return [
        {**line, "run": run, "change": of.replace("_", " ")}
        for run, lines in of_runs.items()
        for of, line in lines.items()
    ]


def _counted(analysis: Mapping[str, Any], key: str) -> list[Line]:
    """The lines of each run's counts."""
    return _by_run({run: found.get(key, []) for run, found in analysis["counts"]["runs"].items()})


def _counted_by_column(analysis: Mapping[str, Any]) -> list[Line]:
    """Those of the best run by the values of raw columns."""
    by = analysis["counts"]["runs"].get(analysis.get("best"), {}).get("by", {})
    return [{**line, "part": f"{column}: {line['value']}"} for column, lines in by.items() for line in lines]


def _distances(analysis: Mapping[str, Any]) -> list[Line]:
    return [{"of": key, **analysis["shift"][key]} for key in ("score", "length") if key in analysis["shift"]]


_CORRECTED = {
    "label": ("label", "text"),
    "counted": ("counted", "mean"),
    "corrected": ("corrected", "mean"),
    "corrected_low": ("at least", "mean"),
    "corrected_high": ("at most", "mean"),
}
_RUN, _ROWS, _P = ("run", "text"), ("rows", "count"), ("p (adjusted)", "p")
_IN_DOUBT = {
    "text": ("text", "text"),
    "gold": ("gold", "text"),
    "suggested": ("suggested", "text"),
    "score": ("score", "number"),
    "id": ("id", "text"),
}
SUBJECTS: dict[str, tuple[Subject, ...]] = {
    "weak_segments": (
        Subject(
            "Where errors are",
            "Weak segments: wrong more often than elsewhere, corrected for all segments that were looked at.",
            lambda found: _by_run(found["weak_segments"].get("runs", {})),
            {
                "run": _RUN,
                "segment": ("segment", "text"),
                "rows": _ROWS,
                "error_rate": ("error rate", "rate"),
                "elsewhere": ("elsewhere", "share"),
                "adjusted_p": _P,
            },
        ),
    ),
    "errors": (
        Subject(
            "Kinds of errors",
            "Of the wrong rows of each run, those with each tag; a row may have several.",
            _tags,
            {"run": _RUN, "tag": ("tag", "text"), "rows": _ROWS, "share": ("of its errors", "share")},
        ),
    ),
    "labels": (
        Subject(
            "Errors by label",
            "The best run: the label with most errors first.",
            lambda found: found["labels"].get(found.get("best"), []),
            {
                "label": ("label", "text"),
                "support": ("gold rows", "count"),
                "missed": ("missed", "count"),
                "false": ("wrongly given", "count"),
                "precision": ("precision", "number"),
                "recall": ("recall", "number"),
                "training_rows": ("training rows", "count"),
                "taken_for": ("mostly taken for", "text"),
                "taken": ("of the missed", "count"),
            },
        ),
    ),
    "residuals": (
        Subject(
            "Errors by score",
            "The rows in fifths by gold: how far predictions are pulled to the middle.",
            lambda found: _by_run(found["residuals"]),
            {
                "run": _RUN,
                "rows": _ROWS,
                "gold": ("mean gold", "number"),
                "predicted": ("mean predicted", "number"),
                "error": ("mean absolute error", "number"),
            },
        ),
    ),
    "disagreements": (
        Subject(
            "Where models disagree",
            "In how many rows two runs say different things, and which is right there.",
            lambda found: found["disagreements"].get("pairs", []),
            {
                "a": ("first", "text"),
                "b": ("second", "text"),
                "rows": ("rows that differ", "count"),
                "share": ("of all", "share"),
                "only_a_right": ("first right", "count"),
                "only_b_right": ("second right", "count"),
                "none_right": ("neither right", "count"),
            },
        ),
    ),
    "label_errors": (
        Subject(
            "Labels in doubt",
            "Rows whose gold may be wrong, the surest first: rows to read, not corrections.",
            lambda found: found["label_errors"],
            _IN_DOUBT,
        ),
    ),
    "train_label_errors": (
        Subject(
            "Labels in doubt",
            "Training rows whose label may be wrong, the surest first, by linear models that did not learn from them.",
            lambda found: found["train_label_errors"],
            _IN_DOUBT,
        ),
    ),
    "shift": (
        Subject(
            "Train and test",
            "Shares of the labels in train and in this split.",
            lambda found: (found["shift"].get("classes") or {}).get("labels", []),
            {
                "label": ("label", "text"),
                "train_share": ("in train", "share"),
                "share": ("in this split", "share"),
                "train": ("training rows", "count"),
                "rows": _ROWS,
                "adjusted_p": _P,
            },
        ),
        Subject(
            "Train and test",
            "Characters of the texts (and scores) in train and in this split.",
            _distances,
            {
                "of": ("of", "text"),
                "train_median": ("median in train", "number"),
                "median": ("median in this split", "number"),
                "distance": ("distance (Kolmogorov-Smirnov)", "number"),
                "p_value": ("p", "p"),
            },
        ),
    ),
    "invariance": (
        Subject(
            "Changed texts",
            "Changes that should not matter, and how many predictions they change.",
            lambda found: _changes(found["invariance"]),
            {
                "run": _RUN,
                "change": ("change", "text"),
                "rows": ("rows it touches", "count"),
                "share": ("predictions that change", "share"),
                "low": ("at least", "share"),
                "high": ("at most", "share"),
                "before": ("accuracy (r) before", "number"),
                "after": ("after", "number"),
            },
        ),
    ),
    "ablations": (
        Subject(
            "Changed texts",
            "Transcripts without a part of them, on the documents that have it.",
            lambda found: _changes(found["ablations"]),
            {
                "run": _RUN,
                "change": ("change", "text"),
                "rows": ("documents", "count"),
                "share": ("predictions that change", "share"),
                "measure": ("measure", "text"),
                "whole": ("whole", "number"),
                "without": ("without", "number"),
                "difference": ("difference", "number"),
                "low": ("at least", "number"),
                "high": ("at most", "number"),
            },
        ),
    ),
    "counts": (
        Subject(
            "Counts",
            "Shares of the labels (means of scores) as each run predicts them in this split, beside the gold.",
            lambda found: _counted(found, "lines"),
            {
                "run": _RUN,
                "label": ("label", "text"),
                "predicted": ("predicted", "mean"),
                "gold": ("gold", "mean"),
                "difference": ("difference", "mean"),
                "low": ("at least", "mean"),
                "high": ("at most", "mean"),
            },
        ),
        Subject(
            "Counts",
            "Shares in the rows without a label and those of this split together: counted, and corrected by the gold.",
            lambda found: _counted(found, "all"),
            {"run": _RUN, **_CORRECTED},
        ),
        Subject(
            "Counts",
            "The same for parts of the rows, by the best run.",
            _counted_by_column,
            {"part": ("part of the rows", "text"), "rows": _ROWS, "labelled": ("with a label", "count"), **_CORRECTED},
        ),
    ),
}
