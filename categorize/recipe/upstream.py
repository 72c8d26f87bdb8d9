"""The keys of other libraries' classes, as a table, so that checking a recipe imports none of those libraries.

`upstream_fields.json` is generated: `python -m categorize.recipe.upstream` writes it anew after an upgrade, and a test
says when it is due. For every class it holds the version that it was taken from and, for every field,

    {"types": ["float", "null"], "choices": [...] | null, "items": ["string"] | null, "default": ...}

in a small vocabulary: bool, int, float, string, list, dict, null. `choices` bind texts (also those in a list); a choice
such as `pissa_niter_[number of iters]` stands for any text in place of the brackets.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, TypeVar, Union

from pydantic import AfterValidator, Field, create_model

from categorize.recipe import hints
from categorize.recipe.section import UpstreamSection
from categorize.recipe.terminal import run_command

TABLE = Path(__file__).with_name("upstream_fields.json")
TYPES: dict[str, Any] = {
    "bool": bool,
    "int": int,
    "float": float | int,  # a whole number stays one, as written
    "string": str,
    "list": list[Any],
    "dict": dict[str, Any],
    "null": None,
}
# Bounds that upstream's signatures do not tell: it refuses these numbers when the model is built or training begins, or
# never and divides by zero. Keys, the least number, what it must be below, and what is said.
BOUNDS = (
    (
        "r rank_pattern num_virtual_tokens encoder_hidden_size encoder_num_layers",
        (1, math.inf, "must be at least 1, found the number {}"),
    ),
    ("lora_dropout encoder_dropout", (0, 1, "must be at least 0 and below 1, found the number {}")),
    (
        "per_device_train_batch_size per_device_eval_batch_size gradient_accumulation_steps",
        (1, math.inf, "expected a number of at least 1, found {}"),
    ),
    ("learning_rate weight_decay", (0, math.inf, "expected a number of at least 0, found {}")),
    ("label_smoothing_factor", (0, 1, "expected a share of at least 0 and below 1, found {}")),
)


class UpstreamField(TypedDict):
    """What may stand in one field."""

    types: list[str]
    choices: list[str] | None
    items: list[str] | None
    default: Any


@cache
def _read() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(TABLE.read_text(encoding="utf-8"))
    return table


@cache
def load_table() -> dict[str, dict[str, UpstreamField]]:
    """Class name -> field name -> what may stand there."""
    return {name: entry["fields"] for name, entry in _read().items()}


def version_of(cls: str) -> str:
    """The libraries that a class's entry was taken from, such as `transformers 5.23.0`."""
    return ", ".join(f"{library} {version}" for library, version in _read()[cls]["versions"].items())


def annotation(name: str, field: UpstreamField) -> Any:
    """What may stand in a field, as a type for pydantic."""
    allowed: Any = Union[tuple(_type(kind, field) for kind in field["types"])]  # noqa: UP007
    bounds = next((limits for keys, limits in BOUNDS if name in keys.split()), None)
    return allowed if bounds is None else Annotated[allowed, AfterValidator(_bounded(*bounds))]


def _type(kind: str, field: UpstreamField) -> Any:
    if kind == "string" and field["choices"]:
        patterns = [re.sub(r"\\\[.*?\\\]", ".+", re.escape(choice)) for choice in field["choices"] if "[" in choice]
        texts = [Annotated[str, Field(pattern=f"^{pattern}$")] for pattern in patterns]
        return Union[Literal[tuple(field["choices"])], *texts]
    if kind == "list" and field["items"]:
        return list[Union[tuple(_type(item, field) for item in field["items"])]]  # type: ignore[misc]  # noqa: UP007
    return TYPES[kind]


def _bounded(least: float, below: float, message: str) -> Any:
    def check(value: Any) -> Any:
        for number in value.values() if isinstance(value, dict) else [value]:
            if isinstance(number, int | float) and not isinstance(number, bool) and not least <= number < below:
                raise ValueError(message.format(number))
        return value

    return check


S = TypeVar("S", bound=UpstreamSection)


@cache
def filled(section: type[S], cls: str, **own: Any) -> type[S]:
    """A section with the keys of another library's class as fields, but for those that are not the recipe's to set.

    Args:
        own: further definitions of fields, as for `pydantic.create_model`.
    """
    fields: dict[str, Any] = {
        name: (annotation(name, field), field["default"])
        for name, field in load_table()[cls].items()
        if not hints.owned(section.recipe_key, name)
    }
    model = create_model(
        cls if own else section.__name__,
        __base__=section,
        __doc__=section.__doc__,
        __cls_kwargs__={"extra": "forbid"},
        **fields,
        **own,
    )
    model.fills, model.taken = cls, tuple(fields)
    return model


def type_of(value: Any) -> str:
    """The word of the table's vocabulary for a plain value."""
    names = {type(None): "null", bool: "bool", int: "int", float: "float", str: "string", list: "list", dict: "dict"}
    return names[type(value)]


# ---------------------------------------------------------------- the generator
def generate() -> dict[str, Any]:
    """The table for the libraries that are installed. Imports them: about 10 s."""
    import importlib.metadata

    import peft
    import transformers
    import trl
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    dtypes = ["float32", "bfloat16", "float16"]
    storage = ["float16", "float32", "int8", "uint8", "float64", "bfloat16"]
    # What a signature does not say. bitsandbytes' settings carry no annotations.
    known: dict[tuple[str, str], dict[str, Any]] = {
        ("BitsAndBytesConfig", "llm_int8_skip_modules"): {"types": ["list", "null"], "items": ["string"]},
        ("BitsAndBytesConfig", "bnb_4bit_compute_dtype"): {"types": ["string", "null"], "choices": dtypes},
        ("BitsAndBytesConfig", "bnb_4bit_quant_storage"): {"types": ["string", "null"], "choices": storage},
        ("BitsAndBytesConfig", "bnb_4bit_quant_type"): {"types": ["string"], "choices": ["fp4", "nf4"]},
    }
    for name in ("TrainingArguments", "SFTConfig"):
        known[name, "report_to"] = {"choices": ["none", "all", *INTEGRATION_TO_CALLBACK]}
    classes: list[tuple[Any, str]] = [
        (transformers.TrainingArguments, "transformers"),
        (trl.SFTConfig, "trl"),
        (transformers.BitsAndBytesConfig, "transformers"),
        (peft.LoraConfig, "peft"),
        (peft.IA3Config, "peft"),
        (peft.PrefixTuningConfig, "peft"),
        (peft.PromptTuningConfig, "peft"),
        (peft.PromptEncoderConfig, "peft"),
    ]
    table: dict[str, Any] = {}
    for cls, library in classes:
        fields = _fields(cls)
        for name in fields:
            fields[name].update(known.get((cls.__name__, name), {}))
        versions = {library: importlib.metadata.version(library)}
        if library == "trl":
            versions["transformers"] = importlib.metadata.version("transformers")
        table[cls.__name__] = {"versions": versions, "fields": fields}
    return table


def _fields(cls: Any) -> dict[str, dict[str, Any]]:
    """The fields of a dataclass, or the parameters of a constructor."""
    import dataclasses
    import inspect
    import typing

    if "**kwargs" in str(inspect.signature(cls)):  # a constructor of its own: its parameters count, not the fields
        parameters = list(inspect.signature(cls).parameters.values())
        return {
            p.name: {"types": [type_of(p.default)], "choices": None, "items": None, "default": p.default}
            for p in parameters
            if p.kind is not p.VAR_KEYWORD
        }
    hints = typing.get_type_hints(cls)
    entries: dict[str, dict[str, Any]] = {}
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        types, choices, items = _vocabulary(hints[field.name])
        if {"dict", "string"} <= set(types):
            types = [name for name in types if name != "string"]  # JSON in a string is for command lines
        listed = field.metadata.get("choices")
        if field.default is not dataclasses.MISSING:
            default = field.default
        else:
            default = field.default_factory() if field.default_factory is not dataclasses.MISSING else None
        choices = [str(choice) for choice in listed] if listed else choices
        entries[field.name] = {
            "types": types,
            "choices": choices or None,
            "items": items or None,
            "default": _plain(default),
        }
    return entries


def _vocabulary(annotation: Any) -> tuple[list[str], list[str], list[str]]:
    """An annotation as (types, choices of texts, types of list items); members of an Enum are choices."""
    import enum
    import types as builtin_types
    import typing

    names = {bool: "bool", int: "int", float: "float", str: "string", dict: "dict", list: "list", type(None): "null"}
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, builtin_types.UnionType):
        parts = [_vocabulary(part) for part in typing.get_args(annotation)]
        order = list(names.values())
        found_types = sorted({name for part in parts for name in part[0]}, key=order.index)
        return found_types, _once(c for part in parts for c in part[1]), _once(i for part in parts for i in part[2])
    if origin is typing.Literal:
        values = typing.get_args(annotation)
        return _once(type_of(value) for value in values), [value for value in values if isinstance(value, str)], []
    if origin in (list, set, tuple):
        inner = _vocabulary(typing.get_args(annotation)[0])
        return ["list"], inner[1], inner[0]
    if origin is dict:
        return ["dict"], [], []
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return ["string"], [str(member.value) for member in annotation], []
    return [names.get(annotation, "dict")], [], []  # a nested config class is written as a mapping


def _once(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))


def _plain(default: Any) -> Any:
    import enum

    value = default.value if isinstance(default, enum.Enum) else default
    return value if isinstance(value, (bool, int, float, str, list, dict, type(None))) else None


def as_text(table: dict[str, Any]) -> str:
    """The table as JSON, one line a field, so that an upgrade shows as a readable diff."""
    blocks = []
    for name, entry in table.items():
        fields = ",\n".join(f"   {json.dumps(key)}: {json.dumps(value)}" for key, value in entry["fields"].items())
        blocks.append(
            f' {json.dumps(name)}: {{"versions": {json.dumps(entry["versions"])}, "fields": {{\n{fields}\n }}}}'
        )
    return "{\n" + ",\n".join(blocks) + "\n}\n"


def main() -> None:
    """Write the table for the installed versions."""
    TABLE.write_text(as_text(generate()), encoding="utf-8")
    print(f"wrote {TABLE}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(run_command(main))
