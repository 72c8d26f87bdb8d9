"""What a reviewed sample says of all labels: agreement, precision, accuracy, and shares corrected for the errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from categorize.labeling.review.labelled import Vote
from categorize.labels import LabelSet
from categorize.metrics.agreement import cohen_kappa
from categorize.metrics.arrays import BoolArray, FloatArray, IntArray
from categorize.metrics.corrected import Estimate, ReviewedSample, effective_size, wilson
from categorize.text_tables import text_table

FEWEST_OF_A_GROUP = 2
WIDTH = 120


def estimates(
    label_set: LabelSet,
    given: Sequence[Vote],
    truth: Sequence[Vote],
    reviewed: BoolArray,
    stratum: IntArray,
    groups: Sequence[str | None] | None = None,
) -> dict[str, Any]:
    """Conclusions from a review, as plain data for JSON.

    Args:
        given: the labels of all rows that could be drawn; None where a row failed.
        truth: what people say; looked at where `reviewed`.
        stratum: of each row; strata without a reviewed row are joined to the largest one, and counted.
        groups: a metadata value of each row, whose shares are compared.
    """
    stratum, joined = _join_unseen(stratum, reviewed)
    labels, correct = _encode(label_set, given), _encode(label_set, truth)
    correct[~reviewed] = np.nan
    sample = ReviewedSample(labels, correct, stratum)
    right = (labels == correct).all(axis=1) if not label_set.is_regression else np.zeros(len(labels), dtype=bool)
    right &= np.array([vote is not None for vote in given], dtype=bool)
    weights = np.where(reviewed, 1 / sample.chance, 0.0)
    result: dict[str, Any] = {
        "rows": len(given),
        "reviewed": int(reviewed.sum()),
        "strata_joined": joined,
        "shares": _shares(label_set, sample),
    }
    if label_set.is_regression:
        apart = np.abs(labels - correct)[reviewed, 0]
        result["mae"] = float(np.average(apart, weights=weights[reviewed]))
    else:
        result["agreement"] = wilson(int(right[reviewed].sum()), int(reviewed.sum())).to_dict()
        result["accuracy"] = _weighted(right, weights, reviewed).to_dict()
        result["precision"] = {
            name: {**_weighted(correct[:, j] == 1, weights, reviewed & (labels[:, j] == 1)).to_dict(),
                   "reviewed": int((reviewed & (labels[:, j] == 1)).sum())}
            for j, name in enumerate(label_set.names)
        }  # fmt: skip
        if not label_set.is_multi_label:
            both = np.flatnonzero(reviewed & np.array([vote is not None for vote in given]))
            result["cohen_kappa"] = cohen_kappa(
                labels[both].argmax(axis=1).tolist(), correct[both].argmax(axis=1).tolist()
            )
    if groups is not None:
        result["differences"] = _differences(label_set, sample, groups)
    return result


def _join_unseen(stratum: IntArray, reviewed: BoolArray) -> tuple[IntArray, int]:
    seen = set(stratum[reviewed].tolist())
    unseen = sorted(set(stratum.tolist()) - seen)
    if not unseen or not seen:
        return stratum, len(unseen)
    largest = max(seen, key=lambda one: int((stratum == one).sum()))
    return np.where(np.isin(stratum, unseen), largest, stratum), len(unseen)


def _encode(label_set: LabelSet, votes: Sequence[Vote]) -> FloatArray:
    """[rows, labels]; a row without a label holds zeros, for it was counted nowhere."""
    if label_set.is_regression:
        return np.array([[float(vote[0]) if vote else np.nan] for vote in votes], dtype=np.float64).reshape(-1, 1)
    return label_set.encode([list(vote or ()) for vote in votes])


def _weighted(right: BoolArray, weights: FloatArray, rows: BoolArray) -> Estimate:
    at = np.flatnonzero(rows)
    size = effective_size(weights[at])
    return wilson(float(np.average(right[at], weights=weights[at])) * size if len(at) else 0.0, size)


def _shares(label_set: LabelSet, sample: ReviewedSample) -> list[dict[str, Any]]:
    columns = {"naive": sample.naive(), "design_based": sample.design_based(), "ppi": sample.power_tuned()}
    if label_set.is_regression:
        columns.pop("naive")
    return [
        {"label": name, **{key: values[j].to_dict() for key, values in columns.items()}}
        for j, name in enumerate(label_set.names)
    ]


def _differences(label_set: LabelSet, sample: ReviewedSample, groups: Sequence[str | None]) -> list[dict[str, Any]]:
    """Each group against all others; of two, the first against the second."""
    values = np.array([group if group is not None else "" for group in groups])
    found = []
    distinct = sorted(set(values.tolist()))
    for group in distinct[:1] if len(distinct) == 2 else distinct:
        inside = values == group
        if min(int(inside.sum()), int((~inside).sum())) < FEWEST_OF_A_GROUP:
            continue
        corrected, naive = sample.difference(inside, ~inside)
        rows, reviewed = int(inside.sum()), int((inside & sample.reviewed).sum())
        found += [
            {"group": group, "label": name, "rows": rows, "reviewed": reviewed, "design_based": corrected[j].to_dict(),
             "naive": naive[j].to_dict()}
            for j, name in enumerate(label_set.names)
        ]  # fmt: skip
    return found


# ---------------------------------------------------------------- in words
def lines_of(name: str, found: Mapping[str, Any]) -> list[str]:
    """The conclusions for the terminal and `report.md`."""
    lines = [f"{name}: {found['reviewed']:,} of {found['rows']:,} rows were reviewed"]
    if found["strata_joined"]:
        lines.append(f"  {found['strata_joined']} strata without a reviewed row count with the largest one")
    if "mae" in found:
        lines.append(f"  mean absolute error of all scores, estimated: {found['mae']:.3f}")
    else:
        kappa = found.get("cohen_kappa")
        lines.append(
            f"  right in the sample {_percent(found['agreement'])}"
            + (f", Cohen's kappa {kappa:.3f}" if kappa is not None else "")
        )
        lines.append(f"  accuracy of all labels, estimated: {_percent(found['accuracy'])}")
    if "precision" in found:
        rows = [[one, str(p["reviewed"]), _percent(p)] for one, p in found["precision"].items() if p["reviewed"]]
        lines += ["", *_table(["label", "reviewed", "precision"], rows)]
    scored = "mae" in found
    show = _number if scored else _percent
    heads = {"naive": "counted", "design_based": "corrected (DSL)", "ppi": "corrected (PPI++)"}
    heads = {key: head for key, head in heads.items() if key in found["shares"][0]}
    rows = [[one["label"], *(show(one[key]) for key in heads)] for one in found["shares"]]
    lines += ["", *_table(["mean" if scored else "share of all rows", *heads.values()], rows)]
    if found.get("differences"):
        rows = [
            [one["group"] or "(empty)", one["label"], f"{one['reviewed']}/{one['rows']}", show(one["naive"]),
             show(one["design_based"])]
            for one in found["differences"]
        ]  # fmt: skip
        head = ["group against the others", "label", "reviewed", "counted difference", "corrected (DSL)"]
        lines += ["", *_table(head, rows)]
    return lines


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return text_table(header, rows, "l" * len(header), width=WIDTH).splitlines()


def _percent(one: Mapping[str, float | None]) -> str:
    return _shown(one, ".1%")


def _number(one: Mapping[str, float | None]) -> str:
    return _shown(one, ".3f")


def _shown(one: Mapping[str, float | None], form: str) -> str:
    value, low, high = ("-" if x is None else format(x, form) for x in (one["value"], one["low"], one["high"]))
    return f"{value} [{low}, {high}]"
