"""What all typed sections of a recipe stand on: strictness, and the types of values that several of them share."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

DType = Literal["auto", "float32", "bfloat16", "float16"]

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Inside = Annotated[float, Field(gt=0.0, lt=1.0)]  # 0 and 1 are outside
PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]  # what numpy and scikit-learn take
PositiveFloat = Annotated[float, Field(gt=0.0)]


class Section(BaseModel):
    """A strict mapping: unknown keys and wrong types are errors, nothing is coerced."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class UpstreamSection(BaseModel):
    """A strict mapping whose extra keys are those of another library's class, checked against the generated table.

    Attributes:
        recipe_key: where it stands in a recipe, by which `hints` names the keys that are not the recipe's to set.
    """

    recipe_key: ClassVar[str]

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    def upstream(self) -> dict[str, Any]:
        """The keys that go to the other library's class, as written in the recipe."""
        return dict(self.model_extra or {})
