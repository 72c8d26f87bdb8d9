"""Every key of `training` that a recipe may hold is read by what runs here, or is refused with the reason.

A training whose arguments write down who reads them shows which keys reach their consumer: a key that is accepted, and
that only a method reads which this project's trainers replace, would do nothing. A new key of upstream fails here until
it is read, refused in `recipe/hints.py`, or listed below with its consumer.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import trl
from transformers import Trainer, TrainingArguments, trainer_optimizer
from transformers.integrations import integration_utils

from categorize.errors import UserError
from categorize.recipe import hints, upstream
from categorize.training.sft_trainer import LabelSFTTrainer
from categorize.training.trainer import HeadTrainer
from tests.recipes import load_recipe
from tests.session.collections import write_recipe
from tests.training.tiny_sft import build_sft_trainer
from tests.training.tiny_training import build_trainer

Tiny = Callable[..., Path]

# Arguments are copied, checked against each other and printed whole; that is not a use of any of them.
PASSED_BY = ("to_dict", "to_sanitized_dict", "to_json_string", "__repr__", "__post_init__", "_validate_args")
READS: set[str] = set()


class Recorded:
    """Mixed into arguments; notes every name that is read from outside."""

    def __getattribute__(self, name: str) -> Any:
        frame = sys._getframe(1)
        callers = []
        while frame is not None and len(callers) < 3:
            callers.append(frame.f_code.co_name)
            frame = frame.f_back  # type: ignore[assignment]
        if not set(callers) & set(PASSED_BY):
            READS.add(name)
        return super().__getattribute__(name)


class RecordedArguments(Recorded, transformers.TrainingArguments):  # type: ignore[misc]
    pass


class RecordedConfig(Recorded, trl.SFTConfig):  # type: ignore[misc]
    pass


# Keys that only another machine, launch or package reads: what of upstream does, which our trainers leave as it is.
_post_init, _train = TrainingArguments.__post_init__, Trainer.train
_loggers = integration_utils.TrackioCallback
CONSUMERS: dict[str, Any] = {
    "tf32": _post_init,
    "torch_compile": _post_init,  # which sets the backend
    "bf16": _post_init,  # both set `mixed_precision`
    "fp16": _post_init,
    "liger_kernel_config": _train,
    "ddp_timeout": TrainingArguments._setup_devices.func,  # type: ignore[attr-defined]
    "optim_target_modules": trainer_optimizer._setup_low_rank_optimizer,
    "run_name": integration_utils.WandbCallback,
    "project": _loggers,
    "trackio_space_id": _loggers,
    "trackio_bucket_id": _loggers,
    "trackio_static_space_id": _loggers,
}
BUSY: dict[str, Any] = {
    "num_train_epochs": 1, "eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 2,
    "load_best_model_at_end": True, "metric_for_best_model": "sum", "dataloader_num_workers": 1,
    "dataloader_multiprocessing_context": "fork", "activation_checkpointing": True,
    "activation_checkpointing_kwargs": {"use_reentrant": False},
}  # fmt: skip


@pytest.fixture(scope="module")
def reads(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Names that are read from the arguments of a head's training and of an SFT, by class of arguments."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transformers.TrainingArguments", RecordedArguments)
        patch.setattr("trl.SFTConfig", RecordedConfig)
        for cls, build, model in (
            ("TrainingArguments", build_trainer, tiny("bert")),
            ("SFTConfig", build_sft_trainer, tiny("qwen2")),
        ):
            READS.clear()
            build(str(model), str(tmp_path_factory.mktemp(cls)), 4, 1, rows=12, **BUSY).train()
            found[cls] = set(READS)
    return found


def accepted(cls: str) -> list[str]:
    return [key for key in upstream.load_table()[cls] if hints.owned("training", key) is None]


@pytest.mark.parametrize("cls", ["TrainingArguments", "SFTConfig"])
def test_every_accepted_key_is_read_where_it_takes_effect(reads: dict[str, set[str]], cls: str) -> None:
    unread = set(accepted(cls)) - reads[cls] - set(CONSUMERS)
    assert not unread, "accepted, but nothing here reads them: refuse them in recipe/hints.py, with the reason"
    needless = [key for key in CONSUMERS if key in reads[cls]]
    assert not needless, "these are read by every training; remove them from CONSUMERS"


@pytest.mark.parametrize("key", CONSUMERS)
def test_what_only_another_machine_reads_has_its_consumer_untouched(key: str) -> None:
    consumer = CONSUMERS[key]
    assert key in accepted("TrainingArguments")
    assert f"args.{key}" in (source := inspect.getsource(consumer)) or f"self.{key}" in source
    if inspect.isfunction(consumer) and consumer.__qualname__.startswith("Trainer."):
        for cls in (HeadTrainer, LabelSFTTrainer):
            assert getattr(cls, consumer.__name__) is consumer


UNUSED = (
    "bf16_full_eval",
    "fp16_full_eval",
    "dataloader_in_order",
    "average_tokens_across_devices",
    "eval_accumulation_steps",
    "use_cache",
    "disable_tqdm",
)


@pytest.mark.parametrize("key", UNUSED)
def test_a_key_without_effect_here_is_refused_with_the_reason(tmp_path: Path, key: str) -> None:
    recipe = write_recipe(tmp_path / "one.yaml", model={"name_or_path": "x"}, training={key: 1})
    with pytest.raises(UserError, match=rf"one\.yaml:\d+: training\.{key}: is (not used|always|set by)"):
        load_recipe(recipe, (), "seqcls")


def test_a_key_of_another_kind_of_recipe_is_said_to_be_one(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "one.yaml", model={"name_or_path": "x"}, training={"activation_offloading": True})
    with pytest.raises(UserError, match=r"training\.activation_offloading: is a key of training in another kind"):
        load_recipe(recipe, (), "seqcls")


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"dataloader_persistent_workers": True}, "dataloader_persistent_workers: is for workers"),
        ({"dataloader_prefetch_factor": 2}, "dataloader_prefetch_factor: is for workers"),
        ({"dataloader_multiprocessing_context": "spawn"}, "dataloader_multiprocessing_context: is for workers"),
        ({"eval_steps": 5}, "eval_steps: does nothing while training.eval_strategy is epoch"),
        ({"save_steps": 5}, "save_steps: does nothing while training.save_strategy is epoch"),
        ({"optim_target_modules": ["attn"]}, "optim_target_modules: is for the galore and apollo"),
        ({"liger_kernel_config": {}}, "liger_kernel_config: does nothing without training.use_liger_kernel"),
        ({"activation_checkpointing_kwargs": {"use_reentrant": True}}, "activation_checkpointing_kwargs: does nothing"),
        ({"dataloader_persistent_workers": True, "dataloader_num_workers": 2}, None),
        ({"eval_strategy": "steps", "eval_steps": 5, "save_steps": 5}, None),
        ({"eval_strategy": "steps", "eval_steps": 5, "save_strategy": "steps", "save_steps": 10}, None),
        ({"optim": "apollo_adamw", "optim_target_modules": "all-linear"}, None),
    ],
)
def test_a_key_that_another_must_wake_is_refused_without_it(
    tmp_path: Path, training: dict[str, Any], message: str | None
) -> None:
    recipe = write_recipe(tmp_path / "one.yaml", model={"name_or_path": "x"}, training=training)
    if message is None:
        load_recipe(recipe, (), "seqcls")
        return
    with pytest.raises(UserError, match=rf"one\.yaml:\d+: training\.{message}"):
        load_recipe(recipe, (), "seqcls")


def test_rows_are_read_by_workers_as_the_recipe_says(tiny: Tiny, tmp_path: Path) -> None:
    loaders = {
        "dataloader_num_workers": 2, "dataloader_persistent_workers": True, "dataloader_prefetch_factor": 3,
        "dataloader_multiprocessing_context": "spawn",
    }  # fmt: skip
    trainer = build_trainer(str(tiny("bert")), str(tmp_path), 4, 1, **loaders)
    trainer.args.dataloader_pin_memory = True  # which use_cpu takes back
    training, evaluation = trainer.get_train_dataloader(), trainer.get_eval_dataloader()
    for loader in (training, evaluation):
        assert (loader.num_workers, loader.prefetch_factor, loader.pin_memory) == (2, 3, True)
        assert loader.multiprocessing_context.get_start_method() == "spawn"
    assert training.persistent_workers and not evaluation.persistent_workers


@pytest.mark.slow
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_read_the_same_batches(tiny: Tiny, tmp_path: Path, context: str) -> None:
    def weights(**loaders: Any) -> Any:
        trainer = build_trainer(str(tiny("bert")), str(tmp_path), 4, 2, eval_strategy="epoch", **loaders)
        trainer.train()
        return trainer.model.state_dict()

    workers = {
        "dataloader_num_workers": 2, "dataloader_persistent_workers": True, "dataloader_prefetch_factor": 1,
        "dataloader_multiprocessing_context": context,
    }  # fmt: skip
    alone, with_workers = weights(), weights(**workers)
    for name, value in alone.items():
        assert torch.equal(value, with_workers[name]), name


def test_what_upstream_adds_to_a_training_works_here_too(tiny: Tiny, tmp_path: Path) -> None:
    """Its callbacks and hooks hang on methods that our trainers replace in part."""
    noisy = build_trainer(
        str(tiny("bert")), str(tmp_path), 4, 1, rows=9, num_train_epochs=1, neftune_noise_alpha=5.0,
        skip_memory_metrics=False, include_num_input_tokens_seen="non_padding", logging_first_step=True,
        logging_steps=100,
    )  # fmt: skip
    noise: list[bool] = []
    embedding = noisy.model.get_input_embeddings()

    def look(module: Any, given: Any, output: torch.Tensor) -> None:
        noise.append(
            not torch.equal(output, torch.nn.functional.embedding(given[0], module.weight, module.padding_idx))
        )

    noisy.train_began = noisy.callback_handler.on_train_begin

    def begin(*args: Any, **kwargs: Any) -> Any:
        embedding.register_forward_hook(look)  # behind NEFTune's own
        return noisy.train_began(*args, **kwargs)

    noisy.callback_handler.on_train_begin = begin
    noisy.train()
    log = noisy.state.log_history
    assert noise and all(noise)
    assert any("train_mem_cpu_peaked_delta" in entry for entry in log)
    assert log[0]["step"] == 1 and "loss" in log[0]
    assert noisy.state.num_input_tokens_seen == noisy.rows.lengths.sum()
