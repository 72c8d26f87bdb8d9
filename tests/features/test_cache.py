"""Kept vectors: never of another model, never half, found by every writer."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from categorize.features.build import build_featurizer
from categorize.features.cache import EmbeddingCache
from categorize.recipe.feature_sections import EncoderFeatures


def embeddings(model: Path, **keys: object):  # type: ignore[no-untyped-def]
    return build_featurizer(EncoderFeatures(type="encoder", name_or_path=str(model), **keys))  # type: ignore[arg-type]


@pytest.fixture
def model(tiny: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CATEGORIZE_EMBEDDINGS_CACHE", str(tmp_path / "kept"))
    return Path(shutil.copytree(tiny("bert"), tmp_path / "model"))


def test_a_text_is_computed_once_and_hits_are_counted(model: Path, texts: list[str]) -> None:
    first, second = embeddings(model), embeddings(model)
    vectors = first.transform(texts)
    assert (first.computed, first.kept) == (6, 0)  # one text is there twice
    assert np.array_equal(second.transform([*texts, "fine"]), np.vstack([vectors, second.transform(["fine"])]))
    assert (second.computed, second.kept) == (1, 7)
    assert second.lines() == ["embeddings (model): 1 texts computed, 7 kept from before"]


@pytest.mark.parametrize("changed", ["weights", "tokenizer", "prefix", "pooling"])
def test_a_changed_model_never_gives_stale_vectors(model: Path, texts: list[str], changed: str) -> None:
    before = embeddings(model).transform(texts)
    keys: dict[str, object] = {}
    if changed == "weights":
        from safetensors.numpy import load_file, save_file

        tensors = load_file(model / "model.safetensors")
        save_file(
            {name: tensor * 1.5 for name, tensor in tensors.items()}, model / "model.safetensors", {"format": "pt"}
        )
    elif changed == "tokenizer":
        tokenizer = (model / "tokenizer.json").read_text(encoding="utf-8")
        (model / "tokenizer.json").write_text(tokenizer.replace('"good"', '"good2"'), encoding="utf-8")
    else:
        keys = {"prefix": "bad "} if changed == "prefix" else {"pooling": "cls"}
    again = embeddings(model, **keys)
    vectors = again.transform(texts)
    assert (again.computed, again.kept) == (6, 0)
    assert np.array_equal(vectors, embeddings(model, cache=False, **keys).transform(texts))
    assert not np.allclose(vectors, before, atol=1e-4)


WRITER = """
import sys, numpy as np
from pathlib import Path
from categorize.features.cache import EmbeddingCache
cache = EmbeddingCache(Path(sys.argv[1]), {"model": "m"})
for block in range(int(sys.argv[2])):
    texts = [f"{block} {i}" for i in range(400)]
    vectors = np.stack([np.full(64, block * 1000 + i, np.float32) for i in range(400)])
    assert cache.add(texts, vectors, np.zeros(400, bool)) is None
    print(block, flush=True)
"""


def whole(folder: Path, blocks: int) -> list[int]:
    """How many vectors of each block are there; each must be the right one."""
    counts = []
    for block in range(blocks):
        texts = [f"{block} {i}" for i in range(400)]
        found = EmbeddingCache(folder, {"model": "m"}).find(texts)
        for text, (vector, _) in found.items():
            assert np.array_equal(vector, np.full(64, block * 1000 + int(text.split()[1]), np.float32))
        counts.append(len(found))
    return counts


def test_two_writers_keep_all_vectors(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, tmp_path, "15"], stdout=subprocess.DEVNULL) for _ in "ab"
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert whole(tmp_path, 15) == [400] * 15


def test_a_killed_writer_leaves_whole_blocks(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path, "100000"], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    for _ in range(5):
        writer.stdout.readline()
    time.sleep(0.01)
    writer.send_signal(signal.SIGKILL)
    done = 5 + len(writer.stdout.read().splitlines())
    writer.wait()
    counts = whole(tmp_path, done + 2)
    assert counts[:done] == [400] * done and set(counts[done:]) <= {0, 400}


def test_a_cache_that_cannot_be_used_costs_a_warning_and_no_vector(
    model: Path, texts: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    vectors = embeddings(model).transform(texts)
    for kept in (tmp_path / "kept").iterdir():
        kept.write_bytes(b"broken" * 1000)
    again = embeddings(model)
    assert np.array_equal(again.transform(texts), vectors) and again.computed == 6
    assert "vectors cannot be kept: file is not a database; delete the file" in capsys.readouterr().out


def test_what_made_the_vectors_can_be_read(model: Path, tmp_path: Path) -> None:
    import sqlite3

    featurizer = embeddings(model)
    featurizer.transform(["good"])
    (kept,) = (tmp_path / "kept").iterdir()
    ((identity,),) = sqlite3.connect(kept).execute("SELECT identity FROM made_by")
    assert json.loads(identity) == featurizer.identity
