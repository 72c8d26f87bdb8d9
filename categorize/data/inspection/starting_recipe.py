"""A recipe to start from: what a look at a file found, as YAML, with the cheapest model that is worth beating."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from categorize.data.inspection.look import Look
from categorize.errors import UserError
from categorize.recipe.load import load_recipe
from categorize.recipe.scalars import dump, flow
from categorize.recipe.written import Methods
from categorize.writing import write_whole

_NAMED = 300  # labels that are written one by one
_SCHEMA = "recipe.schema.json"


def starting_recipe(found: Look, path: Path) -> str:
    """The recipe as `path` will hold it."""
    data = {key: value for key, value in found.settings.items() if key != "columns"}
    columns = _columns(found)
    name = re.sub(r"[^\w-]+", "_", path.stem).strip("_") or "mine"
    schema = [f"# yaml-language-server: $schema={_SCHEMA}"] if (path.parent / _SCHEMA).is_file() else []
    lines = [
        *schema,
        f"# {found.name} by TF-IDF, in seconds: what every larger model has to beat.",
        f"#   python run_seqcls.py {path}",
        "kind: seqcls",
        f"name: {flow([name])[1:-1]}",
        "data:",
        *(f"  {line}" for line in dump(data).splitlines()),
        f"  columns: {flow(columns)}",
    ]
    if found.roles.separator not in (None, ";"):
        lines.append(f"  label_separator: {flow([found.roles.separator])[1:-1]}")
    if labels := _labels(found):
        lines.append("labels:")
        if labels.get("names") and all(name.removeprefix("-").isdecimal() for name in labels["names"]):
            first = labels["names"][0]
            lines.append(f"  # Codes can have names: names: [Name, ...] and codes: {{{first}: Name, ...}}.")
        lines += [f"  {key}: {flow(value) if isinstance(value, list) else value}" for key, value in labels.items()]
    if columns["label"] is None:
        lines.append(
            "# No column looks like a label: name it as data.columns.label, or have a teacher label (docs/labeling.md)."
        )
    lines += ["model:", "  method: tfidf"]
    return "\n".join(lines) + "\n"


def _columns(found: Look) -> dict[str, Any]:
    roles = found.roles
    given = dict(found.settings.get("columns", {}))
    columns: dict[str, Any] = {} if roles.id is None else {"id": roles.id}
    columns["text"] = roles.text or "text"
    columns["label"] = list(roles.labels) or roles.label
    return {**columns, **{key: value for key, value in given.items() if key != "keep"}}


def _labels(found: Look) -> dict[str, Any]:
    roles = found.roles
    labels: dict[str, Any] = {} if roles.task == "single_label" else {"task": roles.task}
    if 1 < len(roles.names) <= _NAMED:
        labels["names"] = sorted(roles.names)
    if roles.nothing:
        labels["missing"] = ["", "-1", *roles.nothing]
    return labels


def write_recipe(found: Look, path: Path, methods: Methods) -> None:
    """Write the recipe, checked as any other. Raises UserError where a file is there, or columns are not told."""
    if path.exists():
        raise UserError(f"--recipe: {path} is there; name another file")
    if path.suffix not in (".yaml", ".yml"):
        raise UserError(f"--recipe: {path}: name it .yaml, such as recipes/mine.yaml")
    if found.roles.text is None:
        raise UserError(f"--recipe: no column of {found.name} looks like a text; name one: data.columns.text=COLUMN")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, starting_recipe(found, path))
    load_recipe(path, methods=methods)
