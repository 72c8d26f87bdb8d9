"""The most similar rows to a query, by cosine: exact, in blocks of bounded memory, or by faiss (Douze et al., 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, Self

import numpy as np

from categorize.errors import UserError
from categorize.features.featurizer import Matrix, Vectors
from categorize.predictions import IntArray

Search = Literal["exact", "flat", "hnsw", "ivf"]
EXACT_UP_TO = 1_000_000  # rows, where nothing is asked for
CELLS = 1 << 24  # similarities in memory at a time, 64 MiB
LINKS = 32  # of a node of HNSW
Found = tuple[Vectors, IntArray]


class Index(Protocol):
    """Rows of features that can be searched."""

    def __len__(self) -> int: ...

    def search(self, queries: Matrix, k: int) -> Found:
        """Similarities [queries, k], falling, and positions [queries, k]; similarity -inf where there is no row."""
        ...

    def tensors(self) -> dict[str, Any]:
        """Arrays by name, for safetensors."""
        ...


def build_index(matrix: Matrix, search: Search | None = None) -> Index:
    """An index of rows [rows, features]; None: exact up to a million rows, then HNSW.

    Raises:
        UserError: faiss is missing, or the features are sparse and faiss is asked for.
    """
    chosen = search or ("exact" if matrix.shape[0] <= EXACT_UP_TO else "hnsw")
    return ExactIndex(unit(matrix)) if chosen == "exact" else FaissIndex.build(unit(matrix), chosen)


def load_index(tensors: dict[str, Any]) -> Index:
    """The index of such tensors."""
    if "faiss" in tensors:
        return FaissIndex(faiss().deserialize_index(tensors["faiss"]))
    return ExactIndex.of(tensors)


def unit(matrix: Matrix) -> Matrix:
    """Rows of length 1, float32; a row of zeros stays one."""
    from scipy.sparse import csr_matrix, issparse
    from sklearn.preprocessing import normalize

    if issparse(matrix):
        return csr_matrix(normalize(matrix), dtype=np.float32)
    return np.ascontiguousarray(normalize(np.asarray(matrix, dtype=np.float32)))


class ExactIndex:
    """Every row compared with every query.

    Args:
        rows: of length 1, dense or sparse.
    """

    def __init__(self, rows: Matrix) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return int(self.rows.shape[0])

    def search(self, queries: Matrix, k: int) -> Found:
        """The most similar rows, of equal ones the first."""
        queries, k = unit(queries), min(k, len(self))
        similarities = np.empty((queries.shape[0], k), dtype=np.float32)
        positions = np.empty((queries.shape[0], k), dtype=np.int64)
        step = max(1, CELLS // max(len(self), 1))
        for start in range(0, queries.shape[0], step):
            at = slice(start, start + step)
            block = queries[at] @ self.rows.T
            block = block.toarray() if hasattr(block, "toarray") else block
            similarities[at], positions[at] = _top(block, k)
        return similarities, positions

    def tensors(self) -> dict[str, Any]:
        """The rows; of sparse ones their three arrays and their width."""
        if isinstance(self.rows, np.ndarray):
            return {"rows": self.rows}
        arrays = {name: getattr(self.rows, name) for name in ("data", "indices", "indptr")}
        return {f"rows.{name}": array for name, array in arrays.items()} | {"rows.shape": np.array(self.rows.shape)}

    @classmethod
    def of(cls, tensors: dict[str, Any]) -> Self:
        """The index of such tensors."""
        from scipy.sparse import csr_matrix

        if "rows" in tensors:
            return cls(tensors["rows"])
        arrays = tuple(tensors[f"rows.{name}"] for name in ("data", "indices", "indptr"))
        return cls(csr_matrix(arrays, shape=tuple(tensors["rows.shape"])))


def _top(block: Vectors, k: int) -> Found:
    """The k largest of each row, falling; of equal ones the first."""
    edge = -np.partition(-block, k - 1, axis=1)[:, k - 1 : k]  # the smallest similarity that is among them
    order = np.empty((len(block), k), dtype=np.int64)
    for i, row in enumerate(block):
        candidates = np.flatnonzero(row >= edge[i])
        order[i] = candidates[np.argsort(-row[candidates], kind="stable")[:k]]
    return np.take_along_axis(block, order, axis=1), order


class FaissIndex:
    """An index of faiss, which holds the rows.

    Args:
        index: of inner products.
    """

    def __init__(self, index: Any) -> None:
        self.index = index

    @classmethod
    def build(cls, rows: Matrix, kind: str) -> Self:
        """`flat` compares all, `hnsw` (Malkov and Yashunin, 2018) and `ivf` find most of the nearest."""
        library = faiss()
        if not isinstance(rows, np.ndarray):
            raise UserError(f"model.search: {kind} is for embeddings; n-grams alone are sparse: write exact")
        width, inner = rows.shape[1], library.METRIC_INNER_PRODUCT
        if kind == "hnsw":
            index = library.IndexHNSWFlat(width, LINKS, inner)
            index.hnsw.efConstruction, index.hnsw.efSearch = 200, 128
        elif kind == "ivf":
            cells = max(1, round(len(rows) ** 0.5))
            index = library.IndexIVFFlat(library.IndexFlatIP(width), width, cells, inner)
            index.train(rows)
            index.nprobe = max(8, cells // 10)
        else:
            index = library.IndexFlatIP(width)
        index.add(rows)
        return cls(index)

    def __len__(self) -> int:
        return int(self.index.ntotal)

    def search(self, queries: Matrix, k: int) -> Found:
        """The most similar rows that are found."""
        similarities, positions = self.index.search(unit(queries), min(k, len(self)))
        return np.where(positions < 0, -np.inf, similarities).astype(np.float32), np.maximum(positions, 0)

    def tensors(self) -> dict[str, Any]:
        """The index in faiss' own form, as bytes."""
        return {"faiss": faiss().serialize_index(self.index)}


def faiss() -> Any:
    """The library. Raises UserError where it is not installed."""
    try:
        import faiss as library
    except ImportError:
        raise UserError(
            "model.search: faiss is not installed: pip install 'categorize[faiss]', or write exact"
        ) from None
    return library


def search_others(index: Index, queries: Matrix, k: int, own: Sequence[str], contents: Sequence[str]) -> Found:
    """The most similar rows that are not the query itself nor a duplicate of it.

    Args:
        own, contents: what tells the content of each query, and of each row of the index, such as `content_hash`.

    Returns:
        As `Index.search`; similarity -inf where fewer rows than k are others.
    """
    names, codes = np.unique(np.asarray([*own, *contents], dtype=object).astype(str), return_inverse=True)
    mine, theirs = codes[: len(own)], codes[len(own) :]
    counts = np.bincount(theirs, minlength=len(names))[mine]
    similarities = np.full((len(own), k), -np.inf, dtype=np.float32)
    positions = np.zeros((len(own), k), dtype=np.int64)
    # A text that is there a thousand times asks for a thousand rows more; the others must not.
    for count in np.unique(counts):
        at = np.flatnonzero(counts == count)
        found, where = index.search(queries[at], k + int(count))
        found = np.where(theirs[where] == mine[at][:, None], -np.inf, found)
        order = np.argsort(-found, axis=1, kind="stable")[:, :k]
        width = order.shape[1]
        similarities[at, :width] = np.take_along_axis(found, order, axis=1)
        positions[at, :width] = np.take_along_axis(where, order, axis=1)
    return similarities, positions
