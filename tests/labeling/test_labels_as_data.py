"""The table of a labelling run as the source of training: gold rows stay where they were, before and after a review."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from categorize.data.splits import LoadedData, load_data
from categorize.labeling.review.story import review_folder, take_reviewed, write_review
from categorize.recipe.data_sections import Columns, DataSection, Silver
from categorize.recipe.label_sections import LabelsSection
from categorize.recipe.labeling_sections import Review
from tests.data.small_sources import ids, where
from tests.labeling.jobs import NAMES, InProcess, meant, start, table, write_recipe, write_rows

CODES = {"1": "good", "2": "bad", "3": "odd"}
LABELS = LabelsSection(names=list(NAMES), codes=CODES)
OF_NAME = {name: code for code, name in CODES.items()}


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a collection of which a third has a label, and the run in which a teacher labelled the rest."""
    folder = tmp_path_factory.mktemp("labelled")
    rows: list[dict[str, Any]] = []
    for i in range(600):
        text = f"第{i}条：看看 http://a.b/{i} 这个\u200b视频，说的是{i * 7919}"  # what cleaning changes
        rows.append({"id": f"r{i}", "text": text, "class": OF_NAME[NAMES[i % 3]] if i % 3 == 0 or i % 7 == 0 else ""})
    cleaning = ["nfkc", "control_characters", "urls", "whitespace"]
    data = {"source": str(write_rows(folder, rows)), "columns": {"id": "id", "text": "text", "label": "class"}}
    recipe = write_recipe(
        folder, folder / "comments.csv", data=data | {"cleaning": cleaning}, labels=LABELS.model_dump(mode="json")
    )
    start(recipe, InProcess())
    return folder


def gold_only(folder: Path, split_file: Path | None) -> LoadedData:
    columns = Columns(id="id", text="text", label="class")
    return load_data(DataSection(source=str(folder / "comments.csv"), columns=columns), LABELS, split_file=split_file)


def from_table(folder: Path, split_file: Path | None, silver: Silver | None = None) -> LoadedData:
    columns = Columns(id="id", text="data.text", label="label")  # as it was written: `text` is what the teacher read
    section = DataSection(source=str(folder / "job" / "labels"), columns=columns, silver=silver)
    return load_data(section, LABELS, split_file=split_file)


def correct(folder: Path, size: int) -> set[str]:
    """Review rows of the run, of which each has another label then; returns their ids."""
    run = folder / "job"
    write_review(run, size, Review(), seed=1, overwrite=True)
    file = review_folder(run) / "review.csv"
    with file.open(encoding="utf-8-sig", newline="") as opened:
        lines = list(csv.DictReader(opened))
    now = {row["id"]: row["label"] for row in table(folder).to_pylist()}
    for line in lines:
        line["reviewed"] = NAMES[(NAMES.index(now[line["id"]]) + 1) % 3]
    with file.open("w", encoding="utf-8-sig", newline="") as opened:
        writer = csv.DictWriter(opened, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    take_reviewed(run, file, Review())
    return {line["id"] for line in lines}


def test_gold_rows_keep_their_split_when_a_teacher_has_labelled_the_rest(labelled: Path, tmp_path: Path) -> None:
    split_file = tmp_path / "splits.parquet"
    before = where(gold_only(labelled, split_file))
    gold = {row for row, name in before.items() if name != "unlabeled"}
    data = from_table(labelled, split_file, Silver())
    after = where(data)
    assert {row: after[row] for row in gold} == {row: before[row] for row in gold}
    assert {after[row] for row in after.keys() - gold} == {"train"} and len(after) == 600
    assert data.label_set.names == list(NAMES)
    names = dict(zip(data.splits.train["id"].to_pylist(), data.splits.train["gold"].to_pylist(), strict=True))
    rows = {row["id"]: row for row in table(labelled).to_pylist()}
    assert all(names[row] == [meant(rows[row]["text"])] for row in names if rows[row]["source"] == "teacher")


def test_corrected_labels_move_no_row(labelled: Path, tmp_path: Path) -> None:
    """With the stored split, whether a teacher's labels are silver or count as gold."""
    kinds = {"gold": None, "silver": Silver()}
    before = {name: where(from_table(labelled, tmp_path / f"{name}.parquet", kind)) for name, kind in kinds.items()}
    alone = ids(from_table(labelled, None))
    corrected = correct(labelled, 90)
    now = {row["id"]: row for row in table(labelled).to_pylist()}
    assert {one for one, row in now.items() if row["source"] == "reviewed"} == corrected and len(corrected) == 90
    for name, kind in kinds.items():
        data = from_table(labelled, tmp_path / f"{name}.parquet", kind)
        assert where(data) == before[name]
        for rows in (data.splits.train, data.splits.validation, data.splits.test):
            for one, gold in zip(rows["id"].to_pylist(), rows["gold"].to_pylist(), strict=True):
                assert gold == [now[one]["label"]]
    # Without it, a corrected row counts in another stratum, where its place by hash is about the same: what moves is
    # near a cut, and validation lies between test and train.
    anew = ids(from_table(labelled, None))
    assert not alone["test"] & anew["train"]
    moved = alone["test"] ^ anew["test"]
    assert len(moved) <= 0.1 * len(alone["test"])
