"""The embedding method: features of texts and a classical estimator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from categorize.methods.embedding.section import EmbeddingModel
from categorize.methods.method import RoomMethod

if TYPE_CHECKING:
    from categorize.recipe.sections import SeqclsRecipe
    from categorize.recipe.written import WrittenRecipe

LINEAR = ("logistic_regression", "linear_svc")


def estimator_fits_the_task(recipe: WrittenRecipe) -> None:
    """A regression is ridge or xgboost, and ridge nothing else."""
    estimator, task = recipe.value("model.estimator"), recipe.value("labels.task", "single_label")
    if estimator in LINEAR and task == "regression":
        recipe.refuse("model.estimator", f"{estimator} predicts labels; write ridge or xgboost for a regression")
    if estimator == "ridge" and task != "regression":
        recipe.refuse("model.estimator", f"ridge predicts a score, not {task}; write {', '.join(LINEAR)} or xgboost")


def keys_are_the_estimators(recipe: WrittenRecipe) -> None:
    """Keys of another estimator would do nothing."""
    default = "ridge" if recipe.value("labels.task") == "regression" else LINEAR[0]
    estimator = recipe.value("model.estimator") or default
    for key, owners in (("C", LINEAR), ("alpha", ("ridge",)), ("boosting", ("xgboost",))):
        if recipe.holds(f"model.{key}") and estimator not in owners:
            recipe.refuse(f"model.{key}", f"is for {' and '.join(owners)}, not for {estimator}; leave it out")


def trees_of_several_labels_have_no_class_weights(recipe: WrittenRecipe) -> None:
    """xgboost weighs rows, not the sides of one label of several."""
    several = recipe.value("labels.task") == "multi_label" and recipe.value("model.estimator") == "xgboost"
    if several and recipe.holds("training.class_weights"):
        recipe.refuse("training.class_weights", "xgboost has none where a row has several labels; use training.balance")


class EmbeddingMethod(RoomMethod):
    """Embeddings or other features, and logistic regression, a linear SVM, boosted trees or ridge."""

    name = "embedding"
    kind = "seqcls"
    section = EmbeddingModel
    uses = ("training.balance", "training.class_weights")
    checks = (estimator_fits_the_task, keys_are_the_estimators, trees_of_several_labels_have_no_class_weights)
    files = ("features.json", "features.vocabulary.json", "estimator.ubj")
    together = False

    def check_sources(self, recipe: SeqclsRecipe) -> None:
        """Raises UserError where a model or a package is missing."""
        from categorize.features.build import build_featurizer

        section = recipe.model
        assert isinstance(section, EmbeddingModel)
        build_featurizer(section.features, recipe.prediction)  # type: ignore[arg-type]
        if section.estimator == "xgboost":
            from categorize.methods.embedding.estimators import xgboost

            xgboost()
