"""The JSON Schema and the reference page are current, and agree with the loader."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from categorize.methods.registry import METHODS
from categorize.recipe.load import LoadedRecipe
from categorize.recipe.nodes import compose, to_plain
from categorize.recipe.problems import Problems
from categorize.recipe.reference import markdown
from categorize.recipe.schema import REFERENCE_FILE, SCHEMA_FILE, json_schema, schema_text
from tests.recipes import load_recipe

from .conftest import MINIMAL


def plain(text: str) -> Any:
    node = compose(text, "r.yaml", Problems())
    assert node is not None
    return to_plain(node)


def valid(text: str) -> bool:
    return bool(jsonschema.Draft202012Validator(json_schema(METHODS)).is_valid(plain(text)))


def test_the_stored_schema_is_current() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text(METHODS), "run python -m categorize.recipe.schema"


def test_the_stored_reference_is_current() -> None:
    assert REFERENCE_FILE.read_text(encoding="utf-8") == markdown(METHODS), "run python -m categorize.recipe.schema"


def test_every_heading_of_the_reference_is_there_once_and_every_link_leads_to_one() -> None:
    headings = re.findall(r"^#+ (.*)$", markdown(METHODS), re.MULTILINE)
    assert len(headings) == len(set(headings))
    anchors = {re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-")) for heading in headings}
    links = re.findall(r"\]\(#([^)]*)\)", markdown(METHODS))
    assert len(links) > 20 and set(links) <= anchors


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema(METHODS))


GOOD = [
    MINIMAL,
    MINIMAL
    + "training: {learning_rate: 1e-4, eval_strategy: epoch, early_stopping: {patience: 2}, report_to: [wandb]}\n",
    MINIMAL + "adapter: {type: lora, r: 8, target_modules: all-linear}\nquantization: {load_in_4bit: true}\n",
    MINIMAL + "labels: {names: [a, {name: b, labels: [c, d]}], codes: {0: a}}\n",
    "kind: seqcls\nname: t\ndata: {source: {train: a.csv}}\nmodel: {method: tfidf, C: 2}\n",
    "kind: eval\nname: e\ndata: {source: a.csv}\nevaluation: {runs: [outputs/a, {run: b}]}\n",
]


@pytest.mark.parametrize("text", GOOD)
def test_what_the_loader_takes_the_schema_takes(minimal: Callable[..., LoadedRecipe], text: str) -> None:
    Path("good.yaml").write_text(text, encoding="utf-8")
    load_recipe("good.yaml", environment={})
    assert valid(text)


@pytest.mark.parametrize(
    "text",
    [
        "extends: base.yaml\nkind: seqcls\n",
        "extends: [a.yaml, b.yaml]\ntraining: {learning_rate: null}\nadapter: null\n",
        "extends: a.yaml\nkind: seqcls\nadapter: {r: 8}\nmodel: {C: 1}\n",
        "labels: {schema: words.yaml}\n",
        "data: {columns: {text: message}}\nlabels: {names: [a, b]}\n",
    ],
)
def test_a_file_that_inherits_may_leave_keys_out(text: str) -> None:
    assert valid(text)


@pytest.mark.parametrize(
    "text",
    [
        "kind: seqcls\nname: x\n",
        "kind: other\n",
        MINIMAL + "sed: 1\n",
        MINIMAL + "seed: a\n",
        MINIMAL + "training: {lr_scheduler_type: cosin}\n",
        MINIMAL + "training: {evaluation_strategy: epoch}\n",
        MINIMAL + "training: {output_dir: x}\n",
        "kind: sft\nname: t\ndata: {source: a}\nmodel: {name_or_path: x}\ntraining: {packing: true}\n",
        "kind: sft\nname: t\ndata: {source: a}\nmodel: {name_or_path: x}\ntraining: {deepspeed: zero.json}\n",
        MINIMAL + "adapter: {r: 8}\n",
        MINIMAL + "adapter: {type: ia3, r: 8}\n",
        MINIMAL + "adapter: {type: lora, rr: 8}\n",
        MINIMAL + "labels: {names: [1]}\n",
        MINIMAL + "evaluation: {runs: [a]}\n",
        "kind: seqcls\nname: t\ndata: {source: a}\nmodel: {method: tfidf, name_or_path: x}\n",
        "kind: seqcls\nname: t\ndata: {source: a}\nmodel: {max_length: 3}\n",
    ],
)
def test_an_editor_underlines_what_is_wrong(text: str) -> None:
    assert not valid(text)
