"""Secrets and personal data are found by kind and place; what only looks like them is left alone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from categorize.errors import UserError
from categorize.methods.registry import METHODS
from categorize.recipe.load import load_recipe
from categorize.runs.before_push import check_push
from categorize.runs.personal import findings, shown, told


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("mail ann.lee+x@mail.example.co.uk now", "e-mail address"),
        ("电话13812345678。", "phone number"),
        ("138-1234-5678", "phone number"),
        ("+86 138 1234 5678", "phone number"),
        ("总机 010-62771234", "phone number"),
        ("call (415) 555-0100", "phone number"),
        ("+44 20 7946 0958", "phone number"),
        ("身份证11010519491231002X", "Chinese ID number"),
        ("ssn 078-05-1120", "US social security number"),
        ("token hf_" + "aBcDeFgHiJ" * 3, "key or token"),
        ("sk-" + "abc123" * 6, "key or token"),
        ("AKIA" + "IOSFODNN7EXAMPLE", "key or token"),
        ("-----BEGIN RSA PRIVATE KEY-----", "key or token"),
        ("api_key = zxcv1234", "password"),
        ("密码：hunter2345", "password"),
        ("at 12 Elm Street.", "postal address"),
        ("住在建国路88号", "postal address"),
    ],
)
def test_each_kind_is_found_and_shown_by_its_ends_alone(text: str, kind: str) -> None:
    (found,) = findings({"here": text})
    assert found.kind == kind and len(found.masked) == 7
    assert told([found]) == f"secrets or personal data in here: {kind} ({found.masked})"


@pytest.mark.parametrize(
    "text",
    [
        "110105194912310021",  # another check digit
        "from 2019-2020 to 2024", "0.13812345678", "545e80650ab9", "f13812345678abc", "13812345678901",
        "learning_rate: 0.00005", "version 2.13.0+cpu", "@someone said", "12 good streets are dry", "1,234,567 rows",
    ],
)  # fmt: skip
def test_numbers_hashes_and_dates_are_not_taken_for_people(text: str) -> None:
    assert findings({"here": text}) == []


@pytest.mark.parametrize("kind", ["sft", "label"])
@pytest.mark.parametrize("place", ["prompt.system", "prompt.shots[1]"])
def test_personal_data_in_a_recipe_are_refused_before_the_work_unless_they_are_allowed(
    kind: str, place: str, tmp_path: Path
) -> None:
    """The next refusal, of a Hub that may not be asked in tests, shows that they are passed then."""
    shots = [{"text": text, "label": "good"} for text in ("fine", "ann@example.com" if "shots" in place else "fine")]
    prompt = {
        "system": "Call 13812345678.\n{labels}" if place == "prompt.system" else "Label.\n{labels}",
        "shots": shots,
    }
    sections: dict[str, Any] = {"model": {"name_or_path": "base"}}
    if kind == "label":
        sections = {"labeling": {"teacher": {"type": "local", "name_or_path": "base"}}}
    recipe = {"kind": kind, "name": "one", "data": {"source": "rows.csv"}, "labels": {"names": ["good", "bad"]}}
    path = tmp_path / "one.yaml"
    path.write_text(yaml.safe_dump({**recipe, **sections, "prompt": prompt, "hub": {"repo_id": "owner/one"}}))
    with pytest.raises(
        UserError, match=re.escape(f"secrets or personal data in {place}: ") + ".*would go to owner/one"
    ):
        check_push(load_recipe(str(path), [], kind, methods=METHODS).recipe)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE"):
        check_push(load_recipe(str(path), ["hub.personal_data=allow"], kind, methods=METHODS).recipe)


def test_every_text_that_a_push_holds_is_looked_at(tmp_path: Path) -> None:
    number = "13812345678"
    (tmp_path / "README.md").write_text(f"one\ncall {number}\n")
    shots = [{"text": number, "label": "good"}]
    (tmp_path / "prompt.json").write_text(json.dumps({"system": number, "shots": shots, "codes": [number]}))
    (tmp_path / "label_set.json").write_text(json.dumps({"labels": [{"name": "a", "description": number}]}))
    (tmp_path / "tfidf.vocabulary.json").write_text(json.dumps({"words": ["so", number]}))
    (tmp_path / "tokenizer.json").write_text(json.dumps([number]))  # of the base
    found = findings(shown({path.name: path for path in tmp_path.iterdir()}))
    assert sorted(one.place for one in found) == [
        "README.md:2", "label_set.json labels[0].description", "prompt.json shots[0].text", "prompt.json system",
        "tfidf.vocabulary.json 13...",
    ]  # fmt: skip
