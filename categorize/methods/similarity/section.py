"""The `model` section of similarity to labels, and what cannot go with it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from categorize.errors import UserError
from categorize.labels import Label, LabelSet
from categorize.recipe.feature_sections import FeatureSection
from categorize.recipe.section import Section
from categorize.recipe.template import Template
from categorize.recipe.wording import first_few
from categorize.recipe.written import WrittenRecipe

PARTS = ("name", "description", "aliases", "parent")
WITHOUT = "describe them in labels.names, or write model.template: '{name}'"


class SimilarityModel(Section):
    """Similarity of a text and each label's own text; training rows, where there are any, fit three numbers."""

    method: Literal["similarity"]
    features: FeatureSection | Annotated[list[FeatureSection], Field(min_length=1)] = Field(
        description="How texts and labels become features; a list puts those of several kinds side by side."
    )
    template: str = Field(
        "{name}: {description}",
        description="A label as a text: {name} (_ as a space), {description}, {aliases} and {parent} in their places.",
    )
    learn: bool = Field(
        True, description="Fit scale, hubness and bias on training rows; false: the same numbers for all tasks."
    )


def check_similarity(recipe: WrittenRecipe) -> None:
    """Notes a task without labels, a template that says nothing of them, and labels that lack what it reads."""
    if recipe.value("labels.task") == "regression":
        recipe.refuse("model.method", "similarity compares texts with labels, but labels.task is regression; use head")
    text = recipe.value("model.template", SimilarityModel.model_fields["template"].default)
    if not isinstance(text, str):
        return
    try:
        columns = Template.parse(text).columns
    except ValueError as error:
        recipe.refuse("model.template", str(error))
        return
    if odd := [name for name in columns if name not in PARTS]:
        recipe.refuse("model.template", f"{{{odd[0]}}} is not one of {', '.join(PARTS)}")
    if not columns:
        recipe.refuse("model.template", f"{text!r} is the same for all labels; write {{name}} in it")
    if "description" not in columns:
        return
    where = "model.template" if recipe.holds("model.template") else "model.method"
    if (lacking := recipe.undescribed) is None:
        recipe.refuse(where, f"{text!r} reads descriptions, but labels.names are those of the data; {WITHOUT}")
    elif lacking:
        recipe.refuse(where, f"{text!r} reads descriptions, which {first_few(lacking)} lack; {WITHOUT}")


def label_texts(label_set: LabelSet, template: str) -> list[str]:
    """Each label as a text.

    Raises:
        UserError: labels lack the description that the template reads.

    >>> labels = LabelSet("single_label", (Label("card_lost", "Gone."), Label("fee", "A price.")))
    >>> label_texts(labels, "{name}: {description}")
    ['card lost: Gone.', 'fee: A price.']
    """
    parsed = Template.parse(template)
    lacking = [label.name for label in label_set.labels if not label.description]
    if lacking and "description" in parsed.columns:
        raise UserError(f"labels: {template!r} reads descriptions, which {first_few(lacking)} lack; {WITHOUT}")

    def part(label: Label, name: str) -> str:
        if name == "aliases":
            return ", ".join(label.aliases)
        return label.description if name == "description" else str(getattr(label, name) or "").replace("_", " ")

    return [parsed.fill(lambda name, label=label: part(label, name)) for label in label_set.labels]  # type: ignore[misc]
