"""Run folders that earlier versions left: they load, and predict what they predicted when they were made.

Those in `saved` were made before methods had rooms of their own: TF-IDF on words, a LoRA on an encoder with a head, a
LoRA on a causal model; their bases stand beside them.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from categorize import load_predictor

SAVED = Path(__file__).with_name("saved")


@pytest.mark.parametrize(("name", "base"), [("tfidf", None), ("head", "bert"), ("sft", "llama")])
def test_a_saved_run_predicts_what_it_predicted(name: str, base: str | None) -> None:
    stored = pq.read_table(SAVED / name / "predictions/test.parquet")
    predictor = load_predictor(str(SAVED / name), base=str(SAVED / base) if base else None)
    again = predictor.predict_texts(stored["text"].to_pylist())
    probabilities = np.array(stored["probabilities"].to_pylist())
    assert len(np.unique(probabilities.round(6), axis=0)) > 2  # texts do matter to it
    np.testing.assert_allclose(again.probabilities, probabilities, atol=1e-6)
    assert again.decided == stored["predicted"].to_pylist()
    assert predictor.name == name and predictor.facts["method"] == name


def test_a_run_of_an_unknown_method_is_said_to_be_one(tmp_path: Path) -> None:
    shutil.copytree(SAVED / "tfidf", tmp_path / "run")
    manifest = tmp_path / "run/run.json"
    manifest.write_text(manifest.read_text().replace('"method": "tfidf"', '"method": "setfit"'))
    from categorize.errors import UserError

    with pytest.raises(UserError, match=r"run: method 'setfit' is unknown here \(known: head, .*tfidf, .*\)"):
        load_predictor(str(tmp_path / "run"))
