"""The table of other libraries' fields is current, and refuses what those classes would not take."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from categorize.recipe import hints, upstream
from categorize.recipe.adapter_sections import ADAPTER_CLASSES


def fits(cls: str, name: str, value: object) -> bool:
    try:
        TypeAdapter(upstream.annotation(name, upstream.load_table()[cls][name])).validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


def test_the_table_is_current() -> None:
    assert upstream.as_text(upstream.generate()) == upstream.TABLE.read_text(encoding="utf-8"), (
        "run python -m categorize.recipe.upstream after an upgrade"
    )


def test_every_default_that_a_recipe_may_write_fits_its_own_entry() -> None:
    for cls, fields in upstream.load_table().items():
        for name, field in fields.items():
            unset = field["default"] in (None, "")  # peft marks required fields so; "" is debug's for none
            assert unset or fits(cls, name, field["default"]), f"{cls}.{name}"


def test_every_adapter_class_is_in_the_table() -> None:
    assert set(ADAPTER_CLASSES.values()) <= set(upstream.load_table())


def test_every_key_that_the_project_owns_exists_upstream() -> None:
    table = upstream.load_table()
    assert set(hints.OWNED["training"]) <= {*table["TrainingArguments"], *table["SFTConfig"]}
    assert set(hints.OWNED["adapter"]) <= {key for cls in ADAPTER_CLASSES.values() for key in table[cls]}


def test_no_renamed_key_is_one_that_training_takes() -> None:
    deprecated = {"gradient_checkpointing", "gradient_checkpointing_kwargs"}
    assert set(hints.RENAMED) & set(upstream.load_table()["TrainingArguments"]) == deprecated


@pytest.mark.parametrize(
    ("cls", "name", "value"),
    [
        ("TrainingArguments", "lr_scheduler_type", "cosin"),
        ("TrainingArguments", "eval_strategy", "epochs"),
        ("TrainingArguments", "learning_rate", "1e-4"),
        ("TrainingArguments", "learning_rate", True),
        ("TrainingArguments", "max_steps", 1.5),
        ("TrainingArguments", "learning_rate", None),
        ("SFTConfig", "loss_type", "nlll"),
        ("LoraConfig", "init_lora_weights", "pissa_niter_"),
        ("PromptTuningConfig", "prompt_tuning_init", "text"),
        ("BitsAndBytesConfig", "bnb_4bit_compute_dtype", "bf16"),
    ],
)
def test_a_value_that_the_class_would_not_take_is_refused(cls: str, name: str, value: object) -> None:
    assert not fits(cls, name, value)


@pytest.mark.parametrize(
    ("cls", "name", "value"),
    [
        ("TrainingArguments", "learning_rate", 1),
        ("TrainingArguments", "warmup_steps", 0.1),
        ("TrainingArguments", "tf32", None),
        ("TrainingArguments", "debug", "underflow_overflow"),
        ("LoraConfig", "init_lora_weights", True),
        ("LoraConfig", "init_lora_weights", "pissa_niter_16"),
        ("LoraConfig", "layers_to_transform", [1, 2]),
    ],
)
def test_a_value_that_the_class_takes_is_accepted(cls: str, name: str, value: object) -> None:
    assert fits(cls, name, value)
