"""Further rows that an evaluation asks every run about: changed texts, transcripts without a part, unlabelled rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pyarrow as pa

from categorize.analysis.ablations import ablate
from categorize.analysis.changes import CHANGES
from categorize.analysis.variants import Variant, changed_rows, joined_documents
from categorize.data.columns import text_columns
from categorize.data.splits import LoadedData
from categorize.errors import UserError
from categorize.recipe.sections import EvalRecipe
from categorize.reports.split import EvaluatedSplit

UNLABELLED = "without a label"


@dataclass(frozen=True)
class Further:
    """What every run predicts beside the split.

    Attributes:
        variants: documents of the split with changed texts.
        unlabelled: rows without a label, and the same as documents; None where they are not asked for.
    """

    variants: list[Variant] = field(default_factory=list)
    unlabelled: pa.Table | None = None
    documents: pa.Table | None = None

    @property
    def rows(self) -> Mapping[str, pa.Table]:
        """The rows by name."""
        named = {one.name: one.rows for one in self.variants if one.rows.num_rows}
        return named if self.unlabelled is None else {**named, UNLABELLED: self.unlabelled}


def further_rows(recipe: EvalRecipe, split: EvaluatedSplit, data: LoadedData) -> Further:
    """The rows that a recipe asks for.

    Raises:
        UserError: no text has what an ablation takes away, there is no row without a label, or OpenCC is missing.
    """
    asked = recipe.evaluation
    if not asked.closer:
        return Further()
    variants = [*_invariance(recipe, split), *_ablations(recipe, split, data)]
    if asked.counts is None:
        return Further(variants)
    unlabelled = data.splits.unlabeled
    if not unlabelled.num_rows:
        raise UserError("evaluation.counts: every row of the data has a label; add rows without one, or leave it out")
    documents = _drawn(data.input_spec.documents(unlabelled), asked.counts, recipe.seed)
    chosen = pa.compute.is_in(unlabelled["document_id"], value_set=documents["document_id"].combine_chunks())
    return Further(variants, unlabelled.filter(chosen), documents)


def _invariance(recipe: EvalRecipe, split: EvaluatedSplit) -> list[Variant]:
    columns, asked = text_columns(recipe.data.columns), recipe.evaluation
    documents = _drawn(split.documents, asked.invariance_rows, recipe.seed)
    at = _positions(split.documents, documents)
    made = [changed_rows("invariance", one, split.rows, documents, columns, CHANGES[one]) for one in asked.invariance]
    return [Variant(one.kind, one.name, one.rows, at[one.documents]) for one in made]


def _ablations(recipe: EvalRecipe, split: EvaluatedSplit, data: LoadedData) -> list[Variant]:
    asked = recipe.evaluation
    if not asked.ablations:
        return []
    columns = text_columns(recipe.data.columns)
    if len(columns) > 1:
        raise UserError(
            f"evaluation.ablations: of transcripts in one text column; the recipe names {', '.join(columns)}"
        )
    whole, names = joined_documents(split.rows, split.documents, columns[0]), data.input_spec.speaker_names
    variants = []
    for one in asked.ablations:
        change = partial(ablate, one, opening_turns=asked.opening_turns, names=names)
        variant = changed_rows("ablation", one, whole, whole, columns, change)
        if not len(variant.documents):
            raise UserError(
                f"evaluation.ablations: {one} changes no document of the {split.name} split: none is a transcript with "
                "that part (lines that begin with a speaker, such as 'Ann: ...'); leave it out"
            )
        variants.append(variant)
    return variants


def _drawn(documents: pa.Table, most: int, seed: int) -> pa.Table:
    """At most so many of the documents, in their order."""
    if documents.num_rows <= most:
        return documents
    chosen = np.random.default_rng(seed).choice(documents.num_rows, most, replace=False)
    return documents.take(pa.array(np.sort(chosen)))


def _positions(documents: pa.Table, some: pa.Table) -> np.ndarray:  # type: ignore[type-arg]
    """Where some of the documents stand among all."""
    place = {one: i for i, one in enumerate(documents["document_id"].to_pylist())}
    return np.array([place[one] for one in some["document_id"].to_pylist()], dtype=np.int64)
