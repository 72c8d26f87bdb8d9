"""What a recipe asks for and this machine lacks is refused in one line, before anything is read or loaded."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from categorize.errors import UserError
from categorize.methods.registry import METHODS
from categorize.recipe.command import main
from categorize.train import train
from categorize.training.machine import check_machine
from tests.recipes import SeqclsRecipe, SftRecipe
from tests.session.collections import write_collection, write_recipe
from tests.training.tiny_training import build_trainer

Tiny = Callable[..., Path]


def recipe(kind: str = "seqcls", attention: str | None = None, **training: Any) -> Any:
    cls: type[Any] = SftRecipe if kind == "sft" else SeqclsRecipe
    return cls.model_validate(
        {
            "kind": kind,
            "name": "x",
            "data": {"source": "x"},
            "model": {"name_or_path": "x", "attn_implementation": attention},
            "training": {"use_cpu": True, **training},
        }
    )


def installed(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None


@pytest.mark.parametrize(
    ("optimizer", "package", "named"),
    [
        ("galore_adamw", "galore_torch", "galore_torch"),
        ("galore_adafactor_layerwise", "galore_torch", "galore_torch"),
        ("apollo_adamw", "apollo_torch", "apollo_torch"),
        ("schedule_free_adamw", "schedulefree", "schedulefree"),
        ("lomo", "lomo_optim", "lomo_optim"),
        ("adalomo", "lomo_optim", "lomo_optim"),
        ("grokadamw", "grokadamw", "grokadamw"),
        ("stable_adamw", "optimi", "torch-optimi"),
        ("adamw_torch_4bit", "torchao", "torchao"),
        ("adamw_anyprecision", "torchdistx", "torchdistx"),
        ("adamw_torch_xla", "torch_xla", "torch_xla"),
        ("adamw_torch_npu_fused", "torch_npu", "torch_npu"),
    ],
)
def test_an_optimizer_whose_package_is_missing_is_refused(optimizer: str, package: str, named: str) -> None:
    if installed(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(UserError, match=rf"^training\.optim: {optimizer}: .*{named}.*\(or choose") as caught:
        check_machine(recipe(optim=optimizer))
    assert "\n" not in str(caught.value)


def test_optimizers_that_are_installed_pass() -> None:
    """torch's and transformers' own, and those of bitsandbytes, which the project needs anyway."""
    for name in ("adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adagrad", "rmsprop", "paged_adamw_8bit"):
        check_machine(recipe(optim=name))


@pytest.mark.parametrize(
    ("optimizer", "arguments", "message"),
    [
        ("adamw_torch", "foo", "'foo' is not name=value"),
        ("adamw_torch", "a=1=2", "'a=1=2' is not name=value"),
        ("adamw_torch", "beta1=0.8", "beta1 has no effect with optim: adamw_torch"),
        ("sgd", "momentum=0.9,nesterof=true", "nesterof has no effect with optim: sgd"),
        ("sgd", "momentum=0.9,nesterov=true", None),
        ("rmsprop", "alpha=0.99", None),
        ("ademamix", "beta3=0.9999,alpha=5.0,t_alpha=100", None),
    ],
)
def test_arguments_that_the_optimizer_does_not_read_are_refused(
    optimizer: str, arguments: str, message: str | None
) -> None:
    asked = recipe(optim=optimizer, optim_args=arguments)
    if message is None:
        check_machine(asked)
        return
    with pytest.raises(UserError, match=rf"^training\.optim_args: {re.escape(message)}"):
        check_machine(asked)


@pytest.mark.parametrize(
    ("scheduler", "arguments", "message"),
    [
        ("warmup_stable_decay", None, "num_decay_steps"),
        ("warmup_stable_decay", {"num_decay_steps": 2, "decay_type": "steep"}, "steep"),
        ("cosine_with_min_lr", None, "min_lr"),
        ("cosine_warmup_with_min_lr", None, "min_lr"),
        ("cosine", {"cycles": 2}, "cycles"),
        ("warmup_stable_decay", {"num_decay_steps": 2}, None),
        ("cosine_with_min_lr", {"min_lr_rate": 0.1}, None),
        ("reduce_lr_on_plateau", {"patience": 2}, None),
    ],
)
def test_a_scheduler_without_its_arguments_is_refused(
    scheduler: str, arguments: dict[str, Any] | None, message: str | None
) -> None:
    asked = recipe(lr_scheduler_type=scheduler, lr_scheduler_kwargs=arguments)
    if message is None:
        check_machine(asked)
        return
    with pytest.raises(
        UserError, match=rf"^training\.lr_scheduler_type: {scheduler}: .*{message}.*lr_scheduler_kwargs"
    ):
        check_machine(asked)


@pytest.mark.parametrize(
    ("kind", "training", "message"),
    [
        ("seqcls", {"torch_compile_backend": "inducter"}, "torch_compile_backend: .*did you mean inductor"),
        ("seqcls", {"torch_compile_mode": "fast"}, "torch_compile_mode: 'fast' is unknown"),
        ("sft", {"activation_checkpointing_kwargs": {"use_reentrent": True}}, "did you mean use_reentrant"),
        ("seqcls", {"report_to": ["comet_ml"]}, "report_to: comet_ml is not installed"),
        ("seqcls", {"ddp_backend": "gloo"}, "ddp_backend: is for several processes"),
    ],
)
def test_values_that_upstream_would_take_until_training_begins_are_refused(
    kind: str, training: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(UserError, match=rf"^training\.{message}" if "did" not in message else message):
        check_machine(recipe(kind, **training))


def test_what_needs_a_gpu_is_refused_without_one() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    for name in ("flash_attention_2", "flash_attention_3", "flex_attention"):
        with pytest.raises(UserError, match=rf"^model\.attn_implementation: {name} needs a GPU"):
            check_machine(recipe(attention=name))
    for training, message in (
        ({"tf32": True}, r"^training\.tf32: needs a GPU of Ampere"),
        ({"use_liger_kernel": True}, r"^training\.use_liger_kernel: "),
    ):
        with pytest.raises(UserError, match=message):
            check_machine(recipe(**training))
    with pytest.raises(UserError, match=r"^training\.activation_offloading: needs a GPU"):
        check_machine(recipe("sft", activation_offloading=True))


def test_an_unknown_attention_is_named_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"^model\.attn_implementation: sdpaa is unknown; did you mean sdpa.*eager"):
        check_machine(recipe(attention="sdpaa"))
    for name in ("eager", "sdpa"):
        check_machine(recipe(attention=name))


@pytest.mark.parametrize(
    ("training", "key"),
    [({"optim": "galore_adamw"}, "optim"), ({"lr_scheduler_type": "warmup_stable_decay"}, "lr_scheduler_type")],
)
def test_what_upstream_raises_while_it_builds_is_one_line_at_its_key(
    tiny: Tiny, tmp_path: Path, training: dict[str, Any], key: str
) -> None:
    """The trainer's own, for what only the model shows."""
    if "optim" in training and installed("galore_torch"):
        pytest.skip("galore_torch is installed")
    trainer = build_trainer(str(tiny("bert")), str(tmp_path), 4, 1, **training)
    with pytest.raises(UserError, match=rf"^training\.{key}: {training[key]}: [^\n]*$"):
        trainer.train()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_collection(tmp_path / "rows.csv", 60)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/thesis.docx").touch()
    (tmp_path / "file").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("output_dir=taken", "taken: output_dir holds files that do not belong to a run"),
        ("output_dir=file", "file: output_dir is a file"),
        ("output_dir=rows.csv/run", "rows.csv/run.incomplete: cannot be written"),
        ("output_dir=/proc/run", "/proc/run.incomplete: cannot be written"),
        ("output_dir=outputs/" + "x" * 300, "File name too long"),
        ("training.optim=schedule_free_adamw", "training.optim: schedule_free_adamw"),
        ("training.metric_for_best_model=acuracy", "training.metric_for_best_model: 'acuracy' is not measured"),
    ],
)
def test_a_dry_run_refuses_what_the_run_would_refuse_in_the_same_words(
    folder: Path, asked: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model's folder is empty: neither gets as far as to load it."""
    (folder / "empty").mkdir()
    recipe = str(write_recipe(folder / "one.yaml", model={"name_or_path": "./empty"}))
    before = sorted(folder.iterdir())
    said = []
    for flags in (["--dry-run"], []):
        assert main("run_seqcls.py", "seqcls", train, METHODS, [recipe, asked, *flags]) == 2
        said.append(capsys.readouterr().err)
        if flags:
            assert sorted(folder.iterdir()) == before
    assert said[0] == said[1] and message in said[0] and said[0].count("\n") == 1


def test_a_dry_run_refuses_a_merged_runs_place_too(
    folder: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else its name would be found too long, or its folder taken, when all is trained."""
    sections = {"model": {"name_or_path": str(tiny("bert"))}, "adapter": {"type": "lora"}}
    recipe = str(write_recipe(folder / "one.yaml", **sections))
    (folder / "taken/thesis.docx").unlink()
    (folder / "taken_merged").mkdir()
    (folder / "taken_merged/thesis.docx").touch()
    for asked, message in (("output_dir=taken", "taken_merged: "), ("output_dir=" + "x" * 240, "File name too long")):
        assert main("run_seqcls.py", "seqcls", train, METHODS, [recipe, asked, "--merge", "--dry-run"]) == 2
        assert message in capsys.readouterr().err
