"""The model card of a run: to the letter, and what the Hub reads of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from categorize.labels import Label, LabelSet
from categorize.methods.registry import METHODS
from categorize.metrics.measures import measure
from categorize.predictions import Predictions
from categorize.recipe.load import load_recipe
from categorize.recipe.sections import TrainedRecipe
from categorize.runs.card import CardFacts, card, card_facts

LABELS = LabelSet("single_label", (Label("a|b", "one\n two"), Label("好")))
CARD = """\
---
library_name: peft
pipeline_tag: text-classification
base_model: owner/base
tags:
- categorize
- sft
- single-label
- lora
- text-generation
---

# mine

A single-label classifier (sft, on `owner/base`) with 2 outputs, trained on 1,200 rows.

Documents are read in segments (by turns, at most 512 tokens), 4,321 in training, whose predictions become the document's (mean). The measures are of documents.

| measure | test |
|---|---|
| valid_rate | 1.0000 |
| accuracy | 0.7500 |
| accuracy_valid_only | 0.7500 |
| macro_precision | 0.8333 |
| macro_recall | 0.7500 |
| macro_f1 | 0.7333 |
| balanced_accuracy | 0.7500 |
| mcc | 0.5774 |
| micro_precision | 0.7500 |
| micro_recall | 0.7500 |
| micro_f1 | 0.7500 |
| weighted_precision | 0.8333 |
| weighted_recall | 0.7500 |
| weighted_f1 | 0.7333 |

| label | description |
|---|---|
| a\\|b | one two |
| 好 |  |

```python
from categorize import load_predictor
load_predictor("outputs/mine").predict_texts(["..."]).decided
```
"""  # noqa: E501
SEGMENTS = {"segments": {"train": {"by": "turns", "limit": 512, "segments": 4321}}}


def written(root: Path, recipe: str, model: str | None, details: dict[str, Any] | None = None) -> str:
    loaded = load_recipe(root / "recipes/demo" / recipe, ["name=mine"], methods=METHODS).recipe
    assert isinstance(loaded, TrainedRecipe)
    method = METHODS.of(loaded)
    manifest = {"task": "single_label", "method": method.name, "model": model, "rows": {"train": 1200}}
    manifest["details"] = details or {}
    gold = np.eye(2)[[0, 0, 1, 1]]
    metrics = {"test": measure(LABELS, gold, Predictions(list("1234"), decided=[["a|b"], ["a|b"], ["a|b"], ["好"]]))}
    return card(loaded, LABELS, manifest, metrics, facts=card_facts(loaded, method.card))


def test_the_card_reads_as_it_should(root: Path) -> None:
    assert written(root, "decoder_sft_lora.yaml", "owner/base", SEGMENTS) == CARD


@pytest.mark.parametrize(
    ("recipe", "head"),
    [
        ("tfidf.yaml", "library_name: categorize\npipeline_tag: text-classification\ntags:\n- categorize\n- tfidf\n"),
        ("encoder_head.yaml", "library_name: transformers\npipeline_tag: text-classification\ntags:\n"),
        ("decoder_head_lora.yaml", "library_name: peft\npipeline_tag: text-classification\ntags:\n"),
    ],
)
def test_the_hub_reads_what_loads_the_model_and_no_folder_as_its_base(root: Path, recipe: str, head: str) -> None:
    model = None if "tfidf" in recipe else str(root)  # a folder of this machine
    text = written(root, recipe, model)
    assert text.startswith(f"---\n{head}")
    assert ("- lora\n---" in text) == ("lora" in recipe) and "segments" not in text


def test_a_method_says_what_the_hub_reads_and_each_task_is_named(root: Path) -> None:
    recipe = load_recipe(root / "recipes/demo/tfidf.yaml", methods=METHODS).recipe
    assert isinstance(recipe, TrainedRecipe)
    manifest = {"method": "setfit", "model": None, "rows": {"train": 1}, "details": {}}
    facts = CardFacts("setfit", ("few-shot",))

    def of(label_set: LabelSet) -> str:
        return card(recipe, label_set, {**manifest, "task": label_set.task}, {}, facts=facts)

    ordinal = of(replace(LABELS, task="ordinal"))
    assert "library_name: setfit\n" in ordinal and "- setfit\n- ordinal\n- few-shot\n---" in ordinal
    assert "\nAn ordinal classifier (setfit) with 2 outputs, trained on 1 row.\n\n| label |" in ordinal
    assert "\nA regression (setfit) with 1 output, " in of(LabelSet("regression", (Label("score"),)))
