"""The README.md of a run: a model card, which the Hub reads too. Its text is `card.md.jinja`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from categorize.recipe.adapter_sections import ADAPTER_CLASSES
from categorize.recipe.sections import TrainedRecipe
from categorize.runs.hub import is_hub_model

TEMPLATE = Path(__file__).with_name("card.md.jinja")
# As `evaluate` and the Hub call the measures that both have.
METRIC_TYPES = {
    "accuracy": "accuracy", "macro_f1": "f1", "weighted_f1": "f1", "pearson": "pearsonr", "spearman": "spearmanr",
    "mae": "mae", "rmse": "rmse",
}  # fmt: skip


@dataclass(frozen=True)
class CardFacts:
    """What a method says of its models to the Hub.

    Attributes:
        library: that loads them; `library_name` of the card.
        tags: beside those of every run, its method and its task.
    """

    library: str = "categorize"
    tags: tuple[str, ...] = ()


def card_facts(recipe: TrainedRecipe, of_method: CardFacts) -> CardFacts:
    """The facts of a run: those of its method, and of its adapter, which peft loads if it knows the kind."""
    if recipe.adapter is None:
        return of_method
    library = "peft" if recipe.adapter.type in ADAPTER_CLASSES else CardFacts.library
    return CardFacts(library, (recipe.adapter.type.replace("_", "-"), *of_method.tags))


def card(metadata: str, sections: dict[str, Any]) -> str:
    """The card's text: the Hub's metadata, and below it what the template reads."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(  # Markdown: nothing to escape
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return str(template.render(front_matter=metadata, **sections))


def front_matter(
    recipe: TrainedRecipe,
    manifest: dict[str, Any],
    facts: CardFacts,
    measures: dict[str, float],
    *,
    split: str = "test",
    dataset: str | None = None,
    language: str | None = None,
) -> str:
    """The metadata that the Hub reads at the top of a card, checked by its client's own classes.

    The base is named only where it is a model of the Hub; a folder of this machine says nothing there. The same holds
    for the data.
    Source: https://huggingface.co/docs/hub/model-cards.

    Args:
        measures: of the split, as `metrics.progress.flat` names them.
        dataset: id of the data on the Hub.
        language: ISO 639, of the texts.
    """
    from huggingface_hub import EvalResult, ModelCardData

    base, hub = manifest["model"], recipe.hub
    results = [
        EvalResult(
            task_type="text-classification",
            dataset_type=dataset or "private",
            dataset_name=dataset or "rows of the training recipe",
            dataset_split=split,
            metric_type=kind,
            metric_name=name,
            metric_value=round(measures[name], 4),
        )
        for name, kind in METRIC_TYPES.items()
        if name in measures
    ]
    named: dict[str, Any] = {"base_model": base} if base is not None and is_hub_model(base) else {}
    if named and recipe.adapter is not None:
        named["base_model_relation"] = "adapter"
    found = {"license": hub.license if hub is not None else None, "language": language, "datasets": dataset}
    data = ModelCardData(
        **{name: value for name, value in found.items() if value is not None},
        library_name=facts.library,
        pipeline_tag="text-classification",
        **named,
        tags=["categorize", manifest["method"], manifest["task"].replace("_", "-"), *facts.tags],
        metrics=list(dict.fromkeys(one.metric_type for one in results)) or None,
        model_name=manifest["name"] if results else None,
        eval_results=results or None,
    )
    return str(data.to_yaml()).rstrip("\n")
