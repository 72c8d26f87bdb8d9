"""The README.md of a run: a short model card that the Hub reads too. Its text is `card.md.jinja`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from categorize.labels import LabelSet
from categorize.recipe.adapter_sections import ADAPTER_CLASSES
from categorize.recipe.sections import TrainedRecipe
from categorize.recipe.wording import counted
from categorize.runs.hub import is_hub_model

TEMPLATE = Path(__file__).with_name("card.md.jinja")


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


def card(
    recipe: TrainedRecipe, label_set: LabelSet, manifest: dict[str, Any], metrics: dict[str, Any], *, facts: CardFacts
) -> str:
    """What was trained, on what, how well, and how to predict with it, below the metadata of `front_matter`."""
    import yaml
    from jinja2 import Environment, StrictUndefined

    from categorize.metrics.progress import flat, spoken

    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["cell"] = _cell
    measured = flat(metrics.get("test") or metrics.get("validation") or {})
    metadata = front_matter(manifest, facts)
    text: str = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        front_matter=yaml.safe_dump(metadata, allow_unicode=True, sort_keys=False).rstrip("\n"),
        name=recipe.name,
        task=manifest["task"].replace("_", "-"),
        method=manifest["method"],
        model=manifest["model"],
        outputs=counted(len(label_set), "output"),
        rows=counted(manifest["rows"]["train"], "row"),
        segments=manifest["details"].get("segments", {}).get("train"),
        aggregation=recipe.data.segments.aggregation,
        split="test" if "test" in metrics else "validation",
        measures={spoken(name, manifest["task"]): value for name, value in measured.items()},
        labels=label_set.labels,
        path=recipe.output_path,
    )
    return text


def front_matter(manifest: dict[str, Any], facts: CardFacts) -> dict[str, Any]:
    """The metadata that the Hub reads at the top of a card: library, task, base model and tags.

    The base is named only where it is a model of the Hub; a folder of this machine says nothing there.
    Source: https://huggingface.co/docs/hub/model-cards.
    """
    base = manifest["model"]
    return {
        "library_name": facts.library,
        "pipeline_tag": "text-classification",
        **({"base_model": base} if base is not None and is_hub_model(base) else {}),
        "tags": ["categorize", manifest["method"], manifest["task"].replace("_", "-"), *facts.tags],
    }


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
