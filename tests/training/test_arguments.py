"""What a recipe's training section becomes, and what is refused before training begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from categorize.errors import UserError
from categorize.labels import Group, Label, LabelSet
from categorize.recipe.label_sections import Task
from categorize.recipe.training_sections import TrainingSection
from categorize.training.arguments import build_arguments, build_sft_arguments
from tests.recipes import SftRecipe

TASKS: tuple[Task, ...] = ("single_label", "multi_label", "ordinal", "regression")


def label_set(task: Task) -> LabelSet:
    if task == "regression":
        return LabelSet(task, (Label("score"),))
    return LabelSet(task, (Label("a", parent="g"), Label("b"), Label("c", parent="g")), (Group("g"),))


def arguments(folder: Path, task: Task, **values: Any) -> Any:
    return build_arguments(
        TrainingSection(**values),
        checkpoints=folder,
        seed=1,
        label_set=label_set(task),
        max_length=128,
        defaults={},
        has_validation=True,
    )[0]


@pytest.mark.parametrize(
    ("task", "metric", "more_is_better"),
    [
        ("regression", "rmse", False),
        ("regression", "eval_mae", False),
        ("regression", "r2", True),
        ("ordinal", "mae", False),
        ("ordinal", "quadratic_weighted_kappa", True),
        ("single_label", "log_loss", False),
        ("single_label", "group_macro_f1", True),
        ("single_label", "loss", False),
        ("multi_label", "hamming_loss", False),
        ("multi_label", "samples_f1", True),
    ],
)
def test_the_best_checkpoint_is_the_one_with_the_least_error_or_the_best_score(
    tmp_path: Path, task: Task, metric: str, more_is_better: bool
) -> None:
    assert arguments(tmp_path, task, metric_for_best_model=metric).greater_is_better is more_is_better


@pytest.mark.parametrize("task", TASKS)
def test_by_default_the_headline_measure_chooses(tmp_path: Path, task: Task) -> None:
    chosen = arguments(tmp_path, task)
    assert chosen.metric_for_best_model == ("pearson" if task == "regression" else "macro_f1")
    assert chosen.load_best_model_at_end and chosen.greater_is_better


@pytest.mark.parametrize(
    ("task", "metric"), [("single_label", "acuracy"), ("single_label", "mae"), ("regression", "accuracy")]
)
def test_an_unknown_measure_is_refused_before_training(tmp_path: Path, task: Task, metric: str) -> None:
    with pytest.raises(UserError, match=rf"training\.metric_for_best_model: '{metric}' is not measured") as caught:
        arguments(tmp_path, task, metric_for_best_model=metric)
    assert "\n" not in str(caught.value) and "loss" in str(caught.value)
    assert ("did you mean accuracy?" in str(caught.value)) == (metric == "acuracy")


def test_a_logger_that_is_not_installed_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"training\.report_to: 'wandbb' is unknown; did you mean wandb"):
        arguments(tmp_path, "single_label", report_to="wandbb")
    with pytest.raises(UserError, match=r"training\.report_to: comet_ml is not installed"):
        arguments(tmp_path, "single_label", report_to=["comet_ml"])


@pytest.mark.parametrize(
    ("max_length", "train", "rows"), [(128, 16, 64), (512, 8, 32), (4096, 2, 4), (8192, 1, 2), (4096, 8, 8)]
)
def test_long_inputs_make_small_evaluation_batches(tmp_path: Path, max_length: int, train: int, rows: int) -> None:
    """64 rows of 4096 tokens do not fit where two of them train."""
    training = {"use_cpu": True, "per_device_train_batch_size": train}
    options: dict[str, Any] = {
        "checkpoints": tmp_path, "label_set": label_set("single_label"), "has_validation": True,
        "max_length": max_length,
    }  # fmt: skip

    def head(**more: Any) -> Any:
        section = TrainingSection.model_validate({**training, **more})
        return build_arguments(section, seed=1, defaults={}, **options)[0].per_device_eval_batch_size

    model = {"name_or_path": "x"}
    recipe = {"kind": "sft", "name": "x", "data": {"source": "x"}, "model": model, "training": training}
    sft = build_sft_arguments(SftRecipe.model_validate(recipe), **options)[0]
    assert head() == sft.per_device_eval_batch_size == rows
    assert head(per_device_eval_batch_size=7) == 7


def test_checkpoints_are_where_evaluations_are(tmp_path: Path) -> None:
    """The best evaluation of a run is worth nothing without its weights."""
    chosen = arguments(tmp_path, "single_label", eval_strategy="steps", eval_steps=7)
    assert (chosen.save_strategy, chosen.save_steps) == ("steps", 7)
    assert arguments(tmp_path, "single_label", eval_strategy="steps", logging_steps=5).save_steps == 5
    steps = {"eval_strategy": "steps", "save_strategy": "steps", "eval_steps": 7, "save_steps": 14}
    with pytest.raises(UserError, match=r"training\.save_steps: 14 leaves evaluations \(every 7 steps\)"):
        arguments(tmp_path, "single_label", **steps)
    assert arguments(tmp_path, "single_label", **steps, load_best_model_at_end=False).save_steps == 14
    assert (
        arguments(tmp_path, "single_label", eval_strategy="steps", eval_steps=7, save_strategy="best").eval_steps == 7
    )
    assert arguments(tmp_path, "single_label", eval_strategy="no").save_strategy == "epoch"
