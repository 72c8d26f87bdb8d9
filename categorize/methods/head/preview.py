"""The dry run of a head."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pyarrow as pa

from categorize.methods.head.fit import prepare
from categorize.recipe.sections import SeqclsRecipe
from categorize.training.costs import preview_lines
from categorize.training.fit_summary import FitOptions

if TYPE_CHECKING:
    from categorize.data.splits import LoadedData

EXAMPLE_TOKENS = 48


def preview(recipe: SeqclsRecipe, data: LoadedData, options: FitOptions) -> list[str]:
    """Lines for the terminal. Model and trainer are built and take a few steps, in a folder that goes at once."""
    with TemporaryDirectory() as folder:
        prepared = prepare(recipe, data, Path(folder), options)
        first = prepared.trainer.rows.tokens[0].tolist()
        pieces = prepared.tokenizer.convert_ids_to_tokens(first[:EXAMPLE_TOKENS])
        shown = " ".join(repr(piece)[1:-1] for piece in pieces)
        example = [
            f"example as the model reads it: {shown}{' ...' if len(first) > EXAMPLE_TOKENS else ''}",
            f"  {_target(data, prepared.inputs.train)}; the head reads every token, the loss is on that alone",
        ]
        return preview_lines(data, prepared, example)


def _target(data: LoadedData, rows: pa.Table) -> str:
    """What the first row is to be answered with."""
    if data.label_set.is_regression:
        return f"its score: {rows.column('gold_score')[0].as_py()}"
    labels = rows.column("gold")[0].as_py()
    return f"its label{'s' if data.label_set.is_multi_label else ''}: {', '.join(labels) or 'none'}"
