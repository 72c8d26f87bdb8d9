"""The dry run of a causal model that is tuned to answer with labels."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from categorize.methods.sft.fit import prepare
from categorize.recipe.sections import SftRecipe
from categorize.training.costs import cost_lines, length_lines
from categorize.training.fit_summary import FitOptions

if TYPE_CHECKING:
    from categorize.data.splits import LoadedData


def preview(recipe: SftRecipe, data: LoadedData, options: FitOptions) -> list[str]:
    """Lines for the terminal, with a rendered example whose loss mask is shown. Model and trainer are built and take a
    few steps, in a folder that goes at once."""
    with TemporaryDirectory() as folder:
        causal, prompt, trainer, _, _ = prepare(recipe, data, Path(folder), options)
        rows, lengths = trainer.train_rows, trainer.rows.lengths
        first = rows[0]
        shared = sum(len(row.prefix_ids) for row in rows) / lengths.sum()
        return [
            *length_lines(lengths, sum(row.truncated for row in rows), causal.settings.max_length),
            f"shared instruction: {len(prompt.prefix_ids)} tokens, {shared:.0%} of all tokens",
            "example, no loss on this:",
            *(f"  | {line}" for line in causal.tokenizer.decode(first.prompt_ids).splitlines()),
            f"loss on these {len(first.completion_ids)} tokens: {causal.tokenizer.decode(first.completion_ids)!r}",
            *cost_lines(data, trainer, lengths),
        ]
