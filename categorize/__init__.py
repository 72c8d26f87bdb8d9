"""categorize: recipes for sorting text into categories with encoders and LLMs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from categorize.loading import load_predictor

__version__ = "0.1.0"
__all__ = ["__version__", "load_predictor"]


def __getattr__(name: str) -> Any:
    """`load_predictor`, imported when it is asked for: `import categorize` stays light."""
    if name == "load_predictor":
        from categorize.loading import load_predictor

        return load_predictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
