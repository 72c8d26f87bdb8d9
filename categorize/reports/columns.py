"""What a comparison shows for each task, and how one number is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from categorize.metrics.progress import AVERAGES
from categorize.metrics.scores import ACCURACY_DEPTHS, RECALL_DEPTHS
from categorize.recipe.label_sections import Task

UNDEFINED = "-"
VALID_ONLY = "_valid_only"
_REGRESSION = {"pearson": "Pearson r", "spearman": "Spearman", "mae": "MAE", "rmse": "RMSE", "r2": "R2"}
_RATERS = {"model_rater": "model-rater", "rater_rater": "rater-rater"}
_ORDINAL = {"quadratic_weighted_kappa": "kappa (quadr.)", "mae": "MAE (ranks)"}


@dataclass(frozen=True)
class Measure:
    """One measure of `metrics.progress.flat` and its title; `terminal` where the short table has it, `of_valid` where
    that has it because some answers are not valid."""

    name: str
    title: str
    terminal: bool = False
    of_valid: bool = False


def measures(task: Task) -> list[Measure]:
    """Every measure of a task, in the order of a report. The short table shows the first with its interval.

    >>> [measure.title for measure in measures("ordinal") if measure.terminal]
    ['accuracy', 'kappa (quadr.)', 'MAE (ranks)', 'macro-F1', 'model-rater r', 'rater-rater r']
    """
    if task == "regression":
        return [
            *_with_valid_only(_REGRESSION, of_valid="pearson"),
            *_with_valid_only({"concordance": "concordance"}, terminal=False),
            *_raters("r"),
        ]
    multi = task == "multi_label"
    shown = {"macro_f1"} if task == "ordinal" else {"macro_f1", "weighted_f1", *(["micro_f1"] if multi else [])}
    accuracy = "subset acc." if multi else "accuracy"
    columns = _with_valid_only({"accuracy": accuracy}, of_valid="accuracy")
    if task == "ordinal":
        columns += _with_valid_only(_ORDINAL)
    for average in AVERAGES if multi else AVERAGES[:3]:
        for score, title in (("precision", " precision"), ("recall", " recall"), ("f1", "-F1")):
            name = f"{average}_{score}"
            also = " (balanced accuracy)" if name == "macro_recall" and not multi else ""
            columns.append(Measure(name, average + title + also, name in shown))
    if not multi:
        columns += _raters("r" if task == "ordinal" else "kappa")
    if multi:
        columns += [
            Measure("hamming_loss", "Hamming loss"),
            Measure("samples_jaccard", "samples Jaccard"),
            Measure("macro_jaccard", "macro Jaccard"),
            Measure("consistency", "rows that keep to the levels"),
        ]
    else:
        columns.append(Measure("mcc", "Matthews' correlation"))
    if task != "ordinal":
        columns += _seen_and_unseen({"macro_f1": "F1"} if multi else {"accuracy": "acc.", "macro_f1": "macro-F1"})
    if task == "single_label":
        columns.append(Measure("scope_auroc", "out of scope: AUROC", terminal=True))
    return [
        *columns,
        *(
            [Measure(f"recall_at_{k}", f"recall@{k}") for k in RECALL_DEPTHS]
            if multi
            else [Measure(f"top_{k}_accuracy", f"top-{k} accuracy") for k in ACCURACY_DEPTHS]
        ),
        Measure("group_accuracy", f"groups: {accuracy}"),
        Measure("group_macro_f1", "groups: macro-F1"),
        Measure("group_micro_f1", "groups: micro-F1"),
        Measure("hierarchical_precision", "hierarchical precision"),
        Measure("hierarchical_recall", "hierarchical recall"),
        Measure("hierarchical_f1", "hierarchical F1"),
        Measure("macro_roc_auc", "macro ROC-AUC"),
        Measure("micro_roc_auc", "micro ROC-AUC"),
        Measure("macro_pr_auc", "macro PR-AUC"),
        Measure("micro_pr_auc", "micro PR-AUC"),
        Measure("log_loss", "log loss"),
        Measure("brier", "Brier score"),
        Measure("expected_calibration_error", "calibration error (ECE)"),
        *([] if multi else [Measure("aurc", "area under risk-coverage")]),
    ]


def _raters(measure: str) -> list[Measure]:
    """Agreement of the model with human raters, and of these with each other."""
    return [Measure(name, f"{title} {measure}", terminal=True) for name, title in _RATERS.items()]


def _seen_and_unseen(titles: dict[str, str]) -> list[Measure]:
    """Measures of labels of training and of those beyond it; the short table has the first, where it is measured."""
    parts = {"seen": "seen labels", "unseen": "unseen labels", "harmonic_mean": "harmonic mean"}
    return [
        Measure(f"{part}_labels_{name}", f"{of}: {title}", terminal=name == next(iter(titles)))
        for name, title in titles.items()
        for part, of in parts.items()
    ]


def _with_valid_only(titles: dict[str, str], of_valid: str = "", terminal: bool = True) -> list[Measure]:
    """Measures of the short table, then the same of the valid rows alone, of which that shows `of_valid`."""
    return [
        *(Measure(name, title, terminal) for name, title in titles.items()),
        *(
            Measure(name + VALID_ONLY, f"{title}, valid rows only", of_valid=name == of_valid)
            for name, title in titles.items()
        ),
    ]


def number(value: float | None) -> str:
    """A measure, to three places."""
    return UNDEFINED if value is None else f"{value:.3f}"


def interval(bounds: Sequence[float] | None) -> str:
    """` [low, high]`, or nothing."""
    return "" if bounds is None else f" [{bounds[0]:.3f}, {bounds[1]:.3f}]"


def p_value(value: float | None) -> str:
    """To three places.

    >>> p_value(0.0421), p_value(1e-9), p_value(None)
    ('0.042', '<0.001', '-')
    """
    return UNDEFINED if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"


def percent(value: float | None) -> str:
    """A share; 100% only where nothing is missing.

    >>> percent(1.0), percent(0.99999)
    ('100%', '99.9%')
    """
    return UNDEFINED if value is None else "100%" if value == 1.0 else f"{min(value, 0.999):.1%}"


def rate(value: float | None) -> str:
    """Documents per second."""
    return UNDEFINED if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def count(value: int | None) -> str:
    """A number of parameters.

    >>> [count(n) for n in (1_234, 56_700, 22_713_216, 1_234_567_890)]
    ['1,234', '56.7k', '22.7M', '1.2B']
    """
    if value is None:
        return UNDEFINED
    for least, size, letter in ((10**9, 10**9, "B"), (10**6, 10**6, "M"), (10**4, 1000, "k")):
        if value >= least:
            return f"{value / size:.1f}{letter}"
    return f"{value:,}"


def size(memory: int | None) -> str:
    """Bytes of memory.

    >>> [size(n) for n in (None, 3_500_000, 812 * 2**20, 5 * 2**30)]
    ['-', '3 MiB', '812 MiB', '5.0 GiB']
    """
    if memory is None:
        return UNDEFINED
    return f"{memory / 2**30:.1f} GiB" if memory >= 2**30 else f"{memory / 2**20:.0f} MiB"


def duration(seconds: float | None) -> str:
    """Wall clock.

    >>> [duration(s) for s in (8.4, 200.4, 7500)]
    ['8.4 s', '3 min 20 s', '2 h 05 min']
    """
    if seconds is None:
        return UNDEFINED
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
