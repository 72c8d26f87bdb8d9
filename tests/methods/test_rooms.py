"""The modules that a method imports by name have the functions that it calls, with the signatures of the methods."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from categorize.methods.method import Method, RoomMethod
from categorize.methods.registry import BUILT_IN, METHODS

ROOMS = [name for name in BUILT_IN if isinstance(METHODS[name], RoomMethod)]
FUNCTIONS = (("fit", "fit", "fit"), ("fit", "preview", "preview"), ("predictor", "load", "predictor"))
CASES = [
    (name, *one)
    for name in ROOMS
    for one in FUNCTIONS
    if getattr(type(METHODS[name]), one[-1]) is getattr(RoomMethod, one[-1])  # else the method has its own way
]


def parameters(function: Callable[..., Any]) -> list[tuple[str, Any]]:
    """Names and written types, but for the recipe's, which is that of the method's kind."""
    found = inspect.signature(function).parameters.values()
    return [(one.name, one.name if one.name == "recipe" else one.annotation) for one in found if one.name != "self"]


@pytest.mark.parametrize(("name", "module", "function", "of"), CASES)
def test_a_room_has_what_the_method_promises(name: str, module: str, function: str, of: str) -> None:
    method = METHODS[name]
    assert isinstance(method, RoomMethod)
    found = getattr(method.room(module), function)
    assert parameters(found) == parameters(getattr(Method, of))
    if function == "load":
        made = inspect.signature(found, eval_str=True).return_annotation
        assert callable(made.predict) and made.unit in ("row", "document"), f"{made} is not a Predictor"
    else:
        of_method = inspect.signature(getattr(Method, of)).return_annotation
        assert inspect.signature(found).return_annotation == of_method


def test_most_methods_are_rooms() -> None:
    assert set(BUILT_IN) - set(ROOMS) == {"head", "two_level"}, "these hand their kind of head on"
