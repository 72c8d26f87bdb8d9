"""Shared fixtures: tiny models of real architectures, built once, and a small labelled collection."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads slow a busy machine
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("BITSANDBYTES_NOWELCOME", "1")
os.environ.setdefault("CATEGORIZE_CACHE", str(Path(tempfile.gettempdir()) / "categorize_tests"))  # not the user's

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


@pytest.fixture(scope="session")
def sentence_model(tiny: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny sentence-transformers folder: BERT, mean pooling, a dense layer, normalisation, prompts."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Dense, Normalize, Pooling, Transformer

    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("sentences")
    modules = [Transformer(str(tiny("bert"))), Pooling(32, "mean"), Dense(32, 16), Normalize()]
    SentenceTransformer(modules=modules, prompts={"query": "good "}, device="cpu").save(str(folder))
    return folder


@pytest.fixture(scope="session")
def static_model(tiny: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model2vec folder on the tokenizer of the tiny BERT."""
    import numpy as np
    from model2vec import StaticModel
    from tokenizers import Tokenizer

    folder = tmp_path_factory.mktemp("static")
    tokenizer = Tokenizer.from_file(str(tiny("bert") / "tokenizer.json"))
    vectors = np.random.default_rng(0).normal(size=(tokenizer.get_vocab_size(), 12)).astype(np.float32)
    StaticModel(vectors, tokenizer, normalize=True).save_pretrained(str(folder))
    return folder
