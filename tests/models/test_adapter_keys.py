"""Every key of peft and of bitsandbytes that a recipe may hold does something, or is refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from categorize.errors import UserError
from categorize.methods.head.model import build_head
from categorize.methods.sft.model import Causal, build_causal
from categorize.recipe import hints
from categorize.recipe.adapter_sections import ADAPTER_CLASSES, AdapterSection
from categorize.recipe.upstream import load_table
from tests.models.test_adapters import THREE, causal_recipe, label_probabilities
from tests.models.test_head import recipe, shake

Tiny = Callable[..., Path]
Q_PROJ = {"target_modules": ["q_proj"]}
EMBEDDINGS = {"modules_to_save": ["embed_tokens"]}
LSTM = {"encoder_reparameterization_type": "LSTM"}
PROJECTED = {"prefix_projection": True}
BD = {"target_modules_bd_a": ["q_proj"], "nblocks": 2}
# Class of peft -> key -> (a value other than the default, the keys that it needs beside it).
CASES: dict[str, dict[str, tuple[Any, dict[str, Any]]]] = {
    "LoraConfig": {
        "r": (4, {}),
        "target_modules": (["q_proj"], {}),
        "exclude_modules": (["q_proj"], {}),
        "lora_alpha": (7, {}),
        "lora_dropout": (0.5, {}),
        "bias": ("all", {}),
        "modules_to_save": (["norm"], {}),
        "init_lora_weights": ("gaussian", {}),
        "layers_to_transform": ([0], Q_PROJ),
        "rank_pattern": ({"q_proj": 3}, {}),
        "alpha_pattern": ({"q_proj": 3}, {}),
        "trainable_token_indices": ([5], {}),
        "lora_bias": (True, {}),
        "target_parameters": (["mlp.up_proj.weight"], {"lora_dropout": 0.0} | Q_PROJ),
        "use_bdlora": (BD, Q_PROJ),
        "ensure_weight_tying": (True, EMBEDDINGS),
    },
    "IA3Config": {
        "target_modules": (["q_proj"], {"feedforward_modules": []}),
        "exclude_modules": (["v_proj"], {}),
        "feedforward_modules": ([], {}),
        "modules_to_save": (["norm"], {}),
        "init_ia3_weights": (False, {}),
    },
    "PrefixTuningConfig": {
        "num_virtual_tokens": (7, {}),
        "modules_to_save": (["norm"], {}),
        "init_weights": ("zero", {}),
        "encoder_hidden_size": (8, PROJECTED),
        "prefix_projection": (True, {}),
    },
    "PromptTuningConfig": {
        "num_virtual_tokens": (7, {}),
        "modules_to_save": (["norm"], {}),
        "prompt_tuning_init": ("SAMPLE_VOCAB", {}),
        "prompt_tuning_init_text": ("bad", {"prompt_tuning_init": "TEXT", "prompt_tuning_init_text": "good"}),
    },
    "PromptEncoderConfig": {
        "num_virtual_tokens": (7, {}),
        "modules_to_save": (["norm"], {}),
        "encoder_reparameterization_type": ("LSTM", {}),
        "encoder_hidden_size": (8, {}),
        "encoder_num_layers": (3, LSTM),
        "encoder_dropout": (0.5, LSTM),
    },
}
OF_CLASS = {"LoraConfig": "lora", "IA3Config": "ia3"} | {
    ADAPTER_CLASSES[kind]: kind for kind in ("prefix", "prompt", "p_tuning")
}
BITS: dict[str, tuple[Any, str]] = {
    "llm_int8_threshold": (0.1, "load_in_8bit"),
    "llm_int8_skip_modules": (["q_proj"], "load_in_8bit"),
    "bnb_4bit_compute_dtype": ("float16", "load_in_4bit"),
    "bnb_4bit_quant_type": ("fp4", "load_in_4bit"),
    "bnb_4bit_use_double_quant": (False, "load_in_4bit"),
    "bnb_4bit_quant_storage": ("float16", "load_in_4bit"),
}


def test_every_key_that_a_recipe_may_hold_is_tried_here() -> None:
    table = load_table()
    for name, cases in CASES.items():
        own = {key for key in table[name] if not hints.owned("adapter", key)}
        assert own - {"layers_pattern"} == cases.keys(), name
    own = {key for key in table["BitsAndBytesConfig"] if not hints.owned("quantization", key)}
    assert own == {*BITS, "load_in_4bit", "load_in_8bit"}


def built(folder: Path, adapter: dict[str, Any]) -> Causal:
    torch.manual_seed(0)
    wanted = causal_recipe(folder, "lora", None)
    return build_causal(wanted.model_copy(update={"adapter": AdapterSection(**adapter)}))


def effects(causal: Causal) -> list[Any]:
    """What a key can change: the modules with their settings, what is trained, and what it predicts after training."""
    trained = {name: value.clone() for name, value in causal.model.named_parameters() if value.requires_grad}
    shared = len({id(value) for value in trained.values()}), len(trained)
    shake(causal)  # type: ignore[arg-type]
    return [repr(causal.model), trained, shared, label_probabilities(causal)]


@pytest.mark.parametrize(("cls", "key"), [(cls, key) for cls, cases in CASES.items() for key in cases])
def test_a_key_of_an_adapter_does_something(tiny: Tiny, cls: str, key: str) -> None:
    value, beside = CASES[cls][key]
    architecture = "gemma" if key == "ensure_weight_tying" else "qwen2"
    folder = tiny(architecture, chat=True)
    tokens = {"num_virtual_tokens": 5} if "num_virtual_tokens" in CASES[cls] else {}
    base = {"type": OF_CLASS[cls], **tokens, **beside}
    without, with_it = (effects(built(folder, one)) for one in (base, base | {key: value}))
    same_weights = without[1].keys() == with_it[1].keys() and all(
        torch.equal(one, with_it[1][name]) for name, one in without[1].items()
    )
    alike = bool((without[3] == with_it[3]).all())
    assert without[0] != with_it[0] or not same_weights or without[2] != with_it[2] or not alike


def test_layers_are_found_by_their_pattern(tiny: Tiny) -> None:
    first = {"type": "lora", "layers_to_transform": [0], **Q_PROJ}
    causal = built(tiny("qwen2", chat=True), first | {"layers_pattern": "layers"})
    trained = [name for name, one in causal.model.named_parameters() if one.requires_grad]
    assert trained and all(".layers.0." in name for name in trained)
    with pytest.raises(UserError, match=r"adapter\.type: lora does not fit"):
        built(tiny("qwen2", chat=True), first | {"layers_pattern": "blocks"})


@pytest.mark.parametrize("key", BITS)
def test_a_key_of_quantization_arrives(tiny: Tiny, key: str) -> None:
    value, bits = BITS[key]
    folder = tiny("qwen2", chat=True, width=64)

    def layers(section: dict[str, Any]) -> dict[str, Any]:
        causal = build_causal(causal_recipe(folder, "lora", None).model_validate(
            causal_recipe(folder, "lora", None).model_dump() | {"quantization": section}
        ))  # fmt: skip
        found = {}
        for name, module in causal.model.named_modules():
            if type(module).__module__.startswith("bitsandbytes.nn"):
                state, weight = getattr(module, "state", None), module.weight
                four = getattr(weight, "quant_state", None)
                found[name] = (
                    getattr(state, "threshold", None), getattr(module, "compute_dtype", None), weight.dtype,
                    getattr(four, "quant_type", None), getattr(four, "nested", None),
                )  # fmt: skip
        return found

    without, with_it = layers({bits: True}), layers({bits: True, key: value})
    assert without and with_it and without != with_it


def test_a_learned_prompt_begins_with_the_text_that_is_named(tiny: Tiny) -> None:
    """In the words of the model's own tokenizer, repeated up to the length."""
    text = {"prompt_tuning_init": "TEXT", "prompt_tuning_init_text": "ab"}
    causal = built(tiny("qwen2", chat=True), {"type": "prompt", "num_virtual_tokens": 5, **text})
    ids = causal.tokenizer("ab")["input_ids"]
    words = causal.model.get_input_embeddings().weight[(ids * 5)[:5]]
    assert torch.equal(causal.model.prompt_encoder["default"].embedding.weight, words)


# ---------------------------------------------------------------- refused by name, in training as in the dry run
@pytest.mark.parametrize(
    ("architecture", "adapter", "said"),
    [
        ("qwen2", {"target_modules": ["lm_head"]}, "adapter: the output layer (lm_head) cannot have an adapter"),
        ("gemma", {"trainable_token_indices": [5]}, "the output layer of this model is its embedding matrix"),
        ("qwen2", {"trainable_token_indices": [5, 9999]}, "indices: 9999 is not the id of a token"),
        ("qwen2", {"trainable_token_indices": [-1]}, "adapter.trainable_token_indices: -1 is not the id of a token"),
        ("qwen2", {"trainable_token_indices": {"embed": [1]}}, "indices: 'embed' is not the name"),
        ("qwen2", {"modules_to_save": ["lmhead"]}, "adapter.modules_to_save: 'lmhead' is not the name"),
        ("qwen2", {"target_modules": ["q_porj", "v_proj"]}, "'q_porj' is not the name .*; did you mean q_proj?"),
        ("qwen2", {"rank_pattern": {"qproj": 3}}, "adapter.rank_pattern: 'qproj' is not the name of a module"),
        ("qwen2", {"rank_pattern": {"(": 3}}, "adapter.rank_pattern: '(' is not a regular expression"),
        ("qwen2", {"rank_pattern": {"q_proj": "x"}}, "adapter.type: lora does not fit Qwen2ForCausalLM"),
        ("qwen2", {"target_modules": "((("}, "adapter.type: lora does not fit Qwen2ForCausalLM"),
        ("qwen2", {"lora_dropout": 3.0}, "adapter.type: lora does not fit Qwen2ForCausalLM"),
    ],
)  # fmt: skip
def test_an_adapter_that_cannot_be_trained_is_refused_in_one_line(
    tiny: Tiny, architecture: str, adapter: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError) as error:
        built(tiny(architecture, chat=True), {"type": "lora", **adapter})
    message = str(error.value)
    assert "\n" not in message
    for part in said.split(" .*"):
        assert part in message


def test_a_token_of_a_tied_matrix_may_be_trained_where_no_answer_is_computed_from_it(tiny: Tiny) -> None:
    adapter = {"type": "lora", "trainable_token_indices": [5]}
    head = build_head(recipe(tiny("gemma"), adapter=adapter), THREE)
    assert any("trainable_tokens" in name for name, one in head.model.named_parameters() if one.requires_grad)
