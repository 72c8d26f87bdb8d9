"""JSON Schema of recipes for editors, and the reference page: `python -m categorize.recipe.schema` writes both.

The schema is generous where a file may inherit (keys may be missing under `extends`, null may delete); the loader is
strict. Its subject is what an editor completes and underlines: names of keys, types, choices, descriptions.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from categorize.recipe.reference import markdown
from categorize.recipe.sections import recipe_classes
from categorize.recipe.terminal import run_command
from categorize.recipe.typecheck import LOADER_KEYS
from categorize.recipe.written import Methods

ROOT = Path(__file__).parents[2]
SCHEMA_FILE = ROOT / "recipes" / "recipe.schema.json"
REFERENCE_FILE = ROOT / "docs" / "recipes.md"

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
NULL: Schema = {"type": "null"}


def json_schema(methods: Methods) -> Schema:
    """The schema of every kind of recipe and of fragments without `kind`."""
    recipes = recipe_classes(methods)
    references, generated = models_json_schema([(model, "validation") for model in recipes.values()])
    definitions: dict[str, Schema] = generated["$defs"]
    kinds = {kind: references[model, "validation"] for kind, model in recipes.items()}
    needed = {kind: _needed(reference, definitions) for kind, reference in kinds.items()}
    for section in [section for reference in kinds.values() for section in _sections(reference, definitions)]:
        section.pop("required", None)
        section["properties"] = {key: _nullable(schema) for key, schema in section["properties"].items()}
    tops = [definitions[model.__name__]["properties"] for model in recipes.values()]
    for top in tops:
        top["extends"] = {"anyOf": [TEXT, {"type": "array", "items": TEXT}], "description": LOADER_KEYS[""]["extends"]}
    for path, name, key in (("labels", "LabelsSection", "schema"), ("prompt", "PromptSection", "file")):
        told = {**TEXT, "description": LOADER_KEYS[path][key]}
        definitions[name]["properties"][key] = _nullable(told)
    definitions["Fragment"] = {
        "description": "A part of a recipe, to be named under extends.",
        "type": "object",
        "properties": {key: schema for top in reversed(tops) for key, schema in top.items() if key != "kind"},
        "additionalProperties": False,
    }
    by_kind: list[Schema] = [
        {
            "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
            "then": {**reference, "if": {"required": ["extends"]}, "else": needed[kind]},
        }
        for kind, reference in kinds.items()
    ]
    by_kind.append({"if": {"not": {"required": ["kind"]}}, "then": {"$ref": "#/$defs/Fragment"}})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Recipe of categorize",
        "type": "object",
        "properties": {"kind": {"enum": list(recipes), "description": "Which script runs the recipe."}},
        "allOf": by_kind,
        "$defs": dict(sorted(definitions.items())),
    }


def _resolved(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    return definitions[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def _sections(schema: Schema, definitions: dict[str, Schema]) -> Iterator[Schema]:
    """The schemas of sections, but for those that stand in lists, which do not merge."""
    schema = _resolved(schema, definitions)
    if "properties" in schema:
        yield schema
    for part in (*schema.get("properties", {}).values(), *schema.get("anyOf", ())):
        yield from _sections(part, definitions)


def _needed(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """The keys that a recipe needs where it inherits nothing."""
    schema = _resolved(schema, definitions)
    inner = {key: part for key, value in schema.get("properties", {}).items() if (part := _needed(value, definitions))}
    needed: Schema = {"properties": inner} if inner else {}
    if "required" in schema:
        needed["required"] = schema["required"]
    branches = [_needed(branch, definitions) for branch in schema.get("anyOf", ())]
    if branches and all(branches):
        needed["anyOf"] = branches
    return NULL if schema == NULL else needed


def _nullable(schema: Schema) -> Schema:
    """The schema or null, which deletes what was inherited."""
    outer: Schema = {key: schema[key] for key in ("description", "default") if key in schema}
    inner = {key: value for key, value in schema.items() if key not in ("title", *outer)}
    branches = inner["anyOf"] if set(inner) == {"anyOf"} else [inner]
    return {"anyOf": branches if NULL in branches else [*branches, NULL], **outer}


def schema_text(methods: Methods) -> str:
    """The schema as it is stored."""
    return json.dumps(json_schema(methods), indent=1, ensure_ascii=False) + "\n"


def main(methods: Methods) -> None:
    """Write the schema and the reference page."""
    for path, text in ((SCHEMA_FILE, schema_text(methods)), (REFERENCE_FILE, markdown(methods))):
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}", file=sys.stderr)


if __name__ == "__main__":
    from categorize.methods.registry import METHODS

    sys.exit(run_command(lambda: main(METHODS)))
