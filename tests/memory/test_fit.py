"""`--fit` answers from the config alone, with a status of its own and overrides that can be pasted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from categorize.errors import UserError
from categorize.memory.cards import GIB, Card, parse_card
from categorize.memory.simulation import Plan, Step
from categorize.memory.verdict import Answer, Batch, judge
from categorize.methods.registry import METHODS
from categorize.recipe.command import main
from categorize.train import train
from tests.session.collections import write_recipe


def of_rows(plan: Plan, rows: int, tokens: int, evaluated: int) -> Step:
    """A gibibyte for the weights, and half of one for each row, a fifth of that with checkpointing."""
    row = GIB // 10 if plan.checkpointing else GIB // 2
    return Step(GIB, 0, 0, rows * row, evaluated * GIB // 10, 0, 1, 1)


@pytest.mark.parametrize(
    ("size", "answer", "proposal"),
    [
        (24, Answer.FITS, {"training.per_device_train_batch_size": 16, "training.gradient_accumulation_steps": 1}),
        (8, Answer.FITS, {}),
        (6.6, Answer.TIGHT, {"training.per_device_train_batch_size": 4, "training.gradient_accumulation_steps": 4}),
        (4, Answer.TOO_LARGE, {"training.per_device_train_batch_size": 2, "training.gradient_accumulation_steps": 8}),
        (2.3, Answer.TOO_LARGE, {"training.activation_checkpointing": True}),
        (1.5, Answer.TOO_LARGE, None),
    ],
)
def test_the_largest_batch_of_the_same_step_is_proposed(
    size: float, answer: Answer, proposal: dict[str, Any] | None
) -> None:
    verdict = judge(Plan(None), Batch(8, 2, 128), Card("", int(size * GIB)), of_rows)
    assert verdict.answer is answer
    if size == 2.3:
        assert verdict.proposal is not None and proposal is not None
        assert proposal.items() <= verdict.proposal.items()
    else:
        assert verdict.proposal == proposal
    rows = (verdict.proposal or {}).get("training.per_device_train_batch_size", 8)
    times = (verdict.proposal or {}).get("training.gradient_accumulation_steps", 2)
    assert rows * times == 16


def test_an_evaluation_that_does_not_fit_is_made_smaller() -> None:
    verdict = judge(Plan(None), Batch(2, 1, 128, evaluated=64), Card("", 4 * GIB), of_rows)
    assert verdict.answer is Answer.TOO_LARGE
    assert verdict.proposal == {"training.per_device_eval_batch_size": 2}


def test_cards_are_told_by_size_or_name() -> None:
    assert parse_card("24GB").memory == parse_card("24").memory == parse_card("rtx 4090").memory == 24 * GIB
    assert parse_card("NVIDIA A100-80GB").flops == 312e12
    with pytest.raises(UserError, match=r"which of a100-40gb and a100-80gb\?"):
        parse_card("a100")
    with pytest.raises(UserError, match=r"'h10' is neither .*did you mean"):
        parse_card("h10")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config_alone(folder: Path, width: int = 64) -> str:
    """A model folder that holds nothing but its config."""
    (folder / "model").mkdir()
    config = {
        "model_type": "bert",
        "hidden_size": width,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "intermediate_size": 4 * width,
        "vocab_size": 500,
    }
    (folder / "model/config.json").write_text(json.dumps(config), encoding="utf-8")
    return str(folder / "model")


def fit(recipe: Path, card: str, *overrides: str) -> int:
    return main("run_seqcls.py", "seqcls", train, METHODS, [recipe.name, "--fit", card, *overrides])


@pytest.mark.parametrize(
    ("width", "card", "status", "said"),
    [(64, "24GB", 0, "FITS:"), (4096, "4GB", 11, "TOO LARGE:"), (64, "t4", 0, "usable on T4")],
)
def test_the_status_is_the_answer_and_neither_data_nor_weights_are_read(
    folder: Path, capsys: pytest.CaptureFixture[str], width: int, card: str, status: int, said: str
) -> None:
    recipe = write_recipe(folder / "one.yaml", model={"name_or_path": config_alone(folder, width)})
    assert fit(recipe, card) == status
    shown = capsys.readouterr().out
    assert said in shown and "8 rows of 128 tokens" in shown
    assert sorted(path.name for path in folder.iterdir()) == ["model", "one.yaml"]


def test_what_is_proposed_fits_when_it_is_pasted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    training = {"per_device_train_batch_size": 512, "gradient_accumulation_steps": 2}
    recipe = write_recipe(folder / "one.yaml", model={"name_or_path": config_alone(folder, 256)}, training=training)
    assert fit(recipe, "2GB") == Answer.TOO_LARGE.value
    proposed = capsys.readouterr().out.splitlines()[-1].split()
    values = dict(one.split("=") for one in proposed)
    assert (
        int(values["training.per_device_train_batch_size"]) * int(values["training.gradient_accumulation_steps"])
        == 1024
    )
    assert fit(recipe, "2GB", *proposed) == Answer.FITS.value


def test_unknown_says_why(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_recipe(folder / "one.yaml", model={"name_or_path": config_alone(folder)})
    assert fit(recipe, "8", "training.optim=galore_adamw", "training.optim_target_modules=all-linear") == 12
    assert capsys.readouterr().out.startswith("UNKNOWN: training.optim: ")
    linear = write_recipe(folder / "two.yaml", model={"method": "tfidf"}, training=None)
    assert fit(linear, "8") == 12
    assert "method tfidf is not estimated" in capsys.readouterr().out


def test_a_card_that_there_is_not_is_an_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_recipe(folder / "one.yaml", model={"name_or_path": config_alone(folder)})
    assert fit(recipe, "big") == 2
    assert "error: --fit 'big' is neither a size such as 24GB nor a known card" in capsys.readouterr().err
