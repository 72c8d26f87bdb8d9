"""InputSpec: prediction prepares text as training did, and segments come back as documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from categorize.data.input_spec import InputSpec
from categorize.errors import UserError
from categorize.predictions import Predictions
from categorize.recipe.data_sections import DEFAULT_CLEANING, Columns, DataSection, Segments


def spec(template: str | None = None, **columns: Any) -> InputSpec:
    return InputSpec(Columns(**columns), template, DEFAULT_CLEANING)


TWO = {"text": ["title", "body"]}


def test_text_is_cleaned_by_column_and_then_joined() -> None:
    assert spec().text({"text": " Ａ  b\u200b "}) == "A b"
    assert spec(**TWO).text({"title": "T ", "body": "b\r\nc"}) == "T\nb\nc"
    assert spec(**TWO).text({"title": None, "body": "b"}) == "b"
    assert spec("{{{title}}}: {body}!", **TWO).text({"title": " T", "body": "b  c"}) == "{T}: b c!"


def test_a_template_around_nothing_is_an_empty_text() -> None:
    assert spec("Title: {title} {body}", **TWO).text({"title": " ", "body": None}) == ""


@given(st.text(), st.text())
def test_braces_in_the_data_are_not_placeholders(title: str, body: str) -> None:
    plain = InputSpec(Columns(**TWO), "{title}|{body}", ())
    assert plain.text({"title": title, "body": body}) in ((title + "|" + body).strip(), "")


@pytest.mark.parametrize(
    ("template", "hint"), [("{title} {boddy}", "boddy"), ("{title}", "body"), ("{title} {body} {", "brace")]
)
def test_a_wrong_template_is_refused(template: str, hint: str) -> None:
    with pytest.raises(UserError, match=hint):
        spec(template, **TWO)


def test_an_unknown_cleaning_step_is_refused() -> None:
    with pytest.raises(UserError, match="steps: nfkc"):
        InputSpec(cleaning=("lower",))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_rows_of_texts_and_of_a_table_are_prepared_alike(texts: list[str]) -> None:
    one = spec().rows_from_texts(texts)
    table = spec().rows_from_table(pa.table({"other": texts, "text": texts}))
    assert one["text"].to_pylist() == table["text"].to_pylist() == [spec().text({"text": text}) for text in texts]
    assert one["id"].to_pylist() == [str(i + 1) for i in range(len(texts))]
    assert one["content_hash"].to_pylist() == table["content_hash"].to_pylist()


def test_new_rows_keep_their_ids_and_need_the_text_columns_alone() -> None:
    input_spec = spec(id="n", group="video", label="class", keep=["k"], weight="w")
    rows = input_spec.rows_from_table(pa.table({"n": [7, 8], "text": ["a", "b"]}))
    assert rows["id"].to_pylist() == ["7", "8"]
    assert rows["gold"].to_pylist() == [None, None]
    with pytest.raises(UserError, match="no column 'text'"):
        input_spec.rows_from_table(pa.table({"n": [7]}))
    with pytest.raises(UserError, match="title, body"):
        spec(**TWO).rows_from_texts(["a"])


def test_expand_prepares_rows_of_another_recipe_anew() -> None:
    other = InputSpec(Columns(), None, ()).rows_from_texts(["  Ａ ", None, "b"])  # type: ignore[list-item]
    assert other["text"].to_pylist() == ["  Ａ ", "", "b"]
    ours = spec().expand(other)
    assert ours["text"].to_pylist() == ["A", "", "b"]
    assert spec().expand(ours).equals(ours)
    with pytest.raises(UserError, match="'title'"):
        spec(**TWO).expand(other)
    assert spec().expand(other.slice(0, 0)).num_rows == 0


def test_a_saved_spec_comes_back(tmp_path: Path) -> None:
    data = DataSection(
        source="x",
        columns=Columns(text=["a", "b"], id="n", keep=["m"]),
        template="{a} {b}",
        cleaning=["nfkc"],
        segments=Segments(aggregation="max"),
    )
    original = InputSpec.from_section(data)
    original.save(tmp_path)
    assert (tmp_path / "input.json").is_file()
    assert InputSpec.load(tmp_path) == InputSpec.load(tmp_path / "input.json") == original


# ---------------------------------------------------------------- documents
def documents(names: list[str]) -> pa.Table:
    return spec(document="d").rows_from_table(pa.table({"text": [f"t{i}" for i in range(len(names))], "d": names}))


def test_rows_of_a_document_are_averaged_in_order_of_first_appearance() -> None:
    rows = documents(["y", "x", "y", "z"])
    predictions = Predictions(
        rows["id"].to_pylist(),
        probabilities=np.array([[0.2, np.nan], [1.0, 0.0], [0.6, 0.4], [np.nan, np.nan]]),
        score=np.array([1.0, 2.0, 3.0, np.nan]),
        decided=[["a"]] * 4,
        valid=np.array([False, True, True, False]),
        raw=["one", None, "two", None],
    )
    result = spec(document="d").aggregate(predictions, rows)
    assert result.ids == ["y", "x", "z"]
    # A row that is not valid does not count.
    np.testing.assert_allclose(result.probabilities, [[0.6, 0.4], [1.0, 0.0], [np.nan, np.nan]])
    np.testing.assert_allclose(result.score, [3.0, 2.0, np.nan])
    assert result.is_valid.tolist() == [True, True, False]
    assert result.raw == ["one\ntwo", None, None]
    assert result.decided is None
    highest = InputSpec(Columns(document="d"), segments=Segments(aggregation="max")).aggregate(predictions, rows)
    np.testing.assert_allclose(highest.probabilities, [[0.6, 0.4], [1.0, 0.0], [np.nan, np.nan]])


def test_documents_of_one_row_pass_through() -> None:
    rows = documents(["y", "x"])
    predictions = Predictions(rows["id"].to_pylist(), decided=[["a"], []], raw=["q", None])
    result = spec().aggregate(predictions, rows)
    assert (result.ids, result.decided, result.raw) == (["y", "x"], [["a"], []], ["q", None])


def test_documents_line_up_with_aggregated_predictions() -> None:
    rows = documents(["y", "x", "y"])
    gold = pa.array([None, ["b"], ["a"]], pa.list_(pa.string()))
    whole = spec().documents(rows.set_column(rows.schema.get_field_index("gold"), "gold", gold))
    assert whole["id"].to_pylist() == ["y", "x"]
    assert whole["text"].to_pylist() == ["t0\nt2", "t1"]
    assert whole["gold"].to_pylist() == [["a"], ["b"]]


def test_predictions_of_other_rows_are_refused() -> None:
    rows = documents(["y", "x"])
    with pytest.raises(ValueError, match="differ"):
        spec().aggregate(Predictions(["other", "ids"]), rows)
