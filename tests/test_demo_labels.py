"""The loop of labelling in the demo: new comments, a server, a filled-in sheet, a check that can fail."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from categorize.labeling.review.sheets import Shown, read_sheet, write_sheets
from categorize.labels import Label, LabelSet
from demo import check_labels, generate_new, review
from demo.grammar import CLASS_NAMES

LABELS = {"label": LabelSet("single_label", tuple(map(Label, CLASS_NAMES)))}


def test_new_comments_have_no_label_and_the_truth_lies_beside_them(tmp_path: Path) -> None:
    from python_calamine import CalamineWorkbook

    generate_new.write(tmp_path, 30, 50, 3)
    rows = []
    for name in ("first", "rest"):
        header, *found = CalamineWorkbook.from_path(tmp_path / f"{name}.xlsx").get_sheet_by_index(0).to_python()
        assert tuple(header) == generate_new.COLUMNS
        rows += found
    truth = review.read_truth(tmp_path / "truth.csv")
    assert [[*row[:3], truth[row[0]]] for row in rows] == [list(one) for one in generate_new.new_comments(80, 3)]
    assert generate_new.new_comments(80, 4) != generate_new.new_comments(80, 3)


def test_a_sheet_is_filled_in_from_the_truth(tmp_path: Path) -> None:
    ids, given = ["a", "b", "c"], [("Mild",), ("Mild",), None]
    write_sheets(tmp_path, Shown(ids, ["=1", "x", "y"], {"label": given}, {}, {}), LABELS)
    truth = {"a": "Mild", "b": "Negative", "c": "Positive"}
    assert review.fill(tmp_path / "review.xlsx", truth) == (3, 2)
    read = read_sheet(tmp_path / "review.xlsx", LABELS)
    assert read == {"a": {"label": "ok"}, "b": {"label": "Negative"}, "c": {"label": "Positive"}}


def write_loop(folder: Path, wrong: int, lost: int = 0, share: float = 0.25) -> Path:
    """What a loop of 100 rows leaves, of which the teacher and the student label so many wrongly."""
    truth = [CLASS_NAMES[i % 4] for i in range(100)]
    given: list[Any] = [CLASS_NAMES[(i + 1) % 4] if i < wrong else name for i, name in enumerate(truth)]
    for run, source in ((check_labels.FIRST, "teacher"), (check_labels.REST, "student")):
        (folder / run / "labels").mkdir(parents=True)
        labels = [None] * lost + given[lost:] if source == "teacher" else given
        table = pa.table({"id": [str(i) for i in range(100)], "label": labels, "source": [source] * 100})
        pq.write_table(table, folder / run / "labels" / "part-00000.parquet")
    one = {"value": share, "low": share - 0.05, "high": share + 0.05}
    right = {"value": 1 - wrong / 100, "low": 0.9 - wrong / 100, "high": 1.0}
    shares = [{"label": name, "naive": one, "design_based": one} for name in CLASS_NAMES]
    (folder / f"{check_labels.REST}.review").mkdir()
    report = {"label": {"accuracy": right, "shares": shares}}
    (folder / f"{check_labels.REST}.review" / "report.json").write_text(json.dumps(report))
    file = folder / "truth.csv"
    file.write_text("custom_id,class\n" + "".join(f"{i},{name}\n" for i, name in enumerate(truth)))
    return file


@pytest.mark.parametrize(
    ("wrong", "lost", "share", "fails"),
    [
        (20, 0, 0.25, ""),
        (75, 0, 0.25, "the teacher's labels are right in 25.0%"),
        (20, 10, 0.25, "the teacher labelled 90.0% of the rows only"),
        (20, 0, 0.40, "Mild: the corrected share is 40.0%; it is 25.0%"),
    ],
)
def test_the_check_fails_where_figures_are_nonsense(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    wrong: int,
    lost: int,
    share: float,
    fails: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    truth = write_loop(tmp_path, wrong, lost, share)
    assert check_labels.main(str(truth)) == (1 if fails else 0)
    assert fails in capsys.readouterr().err


@pytest.mark.slow
def test_a_served_model_is_stopped_behind_the_command_whose_status_is_kept(
    root: Path, tiny: Callable[..., Path], tmp_path: Path
) -> None:
    model = tmp_path / "model"
    model.symlink_to(tiny("qwen2", chat=True))
    ask = "import httpx, sys; print(httpx.get(sys.argv[1][:-2] + 'health').status_code, sys.argv[1]); sys.exit(7)"
    command = [sys.executable, "-m", "demo.serve", str(model), "--", sys.executable, "-c", ask, "{url}"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 7, done.stderr
    status, url = done.stdout.splitlines()[-1].split()
    assert status == "200"
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/models")
