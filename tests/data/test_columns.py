"""Columns and gold: cells become ids, weights and labels, and what cannot be read is named with its row."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from categorize.data.columns import extract, missing_spellings, raw_values, split_cell, to_number
from categorize.data.gold import Gold, read_gold
from categorize.data.reading.raw import from_columns
from categorize.data.rows import content_key, new_rows, schema
from categorize.errors import UserError
from categorize.labels import LabelSet
from categorize.recipe.data_sections import Columns, DataSection
from categorize.recipe.label_sections import LabelsSection


def extracted(columns: dict[str, list[Any]], **named: Any) -> pa.Table:
    size = len(next(iter(columns.values())))
    raw = from_columns({"text": [f"t{i}" for i in range(size)], **columns}, "a.csv", range(2, size + 2))
    return extract(raw, DataSection(source="a.csv", columns=Columns(**named)))


def gold_of(cells: list[Any], separator: str = ";", **section: Any) -> Gold:
    labels = LabelsSection(**{"names": ["yes", "no", "other"], **section})
    return read_gold(extracted({"label": cells}), LabelSet.from_section(labels), separator)


def fails(function: Any, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(UserError) as caught:
        function(*args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    return message


# ---------------------------------------------------------------- columns
def test_a_wrong_column_lists_those_there_are_and_the_one_meant() -> None:
    message = fails(extracted, {"Label": ["a"]})
    assert "data.columns.label" in message
    assert "did you mean 'Label'" in message
    assert "'text', 'Label'" in message
    assert "data.columns.keep" in fails(extracted, {"label": ["a"]}, keep=["video"])


def test_ids_are_strings_as_written_and_made_ones_are_row_numbers() -> None:
    assert extracted({"label": ["a", "b"], "n": ["007", "7"]}, id="n")["id"].to_pylist() == ["007", "7"]
    assert extracted({"label": ["a", "b"]})["id"].to_pylist() == ["2", "3"]


def test_repeated_and_empty_ids_are_refused_with_their_rows() -> None:
    assert "'x' (rows 2 and 4)" in fails(extracted, {"label": ["a"] * 3, "n": ["x", "y", "x"]}, id="n")
    assert "row 3 has no id" in fails(extracted, {"label": ["a"] * 2, "n": ["x", None]}, id="n")


def test_weights_are_numbers_of_zero_or_more() -> None:
    assert extracted({"label": ["a"] * 3, "w": ["0.5", None, "0"]}, weight="w")["weight"].to_pylist() == [0.5, 1.0, 0.0]
    for wrong in ("-1", "much", "nan", "inf"):
        assert "row 2" in fails(extracted, {"label": ["a"], "w": [wrong]}, weight="w")


def test_rows_have_the_schema_and_positions_in_their_document() -> None:
    rows = extracted({"label": ["a"] * 3, "d": ["x", "y", "x"]}, document="d")
    table = new_rows(rows, ["1", "2", "3"])
    assert table.schema == schema(["text", "label", "d"])
    assert table["position"].to_pylist() == [0, 0, 1]
    assert table["gold"].to_pylist() == [None] * 3


@given(st.text(), st.text())
def test_a_content_key_ignores_white_space_and_form_alone(a: str, b: str) -> None:
    assert content_key([f"  {a}\n"]) == content_key([a])
    assert content_key(["Ａ" + a]) == content_key(["A" + a])
    assert (content_key([a, b]) == content_key([b, a])) == (content_key([a]) == content_key([b]))


def test_joined_columns_stay_apart_in_the_key() -> None:
    assert content_key(["a b", "c"]) != content_key(["a", "b c"])
    assert content_key([None, "a"]) == content_key(["", "a"])


# ---------------------------------------------------------------- cells
@pytest.mark.parametrize(
    ("cell", "values"),
    [
        ("a; b ;a", ("a", "b", "a")),
        ("a；b", ("a", "b")),
        ('["a", "b"]', ("a", "b")),
        ("['a', 'b']", ("a", "b")),
        ("[1, 2.50]", ("1", "2.50")),
        ("[]", ()),
        ("[NAME]", ("[NAME]",)),
        (" ; ", None),
        ("a,b", ("a,b",)),
    ],
)
def test_cells_of_several_labels(cell: str, values: tuple[str, ...] | None) -> None:
    assert split_cell(cell, ";") == values


@given(st.lists(st.text(), max_size=4))
def test_a_json_list_in_a_cell_comes_back(values: list[str]) -> None:
    import json
    import unicodedata

    plain = [unicodedata.normalize("NFKC", value) for value in values]
    assert split_cell(json.dumps(plain), ";") == tuple(plain)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_read_exactly(value: float) -> None:
    assert to_number(f" {value!r} ") == value


def test_raw_values_tell_unlabelled_from_no_label() -> None:
    values = raw_values([None, "-1", "[]", (), ("-1",), "a;-1", "2.0", ("x", "x")], ";", {"", "-1"})
    assert values == [None, None, (), (), None, ("a",), ("2",), ("x",)]


def test_a_declared_code_is_not_missing() -> None:
    assert missing_spellings(LabelsSection(codes={"-1": "Negative", "1": "Positive"})) == {""}
    assert missing_spellings(LabelsSection(names=["-1", "0", "1"])) == {""}
    assert missing_spellings(LabelsSection(names=["a", "b"])) == {"", "-1"}


# ---------------------------------------------------------------- single label
def test_single_labels_by_name_alias_and_code() -> None:
    definitions = [{"name": "Positive", "aliases": ["pos"]}, {"name": "Mild"}]
    section = LabelsSection.model_validate({"names": definitions, "codes": {"0": "Positive", "1": "Mild"}})
    cells = ["0", "1.0", " pos ", "Ｍild", "-1", None]
    gold = read_gold(extracted({"label": cells}), LabelSet.from_section(section), ";")
    assert gold.labels.to_pylist() == [["Positive"], ["Mild"], ["Positive"], ["Mild"], None, None]
    assert gold.missing == {"-1": 1, "": 1}


def test_a_single_label_may_hold_the_separator() -> None:
    assert gold_of(["yes; but", "no"], names=["yes; but", "no"]).labels.to_pylist() == [["yes; but"], ["no"]]


def test_a_label_outside_the_set_stops_the_run() -> None:
    message = fails(gold_of, ["yes", "nope", "nope", "perhaps"])
    for part in ("'nope' (2 rows: row 3, row 4", "'perhaps' (1 row: row 5", "yes, no, other", "labels.unknown"):
        assert part in message
    assert "did you mean 'other'" in fails(gold_of, ["othr"])


def test_unknown_labels_are_dropped_or_become_other_when_told() -> None:
    dropped = gold_of(["yes", "nope"], unknown="drop")
    assert (dropped.labels.to_pylist(), dropped.unknown, dropped.dropped) == ([["yes"], None], {"nope": 1}, 1)
    other = gold_of(["yes", "nope"], unknown="other")
    assert (other.labels.to_pylist(), other.unknown, other.dropped) == ([["yes"], ["other"]], {"nope": 1}, 0)


def test_several_labels_in_a_single_label_source_are_refused() -> None:
    message = fails(gold_of, [["yes"], ["yes", "no"], []])
    assert "2 rows" in message
    assert "multi_label" in message


# ---------------------------------------------------------------- multi-label and scores
def test_multi_label_cells_tell_none_from_unknown() -> None:
    gold = gold_of([["no", "yes", "no"], [], None, [None], ["-1"]], task="multi_label")
    assert gold.labels.to_pylist() == [["yes", "no"], [], None, None, None]
    gold = gold_of(["no;yes", "[]", None, "-1", ";"], task="multi_label")
    assert gold.labels.to_pylist() == [["yes", "no"], [], None, None, None]
    assert sum(gold.missing.values()) == 3


def test_a_multi_label_row_with_an_unknown_label_becomes_unlabelled_when_told() -> None:
    gold = gold_of(["yes;nope", "no"], task="multi_label", unknown="drop")
    assert (gold.labels.to_pylist(), gold.dropped) == ([None, ["no"]], 1)


def test_scores_are_numbers_within_bounds() -> None:
    section = {"task": "regression", "names": None, "minimum": 1.0, "maximum": 5.0}
    assert gold_of(["1", "4.25", None, "-1", "５"], **section).scores.to_pylist() == [1.0, 4.25, None, None, 5.0]
    assert "2 rows hold no number: row 2: 'x', row 3: 'nan'" in fails(gold_of, ["x", "nan", "2"], **section)
    assert "outside 1.0..5.0: row 3: '5.5'" in fails(gold_of, ["2", "5.5"], **section)
