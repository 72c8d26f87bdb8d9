"""The datasheet of a written folder: `README.md` in the form of the Hub's dataset cards.

What the recipe and the rows tell is filled in; what only people know (where the texts come from, who agreed, under
which licence) is asked, after Gebru et al., Datasheets for Datasets, arXiv 1803.09010.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from categorize.data.export.folder import LABELLED_SPLITS, MANIFEST, SPREADSHEET, Exported, kept_name
from categorize.data.export.overview import Table, duplicate_table, length_table, row_counts
from categorize.data.splits import LoadedData
from categorize.recipe.data_sections import SourceFiles
from categorize.recipe.sections import RecipeBase

PICTURE = "overview.svg"
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
_SCRIPTS = {
    "zh": re.compile(r"[\u3400-\u9fff]"),
    "ja": re.compile(r"[\u3040-\u30ff]"),
    "ko": re.compile(r"[\uac00-\ud7af]"),
}
_LOOKED_AT = 2000  # texts that tell the script


def datasheet(
    data: LoadedData, recipe: RecipeBase, exported: Exported, *, license_id: str | None, language: str | None
) -> str:
    """The text of `README.md`.

    Args:
        license_id: as the Hub spells it; unknown where None.
        language: ISO 639 code; guessed from the script where that says enough.
    """
    front = yaml.safe_dump(
        front_matter(data, recipe, exported, license_id or "unknown", language or guess_language(data)),
        allow_unicode=True,
        sort_keys=False,
    )
    parts = ["---", front.rstrip("\n"), "---", "", f"# {recipe.name}", ""]
    total = sum(exported.tables[name].num_rows for name in exported.splits)
    task = data.label_set.task.replace("_", "-")
    parts += [f"{total:,} texts for {task} classification, written by `python -m categorize.data`.", ""]
    if data.label_set.is_regression:
        parts[-2] = f"{total:,} texts with scores, for regression, written by `python -m categorize.data`."
    parts += [f"![Lengths of the texts and rows of each label]({PICTURE})", ""]
    parts += ["## Rows", "", *_markdown([["", "rows"], *_counts(data)]), ""]
    parts += [*_markdown(_label_table(data)), ""]
    parts += [*_markdown(length_table(data)), "", *_markdown(duplicate_table(data)), ""]
    parts += ["## How it was made", "", *_how(data, recipe), ""]
    if data.report.warnings:
        parts += ["## Mind", "", *(f"* {warning}" for warning in data.report.warnings), ""]
    parts += ["## Files", "", *_files(exported, recipe), ""]
    parts += ["## To be filled in by those who know", "", *_QUESTIONS, ""]
    return "\n".join(parts)


def front_matter(
    data: LoadedData, recipe: RecipeBase, exported: Exported, license_id: str, language: str | None
) -> dict[str, Any]:
    """The YAML at the top, see https://huggingface.co/docs/hub/datasets-cards: `load_dataset` reads `configs`."""
    total = sum(exported.tables[name].num_rows for name in exported.splits)
    result: dict[str, Any] = {"license": license_id}
    if language is not None:
        result["language"] = [language]
    result |= {
        "pretty_name": recipe.name,
        "task_categories": ["text-classification"],
        "size_categories": [next((name for bound, name in _SIZES if total < bound), "n>10M")],
        "tags": ["categorize", data.label_set.task.replace("_", "-")],
    }
    if exported.form == "xlsx":
        return {**result, "viewer": False}  # neither `datasets` nor the Hub's viewer reads spreadsheets
    result |= {
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": name, "path": exported.file(name)} for name in exported.splits],
            },
            *(
                {"config_name": name, "data_files": [{"split": name, "path": exported.file(name)}]}
                for name in ("purged", "rejected")
                if name in exported.tables
            ),
        ],
    }
    return result


def guess_language(data: LoadedData) -> str | None:
    """zh, ja or ko where its script prevails; None where letters alone cannot tell."""
    texts = [text for name in ("train", "unlabeled") for text in data.splits[name]["text"].to_pylist()[:_LOOKED_AT]]
    letters = sum(character.isalpha() for text in texts for character in text)
    shares = {name: sum(len(script.findall(text)) for text in texts) for name, script in _SCRIPTS.items()}
    if not letters:
        return None
    if shares["ja"] > 0.1 * letters:  # Japanese mixes kana with the Chinese characters
        return "ja"
    best = max(("zh", "ko"), key=lambda name: shares[name])
    return best if shares[best] > letters / 2 else None


def _counts(data: LoadedData) -> Table:
    return [[name.replace("  ", "of these: "), f"{count:,}"] for name, count in row_counts(data).items()]


def _label_table(data: LoadedData) -> Table:
    splits = [name for name in LABELLED_SPLITS if data.splits[name].num_rows]
    if data.label_set.is_regression:
        keys = ("mean", "sd", "min", "max")
        scores = data.report.scores
        return [["score", *splits], *([key, *(f"{scores[s][key]:.3g}" for s in splits)] for key in keys)]
    described = {label.name: label.description for label in data.label_set.labels}
    return [
        ["label", "description", *splits],
        *(
            [label, described.get(label, ""), *(f"{counts.get(split, 0):,}" for split in splits)]
            for label, counts in data.report.label_counts.items()
        ),
    ]


def _how(data: LoadedData, recipe: RecipeBase) -> list[str]:
    section, settings = recipe.data, recipe.data.splits
    source = section.source
    names = (
        ", ".join(f"{key}: `{value}`" for key, value in source.model_dump(exclude_none=True).items())
        if isinstance(source, SourceFiles)
        else f"`{source}`"
    )
    if settings.folds is not None:
        kind = f"fold {settings.fold} of {settings.folds} is the test split, validation {settings.validation:.0%}"
    elif settings.by_time is not None:
        kind = f"by time (`{settings.by_time}`), validation {settings.validation:.0%}, test {settings.test:.0%}"
    else:
        kind = f"stratified by label, validation {settings.validation:.0%}, test {settings.test:.0%}"
    unit = section.columns.group or section.columns.document
    whole = f"rows of one `{unit}` stay together" if unit else "equal texts stay together"
    if isinstance(source, SourceFiles):
        kind += " (those that the source does not publish)"
    columns = [f"{key}: {_named(value)}" for key, value in section.columns.model_dump().items() if value]
    lines = [
        f"* Source: {names}",
        f"* Columns: {', '.join(columns)}",
        f"* Cleaning, in this order: {', '.join(_steps(data)) or 'none'}",
        f"* Splits: {kind}, seed {settings.seed}; {whole}",
        f"* Near duplicates: {settings.near_duplicates}; duplicates of train: {section.dedupe}",
    ]
    if section.sample is not None:
        sample = section.sample
        lines.append(f"* Sample: {sample.rows:,} rows of {', '.join(sample.splits)}, seed {sample.seed}")
    lines += [f"* {note}" for note in data.report.notes]
    lines += [f"* Fingerprint of {name}: `{data.splits.fingerprints[name]}`" for name in LABELLED_SPLITS]
    return lines


def _named(value: str | list[str]) -> str:
    return " and ".join(f"`{name}`" for name in ([value] if isinstance(value, str) else value))


def _steps(data: LoadedData) -> list[str]:
    return [
        f"`{step}`" if isinstance(step, str) else f"`{json.dumps(step.to_dict(), ensure_ascii=False)}`"
        for step in data.input_spec.cleaning
    ]


def _files(exported: Exported, recipe: RecipeBase) -> list[str]:
    form = "xlsx" if exported.form == "xlsx" else "csv"
    meanings = {
        "purged": "all labelled rows of the splits, with their `split`",
        "rejected": "rows that are in no split, with the `reason`",
        "unlabeled": "rows without a usable label",
    }
    lines = [f"* `{exported.file(name)}`: {meanings.get(name, f'the {name} split')}" for name in exported.tables]
    lines += [
        f"* `{SPREADSHEET}/unlabeled.{form}`, `labeled.{form}`, `purged.{form}`: columns `custom_id, message, class`; "
        "`unlabeled` has every row with class -1, `labeled` every row with -1 where it has no usable label, `purged` "
        "the labelled rows of the splits",
        f"* `{MANIFEST}`: counts, fingerprints, labels and the preparation of the text",
        "",
        "```python",
        *_snippet(exported),
        "```",
        "",
        "A recipe reads the same rows in the same splits with this section, beside the `labels` of the first recipe:",
        "",
        "```yaml",
        yaml.safe_dump({"data": reload_section(exported, recipe)}, allow_unicode=True, sort_keys=False).rstrip("\n"),
        "```",
    ]
    return lines


def _snippet(exported: Exported) -> list[str]:
    """Python that reads the splits as a `DatasetDict`; `datasets` reads no spreadsheets by itself."""
    if exported.form != "xlsx":
        return ["from datasets import load_dataset", "", 'load_dataset("path/of/this/folder")']
    splits = ", ".join(f'"{name}"' for name in exported.splits)
    return [
        "import pandas  # with openpyxl",
        "from datasets import Dataset, DatasetDict",
        "",
        "def read(name):",
        '    path = f"path/of/this/folder/{name}.xlsx"',
        '    texts = {"id": str, "text": str}',
        '    return Dataset.from_pandas(pandas.read_excel(path, dtype=texts, keep_default_na=False, na_values=[""]))',
        "",
        f"DatasetDict({{name: read(name) for name in [{splits}]}})",
    ]


def reload_section(exported: Exported, recipe: RecipeBase, folder: str | Path = "FOLDER") -> dict[str, Any]:
    """The `data` section that reads a written folder again: the same rows in the same splits."""
    named = recipe.data.columns
    columns: dict[str, Any] = {"id": "id", "text": "text", "label": "label"}
    columns |= {key: key for key in ("document", "group", "weight") if getattr(named, key) is not None}
    if named.keep:
        columns["keep"] = [kept_name(name) for name in named.keep]
    section: dict[str, Any] = {
        "source": {name: f"{folder}/{exported.file(name)}" for name in exported.splits},
        "columns": columns,
    }
    if missing := [name for name in ("validation", "test") if name not in exported.splits]:
        section["splits"] = dict.fromkeys(missing, 0.0)
    return section


def _markdown(table: Table) -> list[str]:
    lines = [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in table]
    return [lines[0], "|" + "---|" * len(table[0]), *lines[1:]]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


_QUESTIONS = [
    "* Where do the texts come from, when were they collected, and by what means?",
    "* Who wrote them? Did they agree to this use, or why was that not needed?",
    "* Do texts, ids or kept columns tell who a person is? What was done about it?",
    "* Who or what gave the labels, by which instructions, and how well do two annotators agree?",
    "* Whom do the texts leave out? For what should they not be used?",
    "* Under which licence may they be passed on (`license:` at the top)?",
]
