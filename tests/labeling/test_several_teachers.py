"""Several teachers, repeats, the flip rate and a review, from the recipe to the table."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from categorize.errors import UserError
from categorize.label import label
from categorize.labeling.exchange import Reply, Request
from categorize.methods.registry import METHODS
from categorize.recipe.command import parse_command
from tests.labeling.jobs import NAMES, InProcess, meant, table, texts, write_recipe, write_rows


def wrong_about(share: float, name: str) -> Callable[[list[str], list[dict[str, Any]]], Any]:
    """Spoils a share of the answers, by the text: always the same ones."""

    def spoil(asked: list[str], objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for text, one in zip(asked, objects, strict=True):
            drawn = int(sha256(f"{name} {text}".encode()).hexdigest(), 16)
            if drawn % 1000 < share * 1000:
                one["labels"] = [NAMES[(NAMES.index(meant(text)) + 1 + drawn // 1000 % 2) % len(NAMES)]]
        return objects

    return spoil


def endpoint(name: str) -> dict[str, Any]:
    return {"type": "endpoint", "name": name, "url": "http://127.0.0.1:9/v1", "model": name}


def run(recipe: Path, teachers: dict[str, InProcess], *arguments: str) -> None:
    """As `run_label.py`, each teacher of the recipe being one of these."""

    def make(section: Any, *rest: Any) -> InProcess:
        teachers[section.name].name = section.name
        return teachers[section.name]

    label(parse_command("run_label.py", "label", METHODS, [str(recipe), *arguments]), make)


class Limits(InProcess):
    """Notes the tokens that its answers may have."""

    seen: frozenset[int] = frozenset()

    async def ask(self, request: Request) -> Reply:
        self.seen |= {request.max_tokens}
        return await super().ask(request)


def test_each_teacher_may_write_as_many_tokens_as_its_section_says(tmp_path: Path) -> None:
    teachers = {"short": Limits(model="short"), "long": Limits(model="long")}
    sections = [endpoint("short") | {"max_tokens": 300}, endpoint("long") | {"max_tokens": 1500}]
    labeling = {"teacher": None, "teachers": sections}
    run(write_recipe(tmp_path, write_rows(tmp_path, texts(20)), labeling=labeling), dict(teachers))
    assert (teachers["short"].seen, teachers["long"].seen) == ({300}, {1500})


@pytest.fixture
def three(tmp_path: Path) -> tuple[Path, dict[str, InProcess]]:
    shares = {"good": 0.1, "fair": 0.2, "poor": 0.4}
    teachers = {name: InProcess(spoil=wrong_about(share, name), model=name) for name, share in shares.items()}
    source = write_rows(tmp_path, texts(600))
    return source, teachers


def test_three_teachers_are_joined_and_what_they_do_not_agree_on_is_set_apart(tmp_path, three, capsys):
    source, teachers = three
    labeling = {
        "teachers": [endpoint(name) for name in teachers],
        "agreement": {"min_confidence": 0.8},
        "teacher": None,
    }
    run(write_recipe(tmp_path, source, labeling=labeling), teachers)
    found = table(tmp_path).to_pylist()
    labelled = [row for row in found if row["source"] == "teacher"]
    apart = [row for row in found if row["source"] == "disagreement"]
    assert len(found) == 600 == len(labelled) + len(apart) and apart
    right = sum(row["label"] == meant(row["text"]) for row in labelled) / len(labelled)
    one = json.loads((tmp_path / "job" / "metrics.json").read_text())["agreement"]["label"]
    assert right > 0.93
    assert one["estimated_accuracy"]["good"] > one["estimated_accuracy"]["fair"] > one["estimated_accuracy"]["poor"]
    assert all(row["label"] is None and "good: " in row["reason"] for row in apart)
    assert all(row["confidence"] < 0.8 for row in apart)
    said = capsys.readouterr().out
    assert "Krippendorff's alpha" in said and f"disagreement {len(apart)}" in said


def test_repeats_turn_the_order_and_a_sample_asked_again_tells_the_flip_rate(tmp_path, capsys):
    by_place = InProcess(spoil=wrong_in_the_second_half)
    source = write_rows(tmp_path, texts(160))
    labeling = {"teacher": endpoint("one"), "flip_sample": 80, "items": 8}
    run(write_recipe(tmp_path, source, labeling=labeling), {"one": by_place})
    flips = json.loads((tmp_path / "job" / "metrics.json").read_text())["flips"]["one"]["label"]
    assert flips["rows"] == 80 and flips["flipped"] > 10  # its answers hang on the place in the request
    assert "asked twice about 80 texts" in capsys.readouterr().out


def wrong_in_the_second_half(asked: list[str], objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for i, (text, one) in enumerate(zip(asked, objects, strict=True)):
        if i >= len(asked) // 2:
            one["labels"] = [NAMES[(NAMES.index(meant(text)) + 1) % len(NAMES)]]
    return objects


def test_a_review_by_the_command_corrects_the_table_and_outlives_the_next_run(tmp_path, three, capsys):
    source, teachers = three
    recipe = write_recipe(tmp_path, source, labeling={"teacher": endpoint("fair")})
    run(recipe, teachers)
    run(recipe, teachers, "--review", "100")
    file = tmp_path / "job.review" / "review.csv"
    with file.open(encoding="utf-8-sig", newline="") as opened:
        lines = list(csv.DictReader(opened))
    for line in lines:
        line["reviewed"] = meant(line["text"])
    with file.open("w", encoding="utf-8-sig", newline="") as opened:
        writer = csv.DictWriter(opened, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    run(recipe, teachers, "--reviewed", str(file))
    reviewed = {line["id"] for line in lines}

    def check() -> None:
        rows = table(tmp_path).to_pylist()
        assert {row["id"] for row in rows if row["source"] == "reviewed"} == reviewed
        assert all(row["label"] == meant(row["text"]) for row in rows if row["id"] in reviewed)

    check()
    found = json.loads((tmp_path / "job.review" / "report.json").read_text())["label"]
    assert found["reviewed"] == 100 and found["accuracy"]["low"] < 0.8 < found["accuracy"]["high"]
    asked = teachers["fair"].asked.total()
    run(recipe, teachers)
    check()
    assert teachers["fair"].asked.total() == asked
    assert "100 reviewed rows keep what people said" in capsys.readouterr().out


def test_reuse_takes_the_same_teacher_s_earlier_votes_and_never_another_vote_of_the_job(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teachers = {"one": InProcess(model="one"), "two": InProcess(model="two")}
    source = write_rows(tmp_path, texts(40))
    labeling = {"teacher": None, "teachers": [endpoint(name) for name in teachers], "flip_sample": 10}
    run(write_recipe(tmp_path, source, labeling=labeling), dict(teachers), "--reuse")
    assert [sum(one.asked.values()) for one in teachers.values()] == [50, 50]
    said = capsys.readouterr().out
    assert "two: 40 texts: 0 have" in said and "two, once more for the flip rate: 10 texts: 0 have" in said
    again = {"one": InProcess(model="one"), "three": InProcess(model="three")}
    labeling["teachers"] = [endpoint(name) for name in again]
    changed = write_recipe(tmp_path, source, labeling=labeling, prompt={"system": "Sort: {labels}"})
    run(changed, dict(again), "--reuse")
    assert [sum(one.asked.values()) for one in again.values()] == [0, 50]


def test_one_model_under_two_names_is_not_two_votes(tmp_path: Path) -> None:
    teachers = {"one": InProcess(model="same"), "two": InProcess(model="same")}
    labeling = {"teacher": None, "teachers": [endpoint(name) for name in teachers]}
    with pytest.raises(UserError, match="one and two are the same model"):
        run(write_recipe(tmp_path, write_rows(tmp_path, texts(4)), labeling=labeling), dict(teachers))
    assert not sum(one.asked.total() for one in teachers.values())
