"""Heads on a CPU: the fast ways compute what the plain model does, and bfloat16 is used where it changes no clear
label."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from categorize import load_predictor
from categorize.engines import half_precision
from categorize.engines.at_once import changes_by_batch, for_each
from categorize.engines.batching import ON_CPU, length_sorted_batches
from categorize.engines.first_token import narrow_last_layer
from categorize.engines.half_precision import Agreement, bfloat16_gain
from categorize.engines.packed import short_attention
from categorize.errors import UserError
from categorize.methods.head.model import build_head
from categorize.methods.head.predictor import HeadPredictor, encode_texts
from categorize.methods.registry import METHODS
from categorize.nn.precision import cpu_computes_bfloat16
from categorize.predictions import Predictions
from categorize.recipe.command import main
from categorize.recipe.decision_sections import PredictionSection
from categorize.train import train
from tests.models.test_head import LABELS, TEXTS, recipe, shake
from tests.session.collections import write_collection, write_recipe

Tiny = Callable[..., Path]
MANY = [" ".join(["good", "bad", "fine", "movie", "好"][(i + k) % 5] for k in range(1 + i % 30)) for i in range(120)]


def predictor(folder: Path, adapter: str | None = None, **keys: Any) -> HeadPredictor:
    torch.manual_seed(3)
    head = build_head(recipe(folder, adapter=None if adapter is None else {"type": adapter}), LABELS)
    shake(head)
    return HeadPredictor(head, LABELS, PredictionSection(**keys))


def one_by_one(found: HeadPredictor, texts: list[str]) -> np.ndarray[Any, Any]:
    tokens = encode_texts(found.head, texts)
    with torch.no_grad():
        rows = [torch.tensor(tokens[i][None].astype(np.int64)) for i in range(len(tokens))]
        return torch.cat([found.head.model(input_ids=ids).logits for ids in rows]).numpy()


def batch(texts: list[str]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"id": [str(i) for i in range(len(texts))], "text": texts})


@pytest.mark.parametrize(
    ("architecture", "adapter"),
    [(name, None) for name in ("bert", "roberta", "distilbert", "deberta", "modernbert", "qwen2", "bart")]
    + [("bert", "lora")],
)
def test_packed_weights_and_batches_of_one_length_give_what_single_passes_give(
    tiny: Tiny, architecture: str, adapter: str | None
) -> None:
    texts = [*TEXTS, *MANY]
    found = predictor(tiny(architecture), adapter)
    plain, names = one_by_one(found, texts), list(found.head.model.state_dict())
    tokens = encode_texts(found.head, texts)
    for dtype, tolerance in (("float32", 2e-5), ("bfloat16", 0.2)):
        found.engine.pack(dtype, ("classifier", "score"))
        np.testing.assert_allclose(found.engine.outputs(tokens), plain, atol=tolerance)
    assert list(found.head.model.state_dict()) == names


@pytest.mark.parametrize(
    ("architecture", "pooling", "narrowed"),
    [
        ("bert", "default", ["output.dense", "intermediate.dense", "attention.output.dense"]),
        ("roberta", "default", ["output.dense", "intermediate.dense", "attention.output.dense"]),
        ("distilbert", "default", ["ffn.lin2", "ffn.lin1", "attention.out_lin"]),
        ("deberta", "default", ["output.dense", "intermediate.dense", "attention.output.dense"]),
        ("modernbert", "default", ["mlp.Wo", "mlp.Wi", "attn.Wo"]),
        ("bert", "mean", []),
        ("bart", "default", []),
        ("qwen2", "default", []),
    ],
)
def test_what_stands_behind_the_last_attention_is_computed_for_the_first_token_where_that_is_read_alone(
    tiny: Tiny, architecture: str, pooling: str, narrowed: list[str]
) -> None:
    torch.manual_seed(3)
    model = build_head(recipe(tiny(architecture), model={"pooling": pooling}), LABELS).model.eval()
    inputs = {"input_ids": torch.tensor([[2, 7, 8, 9, 3], [2, 9, 3, 0, 0]])}
    inputs["attention_mask"] = (inputs["input_ids"] > 0).long()
    with torch.no_grad():
        expected = model(**inputs).logits
        found = narrow_last_layer(model)
        given = model(**inputs).logits
        for undo in found.values():
            undo()
        assert torch.equal(model(**inputs).logits, expected)
    last = max((int(part) for name in found for part in name.split(".") if part.isdigit()), default=0)
    assert [name.split(f".{last}.")[-1] for name in found] == narrowed
    torch.testing.assert_close(given, expected, atol=1e-6, rtol=0)


def test_batches_at_once_give_what_one_after_another_gives_and_an_error_ends_them(tiny: Tiny) -> None:
    found = predictor(tiny("bert"), dtype="bfloat16", batch_size=3)
    found.engine.pack("bfloat16", ("classifier",))
    tokens, threads = encode_texts(found.head, MANY), torch.get_num_threads()
    seen: list[tuple[int, int]] = []

    def work(batch: int) -> None:
        seen.append((threading.get_ident(), torch.get_num_threads()))
        if batch == 4:
            raise UserError("the fourth")

    try:
        torch.set_num_threads(1)
        alone = found.engine.outputs(tokens)
        torch.set_num_threads(3)
        np.testing.assert_array_equal(found.engine.outputs(tokens), alone)
        with pytest.raises(UserError, match="the fourth"):
            for_each(range(1000), work, True, nullcontext)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    assert {count for _, count in seen} == {1}
    assert threading.get_ident() not in {thread for thread, _ in seen}
    assert len(seen) < 1000


@pytest.mark.parametrize(("architecture", "alone"), [("bigbird", True), ("modernbert", False), ("qwen2", False)])
def test_a_model_that_a_batch_changes_computes_one_batch_at_a_time(tiny: Tiny, architecture: str, alone: bool) -> None:
    model = build_head(recipe(tiny(architecture)), LABELS).model
    assert changes_by_batch(model) == alone
    for module in model.modules():
        if hasattr(module, "rope_type"):
            module.rope_type = "longrope"
            assert changes_by_batch(model)


def test_short_distinct_texts_are_hardly_padded_and_each_is_read_once() -> None:
    lengths = np.clip(np.random.default_rng(0).lognormal(2.4, 0.55, 20_000), 3, 62).astype(int)
    batches = list(length_sorted_batches(lengths, 64, ON_CPU))
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    padded = sum(len(one) * lengths[one].max() for one in batches)
    assert 1 - lengths.sum() / padded < 0.01
    assert max(len(one) * lengths[one].max() for one in batches) <= ON_CPU


def test_bfloat16_is_used_and_told_where_no_clear_label_changes(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("categorize.methods.head.predictor.bfloat16_gain", lambda model: 3.0)  # the processor's
    exact = predictor(tiny("bert"), dtype="float32")
    found = predictor(tiny("bert"))
    (expected,), (given,) = (list(one.predict([batch(MANY)])) for one in (exact, found))
    assert exact.computed == {"dtype": "float32"}
    assert found.computed["dtype"] == "bfloat16"
    assert found.computed["agreement"]["rows"] == len(set(MANY))
    assert found.computed["agreement"]["changed_beyond_margin"] == 0
    assert capsys.readouterr().out.count("computing in bfloat16, 3.0 times as fast here as float32: 0 of 30 texts") == 1
    assert 0 < np.abs(expected.probabilities - given.probabilities).max() < 0.05


def test_bfloat16_is_refused_where_it_changes_a_clear_label(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("categorize.methods.head.predictor.bfloat16_gain", lambda model: 3.0)
    exact, found = predictor(tiny("bert"), dtype="float32"), predictor(tiny("bert"))
    lead = {}
    for dtype in ("float32", "bfloat16"):
        exact.engine.pack(dtype, ("classifier",))
        first, second, _ = exact.engine.outputs(encode_texts(exact.head, MANY[-1:]))[0]
        lead[dtype] = first - second
    middle, apart = sum(lead.values()) / 2, abs(lead["float32"] - lead["bfloat16"])
    exact.engine.packed = None
    for one in (exact, found):
        layer = one.head.model.classifier
        with torch.no_grad():  # one text lies between what float32 and bfloat16 say, and every lead is a clear one
            layer.bias += torch.tensor([-middle / 2, middle / 2, -100.0])
            layer.weight *= 20 / apart
            layer.bias *= 20 / apart
    (expected,), (given,) = (list(one.predict([batch(MANY[-1:] * 3)])) for one in (exact, found))
    assert found.computed["dtype"] == "float32"
    assert found.computed["agreement"]["changed_beyond_margin"] > 0
    np.testing.assert_array_equal(given.probabilities, expected.probabilities)
    assert "computing in float32, not bfloat16" in capsys.readouterr().out


def test_the_trial_of_this_processor_is_made_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(half_precision.FOLDER, str(tmp_path / "kept"))
    model = torch.nn.Sequential(torch.nn.Linear(1024, 1024))
    half_precision._gain.cache_clear()
    gain = bfloat16_gain(model)
    if not cpu_computes_bfloat16():
        assert gain == 1.0
        return
    file = tmp_path / "kept/bfloat16.json"
    (key,) = json.loads(file.read_text())
    assert torch.__version__ in key
    assert json.loads(file.read_text()) == {key: gain}
    file.write_text(json.dumps({key: 7.5}))
    assert bfloat16_gain(model) == gain  # in this process
    half_precision._gain.cache_clear()
    assert bfloat16_gain(model) == 7.5  # in the next
    half_precision._gain.cache_clear()


def test_agreement_counts_what_changes_by_its_margin() -> None:
    exact = Predictions(list("abc"), probabilities=np.array([[0.9, 0.1], [0.51, 0.49], [0.3, 0.7]]))
    other = Predictions(list("abc"), probabilities=np.array([[0.8, 0.2], [0.49, 0.51], [0.6, 0.4]]))
    found = Agreement.of(exact, other, multi_label=False)
    assert (found.rows, found.changed, found.beyond) == (3, 2, 1)
    several = Agreement.of(exact, other, multi_label=True)
    assert (several.changed, several.beyond) == (2, 1)
    scores = [Predictions(["a"], score=np.array([value])) for value in (1.0, 1.001, np.nan)]
    assert Agreement.of(scores[0], scores[1], False).beyond == 0
    assert Agreement.of(scores[0], scores[2], False).beyond == 1


@pytest.mark.slow
def test_a_run_says_its_type_and_keeps_to_float32_where_bfloat16_was_refused(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_collection(tmp_path / "rows.csv")
    file = write_recipe(tmp_path / "one.yaml", model={"name_or_path": str(tiny("bert"))})
    assert main("run_seqcls.py", "seqcls", train, METHODS, [str(file), "training.max_steps=2"]) == 0
    manifest = json.loads((tmp_path / "outputs/one/run.json").read_text())
    assert manifest["prediction"]["dtype"] == "float32"
    for clear, expected in ((0, "auto"), (1, "float32")):
        manifest["prediction"]["agreement"] = {"rows": 256, "changed": 1, "changed_beyond_margin": clear}
        (tmp_path / "outputs/one/run.json").write_text(json.dumps(manifest))
        assert load_predictor("outputs/one").inner.section.dtype == expected  # type: ignore[attr-defined]


def test_texts_of_earlier_blocks_are_not_computed_again_once_a_shard_has_begun(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = predictor(tiny("bert"), dtype="float32")
    blocks = [batch(MANY[:20]), batch([*MANY[5:25], "word " * 80]), batch(MANY[:10])]
    expected = [one.probabilities for one in found.predict(blocks)]
    computed: list[int] = []
    outputs = found.engine.outputs
    monkeypatch.setattr(found.engine, "outputs", lambda tokens: (computed.append(len(tokens)), outputs(tokens))[1])
    found.remembered.begin()
    given = list(found.predict(blocks))
    assert computed == [20, 6, 0]
    assert [one.usage.truncated_rows for one in given] == [0, 1, 0]  # type: ignore[union-attr]
    for one, probabilities in zip(given, expected, strict=True):
        np.testing.assert_allclose(one.probabilities, probabilities, atol=1e-6)
    found.remembered.begin()
    list(found.predict(blocks[2:]))
    assert computed[3:] == [10]


@pytest.mark.parametrize(
    ("dtype", "times", "off"), [(torch.float32, 1, 1e-5), (torch.bfloat16, 1, 3e-2), (torch.float32, 300, 1e-4)]
)
@pytest.mark.parametrize("tokens", [9, 15, 40])
def test_short_attention_gives_what_torchs_own_gives_with_a_mask_and_without_and_of_scores_however_large(
    dtype: torch.dtype, times: float, off: float, tokens: int
) -> None:
    draw = torch.Generator().manual_seed(tokens)
    query, key, value = (torch.randn(3, 2, tokens, 8, generator=draw).to(dtype) for _ in range(3))
    query = query * times
    lengths = torch.tensor([tokens, tokens - 3, 1])
    padding = (torch.arange(tokens) < lengths[:, None])[:, None, None, :].expand(3, 1, tokens, tokens)
    window = (torch.arange(tokens)[:, None] - torch.arange(tokens)).abs() <= 2
    module = torch.nn.Module()
    module.is_causal = False  # type: ignore[assignment]
    for mask in (None, padding, padding & window):
        given, _ = short_attention(module, query, key, value, mask)
        seen = slice(None) if mask is None else mask.any(-1).transpose(1, 2)[..., None].expand(-1, -1, 2, 8)
        expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, mask).transpose(1, 2)
        torch.testing.assert_close(given[seen], expected[seen], atol=off, rtol=0)
        assert given.isfinite().all(), "tokens of padding that see nothing go on into the next layer"
