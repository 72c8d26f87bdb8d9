"""Shared fixtures: tiny models of real architectures, built once, and a small labelled collection."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads slow a busy machine
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("BITSANDBYTES_NOWELCOME", "1")

# Machines are noisy: a property that holds slowly still holds.
settings.register_profile("categorize", deadline=None)
settings.load_profile("categorize")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`tiny("bert")` is the folder of a tiny random checkpoint, built once a session."""
    built: dict[tuple[object, ...], Path] = {}

    def get(architecture: str, **options: int) -> Path:
        from tests.tiny_models import build_tiny

        key = (architecture, *sorted(options.items()))
        if key not in built:
            built[key] = build_tiny(tmp_path_factory.mktemp(architecture), architecture, **options)
        return built[key]

    return get
