"""The TF-IDF method: a linear model on n-gram features, by scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from categorize.methods.method import RoomMethod
from categorize.methods.tfidf.section import TfidfModel

if TYPE_CHECKING:
    from categorize.labels import LabelSet
    from categorize.recipe.sections import TrainedRecipe


class TfidfMethod(RoomMethod):
    """TF-IDF and LinearSVC, logistic regression or ridge."""

    name = "tfidf"
    kind = "seqcls"
    section = TfidfModel
    uses = ("training.balance", "training.class_weights")
    files = ("tfidf.json", "vocabulary.json")
    together = False

    def gives_margins(self, recipe: TrainedRecipe, label_set: LabelSet) -> bool:
        """Those of LinearSVC, or of one binary model a label where a row has one label."""
        from categorize.methods.tfidf.fit import estimator

        assert isinstance(recipe.model, TfidfModel)
        return not label_set.is_multi_label or estimator(recipe.model, label_set) == "linear_svc"
