"""The typed section `search`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from categorize.recipe.section import (
    PositiveFloat,
    PositiveInt,
    Section,
)


class Range(Section):
    """Numbers between two ends, both of which may be tried."""

    low: int | float = Field(description="Lowest value; whole numbers are tried where both ends are whole.")
    high: int | float = Field(description="Highest value.")
    log: bool = Field(False, description="Even steps of the logarithm, as for learning rates.")

    @model_validator(mode="after")
    def _rising(self) -> Range:
        if self.low >= self.high or (self.log and self.low <= 0):
            above = " above 0" if self.log else ""
            raise ValueError(f"low {self.low:g} and high {self.high:g} are not two rising numbers{above}")
        return self


class SearchSection(Section):
    """A search for hyperparameters by Optuna: trials see training and validation rows alone."""

    space: dict[str, Range | Annotated[list[Any], Field(min_length=1)]] = Field(
        min_length=1,
        description="Keys of this recipe, dotted, with the values that may be tried: a list, or {low: ..., high: ...}.",
    )
    trials: PositiveInt = Field(20, description="Trials in all, those of earlier starts counted.")
    minutes: PositiveFloat | None = Field(None, description="Begin no further trial after this time.")
    measure: str | None = Field(
        None, description="What is to be best on validation; macro_f1 by default, pearson for a regression."
    )
    sampler: Literal["tpe", "random"] = Field("tpe", description="tpe learns from earlier trials.")
    launcher: str = Field("", description="What starts a trial, such as python -m categorize.launch --num_processes 2.")
