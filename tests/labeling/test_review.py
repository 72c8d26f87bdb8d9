"""Review: a sheet out, what people wrote back in, and conclusions about all labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from categorize.errors import UserError
from categorize.labeling.review import sheets
from categorize.labeling.review.labelled import read_labelled
from categorize.labeling.review.sampling import draw
from categorize.labeling.review.story import reapply, review_folder, take_reviewed, write_review
from categorize.labels import Group, Label, LabelSet
from categorize.recipe.labeling_sections import Review

MOODS = LabelSet(
    "single_label",
    (Label("joy", "laughs", parent="emotions"), Label("worry", parent="emotions"), Label("=other", "no mood")),
    (Group("emotions"),),
)
TOPICS = LabelSet("multi_label", (Label("film"), Label("music"), Label("people")))


class Labelled:
    """A finished labelling run of 400 rows, whose true labels the test knows."""

    def __init__(self, folder: Path, seed: int = 0, several: bool = False) -> None:
        random = np.random.default_rng(seed)
        self.path = folder / "run"
        (self.path / "labels").mkdir(parents=True)
        self.label_sets = {"label": MOODS, "topic": TOPICS} if several else {"label": MOODS}
        truth = random.choice(3, 400, p=[0.6, 0.3, 0.1])
        wrong = random.random(400) < 0.15
        given = np.where(wrong, (truth + 1) % 3, truth)
        self.ids = [f"00{i}" for i in range(400)]
        self.truth = {one: MOODS.names[k] for one, k in zip(self.ids, truth, strict=True)}
        columns = {
            "id": self.ids,
            "video": ["a" if i % 2 else "b" for i in range(400)],
            "text": [f"弹幕 {i}" if i else "=1+1" for i in range(400)],
            "label": pa.array([None if i == 7 else MOODS.names[k] for i, k in enumerate(given)], pa.string()),
            "source": ["gold" if i < 5 else "failed" if i == 7 else "teacher" for i in range(400)],
            "confidence": pa.array([None if i == 7 else float(x) for i, x in enumerate(random.random(400))]),
        }
        if several:
            columns["topic"] = pa.array([["film"] if i % 3 else [] for i in range(400)], pa.list_(pa.string()))
        table = pa.table(columns)
        for i in range(2):
            pq.write_table(table.slice(200 * i, 200), self.path / "labels" / f"part-{i:05d}.parquet")
        if several:
            (self.path / "label_sets").mkdir()
            for name, label_set in self.label_sets.items():
                label_set.save(self.path / "label_sets" / f"{name}.json")
        else:
            MOODS.save(self.path / "label_set.json")
        (self.path / "run.json").write_text("{}")

    @property
    def folder(self) -> Path:
        return review_folder(self.path)

    def draw(self, size: int = 60, **options: object) -> None:
        write_review(self.path, size, Review(**options), seed=1)

    def fill(self, kind: str = "csv", rows: int = 60) -> Path:
        """The sheet as somebody who knows the truth fills it in: ok where the label is right."""
        file = self.folder / f"review.{kind}"
        if kind == "xlsx":
            from openpyxl import load_workbook

            book = load_workbook(file)
            sheet = book["review"]
            names = [cell.value for cell in sheet[1]]
            for row in sheet.iter_rows(min_row=2, max_row=1 + rows):
                cells = dict(zip(names, row, strict=True))
                true = self.truth[cells["id"].value]
                cells["reviewed"].value = sheets.OK if cells["label"].value == true else true
                cells["reviewed"].data_type = "s"
            book.save(file)
            return file
        import csv

        with file.open(encoding="utf-8-sig", newline="") as opened:
            lines = list(csv.DictReader(opened))
        for line in lines[:rows]:
            true = self.truth[line["id"]]
            line["reviewed"] = sheets.OK if line["label"] == true else true
        with file.open("w", encoding="utf-8-sig", newline="") as opened:
            writer = csv.DictWriter(opened, list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)
        return file

    def take(self, file: Path, **options: object) -> str:
        return "\n".join(take_reviewed(self.path, file, Review(**options)))

    def report(self) -> dict:
        return json.loads((self.folder / "report.json").read_text())

    def labels(self) -> dict[str, tuple[str | None, str]]:
        table = read_labelled(self.path)
        return {
            one: (label, source)
            for one, label, source in zip(*(table[name].to_pylist() for name in ("id", "label", "source")), strict=True)
        }


@pytest.fixture
def run(tmp_path: Path) -> Labelled:
    return Labelled(tmp_path)


def test_rare_labels_are_drawn_more_often_and_every_chance_is_kept(run):
    run.draw()
    sample = pq.read_table(run.folder / "sample.parquet").to_pylist()
    drawn = [row for row in sample if row["chance"] is not None]
    assert len(drawn) == 60 and len(sample) == 395  # all but the gold
    for stratum in {row["stratum"] for row in sample}:
        rows = [row for row in sample if row["stratum"] == stratum]
        of_it = [row["chance"] for row in rows if row["chance"] is not None]
        assert of_it and set(of_it) == {len(of_it) / len(rows)}
    chance = {row["stratum"]: row["chance"] for row in drawn}
    assert chance["=other"] > chance["worry"] > chance["joy"]


def test_chances_are_those_that_many_drawings_show():
    labels = [("a",)] * 80 + [("b",)] * 15 + [None] * 5
    times = np.zeros(100)
    for seed in range(400):
        drawn = draw(labels, 20, seed, [False] * 100)
        times[drawn.rows] += 1
    chance = dict(zip(drawn.rows.tolist(), drawn.chance.tolist(), strict=True))
    for rows in (range(80), range(80, 95), range(95, 100)):
        at = next(chance[i] for i in rows if i in chance)
        assert times[list(rows)].mean() / 400 == pytest.approx(at, abs=1e-9)
        assert times[list(rows)].std() / 400 < 0.06  # every row of a stratum has the same


def test_the_xlsx_offers_the_labels_and_holds_texts_as_they_are(run):
    from openpyxl import load_workbook

    run.draw(395)
    book = load_workbook(run.folder / "review.xlsx")
    (choice,) = book["review"].data_validations.dataValidation
    letter = choice.formula1.split("$")[1]
    allowed = [book["labels"][f"{letter}{row}"].value for row in range(3, 7)]
    assert choice.formula1 == f"labels!${letter}$3:${letter}$6" and allowed == ["ok", "joy", "worry", "=other"]
    assert choice.showErrorMessage
    texts = {row[0].value: row[1] for row in book["review"].iter_rows(min_row=2)}
    assert texts["00300"].value == "弹幕 300" and all(cell.data_type == "s" for cell in texts.values())


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_corrections_become_gold_and_the_rest_stays(run, kind):
    before = run.labels()
    run.draw()
    said = run.take(run.fill(kind))
    after, sample = run.labels(), pq.read_table(run.folder / "sample.parquet").to_pylist()
    drawn = {row["id"] for row in sample if row["chance"] is not None}
    for one, (label, source) in after.items():
        assert (label, source) == ((run.truth[one], "reviewed") if one in drawn else before[one])
    changed = sum(before[one][0] != run.truth[one] for one in drawn)
    assert f"60 reviewed rows as gold, {changed} of them" in said


def test_the_estimates_are_those_of_the_formulas(run):
    run.draw(video := 200)
    run.take(run.fill(rows=video), groups="video")
    found = run.report()["label"]
    before = {row["id"]: row for row in pq.read_table(run.folder / "sample.parquet").to_pylist()}
    truth = {one: run.truth[one] for one in before}
    share = {name: np.mean([label == name for label in truth.values()]) for name in MOODS.names}
    for one in found["shares"]:
        for kind in ("design_based", "ppi"):
            assert one[kind]["low"] <= share[one["label"]] <= one[kind]["high"]
    right = np.mean([before[i]["label"] == truth[i] for i in truth])
    assert found["accuracy"]["low"] <= right <= found["accuracy"]["high"]
    assert found["precision"]["joy"]["reviewed"] == sum(
        row["label"] == "joy" and row["chance"] is not None for row in before.values()
    )
    by_hand = [
        float(row["label"] == "joy") + (0 if row["chance"] is None else
        (float(truth[i] == "joy") - float(row["label"] == "joy")) / row["chance"])
        for i, row in before.items()
    ]  # fmt: skip
    joy = next(one for one in found["shares"] if one["label"] == "joy")
    assert joy["design_based"]["value"] == pytest.approx(np.mean(by_hand), abs=1e-12)
    groups = {"a": [], "b": []}
    video_of = dict(zip(*(read_labelled(run.path)[name].to_pylist() for name in ("id", "video")), strict=True))
    for (i, _), value in zip(before.items(), by_hand, strict=True):
        groups[video_of[i]].append(value)
    difference = next(one for one in found["differences"] if one["label"] == "joy" and one["group"] == "a")
    assert difference["design_based"]["value"] == pytest.approx(np.mean(groups["a"]) - np.mean(groups["b"]), abs=1e-12)


def test_a_sheet_that_is_half_done_counts_what_is_done_and_can_be_read_again(run):
    run.draw()
    run.take(run.fill(rows=30))
    half = run.report()["label"]
    assert half["reviewed"] == 30
    run.take(run.fill(rows=60))
    whole = run.report()["label"]
    assert whole["reviewed"] == 60
    # Corrected labels do not come back as labels that were right.
    assert whole["agreement"]["value"] < 1


def test_a_run_that_is_made_anew_keeps_what_people_said(run, tmp_path):
    run.draw()
    run.take(run.fill())
    said = {one: label for one, (label, source) in run.labels().items() if source == "reviewed"}
    again = Labelled(tmp_path / "again")
    for file in (again.path / "labels").iterdir():
        file.replace(run.path / "labels" / file.name)
    assert not any(source == "reviewed" for _, source in run.labels().values())
    assert reapply(run.path) == ["60 reviewed rows keep what people said of them"]
    assert {one: label for one, (label, source) in run.labels().items() if source == "reviewed"} == said


def test_label_studio_shows_groups_as_a_taxonomy_and_its_export_is_read_back(run):
    import xml.etree.ElementTree as ET

    run.draw()
    tasks = json.loads((run.folder / "label_studio.json").read_text())
    interface = ET.parse(run.folder / "label_studio.xml").getroot()
    paths = {
        tuple(step)
        for group in interface.find("Taxonomy")
        for step in ([group.get("value")], *([group.get("value"), one.get("value")] for one in group))
    }
    assert paths == {("emotions",), ("emotions", "joy"), ("emotions", "worry"), ("=other",)}
    for task in tasks:
        true = run.truth[task["data"]["id"]]
        for prediction in task["predictions"]:
            assert tuple(prediction["result"][0]["value"]["taxonomy"][0]) in paths
        path = [true] if true == "=other" else ["emotions", true]
        result = {"from_name": "label", "to_name": "text", "type": "taxonomy", "value": {"taxonomy": [path]}}
        task["annotations"] = [{"was_cancelled": True, "result": []}, {"result": [result]}]
    tasks[0]["annotations"] = []
    file = run.folder / "export.json"
    file.write_text(json.dumps(tasks, ensure_ascii=False))
    run.take(file)
    reviewed = {one: label for one, (label, source) in run.labels().items() if source == "reviewed"}
    assert len(reviewed) == 59 and all(run.truth[one] == label for one, label in reviewed.items())


def test_several_label_sets_have_a_column_each(tmp_path):
    run = Labelled(tmp_path, several=True)
    run.draw(10)
    import csv

    file = run.folder / "review.csv"
    with file.open(encoding="utf-8-sig", newline="") as opened:
        lines = list(csv.DictReader(opened))
    assert list(lines[0]) == ["id", "text", "label", "label reviewed", "topic", "topic reviewed", "remark"]
    for i, line in enumerate(lines):
        line |= {"label reviewed": "ok" if line["label"] else "joy", "topic reviewed": ("none", "music；film")[i % 2]}
    with file.open("w", encoding="utf-8-sig", newline="") as opened:
        writer = csv.DictWriter(opened, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    run.take(file)
    table = read_labelled(run.path)
    topics = dict(zip(table["id"].to_pylist(), table["topic"].to_pylist(), strict=True))
    assert [topics[line["id"]] for line in lines[:2]] == [[], ["film", "music"]]


def test_blind_sheets_show_no_label_and_suspects_are_no_part_of_the_sample(run):
    run.draw(20, blind=True, suspects=5)
    import csv

    with (run.folder / "review.csv").open(encoding="utf-8-sig", newline="") as opened:
        lines = list(csv.DictReader(opened))
    assert "label" not in lines[0] and len(lines) == 25
    sample = pq.read_table(run.folder / "sample.parquet").to_pylist()
    assert sum(row["suspect"] for row in sample) == 5
    assert all(row["chance"] is None for row in sample if row["suspect"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": "nope"}, "id nope is not in the sheet"),
        ({"reviewed": "jou"}, "'jou' is not one of the labels"),
        ({"reviewed": "none"}, "'none' is not one of the labels"),
        ({"reviewed": "joy; worry"}, "'joy; worry' is not one of the labels"),
    ],
)
def test_what_cannot_be_read_is_told_and_nothing_is_merged(run, change, words):
    before = run.labels()
    run.draw()
    file = run.fill()
    text = file.read_text(encoding="utf-8-sig").splitlines()
    header, row = text[0].split(","), text[1].split(",")
    for name, value in change.items():
        row[header.index(name)] = value
    file.write_text("\n".join([text[0], ",".join(row), *text[2:]]), encoding="utf-8")
    with pytest.raises(UserError, match=words) as error:
        run.take(file)
    assert "\n" not in str(error.value) and str(file) in str(error.value)
    assert run.labels() == before


def test_a_review_that_people_may_have_filled_in_is_not_drawn_over(run):
    run.draw()
    with pytest.raises(UserError, match="--reviewed FILE, or draw anew with --overwrite"):
        run.draw()
