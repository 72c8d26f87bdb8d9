"""Members of a fusion and of a cascade keep what texts came to, as a run does that labels by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from categorize.data.input_spec import InputSpec
from categorize.methods.cascade.predictor import CascadePredictor
from categorize.methods.cascade.stages import Cascade, Stage, margins
from categorize.methods.fusion.combination import Fusion, Member
from categorize.methods.fusion.predictor import FusionPredictor
from categorize.methods.head.predictor import HeadPredictor
from categorize.metrics.decision import DecisionRule
from categorize.prediction.predictor import TrainedPredictor
from tests.engines.test_heads_on_cpu import LABELS, MANY, predictor

BLOCKS = (MANY[:20], [*MANY[5:25], "word " * 40], MANY[:10])


def of_documents(inner: HeadPredictor | FusionPredictor | CascadePredictor) -> TrainedPredictor:
    return TrainedPredictor(inner, InputSpec(), DecisionRule.default(LABELS), "one")


def block(texts: list[str]) -> pa.Table:
    return InputSpec().rows_from_texts(texts)


@pytest.mark.parametrize("kind", ["fusion", "cascade"])
def test_texts_of_earlier_blocks_are_not_computed_again_by_members(tiny: Callable[..., Path], kind: str) -> None:
    heads = [predictor(tiny(name), dtype="float32") for name in ("bert", "distilbert")]
    members = [of_documents(one) for one in heads]
    if kind == "fusion":
        fusion = Fusion("mean", (Member("a", "", 1.0), Member("b", "", 2.0)))
        whole = of_documents(FusionPredictor(LABELS, fusion, members))
    else:  # the first one is sure of half of the texts
        sure = np.sort(margins(np.array(members[0].predict_rows(block(MANY[:25])).probabilities)))
        stages = Stage("a", "", "", 1.0, float(sure[11:13].mean())), Stage("b", "", "", 1.0, 0.0)
        whole = of_documents(CascadePredictor(LABELS, Cascade(stages), members))
    plain = [whole.predict_rows(block(texts)) for texts in BLOCKS]
    whole.remember()
    found = [whole.predict_rows(block(texts)) for texts in BLOCKS]
    for one, other in zip(found, plain, strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-6)
        assert (one.decided, one.stage) == (other.decided, other.stage)
    assert kind == "fusion" or {*plain[0].stage} == {"a", "b"}
    tokens = [[one.usage.tokens for one in blocks] for blocks in (found, plain)]
    assert tokens[0][0] == tokens[1][0] and 0 < tokens[0][1] < tokens[1][1] and tokens[0][2] == 0 < tokens[1][2]
    whole.remember()
    assert whole.predict_rows(block(BLOCKS[2])).usage.tokens == tokens[1][2], "nothing of an earlier shard is kept"
