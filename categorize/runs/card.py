"""The README.md of a run: a short model card that the Hub reads too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from categorize.recipe.sections import TrainedRecipe
from categorize.runs.hub import is_hub_model

if TYPE_CHECKING:
    from categorize.data.load import LoadedData


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
    """The facts of a run: those of its method, and of its adapter, which peft loads."""
    if recipe.adapter is None:
        return of_method
    return CardFacts("peft", (recipe.adapter.type.replace("_", "-"), *of_method.tags))


def card(
    recipe: TrainedRecipe, data: LoadedData, manifest: dict[str, Any], metrics: dict[str, Any], *, facts: CardFacts
) -> str:
    """What was trained, on what, how well, and how to predict with it, below the metadata of `front_matter`."""
    import yaml

    from categorize.metrics.progress import flat, spoken

    measured = flat(metrics.get("test") or metrics.get("validation") or {})
    lines = [
        "---",
        yaml.safe_dump(front_matter(manifest, facts), allow_unicode=True, sort_keys=False).rstrip("\n"),
        "---",
        "",
        f"# {recipe.name}",
        "",
        f"A {manifest['task'].replace('_', '-')} classifier ({manifest['method']}"
        + (f", on `{manifest['model']}`" if manifest["model"] else "")
        + f") with {len(data.label_set)} outputs, trained on {manifest['rows']['train']:,} rows.",
        *_segments(recipe, manifest),
        "",
        "| measure | " + ("test" if "test" in metrics else "validation") + " |",
        "|---|---|",
        *(f"| {spoken(name, manifest['task'])} | {value:.4f} |" for name, value in measured.items()),
        "",
        "| label | description |",
        "|---|---|",
        *(f"| {_cell(label.name)} | {_cell(label.description)} |" for label in data.label_set.labels),
        "",
        "```python",
        "from categorize import load_predictor",
        f'load_predictor("{recipe.output_path}").predict_texts(["..."]).decided',
        "```",
        "",
    ]
    return "\n".join(lines)


def _segments(recipe: TrainedRecipe, manifest: dict[str, Any]) -> list[str]:
    """How documents are read, where they are not read whole."""
    counts = manifest["details"].get("segments", {}).get("train")
    if counts is None:
        return []
    limit = f", at most {counts['limit']:,} tokens" if counts["limit"] is not None else ""
    how = recipe.data.segments.aggregation
    return [
        "",
        f"Documents are read in segments (by {counts['by']}{limit}), {counts['segments']:,} in training, whose "
        f"predictions become the document's ({how}). The measures are of documents.",
    ]


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
