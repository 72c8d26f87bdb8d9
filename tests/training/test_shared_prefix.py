"""A prefix that is computed once a batch: loss and gradient of whole sequences, whatever the model and the adapter."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from categorize.errors import UserError
from categorize.training import packed_attention
from categorize.training.shared_prefix import share_prefix
from tests.tiny_models import tiny_config
from tests.training.tiny_sft import ROWS, build_sft_trainer
from tests.training.tiny_training import record
from tests.training.two_processes import check_same_training, free_port

Tiny = Callable[..., Path]
NARROW: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 48, "max_position_embeddings": 512,
}  # fmt: skip
SLIDING = 24  # tokens, fewer than the prompt has


def decoder(tiny: Tiny, folder: Path, architecture: str) -> str:
    """A random model of the architecture with the tokenizer of another."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny("qwen2", chat=True))
    known = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    configs: dict[str, Callable[[], Any]] = {
        "mistral": lambda: transformers.MistralConfig(**NARROW, **known, sliding_window=SLIDING),
        "gemma3": lambda: transformers.Gemma3TextConfig(
            **NARROW, **known, head_dim=8, sliding_window=SLIDING, layer_types=["sliding_attention", "full_attention"]
        ),
        "gemma2": lambda: transformers.Gemma2Config(**NARROW, **known, head_dim=8, sliding_window=SLIDING),
        "phi3": lambda: transformers.Phi3Config(**NARROW, **known, sliding_window=SLIDING),
        "gpt_oss": lambda: transformers.GptOssConfig(
            **NARROW, **known, head_dim=8, num_local_experts=2, num_experts_per_tok=1
        ),
        "qwen3_5": lambda: transformers.Qwen3_5TextConfig(
            **NARROW, **known, head_dim=8, layer_types=["linear_attention", "full_attention"],
            linear_num_value_heads=2, linear_num_key_heads=2, linear_key_head_dim=8, linear_value_head_dim=8,
        ),
        "lfm2": lambda: transformers.Lfm2Config(**NARROW, **known, layer_types=["conv", "full_attention"]),
        "mamba": lambda: transformers.MambaConfig(hidden_size=32, num_hidden_layers=2, **known),
        "bloom": lambda: transformers.BloomConfig(hidden_size=32, n_layer=2, n_head=4, **known),
    }  # fmt: skip
    torch.manual_seed(0)
    make = configs.get(architecture) or (
        lambda: tiny_config(architecture, len(tokenizer), tokenizer.pad_token_id, tokenizer.eos_token_id)
    )
    model = transformers.AutoModelForCausalLM.from_config(make())
    model.save_pretrained(folder / architecture)
    tokenizer.save_pretrained(folder / architecture)
    return str(folder / architecture)


def gradient(trainer: Any, share: bool) -> tuple[float, torch.Tensor]:
    """Loss and gradient of a micro-batch, by the trainer's own step."""
    trainer.data_collator.share = share
    trainer.model.zero_grad()
    batch = trainer.data_collator([trainer.rows[row] for row in (0, 3, 4, 7, 13)])
    loss = trainer.training_step(trainer.model, batch)
    found = [one.grad.flatten() for one in trainer.model.parameters() if one.grad is not None]
    return loss.item(), torch.cat(found)


def check_same(trainer: Any, tolerance: float = 1e-5) -> None:
    trainer.begin_step()
    (loss, expected), (shared, found) = gradient(trainer, False), gradient(trainer, True)
    assert shared == pytest.approx(loss, rel=tolerance)
    assert (found - expected).norm() < tolerance * expected.norm()
    assert trainer.tokens[0] < trainer.tokens[1], "tokens were saved"


@pytest.mark.parametrize(
    ("architecture", "among"),
    [
        *[(name, None) for name in ("qwen2", "qwen3", "llama", "mistral", "gemma", "gemma3", "phi3")],
        ("qwen2", "names"),
        ("gemma3", "yes_no"),
    ],
)
def test_the_gradient_is_that_of_whole_sequences(
    tiny: Tiny, tmp_path: Path, architecture: str, among: str | None
) -> None:
    """Windows of attention are shorter than the prefix; heads share keys."""
    model = decoder(tiny, tmp_path, architecture)
    check_same(build_sft_trainer(model, str(tmp_path / "run"), 8, 1, among_labels=among, shared=True))


ADAPTERS: dict[str, dict[str, Any]] = {
    "lora": {"type": "lora", "lora_dropout": 0.0},
    "dora": {"type": "dora", "lora_dropout": 0.0},
    "ia3": {"type": "ia3", "target_modules": ["k_proj", "v_proj", "down_proj"], "feedforward_modules": ["down_proj"]},
}


@pytest.mark.parametrize(
    ("adapter", "recomputed"), [(None, True), ("lora", True), ("lora", False), ("dora", False), ("ia3", False)]
)
def test_so_it_is_with_an_adapter_and_where_activations_are_recomputed(
    tiny: Tiny, tmp_path: Path, adapter: str | None, recomputed: bool
) -> None:
    trainer = build_sft_trainer(
        str(tiny("qwen2")), str(tmp_path), 8, 1, shared=True, activation_checkpointing=recomputed,
        adapter=ADAPTERS[adapter] if adapter else None,
    )  # fmt: skip
    with torch.no_grad():  # an adapter that has learned: a fresh one gives half of its weights no gradient
        for parameter in trainer.model.parameters():
            if parameter.requires_grad and adapter:
                parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    check_same(trainer)


def test_on_quantized_weights_it_is_to_the_rounding_of_bfloat16(tiny: Tiny, tmp_path: Path) -> None:
    model = str(tiny("qwen2", width=64))
    check_same(
        build_sft_trainer(model, str(tmp_path), 8, 1, shared=True, bits="load_in_4bit", adapter=ADAPTERS["lora"]), 0.02
    )


def test_accumulation_does_not_change_the_gradient_or_the_logged_loss(tiny: Tiny, tmp_path: Path) -> None:
    """Nor does a batch that is cut where memory runs out."""
    model = str(tiny("qwen2"))
    reference = record(build_sft_trainer(model, str(tmp_path / "whole"), 8, 1))
    for batch, accumulation, parts in ((2, 4, 1), (8, 1, 2)):
        folder = str(tmp_path / f"{batch}x{accumulation}x{parts}")
        trainer = build_sft_trainer(model, folder, batch, accumulation, shared=True)
        trainer.parts = parts
        other = record(trainer)
        torch.testing.assert_close(other["losses"], reference["losses"], rtol=1e-5, atol=1e-6)
        for mine, theirs in zip(other["gradients"], reference["gradients"], strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)
        assert sorted(other["seen"]) == sorted(list(range(ROWS)) * 2)
        saved = trainer.facts()["tokens_saved"]
        assert saved > 0.2 and round(saved, 4) == trainer.state.log_history[-2]["tokens_saved"]


@pytest.mark.parametrize(
    ("architecture", "reason"),
    [
        ("gemma2", "caps its scores"),
        ("gpt_oss", "has sinks"),
        ("qwen3_5", "keeps a state"),
        ("lfm2", "keeps a state"),
        ("mamba", "keeps a state"),
        ("bloom", "2 of its 2 layers compute attention in their own way"),
    ],
)
def test_a_model_that_cannot_reads_whole_rows_and_says_why(
    tiny: Tiny, tmp_path: Path, architecture: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = build_sft_trainer(decoder(tiny, tmp_path, architecture), str(tmp_path / "run"), 8, 1)
    share_prefix(trainer, "auto")
    assert not trainer.data_collator.share
    assert reason in capsys.readouterr().out
    with pytest.raises(UserError, match=rf"training.shared_prefix: true, but .*{reason}"):
        share_prefix(trainer, True)


def test_so_do_a_learned_prompt_and_another_attention(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learned = build_sft_trainer(
        str(tiny("qwen2")), str(tmp_path / "a"), 8, 1, adapter={"type": "prompt", "num_virtual_tokens": 3}
    )
    share_prefix(learned, "auto")
    assert "the adapter puts tokens or keys of its own before every row" in capsys.readouterr().out
    other = build_sft_trainer(str(tiny("qwen2")), str(tmp_path / "b"), 8, 1)
    other.model.config._attn_implementation = "flash_attention_2"
    share_prefix(other, "auto")
    assert "attention is computed by flash_attention_2" in capsys.readouterr().out
    assert not learned.data_collator.share and not other.data_collator.share


def test_a_leak_between_rows_is_found(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the numbers of the model itself: here a row reads those before it."""
    trainer = build_sft_trainer(str(tiny("qwen2")), str(tmp_path), 8, 1)

    def leaking(queries: int, keys: int, *_: Any) -> torch.Tensor:
        return torch.ones(queries, keys, dtype=torch.bool)

    monkeypatch.setattr(packed_attention, "_mask", leaking)
    with pytest.raises(UserError, match="the model gives other numbers then"):
        share_prefix(trainer, True)


def test_auto_shares_where_it_pays(tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alone = build_sft_trainer(str(tiny("qwen2")), str(tmp_path / "a"), 1, 8, among_labels="codes")
    share_prefix(alone, "auto")
    assert not alone.data_collator.share and not capsys.readouterr().out, "a batch of one row shares nothing"
    many = build_sft_trainer(str(tiny("qwen2")), str(tmp_path / "b"), 8, 1)
    share_prefix(many, "auto")
    assert many.data_collator.share
    rows = [many.rows[i] for i in range(ROWS)]
    sizes = many.data_collator.sizes(rows)
    begin = len(many.train_rows[0].prefix_ids)  # and a few tokens that all of these texts begin with
    assert begin <= sizes.prefix < begin + 10
    assert sizes.packed == sizes.prefix + sum(len(row["input_ids"]) - sizes.prefix for row in rows)
    assert sizes.places == sum(len(row.completion_ids) for row in many.train_rows)
    assert f"the {sizes.prefix} tokens that rows begin with are computed once a batch" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("completion", [None, "yes_no"])
def test_two_processes_train_as_one_that_computes_whole_rows(
    tiny: Tiny, tmp_path: Path, completion: str | None
) -> None:
    model = str(tiny("qwen2"))
    one = build_sft_trainer(model, str(tmp_path / "one"), 8, 1, among_labels=completion)
    reference = record(one)
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", "accelerate_configs/multi_gpu.yaml"]
    launch += ["--num_processes", "2", "--main_process_port", str(free_port()), "--module"]
    script = ["tests.training.tiny_sft", model, str(tmp_path), "2", "2", completion or "none", "shared"]
    done = subprocess.run([*launch, *script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("are computed once a batch") == 1
    ranks = [torch.load(tmp_path / f"recorded_{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert [rank["world_size"] for rank in ranks] == [2, 2]
    check_same_training(ranks, reference, 1e-3)
