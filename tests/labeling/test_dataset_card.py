"""The card of a labelling run says what its table says."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import yaml

from categorize.labeling.review.story import review_folder, take_reviewed, write_review
from categorize.recipe.labeling_sections import Review
from tests.labeling.jobs import InProcess, meant, start, table, texts, write_recipe, write_rows


def test_the_card_says_what_people_said_of_the_labels_too(tmp_path: Path) -> None:
    rows = [{**row, "id": f"r{i}"} for i, row in enumerate(texts(30) + texts(2))]
    start(write_recipe(tmp_path, write_rows(tmp_path, rows)), InProcess())
    run = tmp_path / "job"
    card = (run / "README.md").read_text()
    counts = Counter(meant(row["text"]) for row in rows)
    assert all(f"| {name} |  | {number} | {number / 32:.1%} |" in card for name, number in counts.items())
    assert "| `teacher` | 30 |" in card and "| `duplicate` | 2 |" in card
    write_review(run, 10, Review(), seed=1)
    file = review_folder(run) / "review.csv"
    with file.open(encoding="utf-8-sig", newline="") as opened:
        sheet = list(csv.DictReader(opened))
    with file.open("w", encoding="utf-8-sig", newline="") as opened:
        writer = csv.DictWriter(opened, list(sheet[0]))
        writer.writeheader()
        writer.writerows([one | {"reviewed": "odd"} for one in sheet])
    take_reviewed(run, file, Review())
    again = (run / "README.md").read_text()
    found = json.loads((review_folder(run) / "report.json").read_text())["label"]["accuracy"]
    right = f"{found['value']:.1%} right [{found['low']:.1%}, {found['high']:.1%}] of all"
    assert f"- reviewed by people, label: {right}, estimated from 10 rows\n" in again
    odd = table(tmp_path)["label"].to_pylist().count("odd")
    assert "| `reviewed` | 10 |" in again and f"| odd |  | {odd} | {odd / 32:.1%} |" in again and odd > counts["odd"]


def test_several_questions_have_a_table_each_and_prompts_with_fences_stay_whole(tmp_path: Path) -> None:
    def answers(asked: list[str], objects: list[dict[str, object]]) -> list[dict[str, object]]:
        return [{"comment_id": one["comment_id"], "mood": ["good"], "length": 3.5} for one in objects]

    start(
        write_recipe(
            tmp_path,
            write_rows(tmp_path, texts(6)),
            labels={},
            label_sets={
                "mood": {"task": "multi_label", "names": ["good", "bad"]},
                "length": {"task": "regression", "minimum": 0, "maximum": 5},
            },
            prompt={"system": "Read.\n````\nas it is\n````\n{labels}"},
        ),
        InProcess(answers),
    )
    card = (tmp_path / "job" / "README.md").read_text()
    assert "## Labels of `mood`\n\nColumn `mood` (multi-label); 6 rows have one." in card
    assert "| good |  | 6 | 100.0% |\n| bad |  | 0 | 0.0% |" in card
    assert "Column `length` (regression); 6 rows have one.\n\nA number, at least 0, at most 5." in card
    (message,) = json.loads((tmp_path / "job" / "prompt.json").read_text())["messages"]
    assert f"\n`````text\n{message['content']}\n`````\n" in card
    assert yaml.safe_load(card.split("---\n")[1])["tags"] == ["categorize", "regression", "multi-label"]
