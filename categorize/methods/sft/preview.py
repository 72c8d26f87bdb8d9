"""The dry run of a causal model that is tuned to answer with labels."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from categorize.methods.sft.fit import prepare
from categorize.recipe.sections import SftRecipe
from categorize.training.costs import preview_lines
from categorize.training.fit_summary import FitOptions

if TYPE_CHECKING:
    from categorize.data.splits import LoadedData


def preview(recipe: SftRecipe, data: LoadedData, options: FitOptions) -> list[str]:
    """Lines for the terminal, with a rendered example whose loss mask is shown. Model and trainer are built and take a
    few steps, in a folder that goes at once."""
    with TemporaryDirectory() as folder:
        prepared = prepare(recipe, data, Path(folder), options)
        rows, lengths, decode = prepared.trainer.train_rows, prepared.trainer.rows.lengths, prepared.tokenizer.decode
        shared = sum(len(row.prefix_ids) for row in rows) / lengths.sum()
        example = [
            f"shared instruction: {prepared.details['prefix_tokens']} tokens, {shared:.0%} of all tokens",
            "example, no loss on this:",
            *(f"  | {line}" for line in decode(rows[0].prompt_ids).splitlines()),
            f"loss on these {len(rows[0].completion_ids)} tokens: {decode(rows[0].completion_ids)!r}",
        ]
        return preview_lines(data, prepared, example)
