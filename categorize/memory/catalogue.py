"""Published models as data: what their memory is computed from, without the Hub."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

SUFFIX = re.compile(r"-(Instruct|Base|it|pt)$", re.IGNORECASE)
MODELS = Path(__file__).with_name("models.yaml")


@dataclass(frozen=True)
class Published:
    """A published model.

    Attributes:
        id: on the Hub.
        name: what tables call it.
        type: its architecture, transformers' model_type.
        licence: as the Hub names it.
        languages: a code, or how many.
        parameters: millions, as published.
        shape: keys of its config that are not the architecture's defaults.
    """

    id: str
    name: str
    type: str
    licence: str
    languages: str
    parameters: float
    shape: dict[str, Any]

    def config(self) -> Any:
        """Its config, as transformers has it."""
        from transformers import AutoConfig

        config = AutoConfig.for_model(self.type, **self.shape)
        config.dtype = "bfloat16" if self.is_causal else "float32"
        return config

    @property
    def is_causal(self) -> bool:
        """Whether it is a decoder, which can answer."""
        from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as causal

        return self.type in causal and "num_key_value_heads" in self.shape

    @property
    def has_head(self) -> bool:
        """Whether transformers has a sequence classifier of its architecture."""
        from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES as heads

        return self.type in heads


def published(name: str) -> Published | None:
    """The model of a Hub id; a base and what was tuned to chat of it have one shape. None where it is not known."""
    plain = SUFFIX.sub("", name)
    return next((one for one in catalogue().values() if SUFFIX.sub("", one.id) == plain), None)


@cache
def catalogue() -> dict[str, Published]:
    """The models by their ids on the Hub."""
    entries = yaml.safe_load(MODELS.read_text(encoding="utf-8"))["models"]
    return {entry["id"]: Published(**entry) for entry in entries}
