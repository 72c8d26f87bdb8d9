"""The datasheet of a written folder: `README.md` in the form of the Hub's dataset cards.

What the recipe and the rows tell is filled in; what only people know (where the texts come from, who agreed, under
which licence) is asked, after Gebru et al., Datasheets for Datasets, arXiv 1803.09010.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from categorize.data.columns import named_columns
from categorize.data.export.folder import MANIFEST, SPREADSHEET, Exported, kept_name
from categorize.data.export.overview import Table, duplicate_table, length_table, row_counts
from categorize.data.report import LABELLED_SPLITS, SCORE_MEASURES
from categorize.data.splits import LoadedData
from categorize.recipe.data_sections import SourceFiles
from categorize.recipe.sections import RecipeBase
from categorize.text_tables import markdown_table

PICTURE = "overview.svg"
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
_SCRIPTS = {"zh": r"[\u3400-\u9fff]", "ja": r"[\u3040-\u30ff]", "ko": r"[\uac00-\ud7af]"}
_MEANINGS = {
    "purged": "all labelled rows of the splits, with their `split`",
    "rejected": "rows that are in no split, with the `reason`",
    "unlabeled": "rows without a usable label",
}
_LOOKED_AT = 2000  # texts that tell the script


def datasheet(
    data: LoadedData, recipe: RecipeBase, exported: Exported, *, license_id: str | None, language: str | None
) -> str:
    """The text of `README.md`. None: an unknown licence; a language (ISO 639) that is guessed from the script."""
    from jinja2 import Environment, StrictUndefined

    template = Environment(  # Markdown: nothing to escape
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined
    ).from_string(Path(__file__).with_suffix(".md.jinja").read_text(encoding="utf-8"))
    counts = [[name.replace("  ", "of these: "), f"{count:,}"] for name, count in row_counts(data).items()]
    tables = [[["", "rows"], *counts], _label_table(data), length_table(data), duplicate_table(data)]
    text: str = template.render(
        data=data,
        recipe=recipe,
        exported=exported,
        front=_yaml(front_matter(data, recipe, exported, license_id or "unknown", language or guess_language(data))),
        total=sum(exported.tables[name].num_rows for name in exported.splits),
        task=data.label_set.task.replace("_", "-"),
        regression=data.label_set.is_regression,
        picture=PICTURE,
        tables=[markdown_table(table[0], table[1:], "l" * len(table[0])) for table in tables],
        labelled_splits=LABELLED_SPLITS,
        meanings=_MEANINGS | dict.fromkeys(LABELLED_SPLITS),
        spreadsheet=SPREADSHEET,
        sheet="xlsx" if exported.form == "xlsx" else "csv",
        manifest=MANIFEST,
        section=_yaml({"data": reload_section(exported, recipe)}),
        **_preparation(data, recipe),
    )
    return text


def _yaml(data: dict[str, Any]) -> str:
    return yaml.safe_dump(data, allow_unicode=True, sort_keys=False).rstrip("\n")


def front_matter(
    data: LoadedData, recipe: RecipeBase, exported: Exported, license_id: str, language: str | None
) -> dict[str, Any]:
    """The YAML at the top, see https://huggingface.co/docs/hub/datasets-cards: `load_dataset` reads `configs`."""
    total = sum(exported.tables[name].num_rows for name in exported.splits)
    result: dict[str, Any] = {"license": license_id} | ({"language": [language]} if language is not None else {})
    result |= {
        "pretty_name": recipe.name,
        "task_categories": ["text-classification"],
        "size_categories": [size_category(total)],
        "tags": ["categorize", data.label_set.task.replace("_", "-")],
    }
    if exported.form == "xlsx":
        return {**result, "viewer": False}  # neither `datasets` nor the Hub's viewer reads spreadsheets
    more = [name for name in ("purged", "rejected") if name in exported.tables]
    configs = {"default": exported.splits} | {name: [name] for name in more}
    files = {key: [{"split": name, "path": exported.file(name)} for name in names] for key, names in configs.items()}
    return result | {"configs": [{"config_name": key, "data_files": found} for key, found in files.items()]}


def guess_language(data: LoadedData) -> str | None:
    """The language of the rows, see `language_of`."""
    return language_of(
        [text for name in ("train", "unlabeled") for text in data.splits[name]["text"][:_LOOKED_AT].to_pylist()]
    )


def size_category(rows: int) -> str:
    """The Hub's name for so many rows.

    >>> size_category(999), size_category(2_500_000)
    ('n<1K', '1M<n<10M')
    """
    return next((name for bound, name in _SIZES if rows < bound), "n>10M")


def language_of(texts: Sequence[str]) -> str | None:
    """zh, ja or ko where its script prevails; None where letters alone cannot tell.

    >>> language_of(["这个视频太好看了"]), language_of(["a good video"])
    ('zh', None)
    """
    letters = sum(character.isalpha() for text in texts for character in text)
    shares = {name: sum(len(re.findall(script, text)) for text in texts) for name, script in _SCRIPTS.items()}
    if not letters:
        return None
    if shares["ja"] > 0.1 * letters:  # Japanese mixes kana with the Chinese characters
        return "ja"
    best = max(("zh", "ko"), key=lambda name: shares[name])
    return best if shares[best] > letters / 2 else None


def _label_table(data: LoadedData) -> Table:
    splits = [name for name in LABELLED_SPLITS if data.splits[name].num_rows]
    if data.label_set.is_regression:
        scores = data.report.scores
        return [["score", *splits], *([key, *(f"{scores[s][key]:.3g}" for s in splits)] for key in SCORE_MEASURES)]
    described = {label.name: label.description for label in data.label_set.labels}
    return [
        ["label", "description", *splits],
        *(
            [label, described.get(label, ""), *(f"{counts.get(split, 0):,}" for split in splits)]
            for label, counts in data.report.label_counts.items()
        ),
    ]


def _preparation(data: LoadedData, recipe: RecipeBase) -> dict[str, str]:
    """How the rows were read, cleaned and split, in words."""
    section, settings = recipe.data, recipe.data.splits
    source, names = section.source, f"`{section.source}`"
    if isinstance(source, SourceFiles):
        names = ", ".join(f"{key}: `{value}`" for key, value in source.model_dump(exclude_none=True).items())
    if settings.folds is not None:
        kind = f"fold {settings.fold} of {settings.folds} is the test split, validation {settings.validation:.0%}"
    else:
        how = "stratified by label" if settings.by_time is None else f"by time (`{settings.by_time}`)"
        kind = f"{how}, validation {settings.validation:.0%}, test {settings.test:.0%}"
    unit = section.columns.group or section.columns.document
    steps = [
        step if isinstance(step, str) else json.dumps(step.to_dict(), ensure_ascii=False)
        for step in data.input_spec.cleaning
    ]
    return {
        "source": names,
        "columns": ", ".join(
            f"{key}: {' and '.join(f'`{name}`' for name in names)}"
            for key, names in named_columns(section.columns).items()
            if names
        ),
        "cleaning": ", ".join(f"`{step}`" for step in steps),
        "kind": kind + " (those that the source does not publish)" * isinstance(source, SourceFiles),
        "whole": f"rows of one `{unit}` stay together" if unit else "equal texts stay together",
    }


def reload_section(exported: Exported, recipe: RecipeBase, folder: str | Path = "FOLDER") -> dict[str, Any]:
    """The `data` section that reads a written folder again: the same rows in the same splits."""
    named = recipe.data.columns
    columns: dict[str, Any] = {"id": "id", "text": "text", "label": "label"}
    columns |= {key: key for key in ("document", "group", "weight") if getattr(named, key) is not None}
    if named.keep:
        columns["keep"] = [kept_name(name) for name in named.keep]
    if named.raters:
        columns["raters"] = [kept_name(name) for name in named.raters]
    source = {name: f"{folder}/{exported.file(name)}" for name in exported.splits}
    missing = [name for name in ("validation", "test") if name not in exported.splits]
    return {"source": source, "columns": columns, **({"splits": dict.fromkeys(missing, 0.0)} if missing else {})}
