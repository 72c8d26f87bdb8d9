"""The rows that a method learns from and is watched on: training and validation rows, cut into segments, and what each
training row counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa

from categorize.data.segment_counts import SegmentCounts
from categorize.data.segments.tokens import TokenCounter
from categorize.data.splits import LoadedData
from categorize.predictions import FloatArray
from categorize.processes import print0
from categorize.recipe.loss_sections import loss_of
from categorize.recipe.sections import SeqclsRecipe, TrainedRecipe
from categorize.training.balance import Balance, build_balance
from categorize.training.class_weights import class_weights, logit_adjustment, weights_line


@dataclass(frozen=True)
class Inputs:
    """Rows as the model reads them.

    Attributes:
        train, validation: their rows, or documents where these are learned from.
        segments: rows of train and validation as they were cut, by split; they are `train` and `validation` where rows
            are learned from.
        targets: of the training rows, [rows, labels] as `LabelSet.encode` gives them.
        weights: of the training rows in the loss, [rows]: their own, times that of their label where a row has one.
        balance: draws the rows of each epoch; None: every row once.
        adjustment: what the recipe's loss adds to the logits, [labels], or None.
        class_weights: of each label by name; empty where the recipe has none.
        counts: documents and segments of each split; empty where documents are read whole.
    """

    train: pa.Table
    validation: pa.Table
    segments: dict[str, pa.Table]
    targets: FloatArray
    weights: FloatArray
    balance: Balance | None
    adjustment: tuple[float, ...] | None = None
    class_weights: dict[str, float] = field(default_factory=dict)
    counts: dict[str, SegmentCounts] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """What the cut made, and how labels are weighed, for the terminal."""
        return [
            *(line for split, count in self.counts.items() for line in count.lines(split)),
            *([weights_line(self.class_weights)] if self.class_weights else []),
            *([self.balance.line()] if self.balance is not None else []),
        ]

    def announce(self) -> None:
        """Print the lines."""
        for line in self.lines():
            print0(f"  {line}")

    def details(self) -> dict[str, Any]:
        """The same for the manifest."""
        counts = {split: count.to_dict() for split, count in self.counts.items()}
        weights = {name: round(weight, 4) for name, weight in self.class_weights.items()}
        return {key: value for key, value in (("segments", counts), ("class_weights", weights)) if value}


def training_inputs(
    recipe: TrainedRecipe, data: LoadedData, tokens: TokenCounter, unit: Literal["row", "document"] = "row"
) -> Inputs:
    """The training and validation rows of loaded data, counted by the tokens of the model that will read them.

    Args:
        unit: what has a target, a weight and a place in a balance: each row (segment), or each document.
    """
    spec, label_set, choice = data.input_spec, data.label_set, recipe.training.class_weights
    segments = {name: spec.expand(data.splits[name], tokens) for name in ("train", "validation")}
    counts = {
        name: SegmentCounts.of(spec, data.splits[name], table, tokens)
        for name, table in segments.items()
        if spec.is_cut and table.num_rows
    }
    tables = segments if unit == "row" else {name: spec.documents(data.splits[name]) for name in segments}
    train = tables["train"]
    targets, weights = label_set.encode_rows(train), train.column("weight").to_numpy().astype("float64")
    loss = loss_of(recipe.training.loss if isinstance(recipe, SeqclsRecipe) else None, label_set.task)
    adjustment = logit_adjustment(loss, label_set, targets, weights)
    per_label = class_weights(choice, label_set, targets, weights)
    if not (label_set.is_multi_label or label_set.is_regression):
        weights = weights * (targets @ per_label)
    named = dict(zip(label_set.names, per_label.tolist(), strict=True)) if choice is not None else {}
    balance = build_balance(recipe.training.balance, label_set, targets)
    return Inputs(train, tables["validation"], segments, targets, weights, balance, adjustment, named, counts)
