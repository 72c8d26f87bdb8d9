"""JSON Schema of recipes for editors, and the reference page: `python -m categorize.recipe.schema` writes both.

The schema is generous where a file may inherit (keys may be missing under `extends`, null may delete); the loader is
strict. Its subject is what an editor completes and underlines: names of keys, types, choices, descriptions.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from categorize.recipe import hints, upstream
from categorize.recipe.reference import markdown
from categorize.recipe.section import UpstreamSection
from categorize.recipe.sections import ADAPTER_CLASSES, AdapterSection, recipe_classes
from categorize.recipe.terminal import run_command
from categorize.recipe.typecheck import LOADER_KEYS, discriminator, filled_class, is_section, members
from categorize.recipe.written import Methods

ROOT = Path(__file__).parents[2]
SCHEMA_FILE = ROOT / "recipes" / "recipe.schema.json"
REFERENCE_FILE = ROOT / "docs" / "recipes.md"

JSON_TYPES = {
    "bool": "boolean",
    "int": "integer",
    "float": "number",
    "string": "string",
    "list": "array",
    "dict": "object",
    "null": "null",
}
Schema = dict[str, Any]


def json_schema(methods: Methods) -> Schema:
    """The schema of every kind of recipe and of fragments without `kind`."""
    recipes = recipe_classes(methods)
    models = list(recipes.values())
    _, generated = models_json_schema([(model, "validation") for model in models], ref_template="#/$defs/{model}")
    definitions: dict[str, Schema] = generated["$defs"]
    classes, in_lists = _classes(models)
    for name, cls in classes.items():
        _loosen(definitions[name], cls, keep_required=name in in_lists)
    for kind, model in recipes.items():
        properties = definitions[model.__name__]["properties"]
        properties["kind"] = {"const": kind, "description": "Which script runs the recipe."}
        properties["extends"] = {
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
            "description": LOADER_KEYS[""]["extends"],
        }
    schema_key = {"type": ["string", "null"], "description": LOADER_KEYS["labels"]["schema"]}
    definitions["LabelsSection"]["properties"]["schema"] = schema_key
    definitions["Fragment"] = _fragment([definitions[model.__name__] for model in models])
    by_kind: list[Schema] = [
        {
            "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
            "then": {"$ref": f"#/$defs/{model.__name__}", "if": {"required": ["extends"]}, "else": _required(model)},
        }
        for kind, model in recipes.items()
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


def _classes(models: Iterable[type[BaseModel]]) -> tuple[dict[str, type[BaseModel]], set[str]]:
    """Every section class by name, and the names of those that stand in lists, where nothing is merged."""
    classes: dict[str, type[BaseModel]] = {}
    in_lists: set[str] = set()

    def walk(annotation: Any, in_list: bool) -> None:
        for branch, _ in members(annotation):
            if is_section(branch):
                if branch.__name__ not in classes:
                    classes[branch.__name__] = branch
                    for field in branch.model_fields.values():
                        walk(field.annotation, in_list)
                if in_list:
                    in_lists.add(branch.__name__)
            else:
                for argument in getattr(branch, "__args__", ()):
                    if not isinstance(argument, (str, int, float)):
                        walk(argument, True)

    for model in models:
        walk(model, False)
    return classes, in_lists


def _loosen(definition: Schema, cls: type[BaseModel], keep_required: bool) -> None:
    """Make a section's keys optional and nullable, and add the keys of the class that it fills."""
    if not keep_required:
        definition.pop("required", None)
        for name, field in cls.model_fields.items():
            if "discriminator" in definition["properties"][name]:
                definition["properties"][name] = _variants([b for b, _ in members(field.annotation) if is_section(b)])
            definition["properties"][name] = _nullable(definition["properties"][name])
    if issubclass(cls, AdapterSection):
        definition.pop("additionalProperties", None)
        definition["allOf"] = [
            {
                "if": {"properties": {"type": {"const": kind}}, "required": ["type"]},
                "then": {"properties": _upstream_properties(upstream_class, "adapter")},
            }
            for kind, upstream_class in ADAPTER_CLASSES.items()
        ]
        every = {
            key
            for upstream_class in ADAPTER_CLASSES.values()
            for key in _upstream_properties(upstream_class, "adapter")
        }
        # Without a type of its own the section inherits one, so any adapter's key may stand here.
        definition["allOf"].append(
            {"if": {"not": {"required": ["type"]}}, "then": {"properties": dict.fromkeys(sorted(every), True)}}
        )
        definition["unevaluatedProperties"] = False
    elif issubclass(cls, UpstreamSection):
        definition["properties"].update(_upstream_properties(filled_class(cls), cls.recipe_key))
        definition["additionalProperties"] = False


def _upstream_properties(cls: str, section: str) -> dict[str, Schema]:
    return {
        name: _upstream_property(field)
        for name, field in upstream.load_table()[cls].items()
        if not hints.owned(section, name)
    }


def _upstream_property(field: upstream.UpstreamField) -> Schema:
    types = sorted({JSON_TYPES[name] for name in field["types"]} | {"null"})
    schema: Schema = {"type": types}
    texts = [choice for choice in field["choices"] or [] if "[" not in choice]
    if texts and len(texts) == len(field["choices"] or []):
        schema = {"anyOf": [{"enum": texts}, {"type": [name for name in types if name != "string"]}]}
    if field["default"] is not None:
        schema["default"] = field["default"]
    return schema


def _variants(models: list[type[BaseModel]]) -> Schema:
    """A section with variants: the deciding key picks one; without it any may be inherited."""
    name, choices = discriminator(models)
    references = {choice: {"$ref": f"#/$defs/{model.__name__}"} for choice, model in choices.items()}
    picked: list[Schema] = [
        {"if": {"properties": {name: {"const": choice}}, "required": [name]}, "then": reference}
        for choice, reference in references.items()
    ]
    open_choice = {"if": {"not": {"required": [name]}}, "then": {"anyOf": list(references.values())}}
    return {"type": "object", "properties": {name: {"enum": list(choices)}}, "allOf": [*picked, open_choice]}


def _nullable(schema: Schema) -> Schema:
    """The schema or null, which deletes what was inherited."""
    outer: Schema = {key: schema.pop(key) for key in ("title", "description", "default") if key in schema}
    outer.pop("title", None)
    branches = schema["anyOf"] if set(schema) == {"anyOf"} else [schema]
    if {"type": "null"} not in branches:
        branches = [*branches, {"type": "null"}]
    return {"anyOf": branches, **outer}


def _fragment(recipes: list[Schema]) -> Schema:
    properties: dict[str, Schema] = {}
    for recipe in recipes:
        properties = {**recipe["properties"], **properties}
    properties.pop("kind", None)
    return {
        "description": "A part of a recipe, to be named under extends.",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


def _required(model: type[BaseModel]) -> Schema:
    """The keys that a recipe needs where it inherits nothing."""
    schema: Schema = {}
    needed = [name for name, field in model.model_fields.items() if field.is_required()]
    if needed:
        schema["required"] = needed
    properties: dict[str, Schema] = {}
    for name, field in model.model_fields.items():
        sections = [branch for branch, _ in members(field.annotation) if is_section(branch)]
        if len(sections) == 1 and not any(branch is str for branch, _ in members(field.annotation)):
            inner = _required(sections[0])
        elif len(sections) > 1:
            key, choices = discriminator(sections)
            inner = {
                "allOf": [
                    {
                        "if": {
                            "properties": {key: {"const": choice}},
                            **({"required": [key]} if variant.model_fields[key].is_required() else {}),
                        },
                        "then": _required(variant),
                    }
                    for choice, variant in choices.items()
                ]
            }
        else:
            inner = {}
        if inner:
            properties[name] = inner
    if properties:
        schema["properties"] = properties
    return schema


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
