"""Reports as text, JSON and tables: exact small examples that were read and believed, CJK alignment, 120 columns, files
that appear whole."""

from __future__ import annotations

import csv
import json
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from categorize.errors import UserError
from categorize.labels import Label, LabelSet
from categorize.metrics.decision import DecisionRule
from categorize.metrics.intervals import Difference, measure_with_intervals
from categorize.metrics.measures import measure
from categorize.predictions import Predictions
from categorize.reports.checks import check_output
from categorize.reports.columns import count, duration, percent, rate
from categorize.reports.comparison import EvaluatedRun, best_run, compare
from categorize.reports.costs import costs_of
from categorize.reports.per_class import Confusion, confusions, per_class_text
from categorize.reports.rendering import as_markdown, as_text
from categorize.reports.report import Report, load_report
from categorize.reports.spreadsheets import comparison_lines
from categorize.reports.write import write_report
from categorize.text_tables import display_width, fit, text_table, wrap

NAMES = ["积极", "Mild", "Irrelevant"]
SINGLE = LabelSet("single_label", tuple(Label(name) for name in NAMES))
REGRESSION = LabelSet("regression", (Label("score"),))
GOLD = np.eye(3)[[0, 0, 0, 0, 1, 1, 1, 1]]


def decided(answers: str, rows: int = 8) -> Predictions:
    """One letter a row: p, m, i for the labels, - for an invalid answer."""
    labels = dict(zip("pmi", NAMES, strict=True))
    names = [[labels[letter]] if letter in labels else [] for letter in answers]
    return Predictions([str(i) for i in range(rows)], decided=names, valid=np.array([bool(one) for one in names]))


def evaluated(name: str, answers: str, **facts: Any) -> EvaluatedRun:
    return EvaluatedRun(name, facts.pop("method", "head"), measure(SINGLE, GOLD, decided(answers)), **facts)


@pytest.fixture
def runs() -> list[EvaluatedRun]:
    return [
        evaluated("majority label", "pppppppp", method="baseline", parameters_trained=0),
        evaluated(
            "微调 bert",
            "pppmmmmm",
            documents_per_second=1234.4,
            parameters_trained=22_713_216,
            parameters_total=22_713_216,
            training_seconds=200.4,
        ),
        evaluated(
            "qwen", "pp-imm-m", method="head + lora", notes=("randomly initialised head",), documents_per_second=9.87
        ),
    ]


TEXT = """\
test split: 8 rows; macro over 2 labels; best: *

run             method       accuracy  of valid  macro-F1  weighted-F1       valid  documents/s         trained
--------------  -----------  --------  --------  --------  -----------  ----------  -----------  --------------
majority label  baseline       0.500      0.500    0.333        0.333         100%            -               0
微调 bert       head           0.875*     0.875    0.873*       0.873*        100%        1,234  22.7M of 22.7M
qwen            head + lora    0.625      0.833    0.762        0.762   6 (75.00%)          9.9               -
qwen: randomly initialised head
labels without a row in this split: Irrelevant; predicted, which no macro average counts: qwen 1 time

Difference from 微调 bert on the same rows (intervals: paired bootstrap; p: McNemar's exact test (accuracy)):
run   measure   difference      95% interval      p  shown
----  --------  ----------  ----------------  -----  -----
qwen  accuracy      -0.250  [-0.500, +0.125]  0.625  no"""


def test_the_terminal_table_reads_as_it_should(runs: list[EvaluatedRun]) -> None:
    difference = Difference("qwen", "微调 bert", "accuracy", -0.25, -0.5, 0.125, 0.625, 0.625, "McNemar exact")
    assert as_text(compare(runs, differences=[difference])) == TEXT


MARKDOWN = """\
# mine

- **微调 bert** is best with macro-F1 0.873 on 8 rows of the test split.
- Every run is above the baseline **majority label** (0.333).
- The weakest label of **微调 bert** is **积极**: F1 0.857, 4 rows; 25% of them are taken for **Mild**.

test split: 8 rows; macro over 2 labels; best: in bold

| run | method | accuracy | macro-F1 | weighted-F1 | valid | documents/s | trained |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |
| majority label | baseline | 0.500 | 0.333 | 0.333 | 100% | - | 0 |
| 微调 bert | head | **0.875** | **0.873** | **0.873** | 100% | 1,234 | 22.7M of 22.7M |

## F1 by label

| label | support | majority label | 微调 bert |
| --- | ---: | ---: | ---: |
| 积极 | 4 | 0.667 | 0.857 |
| Mild | 4 | 0.000 | 0.889 |
| Irrelevant | 0 | 0.000 | 0.000 |

## Most frequent confusions

| run | gold | predicted | rows | of the gold's rows |
| --- | --- | --- | ---: | ---: |
| 微调 bert | 积极 | Mild | 1 | 25.0% |

## Notes

- labels without a row in this split: Irrelevant
"""


def test_the_markdown_report_reads_as_it_should(runs: list[EvaluatedRun]) -> None:
    assert as_markdown(Report("mine", compare(runs[:2]))) == MARKDOWN


def test_what_was_predicted_of_labels_without_gold_is_told() -> None:
    label_set = LabelSet("multi_label", tuple(Label(name) for name in ("fruit", "car", "train")))
    gold = np.array([[1.0, 0, 0], [0, 1, 0]])
    runs = [
        EvaluatedRun(name, "tfidf", measure(label_set, gold, Predictions(["1", "2"], decided=decided)))
        for name, decided in (
            ("careful", [["fruit"], []]),
            ("eager", [["fruit", "train"], ["car", "train"]]),
        )
    ]
    text = as_text(compare(runs))
    assert "macro over 2 labels" in text
    assert "split: train; predicted, which no macro average counts: eager 2 times" in text
    assert [run.numbers["macro_f1"] for run in runs] == [0.5, 1.0]


def test_no_run_is_the_best_by_its_calibration_error() -> None:
    gold = np.eye(3)[[0, 0, 0, 1]]

    def run(name: str, probabilities: list[list[float]]) -> EvaluatedRun:
        found = Predictions(list("abcd"), np.array(probabilities))
        return EvaluatedRun(name, "head", measure(SINGLE, gold, DecisionRule.default(SINGLE).apply(found)))

    shares = run("majority label", [[0.75, 0.25, 0.0]] * 4)
    head = run("head", [[0.6, 0.2, 0.2]] * 3 + [[0.2, 0.6, 0.2]])
    errors = [one.numbers["expected_calibration_error"] for one in (shares, head)]
    assert errors[0] < 0.01 < errors[1]
    best = compare([shares, head]).best
    assert best["accuracy"] == ["head"] and "expected_calibration_error" not in best and best["log_loss"]


def test_a_run_that_trained_on_fewer_rows_is_told() -> None:
    runs = [evaluated("all", "pppmmmmm", training_rows=1000), evaluated("tenth", "pppppmmm", training_rows=100)]
    assert "\ntenth: trained on 100 rows, all on 1,000\n" in as_text(compare(runs))
    assert "trained on" not in as_text(compare([runs[0], evaluated("external", "pppppmmm")]))
    assert compare(runs).to_dict()["runs"][1]["training_rows"] == 100


def test_intervals_stand_beside_the_first_measure_and_all_of_them_in_the_spreadsheet() -> None:
    metrics = measure_with_intervals(SINGLE, GOLD, decided("pppmmmmm"), resamples=200, seed=1)
    low, high = metrics["intervals"]["measures"]["accuracy"]
    comparison = compare([EvaluatedRun("bert", "head", metrics)])
    assert f"0.875 [{low:.3f}, {high:.3f}]" in as_text(comparison)
    assert "[95% interval] of 200 resamples of rows" in as_text(comparison)
    low, high = metrics["intervals"]["measures"]["weighted_f1"]
    header, line = comparison_lines(Report("", comparison))
    by_name = dict(zip(header, line, strict=True))
    assert (by_name["weighted_f1_low"], by_name["weighted_f1_high"]) == (low, high)
    assert by_name["weighted_f1"] == metrics["weighted"]["f1"] and by_name["run"] == "bert"


def test_a_regression_shows_its_measures_and_why_one_is_undefined() -> None:
    gold, ids = np.array([[1.0], [2.0], [4.0]]), list("abc")
    mean = EvaluatedRun("mean score", "baseline", measure(REGRESSION, gold, Predictions(ids, score=np.full(3, 2.0))))
    ridge = EvaluatedRun("ridge", "tfidf", measure(REGRESSION, gold, Predictions(ids, score=np.array([1.0, 2.5, 4.0]))))
    text = as_text(compare([mean, ridge]))
    assert "mean score: predictions are constant, so that pearson is undefined" in text
    header, _, first, second = text.splitlines()[2:6]
    assert header.split("  ")[0] == "run" and all(
        name in header for name in ("Pearson r", "Spearman", "MAE", "RMSE", "R2")
    )
    assert first.split()[3:] == ["-", "-", "1.000", "1.291", "-0.071", "100%", "-", "-"]
    assert second.split()[2:7] == ["0.982*", "1.000*", "0.167*", "0.289*", "0.946*"]
    assert "## F1 by label" not in as_markdown(Report("", compare([mean, ridge])))


def test_lower_is_better_for_errors_and_ties_share_the_mark(runs: list[EvaluatedRun]) -> None:
    twin = evaluated("twin", "pppmmmmm")
    assert compare([*runs, twin]).best["accuracy"] == ["微调 bert", "twin"]
    assert compare(runs[:1]).best == {} and compare([runs[1], twin]).best == {}
    gold = np.array([[1.0], [2.0], [4.0]])
    near, far = (
        EvaluatedRun(name, "tfidf", measure(REGRESSION, gold, Predictions(list("abc"), score=gold[:, 0] * factor)))
        for name, factor in (("near", 1.1), ("far", 2.0))
    )
    assert compare([far, near]).best["mae"] == ["near"]
    assert best_run([far, near], "mae") == "near" and best_run(runs, "macro_f1") == "微调 bert"
    assert best_run(runs, "pearson") == "majority label"  # the first where none has the measure


def test_a_terminal_line_never_exceeds_120_columns() -> None:
    long = [
        evaluated(
            f"{i} 一个名字非常长的模型" * 6,
            "pppmmmmm",
            method="encoder head with adapters",
            notes=("很长 的 说明 " * 40,),
        )
        for i in range(3)
    ]
    long = [
        EvaluatedRun(
            run.name, run.method, measure_with_intervals(SINGLE, GOLD, decided("pppmmmmm"), resamples=20), run.notes
        )
        for run in long
    ]
    comparison = compare(long, differences=[Difference(long[0].name, long[1].name, "macro_f1", 0.1, None, None)])
    for line in (*as_text(comparison).splitlines(), *per_class_text(long).splitlines()):
        assert display_width(line) <= 120, line


def test_runs_that_were_not_measured_alike_are_refused(runs: list[EvaluatedRun]) -> None:
    with pytest.raises(UserError, match="two runs are named 'qwen'"):
        compare([runs[2], runs[2]])
    fewer = EvaluatedRun("fewer", "head", measure(SINGLE, GOLD[:4], decided("pppp", 4)))
    with pytest.raises(UserError, match="'fewer' was measured with rows 4, 'qwen' with 8"):
        compare([runs[2], fewer])
    other = EvaluatedRun("other", "head", measure(SINGLE, np.eye(3)[[0] * 8], decided("pppppppp")))
    with pytest.raises(UserError, match="differ in the labels Mild, 积极"):
        compare([runs[2], other])
    score = EvaluatedRun(
        "score", "head", measure(REGRESSION, np.ones((8, 1)), Predictions(list("abcdefgh"), score=np.ones(8)))
    )
    with pytest.raises(UserError, match="task regression"):
        compare([runs[2], score])


def test_a_split_without_gold_is_reported_as_such() -> None:
    empty = EvaluatedRun("bert", "head", measure(SINGLE, np.full((8, 3), np.nan), decided("pppppppp")))
    text = as_text(compare([empty]))
    assert (
        "no row of this split has a gold label: nothing was measured" in text and "8 more without gold left out" in text
    )
    assert as_markdown(Report("", compare([empty])))


def test_confusions_are_the_most_frequent_and_hold_invalid_answers(runs: list[EvaluatedRun]) -> None:
    assert confusions(runs[2].metrics) == [
        Confusion("积极", "Irrelevant", 1, 0.25),
        Confusion("积极", "(invalid)", 1, 0.25),
        Confusion("Mild", "(invalid)", 1, 0.25),
    ]
    assert confusions(runs[2].metrics, top=1) == [Confusion("积极", "Irrelevant", 1, 0.25)]
    assert confusions({"task": "multi_label"}) == []


def test_labels_stand_side_by_side_and_runs_without_room_are_named(runs: list[EvaluatedRun]) -> None:
    assert per_class_text(runs).splitlines()[:3] == [
        "label       support  majority label  微调 bert   qwen",
        "----------  -------  --------------  ---------  -----",
        "积极              4           0.667      0.857  0.667",
    ]
    narrow = per_class_text([evaluated(f"run {i}", "pppmmmmm") for i in range(12)], width=60)
    assert "run 2" in narrow.splitlines()[0] and "not shown for lack of room: run 3, run 4" in narrow
    assert all(display_width(line) <= 60 for line in narrow.splitlines()[:-1])


def test_the_files_hold_what_was_measured(runs: list[EvaluatedRun], tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    written = write_report(folder, Report("mine", compare(runs)), [])
    names = ["report.html", "report.md", "comparison.csv", "per_class.csv", "report.json"]
    assert [path.name for path in written] == names
    assert {path.name for path in folder.iterdir()} == {"predictions", "pictures", *names}
    data = json.loads(written[-1].read_text(encoding="utf-8"))
    assert data["name"] == "mine" and [run["name"] for run in data["runs"]] == [run.name for run in runs]
    assert data["runs"][1]["metrics"]["accuracy"] == 0.875 and data["best"]["accuracy"] == ["微调 bert"]
    with written[3].open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 3 and rows[1]["label"] == "积极" and rows[1]["run"] == "微调 bert"
    assert float(rows[1]["f1"]) == pytest.approx(6 / 7) and rows[1]["support"] == "4"


def test_a_report_reads_back_as_it_was_written(runs: list[EvaluatedRun], tmp_path: Path) -> None:
    of_split = measure_with_intervals(SINGLE, GOLD, decided("pppmmmmm"), resamples=20)
    gold = np.array([[1.0], [2.0], [4.0]])
    score = measure(REGRESSION, gold, Predictions(list("abc"), score=np.full(3, 2.0)))  # has undefined measures
    for comparison in (
        compare(runs, differences=[Difference("qwen", "微调 bert", "accuracy", -0.25, None, None)], unit="documents"),
        compare([replace(runs[1], metrics=of_split)], split="validation"),
        compare([EvaluatedRun("mean", "baseline", score)]),
    ):
        report = Report("mine", comparison, costs_of(comparison.runs, 900, 2.5), {"advice": [{"code": "C1"}]})
        again = load_report(write_report(tmp_path, replace(report, analysis={}), [])[-1])
        assert again == replace(report, analysis={})
        assert as_text(again.comparison) == as_text(comparison) and as_markdown(again) == as_markdown(
            replace(report, analysis={})
        )
        (tmp_path / "report.json").write_text(report.to_json(), encoding="utf-8")
        assert load_report(tmp_path / "report.json") == report


def test_a_comparison_of_an_earlier_version_reads_back_with_all_that_it_had() -> None:
    file = Path(__file__).with_name("comparison.json")  # written before `unit`, costs and names were
    comparison = load_report(file).comparison
    again, earlier = comparison.to_dict(), json.loads(file.read_text(encoding="utf-8"))
    for run, before in zip(again.pop("runs"), earlier.pop("runs"), strict=True):
        assert {name: run[name] for name in before} == before
    assert {name: again[name] for name in earlier} == earlier
    assert "the text of 1 row stands in train" in as_text(comparison)
    assert comparison.differences[0].is_clear and comparison.best["accuracy"] == ["bert 微调"]


def test_a_file_that_is_not_a_report_is_named(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    with pytest.raises(UserError, match=r"report\.json: cannot be read \(No such file"):
        load_report(file)
    for text, said in (
        ("{", "not a report: its content: Invalid JSON: "),
        ('{"split": "test", "runs": [{"name": "a"}]}', r"not a report: runs\.0\.method: Field required"),
        ("[]", "not a report: its content: "),
    ):
        file.write_text(text)
        with pytest.raises(UserError, match=rf"report\.json: {said}"):
            load_report(file)


def test_nan_is_never_written_and_the_earlier_report_stays(runs: list[EvaluatedRun], tmp_path: Path) -> None:
    write_report(tmp_path, Report("mine", compare(runs)), [])
    before = (tmp_path / "report.json").read_bytes()
    broken = {**runs[0].metrics, "accuracy": float("nan")}
    with pytest.raises(ValueError, match="JSON"):
        write_report(tmp_path, Report("mine", compare([replace(runs[0], metrics=broken)])), [])
    assert (tmp_path / "report.json").read_bytes() == before


def test_a_place_that_cannot_be_written_to_is_named(runs: list[EvaluatedRun], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=rf"{tmp_path / 'file'}: cannot write: Not a directory"):
        write_report(tmp_path / "file", Report("mine", compare(runs)), [])


def write_all(folder: Path, runs: list[EvaluatedRun], rows: int = 8) -> list[Path]:
    """A report with the predictions of each run."""
    named = [replace(run, predictions=f"predictions/{i}.parquet") for i, run in enumerate(runs)]
    table = pa.table({"text": np.random.default_rng(0).bytes(rows * 100).hex(" ").split()})
    tables = [(run.predictions or "", table) for run in named]
    return write_report(folder, Report("mine", compare(named)), tables)


def test_a_full_disk_leaves_the_earlier_comparison_or_none(runs: list[EvaluatedRun], tmp_path: Path) -> None:
    def contents() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for earlier in (False, True):
        if earlier:
            write_all(tmp_path, runs)
        before = contents()
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))  # predictions need more, the report does not
        try:
            with pytest.raises(UserError, match=rf"{tmp_path}: cannot write: "):
                write_all(tmp_path, runs[:2], rows=50_000)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert contents() == before


def test_a_new_comparison_leaves_no_file_of_the_one_that_it_replaces(runs: list[EvaluatedRun], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    write_all(tmp_path, runs)
    score = measure(REGRESSION, np.arange(3.0)[:, None], Predictions(list("abc"), score=np.arange(3.0)))
    write_all(tmp_path, [EvaluatedRun("ridge", "tfidf", score)])
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == [
        "comparison.csv",
        "notes.txt",
        "predictions/0.parquet",
        "report.html",
        "report.json",
        "report.md",
    ]


def test_a_report_of_the_first_version_is_replaced_when_asked_and_leaves_no_file(
    runs: list[EvaluatedRun], tmp_path: Path
) -> None:
    former = Path(__file__).parent / "comparison.json"
    (tmp_path / "comparison.json").write_bytes(former.read_bytes())
    for name in ("comparison.md", "comparison.csv", "notes.txt"):
        (tmp_path / name).write_text("old")
    with pytest.raises(UserError, match="holds a report"):
        check_output(tmp_path, overwrite=False)
    check_output(tmp_path, overwrite=True)
    write_all(tmp_path, runs)
    left = {path.name for path in tmp_path.iterdir()}
    assert not {"comparison.json", "comparison.md"} & left and {"notes.txt", "report.json"} <= left
    assert (tmp_path / "comparison.csv").read_text() != "old"


@given(st.text(max_size=60), st.integers(1, 30))
def test_cut_text_fits_its_columns_on_one_line(text: str, width: int) -> None:
    cut = fit(text, width)
    assert display_width(cut) <= width and len(cut.splitlines()) <= 1


@given(st.lists(st.lists(st.text(alphabet="ab 中文é|\n", max_size=20), min_size=2, max_size=2), min_size=1, max_size=5))
def test_every_row_of_a_table_is_one_line_within_its_rule(rows: list[list[str]]) -> None:
    lines = text_table(["first", "second"], rows, "lr", width=200).split("\n")
    assert len(lines) == len(rows) + 2
    width = len(lines[1])
    assert all(display_width(line) <= width for line in lines)


def test_wrapped_text_keeps_its_words() -> None:
    assert wrap("one two three", 8) == "one two\n  three" and wrap("", 8) == ""


def test_numbers_are_written_for_people() -> None:
    assert [count(n) for n in (None, 0, 9_999, 56_700, 22_713_216, 1_234_567_890)] == [
        "-",
        "0",
        "9,999",
        "56.7k",
        "22.7M",
        "1.2B",
    ]
    assert [percent(share) for share in (None, 1.0, 0.99999, 0.5)] == ["-", "100%", "99.9%", "50.0%"]
    assert [rate(value) for value in (None, 9.87, 1234.4)] == ["-", "9.9", "1,234"]
    assert [duration(s) for s in (None, 8.4, 200.4, 7500)] == ["-", "8.4 s", "3 min 20 s", "2 h 05 min"]
