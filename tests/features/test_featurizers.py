"""Featurizers give what the libraries give that they stand on, and the same after saving."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from categorize.errors import UserError
from categorize.features.build import build_featurizer, load_featurizer
from categorize.recipe.feature_sections import FEATURES
from categorize.runs.folder import Run, RunWriter

Make = Callable[..., Any]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Make:
    monkeypatch.setenv("CATEGORIZE_EMBEDDINGS_CACHE", str(tmp_path / "kept"))

    def build(kind: str, folder: Path | None = None, **keys: Any) -> Any:
        where = {} if folder is None else {"name_or_path": str(folder)}
        return build_featurizer(FEATURES[kind](type=kind, **where, **keys))

    return build


def saved(featurizer: Any, folder: Path) -> Run:
    writer = RunWriter(folder / "run", "")
    featurizer.save(writer, "features")
    return Run(writer.path)


@pytest.mark.parametrize("architecture", ["bert", "roberta", "modernbert", "t5", "llama", "qwen3"])
@pytest.mark.parametrize("pooling", ["mean", "cls", "last_token"])
def test_hidden_states_are_pooled_as_one_text_alone_is_by_transformers(
    tiny: Callable[..., Path], make: Make, texts: list[str], architecture: str, pooling: str
) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = tiny(architecture)
    found = make("encoder", folder, pooling=pooling, max_length=24, prefix="good ", cache=False).transform(texts)
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    model = model.get_encoder() if model.config.is_encoder_decoder else model
    for text, vector in zip(texts, found, strict=True):
        inputs = tokenizer(f"good {text}", truncation=True, max_length=24, return_tensors="pt")
        with torch.no_grad():
            hidden = model(input_ids=inputs["input_ids"]).last_hidden_state[0]
        one = {"mean": hidden.mean(0), "cls": hidden[0], "last_token": hidden[-1]}[pooling]
        assert np.allclose(vector, one / one.norm(), atol=1e-5)


def test_a_folder_of_sentence_transformers_gives_that_librarys_vectors(
    sentence_model: Path, make: Make, texts: list[str]
) -> None:
    from sentence_transformers import SentenceTransformer

    library = SentenceTransformer(str(sentence_model), device="cpu")
    found = make("sentence_transformers", sentence_model).transform(texts)
    assert found.shape == (7, 16) and np.allclose(found, library.encode(texts), atol=1e-5)
    prompted = library.encode(texts, prompt_name="query")
    assert not np.allclose(prompted, found, atol=1e-3)
    for prompt in ("query", "good "):  # by name, and as text
        assert np.allclose(
            make("sentence_transformers", sentence_model, prompt=prompt).transform(texts), prompted, atol=1e-5
        )
    short = make("sentence_transformers", sentence_model, truncate_dim=4, normalize=True).transform(texts)
    assert np.allclose(
        short,
        SentenceTransformer(str(sentence_model), truncate_dim=4).encode(texts, normalize_embeddings=True),
        atol=1e-5,
    )


def test_a_mean_pooled_encoder_is_its_sentence_transformers_model(
    tiny: Callable[..., Path], make: Make, texts: list[str], tmp_path: Path
) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer

    modules = [Transformer(str(tiny("bert"))), Pooling(32, "mean"), Normalize()]
    library = SentenceTransformer(modules=modules, device="cpu")
    ours = make("encoder", tiny("bert"), max_length=library.max_seq_length).transform(texts)
    assert np.allclose(ours, library.encode(texts), atol=1e-5)


def test_static_embeddings_are_model2vecs(static_model: Path, make: Make, texts: list[str]) -> None:
    from model2vec import StaticModel

    expected = StaticModel.from_pretrained(str(static_model)).encode(texts)
    assert np.allclose(make("static", static_model).transform(texts), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["tfidf", "encoder", "sentence_transformers", "static", "several"])
def test_a_saved_featurizer_gives_the_same_features(
    kind: str,
    tiny: Callable[..., Path],
    sentence_model: Path,
    static_model: Path,
    make: Make,
    texts: list[str],
    tmp_path: Path,
) -> None:
    folders = {"encoder": tiny("bert"), "sentence_transformers": sentence_model, "static": static_model}
    if kind == "several":
        sections = [FEATURES["tfidf"](type="tfidf"), FEATURES["static"](type="static", name_or_path=str(static_model))]
        featurizer = build_featurizer(sections)
    else:
        featurizer = make(kind, folders.get(kind), **({} if kind == "tfidf" else {"cache": False}))
    fitted = featurizer.fit(texts)
    again = load_featurizer(saved(featurizer, tmp_path), "features")
    assert again.identity == featurizer.identity
    for matrix in (fitted, featurizer.transform(texts)):
        assert abs(again.transform(texts) - matrix).max() <= 1e-15  # scikit-learn may sum in another order
    assert not [
        file
        for file in (tmp_path / "run.incomplete").iterdir()
        if file.suffix not in (".json", ".safetensors", ".yaml")
    ]
    assert again.transform([]).shape == (0, fitted.shape[1])


def test_several_featurizers_stand_side_by_side(static_model: Path, make: Make, texts: list[str]) -> None:
    parts = [make("tfidf"), make("static", static_model)]
    alone = [part.fit(texts) for part in parts]
    together = build_featurizer(
        [FEATURES["tfidf"](type="tfidf"), FEATURES["static"](type="static", name_or_path=str(static_model))]
    ).fit(texts)
    assert np.array_equal(together.toarray(), np.hstack([alone[0].toarray(), alone[1]]))


def test_a_run_does_not_go_on_with_another_model(tiny: Callable[..., Path], make: Make, tmp_path: Path) -> None:
    model = shutil.copytree(tiny("bert"), tmp_path / "model")
    run = saved(make("encoder", model), tmp_path)
    moved = load_featurizer(run, "features", base=str(tiny("bert")))  # the same files elsewhere
    assert moved.transform(["good"]).shape == (1, 32)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 0.1}))
    with pytest.raises(UserError, match="model: holds another model than the one that the run was trained with"):
        load_featurizer(run, "features").transform(["good"])


def test_a_missing_model_is_one_line(make: Make, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such model folder"):
        make("encoder", tmp_path / "nowhere")


@pytest.mark.parametrize("kind", ["encoder", "sentence_transformers", "static"])
def test_texts_that_are_cut_are_counted(
    kind: str, tiny: Callable[..., Path], sentence_model: Path, static_model: Path, make: Make
) -> None:
    folder = {"encoder": tiny("bert"), "sentence_transformers": sentence_model, "static": static_model}[kind]
    featurizer = make(kind, folder, max_length=8)
    again = make(kind, folder, max_length=8)
    for one in (featurizer, again):  # the second finds the vectors, and that the texts were cut
        one.transform(["good " * 5, "bad " * 20, "bad " * 30])
        assert one.cut == 2 and one.lines()[0].endswith("; 2 cut to the longest input")
    assert again.kept == 3
