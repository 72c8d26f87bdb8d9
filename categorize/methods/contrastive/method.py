"""The contrastive method: a sentence encoder tuned on pairs, and logistic regression on its vectors."""

from __future__ import annotations

from importlib.util import find_spec
from string import Formatter
from typing import TYPE_CHECKING

from categorize.errors import UserError
from categorize.methods.contrastive.section import ContrastiveModel
from categorize.methods.method import RoomMethod
from categorize.runs.card import CardFacts

if TYPE_CHECKING:
    from categorize.recipe.sections import SeqclsRecipe
    from categorize.recipe.written import WrittenRecipe

WORDS = ("name", "description", "aliases")


def pairs_need_labels(recipe: WrittenRecipe) -> None:
    """Scores have no pairs of one label."""
    if recipe.value("labels.task") == "regression":
        recipe.refuse("model.method", "contrastive learns from texts of one label; a regression has none: use head")


def label_words_are_there(recipe: WrittenRecipe) -> None:
    """A template reads what labels have, and each label has what it reads."""
    template = recipe.value("model.label_words")
    if not isinstance(template, str):
        return
    try:
        fields = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    except ValueError as error:
        recipe.refuse("model.label_words", f"cannot be read: {error}; double a brace that is meant as one")
        return
    if odd := fields - set(WORDS):
        recipe.refuse("model.label_words", f"knows {', '.join(WORDS)}, not {sorted(odd)[0]!r}")
    elif not fields:
        recipe.refuse("model.label_words", "names nothing of a label; write '{name}' or '{name}: {description}'")


class ContrastiveMethod(RoomMethod):
    """A sentence encoder tuned on pairs of texts, and logistic regression."""

    name = "contrastive"
    kind = "seqcls"
    section = ContrastiveModel
    uses = ("training.balance", "training.class_weights")
    checks = (pairs_need_labels, label_words_are_there)
    files = ("contrastive.json", "estimator.safetensors", "modules.json", "1_Pooling/config.json")
    together = False
    card = CardFacts("sentence-transformers")

    def check_sources(self, recipe: SeqclsRecipe) -> None:
        """Raises UserError where sentence-transformers is not installed."""
        if find_spec("sentence_transformers") is None:
            raise UserError(
                "model.method: contrastive needs sentence-transformers: pip install 'categorize[embeddings]'"
            )
