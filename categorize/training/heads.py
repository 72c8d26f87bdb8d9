"""What every head is trained by: the loss that a recipe names, and the trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from categorize.data.splits import LoadedData
from categorize.nn.head_output import Output
from categorize.recipe.loss_sections import loss_of
from categorize.recipe.sections import SeqclsRecipe
from categorize.training.arguments import build_arguments
from categorize.training.inputs import Inputs
from categorize.training.step_batches import StepRows
from categorize.training.trainer import HeadCollator, HeadTrainer
from categorize.training.watching import early_stopping, measures_of_documents


def loss_options(recipe: SeqclsRecipe, data: LoadedData, inputs: Inputs) -> dict[str, Any]:
    """Options of `Output`: the loss of the recipe, with the weights and adjustments of these rows."""
    label_set = data.label_set
    return {
        "objective": loss_of(recipe.training.loss, label_set.task),
        "label_smoothing": float(recipe.training.upstream().get("label_smoothing_factor", 0.0)),
        "positive_weight": tuple(inputs.class_weights.values()) if label_set.is_multi_label else None,
        "adjustment": inputs.adjustment,
    }


def head_trainer(
    recipe: SeqclsRecipe,
    data: LoadedData,
    inputs: Inputs,
    output: Output,
    model: Any,
    learned: StepRows,
    held_out: StepRows | None,
    *,
    tokenizer: Any,
    max_length: int,
    checkpoints: Path,
    defaults: dict[str, Any],
    collator: type[HeadCollator] = HeadCollator,
    r_drop: float = 0.0,
) -> tuple[HeadTrainer, str]:
    """The trainer, and why it computes in its precision.

    Args:
        output: what the head gives, with the loss.
        learned, held_out: training and validation rows as the model reads them; None: no validation rows.
        defaults: of the training arguments, where the recipe is silent.
        collator, r_drop: see `HeadTrainer`.
    """
    arguments, precision = build_arguments(
        recipe.training,
        checkpoints=checkpoints,
        seed=recipe.seed,
        label_set=data.label_set,
        max_length=max_length,
        defaults=defaults,
        has_validation=held_out is not None,
    )
    trainer = HeadTrainer(
        model=model,
        args=arguments,
        train_dataset=learned,
        eval_dataset=held_out,
        collator=collator,
        processing_class=tokenizer,
        callbacks=early_stopping(recipe.training),
        objective=output.loss,
        measures=measures_of_documents(
            data, inputs.validation, lambda ids, logits: output.predictions(ids, np.stack(logits).astype(np.float64))
        ),
        grouping=recipe.training.length_grouping,
        balance=inputs.balance,
        r_drop=r_drop,
    )
    return trainer, precision.reason
