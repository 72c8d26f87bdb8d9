"""The chunks method: an encoder reads a document in chunks, an aggregator joins their vectors, end to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from categorize.methods.chunks.checks import check_chunks
from categorize.methods.chunks.section import ChunksModel
from categorize.methods.method import RoomMethod

if TYPE_CHECKING:
    from categorize.recipe.sections import SeqclsRecipe


class ChunksMethod(RoomMethod):
    """A chunk encoder with attention, LSTM or another aggregator."""

    name = "chunks"
    kind = "seqcls"
    section = ChunksModel
    uses = ("adapter", "training")
    unit = "document"
    joins_segments = True
    checks = (check_chunks,)
    files = ("chunks.json",)

    def check_sources(self, recipe: SeqclsRecipe) -> None:
        """Raises UserError where a model or a package of the features is missing."""
        from categorize.features.build import build_featurizer

        assert isinstance(recipe.model, ChunksModel)
        if recipe.model.features is not None:
            build_featurizer(recipe.model.features, recipe.prediction)  # type: ignore[arg-type]
