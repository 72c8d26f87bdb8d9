"""Weights of a base that several adapters have in common, in memory once.

Each adapter is put on a model of its own, whose modules are copies and whose weights are those of the base: what peft
puts in place of a module, or trains whole, is seen by that model alone, and models of one base may be used in turns.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class _Base:
    """What was loaded, never used itself.

    Attributes:
        key: how it was loaded.
        users: models that have its weights.
    """

    key: tuple[Any, ...]
    loaded: Any
    users: list[weakref.ref[Any]] = field(default_factory=list)


_bases: list[_Base] | None = None  # None: every model has weights of its own


@contextmanager
def bases_loaded_once() -> Iterator[None]:
    """Within it, adapters on a base that was loaded in the same way share its weights; nothing may train them."""
    global _bases
    if _bases is not None:
        yield
        return
    _bases = []
    try:
        yield
    finally:
        _bases = None


def let_unused_bases_go() -> None:
    """Give up the bases whose models are all gone; call where another model takes their room."""
    if _bases is not None:
        _bases[:] = [base for base in _bases if any(user() is not None for user in base.users)]


def load_base(load: Callable[..., Any], settings: dict[str, Any], name: str, options: dict[str, Any]) -> Any:
    """What `load(name, **settings, **options)` gives, something with a `model` that an adapter is put on; where bases
    are shared, with the weights of a model that was loaded so before."""
    if _bases is None:
        return load(name, **settings, **options)
    key = (load, settings, name, options)
    base = next((one for one in _bases if one.key == key), None)
    if base is None:
        base = _Base(key, load(name, **settings, **options))
        if getattr(base.loaded.model, "is_loaded_in_8bit", False):
            return base.loaded  # bitsandbytes moves the scales of 8-bit weights to the first module that computes
        _to_device(base.loaded.model)
        _bases.append(base)
    given = copy.copy(base.loaded)
    given.model = _with_the_same_weights(base.loaded.model)
    base.users.append(weakref.ref(given.model))
    return given


def _to_device(model: Any) -> None:
    """Where predictors put models: copies that are moved there later would have weights of their own."""
    import torch

    if torch.cuda.is_available() and getattr(model, "quantization_method", None) is None:
        model.to("cuda")


def _with_the_same_weights(model: Any) -> Any:
    """A copy of the model in all but the memory of its weights."""
    import torch

    same: dict[int, Any] = {id(buffer): buffer for buffer in model.buffers()}
    for weight in model.parameters():
        if type(weight) is torch.nn.Parameter:
            # Its own parameter on the same memory: some adapters give the base's other values.
            same[id(weight)] = torch.nn.Parameter(weight.data, requires_grad=weight.requires_grad)
        else:
            state = getattr(weight, "quant_state", None)
            same |= {id(weight): weight, id(state): state}
    same.pop(id(None), None)
    return copy.deepcopy(model, same)
