"""The similarity method: texts and labels compared by their features."""

from __future__ import annotations

from categorize.methods.method import RoomMethod
from categorize.methods.similarity.section import SimilarityModel, check_similarity


class SimilarityMethod(RoomMethod):
    """Cosines of texts and label descriptions."""

    name = "similarity"
    kind = "seqcls"
    section = SimilarityModel
    checks = (check_similarity,)
    files = ("similarity.json", "features.json", "features.vocabulary.json")
    trains = False
    together = False
