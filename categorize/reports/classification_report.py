"""One run of a report in scikit-learn's form, which people paste."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from categorize.errors import UserError
from categorize.recipe.wording import quote
from categorize.reports.comparison import EvaluatedRun
from categorize.reports.report import load_report


def classification_report(report: Path, name: str) -> str:
    """What `sklearn.metrics.classification_report` says of a run's stored predictions, of all labels; below it accuracy
    where some answers are not valid, for scikit-learn then shows the micro average in its place.

    Args:
        report: a `report.json`, beside the predictions that it names.

    Raises:
        UserError: no run of the report has this name, it has no predictions, or is a regression.
    """
    from sklearn.metrics import classification_report as of_sklearn

    run = _run(report, name)
    labels = [row["label"] for row in run.metrics["per_class"]]
    position = {label: i for i, label in enumerate(labels)}
    table = pq.read_table(report.parent / str(run.predictions), columns=["gold", "predicted", "valid"])
    known = [row for row in table.to_pylist() if row["gold"] is not None]
    said = [row["predicted"] if row["valid"] else [] for row in known]
    if run.metrics["task"] == "multi_label":
        gold, predicted = (np.zeros((len(known), len(labels)), dtype=int) for _ in range(2))
        for at, (row, answers) in enumerate(zip(known, said, strict=True)):
            gold[at, [position[one] for one in row["gold"]]] = 1
            predicted[at, [position[one] for one in answers]] = 1
    else:
        gold = np.array([position[row["gold"][0]] for row in known])
        predicted = np.array([position[answers[0]] if answers else -1 for answers in said])
    options = {"labels": range(len(labels)), "target_names": labels, "zero_division": 0}
    text: str = of_sklearn(gold, predicted, **options)
    if invalid := run.metrics["invalid"]:
        answers = f"{invalid:,} of {len(known):,} answers are not valid, and wrong"
        text += f"\naccuracy {run.metrics['accuracy']:.4f}: {answers}\n"
    if missing := len(run.metrics["labels_without_support"]):
        text += f"\nmacro avg counts {missing} labels without a gold row as 0; the report's macro-F1 leaves them out\n"
    return text


def _run(report: Path, name: str) -> EvaluatedRun:
    runs = load_report(report).comparison.runs
    run = next((one for one in runs if one.name == name), None)
    if run is None:
        names = ", ".join(quote(one.name) for one in runs)
        raise UserError(f"--classification-report {quote(name)}: {report} has no such run; runs: {names}")
    if run.metrics["task"] == "regression":
        raise UserError(f"--classification-report: {report} is of scores; there is no such report of a regression")
    if run.predictions is None:
        raise UserError(f"--classification-report {quote(name)}: a baseline has no predictions; name a run")
    return run
