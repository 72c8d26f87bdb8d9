"""A student beside a teacher: one table, one agreement."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq

from categorize.labeling.student import identity_of, load_student
from categorize.recipe.sections import LabelRecipe
from tests.labeling.jobs import InProcess, start, table, write_recipe, write_rows
from tests.labeling.students import WORDS
from tests.recipes import load_recipe


def test_a_student_and_a_teacher_vote_in_one_table(tmp_path: Path, student: Callable[[str], Path]) -> None:
    run = student("single")
    rows = [{"id": f"{name}{i}", "text": f"{word} movie {i}"} for name in WORDS for i, word in enumerate(WORDS[name])]
    endpoint = {"type": "endpoint", "url": "http://127.0.0.1:9/v1", "model": "tiny"}
    mine = {"type": "run", "run": str(run), "name": "mine"}
    labeling = {"teacher": None, "teachers": [endpoint, mine]}
    recipe = write_recipe(tmp_path, write_rows(tmp_path, rows), labeling=labeling | {"flip_sample": 4})
    teacher = InProcess()
    start(recipe, teacher)
    found = json.loads((tmp_path / "job" / "metrics.json").read_text())
    one = found["agreement"]["label"]
    assert one["raters"] == ["in-process", "mine"] and one["pairs"][0]["rows"] == len(rows)
    assert list(found["flips"]) == ["in-process"]  # a student says the same each time
    asked = teacher.asked.total()
    # What the student says here is what it says alone.
    alone = write_recipe(tmp_path, tmp_path / "comments.csv", output_dir=str(tmp_path / "alone"),
                         labeling={"teacher": mine})  # fmt: skip
    start(alone, InProcess())
    own = dict(zip(*(pq.read_table(tmp_path / "alone" / "labels")[name].to_pylist() for name in ("id", "label")),
                   strict=True))  # fmt: skip
    for row in table(tmp_path).to_pylist():
        if "mine" in (row["teacher"] or "").split(", "):
            assert row["label"] == own[row["id"]]
    again = write_recipe(tmp_path, tmp_path / "comments.csv", labeling=labeling | {"flip_sample": 4})
    start(again, teacher)
    assert teacher.asked.total() == asked


def test_what_shapes_a_student_s_answers_asks_it_anew_and_speed_does_not(
    tmp_path: Path, student: Callable[[str], Path]
) -> None:
    def identity(**prediction: object) -> dict[str, object]:
        teacher = {"type": "run", "run": str(student("single"))}
        source = write_rows(tmp_path, [{"id": "a", "text": "good"}])
        written = load_recipe(write_recipe(tmp_path, source, labeling={"teacher": teacher}, prediction=prediction))
        assert isinstance(written.recipe, LabelRecipe)
        return identity_of(load_student(written.recipe), written.recipe)

    plain = identity()
    assert identity(batch_size=7, dtype="float32") == plain
    assert identity(mode="generation") != plain != identity(parsing="strict")
