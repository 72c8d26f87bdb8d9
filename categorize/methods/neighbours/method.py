"""The neighbours method: a text gets the labels of the labelled rows that are most similar to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from categorize.methods.method import RoomMethod
from categorize.methods.neighbours.section import NeighboursModel

if TYPE_CHECKING:
    from categorize.recipe.sections import SeqclsRecipe
    from categorize.recipe.written import WrittenRecipe


def faiss_searches_embeddings(recipe: WrittenRecipe) -> None:
    """n-grams are sparse, which faiss does not take."""
    features, search = recipe.value("model.features"), recipe.value("model.search")
    kinds = features if isinstance(features, list) else [features]
    sparse = any(isinstance(one, dict) and one.get("type") == "tfidf" for one in kinds)
    if sparse and search not in (None, "exact"):
        recipe.refuse("model.search", f"{search} is for embeddings, and n-grams are sparse; write exact")


class NeighboursMethod(RoomMethod):
    """k nearest neighbours by cosine, weighed by similarity."""

    name = "neighbours"
    kind = "seqcls"
    section = NeighboursModel
    checks = (faiss_searches_embeddings,)
    files = ("neighbours.json", "features.json", "features.vocabulary.json")
    together = False

    def check_sources(self, recipe: SeqclsRecipe) -> None:
        """Raises UserError where a model or a package is missing."""
        from categorize.features.build import build_featurizer
        from categorize.features.search import faiss

        section = recipe.model
        assert isinstance(section, NeighboursModel)
        build_featurizer(section.features, recipe.prediction)  # type: ignore[arg-type]
        if section.search not in (None, "exact"):
            faiss()
