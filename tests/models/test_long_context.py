"""Encoders for long texts: what a text is given does not depend on the batch it stands in, or on those before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from categorize.labels import LabelSet
from categorize.methods.head.model import Head, HeadSettings, load_sequence_classifier
from categorize.methods.head.predictor import HeadPredictor
from categorize.nn.tokenizer import tokenize
from categorize.recipe.decision_sections import PredictionSection
from categorize.recipe.label_sections import LabelsSection

Tiny = Callable[..., Path]
LONG = "good movie text label bad fine " * 16  # 96 tokens
SHORT = "bad text"


def predictor(folder: Path, **section: Any) -> HeadPredictor:
    import torch

    labels = LabelSet.from_section(LabelsSection(names=["good", "bad"]))
    torch.manual_seed(0)
    loaded = load_sequence_classifier(str(folder), labels)
    settings = HeadSettings(128, head_modules=loaded.head_modules)
    return HeadPredictor(Head(loaded.model, loaded.tokenizer, settings), labels, PredictionSection(**section))


def logits(one: HeadPredictor, texts: list[str]) -> Any:
    return one.engine.outputs(tokenize(one.head.tokenizer, texts, 128))


# BigBird's last block is global, be it padding: its recipe predicts texts one by one.
@pytest.mark.parametrize(("architecture", "batch_size"), [("longformer", 64), ("modernbert", 64), ("bigbird", 1)])
def test_a_text_is_given_the_same_alone_and_beside_longer_ones(tiny: Tiny, architecture: str, batch_size: int) -> None:
    texts = [LONG, LONG[:-20], LONG[:-70]]
    one = predictor(tiny(architecture, scale=8), batch_size=batch_size)
    together = logits(one, texts)
    assert np.ptp(together, axis=0).max() > 1e-4
    alone = np.concatenate([logits(one, [text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=2e-4)


def test_a_short_batch_does_not_switch_bigbird_to_full_attention_for_good(tiny: Tiny) -> None:
    one = predictor(tiny("bigbird", scale=8))
    before = logits(one, [LONG])
    logits(one, [SHORT])
    assert one.head.model.base_model.attention_type == "original_full"  # of the short batch alone
    np.testing.assert_allclose(logits(one, [LONG]), before, atol=1e-6)
    assert one.head.model.base_model.attention_type == "block_sparse"
    one.head.model.base_model.config.attention_type = "original_full"
    one.head.model.base_model.set_attention_type("original_full")
    one.head.model.base_model._forward_pre_hooks.clear()
    assert np.abs(logits(one, [LONG]) - before).max() > 1e-4  # the attention does make a difference


def test_longformers_first_token_sees_the_whole_text(tiny: Tiny) -> None:
    one = predictor(tiny("longformer", scale=8))
    first = logits(one, [LONG])
    # Two layers with a window of 8 reach 8 tokens from the first; the last words are far beyond.
    assert np.abs(logits(one, [LONG[:-5] + "bad "]) - first).max() > 1e-5
