"""A text of nothing is predicted like any other, whatever reads it, and no rows give no predictions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from categorize.data.input_spec import InputSpec
from categorize.features.tfidf import NgramSettings, TfidfFeaturizer
from categorize.labels import Label, LabelSet
from categorize.methods.head.model import build_head
from categorize.methods.head.predictor import HeadPredictor
from categorize.methods.tfidf.predictor import TfidfPredictor
from categorize.metrics.decision import DecisionRule
from categorize.nn.tokenizer import tokenize
from categorize.prediction.predictor import Predictor, TrainedPredictor
from categorize.prompts.messages import PromptSettings
from categorize.prompts.tokens import PromptFormat
from categorize.recipe.data_sections import Columns, Segments
from categorize.recipe.label_sections import Task
from categorize.training.linear import LinearModel
from tests.engines.test_scoring import build_model, predictor
from tests.recipes import SeqclsRecipe
from tests.tiny_tokenizers import build_tokenizer

Tiny = Callable[..., Path]
# Nothing, blanks, null, a character that readers drop, and what cleaning leaves nothing of.
EMPTY = ["", "  \t\n", None, "\0", "\u200b", "https://example.org/a"]
TEXTS = ["good movie", *EMPTY, "bad"]


def labels_of(task: Task) -> LabelSet:
    return LabelSet(task, tuple(map(Label, ("score",) if task == "regression" else ("a", "b", "c"))))


def frame(inner: Predictor, **segments: Any) -> TrainedPredictor:
    spec = InputSpec(Columns(), None, ("nfkc", "urls", "whitespace"), Segments(**segments))
    return TrainedPredictor(inner, spec, DecisionRule.default(inner.label_set), "x")


def numbers(predictor: TrainedPredictor, texts: list[str | None]) -> Any:
    """[documents, outputs] of texts in one table."""
    rows = predictor.input_spec.rows_from_table(pa.table({"text": pa.array(texts, pa.string())}))
    found = predictor.predict_rows(rows)
    assert len(found) == len(texts) and found.is_valid.all()
    return found.probabilities if found.probabilities is not None else np.array(found.score)[:, None]


@pytest.mark.parametrize("task", ["single_label", "multi_label", "regression"])
@pytest.mark.parametrize(
    ("architecture", "sections", "segments"),
    [
        ("qwen2", {}, {}),
        ("qwen2", {"model": {"pooling": "mean"}}, {}),
        ("qwen2", {"adapter": {"type": "prefix", "num_virtual_tokens": 3}}, {}),
        ("qwen2", {"adapter": {"type": "prompt", "num_virtual_tokens": 3}}, {}),
        ("llama", {}, {"by": "tokens", "max_tokens": 8}),
        ("bert", {}, {}),
        ("t5", {}, {}),
    ],
)
def test_heads_read_an_empty_text_alone_as_among_others(
    tiny: Tiny, architecture: str, sections: dict[str, Any], segments: dict[str, Any], task: Task
) -> None:
    model = {"name_or_path": str(tiny(architecture)), "max_length": 32, **sections.get("model", {})}
    recipe = SeqclsRecipe.model_validate(
        {"kind": "seqcls", "name": "x", "data": {"source": "x"}, **sections, "model": model}
    )
    label_set = labels_of(task)
    head = frame(HeadPredictor(build_head(recipe, label_set), label_set), **segments)
    together = numbers(head, TEXTS)
    assert np.isfinite(together).all()
    for text, expected in zip(TEXTS, together, strict=True):
        np.testing.assert_allclose(numbers(head, [text])[0], expected, atol=1e-5)
    assert numbers(head, []).shape == (0, len(label_set))
    assert len(head.predict_texts([])) == 0


def test_a_text_without_tokens_is_an_end_token(tiny: Tiny) -> None:
    """A row of padding alone would be pooled from what no attention reads."""
    from categorize.nn.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(str(tiny("qwen2")))
    tokens = tokenize(tokenizer, ["", "a"], 8)
    assert tokens[0].tolist() == [tokenizer.eos_token_id] and tokens[1].tolist() == tokenizer("a")["input_ids"]
    assert not tokens.cut.any()


@pytest.mark.parametrize("template", ["chatml", "plain"])
@pytest.mark.parametrize("mode", ["scoring", "generation"])
def test_causal_models_are_asked_about_an_empty_text(template: str, mode: str) -> None:
    prompt = PromptFormat(
        PromptSettings("Say it.\n{labels}"), labels_of("single_label"), build_tokenizer(template), 256
    )
    causal = frame(predictor(build_model("qwen2", prompt.tokenizer), prompt, mode=mode))
    rows = causal.input_spec.rows_from_table(pa.table({"text": pa.array(TEXTS, pa.string())}))
    found = causal.predict_rows(rows)
    assert len(found) == len(TEXTS)
    nothing = causal.predict_rows(rows.slice(0, 0))
    assert len(nothing) == 0 and (nothing.probabilities is None) == (mode == "generation")
    for text, i in ((text, TEXTS.index(text)) for text in EMPTY):
        one = causal.predict_rows(causal.input_spec.rows_from_table(pa.table({"text": pa.array([text], pa.string())})))
        if found.probabilities is not None and one.probabilities is not None:
            np.testing.assert_allclose(one.probabilities[0], found.probabilities[i], atol=1e-5)
        else:
            assert one.raw is not None and found.raw is not None and one.raw[0] == found.raw[i]


@pytest.mark.parametrize("task", ["single_label", "multi_label", "regression"])
def test_tfidf_predicts_an_empty_text_by_its_intercepts(task: Task) -> None:
    features = TfidfFeaturizer(NgramSettings((1, 2), None))
    width = features.fit(["good", "bad"]).shape[1]
    label_set = labels_of(task)
    linear = frame(
        TfidfPredictor(
            label_set, features, LinearModel(np.ones((len(label_set), width)), np.arange(len(label_set)) + 1.0)
        )
    )
    together = numbers(linear, TEXTS)
    assert (together[1:-1] == together[1]).all() and (together[0] != together[1]).any()
    assert numbers(linear, []).shape == (0, len(label_set))
