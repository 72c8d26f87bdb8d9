"""What all typed sections of a recipe stand on: strictness, and the types of values that several of them share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    create_model,
    model_serializer,
)
from pydantic_core import CoreSchema, core_schema

DType = Literal["auto", "float32", "bfloat16", "float16"]

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Inside = Annotated[float, Field(gt=0.0, lt=1.0)]  # 0 and 1 are outside
PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]  # what numpy and scikit-learn take
PositiveFloat = Annotated[float, Field(gt=0.0)]
NonNegativeFloat = Annotated[float, Field(ge=0.0)]


class Section(BaseModel):
    """A strict mapping: unknown keys and wrong types are errors, nothing is coerced."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, defer_build=True)


class UpstreamSection(BaseModel):
    """A strict mapping whose further keys are those of another library's class.

    Here they are extras; recipes are checked with the class that `upstream.filled` makes of this one, where each is a
    field.

    Attributes:
        recipe_key: where it stands in a recipe, by which `hints` names the keys that are not the recipe's to set.
        fills, taken: the other class's name, and its keys, where they are fields.
    """

    recipe_key: ClassVar[str]
    fills: ClassVar[str] = ""
    taken: ClassVar[tuple[str, ...]] = ()

    model_config = ConfigDict(extra="allow", strict=True, frozen=True, allow_inf_nan=False, defer_build=True)

    def upstream(self) -> dict[str, Any]:
        """The keys that go to the other library's class, as written in the recipe."""
        return {key: getattr(self, key) for key in self.taken if key in self.model_fields_set} | (
            self.model_extra or {}
        )

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the keys that would keep the other class's default."""
        dumped: dict[str, Any] = handler(self)
        return {key: value for key, value in dumped.items() if key not in self.taken or key in self.model_fields_set}


def names_type(value: Any) -> bool:
    """Whether a value is a section with a `type`, where a mapping of other names may stand too."""
    return isinstance(value, Section) or (isinstance(value, dict) and isinstance(value.get("type"), str))


@dataclass(frozen=True, eq=False)
class Variants:
    """Metadata of a section that has other keys for each value of one of them.

    Attributes:
        key: that tells them apart.
        classes: of its values.
        implied: the value where the key is left out; None where it may not be.
    """

    key: str
    classes: Mapping[str, type[BaseModel]]
    implied: str | None = None

    def of(self, value: Any) -> type[BaseModel]:
        """The class that a value is checked with."""
        return self.classes.get(self._named(value), self._unknown)

    def _named(self, value: Any) -> str:
        named = value.get(self.key) if isinstance(value, dict) else getattr(value, self.key, None)
        named = self.implied if named is None else named
        return named if isinstance(named, str) and named in self.classes else ""

    @cached_property
    def _unknown(self) -> type[BaseModel]:
        """Where no variant is named: that is the one mistake, beside keys that none of them has."""
        fields: dict[str, Any] = {name: (Any, None) for cls in self.classes.values() for name in cls.model_fields}
        fields[self.key] = (Literal[tuple(self.classes)], next(iter(self.classes.values())).model_fields[self.key])
        return create_model("Unknown", __base__=Section, **fields)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        named = {"": self._unknown, **self.classes}
        # A tag is a part of the place of an error; with the = none is taken for a key.
        choices = {f"{self.key}={name}": handler.generate_schema(cls) for name, cls in named.items()}
        return core_schema.tagged_union_schema(choices, lambda value: f"{self.key}={self._named(value)}")

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        choices = [handler(choice) for tag, choice in schema["choices"].items() if tag != f"{self.key}="]
        return {"anyOf": [choice for i, choice in enumerate(choices) if choice not in choices[:i]]}
