"""What a comparison shows for each task, and how one number is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from categorize.metrics.progress import AVERAGES
from categorize.recipe.sections import Task

UNDEFINED = "-"


@dataclass(frozen=True)
class Measure:
    """One measure of `metrics.progress.flat` and its title; `terminal` where the short table has it, `of_valid` where
    that has it because some answers are not valid."""

    name: str
    title: str
    terminal: bool = False
    of_valid: bool = False


def measures(task: Task) -> list[Measure]:
    """Every measure of a task, in the order of a report. The short table shows the first with its interval."""
    if task == "regression":
        return [
            Measure("pearson", "Pearson r", True),
            Measure("spearman", "Spearman", True),
            Measure("mae", "MAE", True),
            Measure("rmse", "RMSE", True),
            Measure("r2", "R2", True),
            *(
                Measure(f"{name}_valid_only", f"{title}, valid rows only", of_valid=name == "pearson")
                for name, title in (
                    ("pearson", "Pearson r"),
                    ("spearman", "Spearman"),
                    ("mae", "MAE"),
                    ("rmse", "RMSE"),
                    ("r2", "R2"),
                )
            ),
        ]
    multi = task == "multi_label"
    shown = {"macro_f1", "weighted_f1"} | ({"micro_f1"} if multi else set())
    if task == "ordinal":
        shown = {"macro_f1"}
    accuracy = "subset acc." if multi else "accuracy"
    columns = [
        Measure("accuracy", accuracy, True),
        Measure("accuracy_valid_only", f"{accuracy}, valid rows only", of_valid=True),
    ]
    if task == "ordinal":
        columns += [
            Measure("quadratic_weighted_kappa", "kappa (quadr.)", True),
            Measure("mae", "MAE (ranks)", True),
            Measure("quadratic_weighted_kappa_valid_only", "kappa (quadr.), valid rows only"),
            Measure("mae_valid_only", "MAE (ranks), valid rows only"),
        ]
    for average in AVERAGES if multi else AVERAGES[:3]:
        for score, title in (("precision", "precision"), ("recall", "recall"), ("f1", "F1")):
            name = f"{average}_{score}"
            columns.append(
                Measure(name, f"{average}-{title}" if score == "f1" else f"{average} {title}", name in shown)
            )
    if multi:
        columns.append(Measure("hamming_loss", "Hamming loss"))
    columns += [
        Measure("group_accuracy", f"groups: {accuracy}"),
        Measure("group_macro_f1", "groups: macro-F1"),
        Measure("group_micro_f1", "groups: micro-F1"),
        Measure("log_loss", "log loss"),
        Measure("expected_calibration_error", "calibration error (ECE)"),
    ]
    return columns


def number(value: float | None) -> str:
    """A measure, to three places."""
    return UNDEFINED if value is None else f"{value:.3f}"


def interval(bounds: Sequence[float] | None) -> str:
    """` [low, high]`, or nothing."""
    return "" if bounds is None else f" [{bounds[0]:.3f}, {bounds[1]:.3f}]"


def percent(value: float | None) -> str:
    """A share; 100% only where nothing is missing."""
    if value is None:
        return UNDEFINED
    return "100%" if value == 1.0 else f"{min(value, 0.999):.1%}"


def rate(value: float | None) -> str:
    """Documents per second."""
    if value is None:
        return UNDEFINED
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def count(value: int | None) -> str:
    """A number of parameters: 1,234, 56.7k, 22.7M, 1.2B."""
    if value is None:
        return UNDEFINED
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**4, "k")):
        if value >= size:
            return f"{value / (1000 if letter == 'k' else size):.1f}{letter}"
    return f"{value:,}"


def duration(seconds: float | None) -> str:
    """Wall clock: 8.4 s, 3 min 20 s, 2 h 05 min."""
    if seconds is None:
        return UNDEFINED
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
