from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


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


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return ["good movie", "好看 喜欢 a b c d e f g", "", "bad text", "good movie", "x " * 40, "不 喜欢"]
