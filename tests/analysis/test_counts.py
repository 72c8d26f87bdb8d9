"""Counts: corrected shares cover the truth as often as they claim to, where the shares as predicted miss it."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st

from categorize.analysis.closer import look_closer
from categorize.analysis.counts import counts
from categorize.analysis.inputs import Inputs
from categorize.analysis.terminal import lines_of
from categorize.labels import Label, LabelSet
from categorize.metrics.corrected import mean_estimate
from categorize.predictions import Predictions
from tests.analysis.collections import YES_NO, inputs, output, table

RARE = 0.2  # share of yes


def collection(seed: int, labelled: int = 300, rest: int = 1500) -> Inputs:
    """Rows of which 20% are yes; a run says yes of 90% of these and of 15% of the others."""
    generator = np.random.default_rng(seed)
    truth = generator.random(labelled + rest) < RARE
    said = np.where(truth, generator.random(len(truth)) < 0.9, generator.random(len(truth)) < 0.15)
    names = [[["no"], ["yes"]][int(one)] for one in said]
    gold = [[["no"], ["yes"]][int(one)] for one in truth[:labelled]]
    months = [f"2024-0{1 + i % 3}" for i in range(labelled + rest)]
    run = output(YES_NO, gold, "one", names[:labelled])
    run = replace(run, unlabelled=Predictions([f"u{i}" for i in range(rest)], decided=names[labelled:]))
    unlabelled = table(["t"] * rest, [None] * rest, {"month": months[labelled:]})
    of = inputs(YES_NO, ["t"] * labelled, gold, [run], fields={"month": months[:labelled]})
    return replace(of, unlabelled=unlabelled)


def test_corrected_shares_cover_the_truth_and_counted_ones_do_not() -> None:
    covered = np.zeros((200, 2), dtype=bool)
    for seed in range(200):
        found = counts(collection(seed))
        assert found is not None
        yes = found["runs"]["one"]["all"][0]
        covered[seed] = [yes[f"{name}_low"] <= RARE <= yes[f"{name}_high"] for name in ("corrected", "counted")]
    assert 0.9 <= covered[:, 0].mean() <= 0.99 and covered[:, 1].mean() == 0


def test_the_corrected_share_is_the_mean_prediction_and_the_mean_error() -> None:
    of = collection(1)
    found = counts(of)
    assert found is not None and (found["rows"], found["unlabelled"]) == (300, 1500)
    run = of.runs[0]
    assert run.predictions.decided is not None and run.unlabelled is not None and run.unlabelled.decided is not None
    said = np.array([one == ["yes"] for one in [*run.predictions.decided, *run.unlabelled.decided]])
    truth = of.truth[:, 0]
    yes = found["runs"]["one"]["all"][0]
    assert yes["label"] == "yes" and yes["counted"] == pytest.approx(said.mean())
    assert yes["corrected"] == pytest.approx(said.mean() + (truth - said[:300]).mean())
    (line, _) = found["runs"]["one"]["lines"]
    assert line["predicted"] == pytest.approx(said[:300].mean()) and line["gold"] == pytest.approx(truth.mean())
    assert line["difference"] == pytest.approx(line["predicted"] - line["gold"])
    assert line["low"] < line["difference"] < line["high"]


def test_shares_by_month_are_corrected_where_enough_rows_are_labelled() -> None:
    of = collection(2)
    by = (counts(of) or {})["runs"]["one"]["by"]["month"]
    assert [(one["value"], one["label"]) for one in by[:2]] == [("2024-01", "yes"), ("2024-01", "no")]
    assert all((one["rows"], one["labelled"]) == (600, 100) and one["corrected_low"] < one["corrected"] for one in by)
    few = collection(3, labelled=30)
    by = (counts(few) or {})["runs"]["one"]["by"]["month"]
    assert all(one["labelled"] == 10 and one["corrected"] is None and one["counted"] is not None for one in by)


def test_the_terminal_shows_counted_and_corrected_shares() -> None:
    lines = lines_of(look_closer(collection(2)).found)
    at = next(i for i, line in enumerate(lines) if line.startswith("Shares in 1,500 rows without a label and 300 with"))
    assert re.fullmatch(r"no: counted 69\.6%, corrected \d\d\.\d% \[\d\d\.\d%, \d\d\.\d%\]", lines[at + 1])
    few = next(
        line for line in lines_of(look_closer(collection(2, labelled=15)).found) if line.startswith("yes: counted")
    )
    assert few.endswith("not corrected: fewer than 20 rows have a label")


def test_shares_stay_within_0_and_1() -> None:
    gold = [["yes"]] + [["no"]] * 99
    run = replace(output(YES_NO, gold, "one", [["no"]] * 100), unlabelled=Predictions(["u"], decided=[["no"]]))
    of = replace(inputs(YES_NO, ["t"] * 100, gold, [run]), unlabelled=table(["t"], [None]))
    yes = (counts(of) or {})["runs"]["one"]["all"][0]
    assert yes["corrected_low"] == 0.0 < yes["corrected"] < yes["corrected_high"]


def test_a_run_that_counts_a_label_too_often_is_told() -> None:
    (one,) = [one for one in look_closer(collection(4)).found["advice"] if one["code"] == "C18"]
    assert one["label"] == "yes" and "counting its predictions is off by 2 points or more: yes" in one["text"]


def test_a_regression_has_means() -> None:
    regression = LabelSet("regression", (Label("score"),))
    gold = [float(i % 5) for i in range(100)]
    found = counts(inputs(regression, ["t"] * 100, gold, {"one": [*[one + 0.5 for one in gold[:99]], None]}))
    assert found is not None
    (line,) = found["runs"]["one"]["lines"]
    assert line["gold"] == 2.0 and line["difference"] == pytest.approx((0.5 * 99 + 2.485 - 4) / 100, abs=0.001)


@given(st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 4)), min_size=3, max_size=40))
def test_intervals_over_groups_are_those_of_statsmodels(rows: list[tuple[float, int]]) -> None:
    values, groups = np.array([one[0] for one in rows]), np.array([one[1] for one in rows])
    if len(set(groups.tolist())) < 2:
        return
    fitted = sm.OLS(values, np.ones(len(values))).fit(cov_type="cluster", cov_kwds={"groups": groups})
    found = mean_estimate(values, groups)
    assert found.value == pytest.approx(values.mean())
    assert (found.high - found.low) / 2 == pytest.approx(1.959964 * fitted.bse[0], rel=1e-5, abs=1e-9)


def test_rows_of_one_group_widen_the_interval() -> None:
    gold = [["yes"], ["no"]] * 100
    said = [["yes"]] * 100 + gold[100:]
    plain = inputs(YES_NO, ["t"] * 200, gold, {"one": said})
    rows = plain.documents.set_column(
        plain.documents.column_names.index("group"), "group", [[f"g{i // 50}" for i in range(200)]]
    )
    widths = []
    for of in (plain, replace(plain, documents=rows)):
        line = (counts(of) or {})["runs"]["one"]["lines"][0]
        widths.append(line["high"] - line["low"])
    assert widths[1] > 2 * widths[0]
