"""Predictions as files for a spreadsheet: what is read back is what was predicted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from categorize.data.input_spec import InputSpec
from categorize.data.source import read_file
from categorize.data.splits import load_data
from categorize.errors import UserError
from categorize.labels import Label, LabelSet
from categorize.prediction.tables import predictions_table, write_spreadsheet
from categorize.predictions import Predictions
from categorize.recipe.data_sections import DataSection
from categorize.recipe.label_sections import LabelsSection

TEXTS = ['=1+1, "no formula"', "两行\n的 文字", "plain", "nothing at all"]
DECIDED = [["价格", "a;b"], ["[c]"], ["价格"], []]
PROBABILITIES = np.array([[0.69, 0.5, 9.123456789e-14], [0.16, np.nan, 1.0], [0.75, 0.25, 0.0], [0.1, 0.2, 0.3]])


def table_of(predictions: Predictions) -> pa.Table:
    spec = InputSpec.from_section(DataSection.model_validate({"source": "x.csv", "columns": {"text": "text"}}))
    return predictions_table(spec.documents(spec.rows_from_texts(TEXTS)), predictions)


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_a_spreadsheet_of_predictions_is_read_back_as_they_were(tmp_path: Path, form: str) -> None:
    label_set = LabelSet("multi_label", tuple(Label(name) for name in ("价格", "a;b", "[c]")))
    path = tmp_path / f"predictions.{form}"
    write_spreadsheet(path, table_of(Predictions(["1", "2", "3", "4"], PROBABILITIES, decided=DECIDED)), label_set)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    raw = read_file(path).table
    assert "" not in raw.column_names and "gold" not in raw.column_names and "score" not in raw.column_names
    assert raw["text"].to_pylist() == TEXTS and raw["valid"].to_pylist() == ["true"] * 4
    for position, label in enumerate(label_set.names):
        read = [float(cell or "nan") for cell in raw[f"probability: {label}"].to_pylist()]
        assert np.array_equal(read, PROBABILITIES[:, position], equal_nan=True)
    # The predicted labels, read as the labels of a source.
    columns = {"id": "id", "text": "text", "label": "predicted"}
    data = DataSection.model_validate({"source": str(path), "columns": columns})
    labels = LabelsSection.model_validate({"task": "multi_label", "names": list(label_set.names)})
    splits = load_data(data, labels, write=False).splits
    rows = pa.concat_tables([splits.train, splits.validation, splits.test])
    read_back = dict(zip(rows["id"].to_pylist(), rows["gold"].to_pylist(), strict=True))
    assert [read_back[row_id] for row_id in raw["id"].to_pylist()] == DECIDED


def test_one_label_a_row_stands_as_it_is_and_a_score_as_a_number(tmp_path: Path) -> None:
    single = LabelSet("single_label", tuple(Label(name) for name in ("a;b", "c")))
    found = Predictions(list("1234"), np.eye(2)[[0, 1, 1, 0]], decided=[["a;b"], ["c"], ["c"], []])
    write_spreadsheet(tmp_path / "single.csv", table_of(found), single)
    assert read_file(tmp_path / "single.csv").table["predicted"].to_pylist() == ["a;b", "c", "c", None]
    score = Predictions(list("1234"), score=np.array([1.5, 2.0, 3.25, 4.0]), decided=[[]] * 4)
    write_spreadsheet(tmp_path / "score.csv", table_of(score), LabelSet("regression", (Label("score"),)))
    raw = read_file(tmp_path / "score.csv").table
    assert list(map(float, raw["score"].to_pylist())) == [1.5, 2.0, 3.25, 4.0]
    assert not {"predicted", "probabilities", "gold"} & set(raw.column_names)
    with pytest.raises(UserError, match=r"score\.txt: a spreadsheet is written as \.csv or \.xlsx"):
        write_spreadsheet(tmp_path / "score.txt", table_of(score), single)
