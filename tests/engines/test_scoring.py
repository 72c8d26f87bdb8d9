"""Label scores equal naive log-probabilities of whole sequences, and greedy answers equal token-by-token search."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import torch
import transformers
from scipy.special import log_softmax, softmax

from categorize.engines.label_scoring import LabelScorer
from categorize.engines.scoring_plan import ScoringPlan
from categorize.engines.shared_prefix import Form, SharedPrefix
from categorize.errors import UserError
from categorize.labels import Label, LabelSet
from categorize.methods.sft.model import Causal, CausalSettings
from categorize.methods.sft.predictor import CausalPredictor
from categorize.nn.adapters import add_adapter
from categorize.prompts.messages import SYSTEMS, PromptSettings
from categorize.prompts.tokens import EncodedPrompt, PromptFormat
from categorize.recipe.adapter_sections import AdapterSection
from categorize.recipe.decision_sections import CausalPredictionSection
from tests.tiny_models import DECODERS, tiny_config
from tests.tiny_tokenizers import build_tokenizer

# One label begins another, one has a space, one is Chinese.
LABELS = LabelSet(
    "single_label",
    (Label("positive"), Label("very negative"), Label("好评"), Label("ok"), Label("okay")),
)
APART = LabelSet("single_label", (Label("positive"), Label("very negative"), Label("好评")))
# The empty text and one that merges with the prompt among them, and one much longer than a sliding window.
TEXTS = ["good movie", "a", "真的太好了 :) this goes on and on to be long " * 3, "", "x y z"]
PROMPT_LEARNING: list[dict[str, Any]] = [
    {"type": "prefix", "num_virtual_tokens": 5},
    {"type": "prompt", "num_virtual_tokens": 5},
    {"type": "p_tuning", "num_virtual_tokens": 5, "encoder_hidden_size": 16},
]

COMMON = (
    *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
    *("max_position_embeddings", "pad_token_id", "eos_token_id", "bos_token_id"),
)
OTHERS: dict[str, Any] = {
    "phi": partial(transformers.PhiConfig, partial_rotary_factor=0.5),
    "gemma2": partial(
        transformers.Gemma2Config,
        head_dim=8,
        sliding_window=16,
        attn_logit_softcapping=2.0,
        final_logit_softcapping=3.0,
    ),
    "gpt2": transformers.GPT2Config,
    "gpt_oss": partial(transformers.GptOssConfig, head_dim=8, num_local_experts=4, sliding_window=16),
}


def build_model(architecture: str, tokenizer: Any, **config: Any) -> Any:
    """A random model whose weights are large enough for its answers to differ."""
    import transformers as t

    torch.manual_seed(0)
    if architecture == "gemma3":
        settings: Any = t.Gemma3TextConfig(
            vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=4, num_attention_heads=4,
            num_key_value_heads=2, head_dim=8, intermediate_size=48, max_position_embeddings=512, sliding_window=16,
            layer_types=["sliding_attention", "full_attention"] * 2, pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id, bos_token_id=tokenizer.bos_token_id,
        )  # fmt: skip
    elif architecture in OTHERS:
        qwen = tiny_config("qwen2", len(tokenizer), tokenizer.pad_token_id, tokenizer.eos_token_id).to_dict()
        given = {name: qwen[name] for name in COMMON} | {"num_key_value_heads": 4}
        settings = OTHERS[architecture](**given)
    else:
        settings = tiny_config(architecture, len(tokenizer), tokenizer.pad_token_id, tokenizer.eos_token_id)
    for name, value in config.items():
        setattr(settings, name, value)
    model = t.AutoModelForCausalLM.from_config(settings).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter *= 3
    return model


def adapted(model: Any, adapter: dict[str, Any]) -> Any:
    model = add_adapter(model, AdapterSection(**adapter), "CAUSAL_LM", (), activation_checkpointing=False)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def build_prompt(template: str, completion: str = "names", label_set: LabelSet = LABELS) -> PromptFormat:
    tokenizer = build_tokenizer(template)
    return PromptFormat(PromptSettings(SYSTEMS["single_label"], completion=completion), label_set, tokenizer, 512)


def naive(model: Any, prompt: PromptFormat, rows: list[EncodedPrompt], end: bool) -> npt.NDArray[np.float64]:
    """[rows, labels]: each label's tokens (and its end) behind the whole prompt, one sequence at a time, no cache."""
    result = np.zeros((len(rows), len(prompt.label_set)))
    for i, row in enumerate(rows):
        for j, name in enumerate(prompt.label_set.names):
            answer = prompt.completions[name] if end else prompt.completions[name][:-1]
            ids = torch.tensor([row.prompt_ids + answer])
            with torch.no_grad():
                logits = model(input_ids=ids, use_cache=False).logits[0, -len(answer) - 1 : -1].float()
            result[i, j] = sum(
                torch.log_softmax(line, dim=-1)[token].item() for line, token in zip(logits, answer, strict=True)
            )
    return result


def check(model: Any, prompt: PromptFormat, end: bool, settles_on: Form = "attention") -> None:
    rows = [prompt.encode({"text": text}) for text in TEXTS]
    expected = naive(model, prompt, rows, end)
    assert np.ptp(expected, axis=1).min() > 0.1, "the labels differ"
    forms: tuple[Form, ...] = ("attention", "copies", "whole")
    with torch.inference_mode():
        for form in (None, *forms[forms.index(settles_on) + 1 :]):
            shared = SharedPrefix(model, torch.device("cpu"))
            shared.form = form
            scorer = LabelScorer(prompt, shared)
            found, first = scorer.in_batches(rows, 64, 8192), scorer.in_batches(rows[:2], 64, 8192)
            if scorer.plan.one_place:  # scores are among the labels
                found, first, expected = (log_softmax(one, axis=1) for one in (found, first, expected))
            np.testing.assert_allclose(found, expected, atol=2e-5)
            np.testing.assert_allclose(first, expected[:2], atol=2e-5)  # cache unspoilt
            assert shared.form == (form or settles_on)
            assert shared.narrows == (form is None and settles_on != "whole")


@pytest.mark.parametrize("completion", ["names", "codes"])
@pytest.mark.parametrize("template", ["chatml", "plain"])
@pytest.mark.parametrize("architecture", [*DECODERS, "gemma3"])
def test_scores_are_those_of_whole_sequences(architecture: str, template: str, completion: str) -> None:
    prompt = build_prompt(template, completion)
    check(build_model(architecture, prompt.tokenizer), prompt, end=completion == "names")


@pytest.mark.parametrize("completion", ["names", "codes"])
@pytest.mark.parametrize("architecture", OTHERS)
def test_scores_of_further_architectures_are_those_of_whole_sequences(architecture: str, completion: str) -> None:
    prompt = build_prompt("chatml", completion)
    # Sinks, which gpt-oss attends to besides, are an attention of its own.
    settles_on: Form = "copies" if architecture == "gpt_oss" else "attention"
    check(build_model(architecture, prompt.tokenizer), prompt, completion == "names", settles_on)


@pytest.mark.parametrize("template", ["llama3", "gemma"])
def test_scores_are_those_of_whole_sequences_in_other_templates(template: str) -> None:
    prompt = build_prompt(template)
    check(build_model("llama", prompt.tokenizer), prompt, end=True)


def test_the_end_counts_only_where_a_label_begins_another() -> None:
    prompt = build_prompt("chatml", label_set=APART)
    check(build_model("qwen2", prompt.tokenizer), prompt, end=False)
    assert all(ids[-1] != prompt.end_id for _, ids in ScoringPlan.of(prompt).labels)
    assert all(ids[-1] == prompt.end_id for _, ids in ScoringPlan.of(build_prompt("chatml")).labels)


@pytest.mark.parametrize("completion", ["names", "codes"])
@pytest.mark.parametrize("template", ["chatml", "plain"])
def test_a_window_shorter_than_the_prompt_moves_no_score(template: str, completion: str) -> None:
    prompt = build_prompt(template, completion)
    model = build_model("mistral", prompt.tokenizer, sliding_window=32)
    assert len(prompt.prefix_ids) > 32
    check(model, prompt, end=completion == "names")
    whole = build_model("mistral", prompt.tokenizer)
    rows = [prompt.encode({"text": TEXTS[2]})]
    assert np.abs(naive(model, prompt, rows, True) - naive(whole, prompt, rows, True)).max() > 1e-3


@pytest.mark.parametrize("adapter", [{"type": "lora"}, {"type": "ia3"}, *PROMPT_LEARNING], ids=lambda one: one["type"])
@pytest.mark.parametrize("architecture", ["qwen2", "mistral", "gemma"])
def test_scores_of_adapters_are_those_of_whole_sequences(architecture: str, adapter: dict[str, Any]) -> None:
    prompt = build_prompt("chatml")
    base = build_model(architecture, prompt.tokenizer)
    rows = [prompt.encode({"text": "a"})]
    before = naive(base, prompt, rows, True)
    model = adapted(base, adapter)
    assert np.abs(naive(model, prompt, rows, True) - before).max() > 1e-4, "the adapter does something"
    check(model, prompt, end=True)


@pytest.mark.parametrize("architecture", ["lfm2", "qwen3_5", "mamba"])
def test_models_that_keep_a_state_for_a_cache_are_scored_too(
    architecture: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import transformers as t

    prompt = build_prompt("chatml")
    common: dict[str, Any] = {
        "vocab_size": len(prompt.tokenizer), "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 48, "pad_token_id": prompt.tokenizer.pad_token_id,
        "eos_token_id": prompt.tokenizer.eos_token_id,
    }  # fmt: skip
    config: Any
    if architecture == "lfm2":
        config = t.Lfm2Config(**common, layer_types=["conv", "full_attention"])
    elif architecture == "qwen3_5":
        config = t.Qwen3_5TextConfig(
            **common, head_dim=8, linear_key_head_dim=8, linear_value_head_dim=8, linear_num_key_heads=2,
            linear_num_value_heads=4, layer_types=["linear_attention", "full_attention"],
        )  # fmt: skip
    else:
        config = t.MambaConfig(vocab_size=common["vocab_size"], hidden_size=32, num_hidden_layers=2, state_size=8)
    torch.manual_seed(0)
    model = t.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter *= 3
    check(model, prompt, end=True, settles_on="whole")
    (line,) = set(capsys.readouterr().out.splitlines())
    assert re.search(r"ForCausalLM: the instruction of \d+ tokens is computed for every row", line)
    rows = [prompt.encode({"text": text}) for text in TEXTS]
    assert predictor(model, prompt).generate(rows)[0] == [search(model, prompt, row, 8) for row in rows]


@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
def test_half_precision_shares_the_prefix_too(weights: torch.dtype) -> None:
    prompt = build_prompt("chatml", "codes")
    model = build_model("qwen2", prompt.tokenizer)
    rows = [prompt.encode({"text": text}) for text in TEXTS]
    expected = softmax(naive(model, prompt, rows, False), axis=1)
    half = predictor(model.to(weights), prompt, mode="scoring", dtype="bfloat16")
    np.testing.assert_allclose(softmax(half.engine.outputs(rows), axis=1), expected, atol=0.1)
    assert half.shared.form == "attention"


def test_auto_scores_in_bfloat16_where_that_is_faster_and_changes_no_clear_label(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prompt = build_prompt("chatml", "codes")
    model = build_model("qwen2", prompt.tokenizer)
    texts = [f"{'abc'[i % 3]} {i}" for i in range(256)]
    batch = pa.RecordBatch.from_pydict({"id": texts, "text": texts, "fields": [{}] * 256})
    (exact,) = predictor(model, prompt, mode="scoring", dtype="float32").predict([batch])
    monkeypatch.setattr("categorize.methods.sft.predictor.bfloat16_gain", lambda model: 3.0)  # the processor's
    found = predictor(model, prompt, mode="scoring")
    (few,) = found.predict([batch.slice(0, 8)])
    np.testing.assert_allclose(few.probabilities, exact.probabilities[:8], atol=1e-6)
    (given,) = found.predict([batch])
    (line,) = capsys.readouterr().out.splitlines()
    clear = "computing in float32, not" not in line
    assert re.match(
        r"computing in (bfloat16|float32, not bfloat16), 3.0 times as fast here as float32: \d+ of 64", line
    )
    assert found.shared.dtype == ("bfloat16" if clear else "float32")
    assert (np.abs(given.probabilities - exact.probabilities).max() > 1e-4) == clear


@pytest.mark.parametrize("shared", [True, False])
def test_bounds_and_passes_move_no_score(shared: bool) -> None:
    """They hold for one row of many labels, too, whose contexts are batched as rows are."""
    many = LabelSet(
        "single_label", tuple(Label(name) for name in [*LABELS.names, *(f"kind {i} of" for i in range(20))])
    )
    prompt = build_prompt("chatml", label_set=many)
    model = build_model("qwen2", prompt.tokenizer)
    # The second merges with the prompt, and takes a whole sequence.
    rows = [prompt.encode({"text": text}) for text in [*TEXTS, "one more", "b c d e f g"]]
    passes: list[tuple[int, int]] = []  # sequences and width of each, but for that of the prefix
    model.register_forward_pre_hook(
        lambda _, args, kwargs: passes.append(kwargs["input_ids"].shape) if "attention_mask" in kwargs else None,
        with_kwargs=True,
    )
    scorer = LabelScorer(prompt, SharedPrefix(model, torch.device("cpu"), shared))
    contexts = len(scorer.plan.contexts)
    sequences = len(rows) * (1 if shared else contexts)  # answers branch behind a row that stands behind a prefix
    with torch.inference_mode():
        expected = scorer.in_batches(rows, 64, 8192)
        for size, tokens in ((8, 10**6), (64, 700), (10**6, 10**6)):
            passes.clear()
            np.testing.assert_allclose(scorer.in_batches(rows, size, tokens), expected, atol=2e-5)
            assert all(n <= size and (n == 1 or n * width <= tokens) for n, width in passes)
            assert sum(n for n, _ in passes) == sequences
        one = scorer.in_batches(rows[:1], 8, 10**6)
        np.testing.assert_allclose(one, expected[:1], atol=2e-5)
        if not shared:
            for count in (1, 3, 20):
                passes.clear()
                np.testing.assert_allclose(scorer.in_passes(rows, count), expected, atol=2e-5)
                assert len(passes) == count, "every process makes as many, whatever its rows"
            passes.clear()
            np.testing.assert_allclose(scorer.in_passes(rows[:1], 2 * contexts), expected[:1], atol=2e-5)
            assert len(passes) == 2 * contexts


@pytest.mark.parametrize("completion", ["names", "yes_no"])
def test_each_row_is_scored_for_its_own_candidates(completion: str) -> None:
    label_set = LabelSet("multi_label" if completion == "yes_no" else "single_label", LABELS.labels)
    prompt = build_prompt("chatml", completion, label_set)
    model = build_model("qwen2", prompt.tokenizer)
    rows = [prompt.encode({"text": text}) for text in TEXTS]
    if completion == "names":
        expected = naive(model, prompt, rows, True)
    else:
        expected = np.zeros((len(rows), len(LABELS)))
        for i, row in enumerate(rows):
            for j, question in enumerate(prompt.question_ids):
                for sign, word in zip((1, -1), prompt.yes_no_ids, strict=True):
                    ids = torch.tensor([row.prompt_ids + question + word])
                    with torch.no_grad():
                        logits = model(input_ids=ids, use_cache=False).logits[0, -len(word) - 1 : -1].float()
                    expected[i, j] += sign * torch.log_softmax(logits, -1)[range(len(word)), list(word)].sum().item()
    wanted = np.random.default_rng(0).random(expected.shape) < 0.5
    scorer = LabelScorer(prompt, SharedPrefix(model, torch.device("cpu")))
    with torch.inference_mode():
        np.testing.assert_allclose(scorer.in_batches(rows, 2, 200), expected, atol=2e-5)
        found = scorer.in_batches(rows, 64, 8192, wanted)
    np.testing.assert_allclose(found, np.where(wanted, expected, np.nan), atol=2e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("architecture", "completion"),
    [("qwen2", "names"), ("qwen2", "codes"), ("qwen2", "yes_no"), ("gemma3", "names"), ("gemma3", "codes")],
)
def test_batches_at_once_give_the_scores_of_one_after_another(
    architecture: str, completion: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several prefixes in one call, more than are kept, and of whole rows; the model is left as it was."""
    label_set = LabelSet("multi_label" if completion == "yes_no" else "single_label", LABELS.labels)
    prompt = build_prompt("chatml", completion, label_set)
    model = build_model(architecture, prompt.tokenizer)
    rows = [prompt.encode({"text": f"{text} {i}"}) for i in range(4) for text in TEXTS]
    for i, row in enumerate(rows):  # behind one of four prefixes, or none
        end = len(row.prefix_ids) - 3 * (i % 5)
        ids = row.prompt_ids
        rows[i] = replace(row, prefix_ids=ids[:end] if i % 5 < 4 else (), row_ids=ids[end:] if i % 5 < 4 else ids)
    kept = 2 * sum(2 * 4 * len(row.prefix_ids) * 16 for row in rows[:1]) * len(model.model.layers)
    monkeypatch.setattr("categorize.engines.shared_prefix.KEPT_BYTES", kept)
    found, used, threads = [], set(), torch.get_num_threads()
    model.register_forward_pre_hook(lambda *_: used.add(threading.get_ident()))
    asked = predictor(model, prompt, mode="scoring", dtype=dtype, batch_size=2)
    usual = model.config._attn_implementation
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            found.append(asked.engine.outputs(rows))
            assert (len(used) > 1) == (count > 1)
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(found[1], found[0])
    assert asked.shared.form == "attention"
    assert len(asked.shared.groups([row.prefix_ids for row in rows[:5]])) == 3
    assert model.config._attn_implementation == usual


@pytest.mark.parametrize("completion", ["names", "codes"])
def test_lengths_and_the_prompts_own_leaning_are_taken_out_of_scores(completion: str) -> None:
    prompt = build_prompt("chatml", completion)
    model = build_model("qwen2", prompt.tokenizer)
    rows, empty = ([prompt.encode({"text": text}) for text in texts] for texts in (TEXTS, ("N/A", "[MASK]", "")))
    names = completion == "names"  # whose ends count; codes are one token each
    lengths = [len(prompt.completions[name]) if names else 1 for name in LABELS.names]
    sums, leaning = (naive(model, prompt, some, names) / lengths for some in (rows, empty))
    expected = softmax(sums - np.log(softmax(leaning, axis=1).mean(axis=0)), axis=1)
    asked = predictor(model, prompt, mode="scoring", length_normalization=True, prior="contextual")
    np.testing.assert_allclose(softmax(asked.engine.outputs(rows), axis=1), expected, atol=1e-5)
    assert np.abs(expected - softmax(sums, axis=1)).max() > 0.01
    passes = LabelScorer(prompt, SharedPrefix(model, torch.device("cpu"), False), asked.section)
    with torch.inference_mode():
        np.testing.assert_allclose(softmax(passes.in_passes(rows, 3), axis=1), expected, atol=1e-5)
    with pytest.raises(UserError, match=r"^prediction\.prior: is for labels that are scored"):
        predictor(model, prompt, prior="contextual")


def test_one_pass_scores_single_token_codes() -> None:
    plan = ScoringPlan.of(build_prompt("chatml", "codes"))
    assert plan.contexts == ((),)


def test_probabilities_sum_to_one_and_keep_the_order() -> None:
    scores = np.array([[-1.0, -2.0, -800.0], [-5000.0, -5001.0, -5002.0]])
    probabilities = softmax(scores, axis=1)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert (np.argsort(-probabilities, axis=1) == np.argsort(-scores, axis=1)).all()
    np.testing.assert_allclose(np.log(probabilities[:, 0] / probabilities[:, 1]), 1)


# ---------------------------------------------------------------- generation
def predictor(model: Any, prompt: PromptFormat, **section: Any) -> CausalPredictor:
    values = {"mode": "generation", "max_new_tokens": 8, **section}
    causal = Causal(model, prompt.tokenizer, CausalSettings(512))
    return CausalPredictor(causal, prompt, CausalPredictionSection(**values))


def search(model: Any, prompt: PromptFormat, row: EncodedPrompt, limit: int) -> str:
    """Greedy search with the whole sequence read anew for every token."""
    ids, new = list(row.prompt_ids), []
    for _ in range(limit):
        with torch.no_grad():
            token = int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
        if token in (prompt.end_id, prompt.tokenizer.eos_token_id):
            break
        ids.append(token)
        new.append(token)
    return str(prompt.tokenizer.decode(new, skip_special_tokens=True))


@pytest.mark.parametrize(
    ("architecture", "adapter"),
    [
        *((one, None) for one in (*DECODERS, "gemma3")),
        *(("qwen2", one) for one in ({"type": "lora"}, *PROMPT_LEARNING)),
    ],
    ids=lambda one: one["type"] if isinstance(one, dict) else str(one),
)
def test_batched_answers_are_those_of_greedy_search(architecture: str, adapter: dict[str, Any] | None) -> None:
    prompt = build_prompt("chatml")
    model = build_model(architecture, prompt.tokenizer)
    if adapter is not None:
        model = adapted(model, adapter)
    rows = [prompt.encode({"text": text}) for text in TEXTS]
    answers, tokens = predictor(model, prompt).generate(rows)
    assert answers == [search(model, prompt, row, 8) for row in rows]
    assert tokens > 0 and "" not in answers


def test_generation_settings_of_the_base_stay_out() -> None:
    """A repetition penalty punishes the labels that the instruction lists."""
    prompt = build_prompt("chatml")
    model = build_model("qwen2", prompt.tokenizer)
    rows = [prompt.encode({"text": text}) for text in TEXTS]
    expected, _ = predictor(model, prompt).generate(rows)
    config = model.generation_config
    config.repetition_penalty, config.do_sample, config.temperature, config.top_k = 1.5, True, 5.0, 3
    config.no_repeat_ngram_size = 1
    assert predictor(model, prompt).generate(rows)[0] == expected


def test_generation_stops_at_the_end_of_the_answer() -> None:
    prompt = build_prompt("chatml")
    model = build_model("qwen2", prompt.tokenizer)
    with torch.no_grad():  # whatever it reads, the end of the turn comes next
        hidden = model.model(input_ids=torch.tensor([prompt.encode({"text": "a"}).prompt_ids])).last_hidden_state[0, -1]
        model.set_output_embeddings(torch.nn.Linear(32, len(prompt.tokenizer), bias=False))
        model.lm_head.weight[:] = 0
        model.lm_head.weight[prompt.end_id] = hidden
    answers, tokens = predictor(model, prompt, max_new_tokens=50).generate([prompt.encode({"text": "a"})])
    assert (answers, tokens) == ([""], 1)
