"""SFT: the loss is on the answers alone, whatever the batches, and equals plain autograd's and stock TRL's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax

from categorize.engines.label_scoring import LabelScorer
from categorize.engines.shared_prefix import SharedPrefix
from categorize.methods.sft.fit import answering
from categorize.methods.sft.model import Causal, CausalSettings
from categorize.recipe.decision_sections import CausalPredictionSection
from tests.training.tiny_sft import LABELS, ROWS, build_sft_trainer, texts
from tests.training.tiny_training import record

Tiny = Callable[..., Path]


def test_the_loss_is_on_the_answers_tokens_alone(tiny: Tiny, tmp_path: Path) -> None:
    trainer = build_sft_trainer(str(tiny("qwen2", chat=True)), str(tmp_path), 4, 1)
    batch = trainer.data_collator([{**trainer.rows[i]} for i in range(6)])
    for i, row in enumerate(trainer.train_rows[:6]):
        learned = batch["labels"][i] != -100
        start = len(row.prompt_ids)
        assert learned.nonzero().flatten().tolist() == list(range(start, start + len(row.completion_ids)))
        assert tuple(batch["labels"][i][learned].tolist()) == row.completion_ids
        assert tuple(batch["input_ids"][i, : len(row)].tolist()) == row.prompt_ids + row.completion_ids
        assert batch["attention_mask"][i].sum() == len(row)
        answer = trainer.processing_class.decode(row.completion_ids)
        assert answer == LABELS.names[i % 3] + "<|im_end|>", "the end of the turn is learned"
    assert trainer.processing_class.pad_token_id not in {row.completion_ids[-1] for row in trainer.train_rows}


@pytest.mark.parametrize("chat", [True, False])
def test_accumulation_does_not_change_the_gradient_or_the_logged_loss(tiny: Tiny, tmp_path: Path, chat: bool) -> None:
    model = str(tiny("qwen2", chat=chat))
    reference = record(build_sft_trainer(model, str(tmp_path / "8x1"), 8, 1))
    assert len(reference["gradients"]) == 6  # two epochs of two whole steps and a short one
    for batch, accumulation in ((4, 2), (2, 4)):
        other = record(build_sft_trainer(model, str(tmp_path / f"{batch}x{accumulation}"), batch, accumulation))
        torch.testing.assert_close(other["losses"], reference["losses"], rtol=1e-5, atol=1e-6)
        for mine, theirs in zip(other["gradients"], reference["gradients"], strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)
        assert sorted(other["seen"]) == sorted(list(range(ROWS)) * 2), "every row once in each of two epochs"


def test_the_gradient_is_that_of_the_weighted_mean_over_the_answers_tokens(tiny: Tiny, tmp_path: Path) -> None:
    """Against plain autograd, row by row and without padding."""
    weights = [0.5 + (i % 4) for i in range(ROWS)]
    trainer = build_sft_trainer(str(tiny("qwen2")), str(tmp_path / "a"), ROWS, 1, weights=weights, num_train_epochs=1)
    total, tokens = torch.zeros(()), 0.0
    for weight, row in zip(weights, trainer.train_rows, strict=True):
        ids = torch.tensor([row.prompt_ids + row.completion_ids])
        log_probabilities = torch.log_softmax(trainer.model(input_ids=ids).logits[0].float(), dim=-1)
        for step, token in enumerate(row.completion_ids):
            total = total - weight * log_probabilities[len(row.prompt_ids) + step - 1, token]
        tokens += weight * len(row.completion_ids)
    loss = total / tokens
    loss.backward()
    expected = torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])
    recorded = record(
        build_sft_trainer(str(tiny("qwen2")), str(tmp_path / "b"), ROWS, 1, weights=weights, num_train_epochs=1)
    )
    torch.testing.assert_close(recorded["gradients"][0], expected, rtol=1e-4, atol=1e-6)
    assert recorded["losses"][0] == pytest.approx(loss.item(), rel=1e-5)


def test_without_weights_the_loss_is_that_of_stock_trl(tiny: Tiny, tmp_path: Path) -> None:
    """TRL renders and tokenizes prompt and completion by itself: the rows and the loss are the same."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from categorize.methods.sft.model import load_causal

    folder = str(tiny("qwen2", chat=True))
    ours = build_sft_trainer(folder, str(tmp_path / "ours"), ROWS, 1, weights=[1.0] * ROWS, num_train_epochs=1)
    system = "Say how it was.\n" + "\n".join(f"- {name}" for name in LABELS.names)
    rows: list[dict[str, Any]] = [
        {
            "prompt": [{"role": "system", "content": system}, {"role": "user", "content": text}],
            "completion": [{"role": "assistant", "content": LABELS.names[i % 3]}],
        }
        for i, text in enumerate(texts())
    ]
    causal = load_causal(folder, dtype=torch.float32)
    stock = SFTTrainer(
        model=causal.model,
        args=SFTConfig(
            output_dir=str(tmp_path / "stock"), per_device_train_batch_size=ROWS, use_cpu=True, bf16=False,
            report_to="none", num_train_epochs=1, logging_steps=1, optim="sgd", learning_rate=0.1, max_grad_norm=0.0,
            lr_scheduler_type="constant", disable_tqdm=True, save_strategy="no", activation_checkpointing=False,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=causal.tokenizer,
    )  # fmt: skip
    for row, theirs in zip(ours.train_rows, stock.train_dataset, strict=True):
        ids, labels = theirs["input_ids"], theirs["labels"]
        # TRL learns the newline that ChatML puts behind the end of the turn as well.
        kept = len(row)
        assert tuple(ids[:kept]) == row.prompt_ids + row.completion_ids
        assert [label for label in labels if label != -100][: len(row.completion_ids)] == list(row.completion_ids)
        assert len(ids) == kept + 1
    mine = record(ours)["losses"][0]
    # The same loss where TRL's rows end with the turn, as ours do.
    cut = stock.train_dataset.map(lambda row: {"input_ids": row["input_ids"][:-1], "labels": row["labels"][:-1]})
    stock.train_dataset = cut
    stock.train()
    theirs = next(entry["loss"] for entry in stock.state.log_history if "loss" in entry)
    assert mine == pytest.approx(theirs, rel=1e-5)


def test_evaluation_answers_every_row_once_and_in_order(tiny: Tiny, tmp_path: Path) -> None:
    trainer = build_sft_trainer(str(tiny("qwen2")), str(tmp_path), 2, 1, per_device_eval_batch_size=2)
    got: list[list[int]] = []
    trainer.measures = lambda answers: got.append(answers) or {"rows": float(len(answers))}
    metrics = trainer.evaluate()
    assert got == [[len(row) for row in trainer.eval_rows]]
    assert metrics["eval_rows"] == 5
    with torch.no_grad():
        total = tokens = 0.0
        for row in trainer.eval_rows:
            ids = torch.tensor([row.prompt_ids + row.completion_ids])
            log_probabilities = torch.log_softmax(trainer.model(input_ids=ids).logits[0].float(), dim=-1)
            for step, token in enumerate(row.completion_ids):
                total -= log_probabilities[len(row.prompt_ids) + step - 1, token].item()
            tokens += len(row.completion_ids)
    assert metrics["eval_loss"] == pytest.approx(total / tokens, rel=1e-5)


def test_an_evaluation_computes_the_prefix_once_with_the_weights_that_it_finds(tiny: Tiny, tmp_path: Path) -> None:
    trainer = build_sft_trainer(str(tiny("qwen2")), str(tmp_path), 4, 1, per_device_eval_batch_size=2)
    cpu, model = torch.device("cpu"), trainer.model
    causal = Causal(model, trainer.processing_class, CausalSettings(400))
    shared = SharedPrefix(model, cpu)
    trainer.predict_rows, read = answering(causal, trainer.prompt, CausalPredictionSection(), trainer.args, shared)
    trainer.begin_evaluation, answers = shared.forget, []
    trainer.measures = lambda found: answers.append(found) or {}
    of_prefix = []  # forward passes of the prefix alone
    model.register_forward_pre_hook(
        lambda _, args, given: of_prefix.append(1) if "attention_mask" not in given else None, with_kwargs=True
    )
    for count in (1, 2):
        trainer.evaluate()
        assert len(of_prefix) == count
        whole = LabelScorer(trainer.prompt, SharedPrefix(model, cpu, allowed=False))
        with torch.no_grad():
            expected = softmax(whole.in_batches(trainer.eval_rows, 64, 8192), axis=1)
            np.testing.assert_allclose(read(list("abcde"), answers[-1]).probabilities, expected, rtol=1e-3)
            for parameter in model.parameters():
                parameter *= 1.5
    assert np.abs(np.log(answers[0]) - np.log(answers[1])).max() > 0.1
