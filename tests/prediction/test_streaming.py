"""Streams are predicted as whole tables are, by whole documents, whatever batches they come in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from categorize.data.input_spec import InputSpec
from categorize.data.segments.tokens import PlainTokens, TokenCounter
from categorize.errors import UserError
from categorize.labels import Label, LabelSet
from categorize.metrics.decision import DecisionRule
from categorize.prediction.predictor import ROWS_A_BLOCK, TrainedPredictor, batches_of, together, whole_documents
from categorize.predictions import Predictions
from categorize.recipe.data_sections import Columns, DataSection, Segments

LABELS = LabelSet("single_label", (Label("long"), Label("short")))


class ByLength:
    """Long rows or documents against short ones; notes which blocks it was given."""

    label_set = LABELS
    tokens: TokenCounter = PlainTokens()

    def __init__(self, unit: Literal["row", "document"]) -> None:
        self.unit: Literal["row", "document"] = unit
        self.blocks: list[list[str]] = []

    def predict(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Predictions]:
        for batch in batches:
            documents = batch.column("document_id").to_pylist()
            self.blocks.append(documents)
            lengths: dict[str, int] = {}
            for at, (document, text) in enumerate(zip(documents, batch.column("text").to_pylist(), strict=True)):
                key = document if self.unit == "document" else str(at)
                lengths[key] = lengths.get(key, 0) + len(text)
            p = np.array([min(length / 100, 1.0) for length in lengths.values()])
            ids = list(lengths) if self.unit == "document" else batch.column("id").to_pylist()
            yield Predictions(ids, probabilities=np.stack([p, 1 - p], axis=1))


def build(unit: Literal["row", "document"] = "row", cut: bool = False) -> TrainedPredictor:
    segments = Segments(by="turns") if cut else Segments()
    spec = InputSpec.from_section(
        DataSection(source="x.csv", columns=Columns(text="text", document="talk"), segments=segments)
    )
    return TrainedPredictor(ByLength(unit), spec, DecisionRule.default(LABELS), "by length")


def table_of(sizes: list[int], predictor: TrainedPredictor) -> pa.Table:
    talks = [f"d{i}" for i, size in enumerate(sizes) for _ in range(size)]
    texts = ["x" * (7 * (i % 9)) for i in range(len(talks))]
    raw = pa.table({"talk": pa.array(talks, pa.string()), "text": pa.array(texts, pa.string())})
    return predictor.input_spec.rows_from_table(raw)


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=12),
    st.lists(st.integers(0, 7), max_size=30),
    st.booleans(),
    st.sampled_from([1, 2, 5, ROWS_A_BLOCK]),
)
def test_a_stream_in_any_batches_is_predicted_as_the_whole_table(
    sizes: list[int], cuts: list[int], one: bool, block: int
) -> None:
    predictor = build("document" if one else "row")
    rows = table_of(sizes, predictor)
    batches, start = [], 0
    for size in [*cuts, rows.num_rows]:
        batches += batches_of(rows.slice(start, size))  # one without rows, too
        start += size
    whole = predictor.predict_rows(rows)
    blocks = list(predictor.predict(batches, block))
    assert all(len(found) for found in blocks) and (block > 1 or len(blocks) == len(sizes))
    streamed = Predictions.concatenate(blocks)
    assert list(streamed.ids) == list(whole.ids) == [f"d{i}" for i in range(len(sizes))]
    assert streamed.decided == whole.decided
    np.testing.assert_array_equal(streamed.probabilities, whole.probabilities)


def test_a_predictor_of_documents_is_never_given_half_of_one() -> None:
    sizes = [3000] * 12  # 36,000 rows; no block of 16,384 ends where a document does
    predictor = build("document")
    rows = table_of(sizes, predictor)
    list(predictor.predict(rows.combine_chunks().to_batches(max_chunksize=1000)))
    blocks = predictor.inner.blocks  # type: ignore[attr-defined]
    assert [document for block in blocks for document in dict.fromkeys(block)] == [f"d{i}" for i in range(12)]
    assert all(block.count(document) == 3000 for block in blocks for document in set(block))
    assert len(blocks) > 1


def test_a_stream_is_read_no_further_than_a_block_ahead() -> None:
    predictor = build()
    batch = table_of([1] * 5000, predictor).combine_chunks().to_batches()[0]
    taken = 0

    def endless() -> Iterator[pa.RecordBatch]:
        nonlocal taken
        while True:
            taken += 1
            ids = pa.array([f"{taken}-{i}" for i in range(batch.num_rows)], pa.string())
            columns = {
                name: ids if name in ("id", "document_id") else batch.column(name) for name in batch.schema.names
            }
            yield pa.RecordBatch.from_pydict(columns, schema=batch.schema)

    first = next(iter(predictor.predict(endless())))
    assert len(first) == ROWS_A_BLOCK
    assert taken == 4


def test_rows_of_a_document_that_stand_apart_are_one_document() -> None:
    predictor = build()
    rows = table_of([2, 3, 1], predictor)
    mixed = rows.take([0, 2, 5, 1, 3, 4])
    assert together(mixed)["document_id"].to_pylist() == ["d0", "d0", "d1", "d1", "d1", "d2"]
    assert list(predictor.predict_rows(mixed).ids) == ["d0", "d1", "d2"]


def test_a_document_that_comes_back_in_a_stream_is_named_and_not_predicted_twice() -> None:
    predictor = build()
    rows = table_of([2, 3, 1], predictor).take([0, 2, 5, 1, 3, 4])
    with pytest.raises(UserError, match=r"document 'd0': its rows stand apart in the stream; sort the rows") as error:
        list(predictor.predict(batches_of(rows, 2)))
    assert "\n" not in str(error.value)


def test_a_document_is_predicted_before_the_stream_ends() -> None:
    predictor = build()
    batches = iter(batches_of(table_of([2, 1, 3], predictor), 1))
    found = predictor.predict(batches, rows=1)
    assert list(next(found).ids) == ["d0"] and len(list(batches)) == 3, "the next one has begun, no more"


@pytest.mark.parametrize("unit", ["row", "document"])
def test_a_stream_without_rows_gives_no_predictions(unit: Literal["row", "document"]) -> None:
    predictor = build(unit)
    rows = table_of([1], predictor).slice(0, 0)
    assert len(predictor.predict_rows(rows)) == 0
    assert list(whole_documents(iter(()))) == []
