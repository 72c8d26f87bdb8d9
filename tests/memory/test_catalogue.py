"""No model of the catalogue rots: its architecture is in the installed libraries, and trains."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
)

from categorize.commands.recipes import Shipped, shipped
from categorize.fit_on_card import ESTIMATED, planned
from categorize.memory.cards import GIB, parse_card
from categorize.memory.catalogue import Published, catalogue, published
from categorize.memory.simulation import FRAGMENTS, Plan, build
from categorize.memory.table import LORA, cells, extended
from categorize.methods.registry import METHODS
from categorize.recipe.command import main
from categorize.train import train
from tests.recipes import load_recipe
from tests.session.collections import write_collection, write_recipe
from tests.tiny_models import build_byte_level, build_wordpiece

MODELS = list(catalogue().values())
# One of each architecture.
ARCHITECTURES = list({one.type: one for one in MODELS}.values())
NARROW: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 512,
}
OF_TYPE: dict[str, dict[str, Any]] = {
    "deberta-v2": {"pooler_hidden_size": 32, "position_buckets": 16},
    "longformer": {"attention_window": 8, "sep_token_id": 3, "max_position_embeddings": 514},
    "modernbert": {"local_attention": 16, "cls_token_id": 2, "sep_token_id": 3},
    "gemma3_text": {"sliding_window": 16},
    "gemma4_text": {
        "sliding_window": 16,
        "num_kv_shared_layers": 0,
        "layer_types": None,
        "hidden_size_per_layer_input": 8,
        "global_head_dim": 16,
    },
    "qwen3_5_text": {
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 2,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
    },
}


def tiny_of(model: Published, folder: Path) -> Path:
    """A checkpoint of the model's architecture with random weights."""
    import transformers as t

    folder.mkdir(parents=True)
    build_byte_level(folder) if model.is_causal else build_wordpiece(folder)
    tokenizer = t.AutoTokenizer.from_pretrained(folder)
    size = {**NARROW, "vocab_size": len(tokenizer)}
    if model.is_causal:
        size |= {"num_key_value_heads": 2, **({} if model.type == "phi3" else {"head_dim": 8})}
    elif "num_key_value_heads" in model.shape:
        size |= {"num_key_value_heads": 4}
    if model.type == "gemma4_text":
        size |= {"vocab_size_per_layer_input": len(tokenizer)}
    tokens = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    tokens["bos_token_id"] = tokenizer.bos_token_id or tokenizer.eos_token_id
    torch.manual_seed(0)
    config = t.AutoConfig.for_model(model.type, **{**model.shape, **size, **OF_TYPE.get(model.type, {}), **tokens})
    auto = t.AutoModelForCausalLM if model.is_causal else t.AutoModelForMaskedLM
    auto.from_config(config).save_pretrained(folder)
    return folder


def test_architectures_are_in_the_libraries() -> None:
    for model in MODELS:
        assert model.type in CONFIG_MAPPING_NAMES, model.id
        assert model.has_head == (model.type in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES)
        assert not model.is_causal or model.type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
        assert model.has_head or model.is_causal, f"{model.id}: neither a head nor answers"
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", model.id) and model.licence and model.languages
    assert len({one.id for one in MODELS}) == len(MODELS)


@pytest.mark.parametrize(
    "model", [ARCHITECTURES[0], *(one for one in MODELS if one.name in ("Qwen3 0.6B", "Qwen3.5 0.8B"))]
)
def test_dimensions_give_the_published_number_of_parameters(model: Published) -> None:
    with torch.device("meta"):
        built = build(Plan(model.config(), causal=model.is_causal))
    assert sum(one.numel() for one in built.parameters()) / 1e6 == pytest.approx(model.parameters, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS, ids=lambda one: one.id)
def test_so_do_all_of_them(model: Published) -> None:
    test_dimensions_give_the_published_number_of_parameters(model)


def test_adapters_find_the_layers_that_peft_knows_of_an_architecture() -> None:
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as KNOWN

    for model in ARCHITECTURES:
        if model.type in ("gemma4_text", "qwen3_5_text", "longformer"):  # deep or slow to build; tried in the slow test
            continue
        config = model.config()
        config.num_hidden_layers = 1
        with torch.device("meta"):
            adapted = build(Plan(config, causal=model.is_causal, adapter=LORA))
        layers = {name.rpartition(".")[2] for name, one in adapted.named_modules() if hasattr(one, "lora_A")}
        assert layers and not layers & {"lm_head", "classifier", "score"}
        known = KNOWN.get(model.type, [])
        assert isinstance(known, str) or set(known) <= layers, model.id


def trained(model: Published, kind: str, folder: Path) -> None:
    script = f"run_{kind}.py"
    write_collection(folder / "rows.csv")
    sections: dict[str, Any] = {"model": {"name_or_path": str(folder / "model"), "max_length": 256}}
    if model.is_causal:
        sections["adapter"] = {"type": "lora", "r": 4}
    recipe = write_recipe(folder / f"{kind}.yaml", kind=kind, training={"max_steps": 2}, **sections)
    assert main(script, kind, train, METHODS, [str(recipe)]) == 0
    assert (folder / f"outputs/{kind}/run.json").is_file()


def try_out(model: Published, folder: Path) -> None:
    """A head, and answers where the model writes any."""
    tiny_of(model, folder / "model")
    if model.has_head:
        trained(model, "seqcls", folder)
    if model.is_causal:
        trained(model, "sft", folder)


@pytest.mark.slow
@pytest.mark.parametrize("model", ARCHITECTURES, ids=lambda one: one.type)
def test_each_architecture_trains_a_head_and_answers(
    model: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    try_out(model, tmp_path)


def test_the_page_of_models_is_current(root: Path) -> None:
    """Of one encoder in numbers; of the others that they are there. The slow test computes all."""
    text = (root / "docs/models.md").read_text(encoding="utf-8")
    for model in MODELS:
        assert f"[{model.name}](https://huggingface.co/{model.id}) | {model.parameters:,.0f}M |" in text
    assert " | ".join(cells(catalogue()["google-bert/bert-base-chinese"])) in text


@pytest.mark.slow
def test_the_whole_page_is_what_is_computed(root: Path) -> None:
    from categorize.memory.table import page

    assert (root / "docs/models.md").read_text(encoding="utf-8").rstrip("\n") == page().rstrip("\n")


def recipes_of_known_models(root: Path) -> list[tuple[Shipped, Any]]:
    found = []
    for one in shipped():
        if one.kind in ("seqcls", "sft") and published(one.model) is not None:
            found.append((one, load_recipe(one.path).recipe))
    return found


def test_recipes_name_layers_that_their_models_have(root: Path) -> None:
    """Adapters of shipped recipes on catalogued models; names that no layer has are refused."""
    adapted = [(one, recipe) for one, recipe in recipes_of_known_models(root) if recipe.adapter is not None]
    assert len(adapted) > 8
    for one, recipe in adapted:
        known = published(one.model)
        assert known is not None
        config = known.config()
        config.num_hidden_layers = 1
        with torch.device("meta"):
            build(Plan(config, causal=recipe.kind == "sft", adapter=recipe.adapter))


@pytest.mark.slow
def test_shipped_recipes_fit_on_the_card_that_they_name(root: Path) -> None:
    checked, wrong = 0, []
    for one, recipe in recipes_of_known_models(root):
        known, size = published(one.model), re.search(r"(\d+) GB", one.needs)
        if "bound" in one.needs:  # rows are far shorter than max_length, and the header says so
            continue
        if known is None or size is None or METHODS.of(recipe).name not in ESTIMATED:
            continue
        plan, batch = planned(recipe, known.config())
        step = extended(replace(plan, accumulation=2), batch.rows, batch.tokens)
        needed, usable = step.total * FRAGMENTS / GIB, parse_card(size[0]).usable / GIB
        checked += 1
        print(f"{one.path.name}: {needed:.1f} of {usable:.1f}", flush=True)
        if needed > usable:
            wrong.append(f"{one.path.name}: {needed:.1f} GiB of {usable:.1f} usable on {size[0]}")
    assert checked > 12 and not wrong, wrong
