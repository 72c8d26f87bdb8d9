"""Searching by cosine is what scikit-learn's brute force finds, in whatever blocks, and never finds the row itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn.neighbors import NearestNeighbors

from categorize.errors import UserError
from categorize.features import search
from categorize.features.search import build_index, load_index, search_others, unit


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2000, 24)).astype(np.float32)


@pytest.fixture(scope="module")
def queries() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(300, 24)).astype(np.float32)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("cells", [1 << 24, 5000, 1])
def test_exact_search_is_scikit_learns(
    rows: np.ndarray, queries: np.ndarray, sparse: bool, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "CELLS", cells)
    if sparse:
        rows, queries = np.where(rows > 1, rows, 0), np.where(queries > 1, queries, 0)
        queries[:, 0] = 1
    given_rows, given_queries = (csr_matrix(one) if sparse else one for one in (rows, queries))
    similarities, positions = build_index(given_rows, "exact").search(given_queries, 10)
    library = NearestNeighbors(n_neighbors=11, metric="cosine", algorithm="brute").fit(given_rows)
    distances, expected = library.kneighbors(given_queries)
    assert np.allclose(similarities, 1 - distances[:, :10], atol=1e-5)
    distinct = np.abs(np.diff(distances, axis=1)).min(axis=1) > 1e-5  # else either order is right
    assert distinct.sum() > 100 and np.array_equal(positions[distinct], expected[distinct, :10])


def test_faiss_flat_finds_what_exact_search_finds(rows: np.ndarray, queries: np.ndarray) -> None:
    exact, flat = build_index(rows, "exact").search(queries, 10), build_index(rows, "flat").search(queries, 10)
    assert np.allclose(exact[0], flat[0], atol=1e-5) and (exact[1] == flat[1]).mean() > 0.999


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_faiss_finds_most_of_the_nearest(rows: np.ndarray, queries: np.ndarray, kind: Any) -> None:
    exact, found = build_index(rows, "exact").search(queries, 10)[1], build_index(rows, kind).search(queries, 10)[1]
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact, found, strict=True)]) > 0.6


@pytest.mark.parametrize("kind", ["exact", "sparse", "flat", "hnsw", "ivf"])
def test_a_saved_index_finds_the_same(rows: np.ndarray, queries: np.ndarray, kind: Any, tmp_path: Any) -> None:
    from safetensors.numpy import load_file, save_file

    index = build_index(csr_matrix(rows), "exact") if kind == "sparse" else build_index(rows, kind)
    save_file(index.tensors(), tmp_path / "index.safetensors")
    again = load_index(load_file(tmp_path / "index.safetensors"))
    for one, other in zip(index.search(queries, 7), again.search(queries, 7), strict=True):
        assert np.array_equal(one, other)


def test_of_equal_rows_the_first_is_found() -> None:
    index = build_index(np.ones((50, 3), dtype=np.float32), "exact")
    assert index.search(np.ones((2, 3)), 4)[1].tolist() == [[0, 1, 2, 3]] * 2


def test_large_collections_are_searched_by_faiss_unless_said_otherwise(
    rows: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "EXACT_UP_TO", 1000)
    assert type(build_index(rows)).__name__ == "FaissIndex" and type(build_index(rows[:1000])).__name__ == "ExactIndex"
    with pytest.raises(UserError, match="n-grams alone are sparse: write exact"):
        build_index(csr_matrix(rows), "flat")


@given(st.lists(st.integers(0, 6), min_size=1, max_size=40), st.integers(1, 8), st.sampled_from(["exact", "flat"]))
def test_a_row_never_finds_itself_or_a_duplicate(contents: list[int], k: int, kind: Any) -> None:
    """The others are what brute force finds among them."""
    vectors = np.random.default_rng(5).normal(size=(7, 6)).astype(np.float32)[contents]
    names = [str(one) for one in contents]
    similarities, positions = search_others(build_index(vectors, kind), vectors, k, names, names)
    all_pairs = unit(vectors) @ unit(vectors).T
    for row in range(len(contents)):
        others = sorted((all_pairs[row, i] for i in range(len(contents)) if contents[i] != contents[row]), reverse=True)
        found = similarities[row][np.isfinite(similarities[row])]
        assert np.allclose(found, others[:k], atol=1e-5)
        assert all(contents[i] != contents[row] for i in positions[row][: len(found)])
