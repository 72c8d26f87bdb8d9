"""ONNX Runtime and OpenVINO in torch's place: they give the same, and are refused where they do not."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from categorize.engines.half_precision import FOLDER
from categorize.errors import UserError
from categorize.label import label
from categorize.methods.head.predictor import of_all_lengths
from categorize.methods.head.runtime import AGREEMENT, CALIBRATION, ENOUGH, GATED
from categorize.methods.registry import METHODS
from categorize.nn.tokenizer import TokenizedTexts
from categorize.recipe.command import main
from categorize.train import train
from tests.engines.test_heads_on_cpu import batch, predictor
from tests.labeling.students import write_label_recipe
from tests.session.collections import write_collection, write_recipe

Tiny = Callable[..., Path]
WORDS = ["good", "bad", "fine", "movie", "好"]
DISTINCT = [" ".join(WORDS[(i // 5**k) % 5] for k in range(4 + i % 12)) for i in range(300)]
ENGINES = {"onnx": 1e-5, "onnx_int8": 0.05, "openvino": 1e-5, "openvino_int8": 0.05}


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_agrees_is_kept_and_one_that_gives_something_else_is_refused_each_time(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], engine: str
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    (expected,) = predictor(tiny("bert"), dtype="float32").predict([batch(DISTINCT)])
    found = predictor(tiny("bert"), engine=engine)
    (given,) = found.predict([batch(DISTINCT)])
    np.testing.assert_allclose(given.probabilities, expected.probabilities, atol=ENGINES[engine])
    assert found.computed["engine"] == engine
    assert found.computed["agreement"]["rows"] == len(DISTINCT) == 300
    calibrated = ", calibrated on 256 texts" if engine == "openvino_int8" else ""
    lines = capsys.readouterr().out.splitlines()
    assert f"making the graph of {engine}, once for these weights" in lines
    assert lines[-1].startswith(f"computing by {engine}{calibrated}: 0 of 300 texts change their label")
    list(predictor(tiny("bert"), engine=engine).predict([batch(DISTINCT)]))
    assert not capsys.readouterr().out, "it is there, and was compared"

    other = predictor(tiny("bert"), engine=engine)
    with torch.no_grad():
        other.head.model.classifier.weight.mul_(-1)  # type: ignore[operator, union-attr]
    list(other.predict([batch(DISTINCT)]))
    good, wrong = sorted((tmp_path / "graphs").glob("*/"), key=lambda folder: (folder / AGREEMENT).stat().st_mtime_ns)
    shutil.rmtree(good)
    shutil.copytree(wrong, good, ignore=shutil.ignore_patterns(AGREEMENT))
    for _ in range(2):
        with pytest.raises(UserError, match=f"prediction.engine: {engine} does not give what the run gives"):
            list(predictor(tiny("bert"), engine=engine).predict([batch(DISTINCT)]))
    assert json.loads((good / AGREEMENT).read_text())["rows"] == 600, "compared each time, up to 1,024"


@pytest.mark.slow
def test_labelling_that_was_refused_goes_on_with_another_engine(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(FOLDER, str(tmp_path / "cache"))
    write_collection(tmp_path / "rows.csv")
    file = write_recipe(tmp_path / "one.yaml", model={"name_or_path": str(tiny("bert"))})
    more = ["training.max_steps=2", "prediction.engine=openvino"]
    assert main("run_seqcls.py", "seqcls", train, METHODS, [str(file), *more]) == 0
    assert "computing by openvino: 0 of " in capsys.readouterr().out
    (kept,) = (tmp_path / "cache/graphs").glob(f"*/{AGREEMENT}")
    kept.write_text(json.dumps({"rows": 1024, "changed": 6, "beyond": 0, "apart": 0.1}))
    labelling = str(write_label_recipe(tmp_path / "two.yaml", tmp_path / "outputs/one", "rows.csv"))
    assert main("run_label.py", "label", label, METHODS, [labelling, "prediction.engine=openvino"]) == 2
    assert "openvino does not give what the run gives: 6 of 1024 texts" in capsys.readouterr().err
    assert main("run_label.py", "label", label, METHODS, [labelling, "labeling.shard_rows=40"]) == 0
    assert not list(tmp_path.glob("outputs/*.incomplete"))


@pytest.mark.slow
def test_a_graph_that_was_calibrated_on_few_texts_is_made_again_with_more(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    for texts, expected in ((DISTINCT[:2], 2), (DISTINCT[:40], 40), (DISTINCT[:2], 40)):
        list(predictor(tiny("bert"), engine="openvino_int8").predict([batch(texts)]))
        (kept,) = (tmp_path / "graphs").glob(f"*/{CALIBRATION}")
        assert json.loads(kept.read_text()) == {"texts": expected}
    kept.with_name(AGREEMENT).write_text(json.dumps({"rows": 1024, "changed": 9, "beyond": 0, "apart": 0.1}))
    with pytest.raises(UserError, match="or predict 256 texts at once first: it was calibrated on 40"):
        list(predictor(tiny("bert"), engine="openvino_int8").predict([batch(DISTINCT[:2])]))


def test_texts_that_are_compared_are_others_than_those_of_the_calibration() -> None:
    tokens = TokenizedTexts.from_lists([[i] * (1 + i % 7) for i in range(2 * GATED)])
    samples = of_all_lengths(tokens, GATED), of_all_lengths(of_all_lengths(tokens, GATED, other=True), ENOUGH)
    chosen = [{int(one[0]) for one in (found[i] for i in range(len(found)))} for found in samples]
    assert [len(one) for one in chosen] == [GATED, ENOUGH]
    assert not chosen[0] & chosen[1]
    assert all({i % 7 for i in one} == set(range(7)) for one in chosen)


def test_an_engine_whose_packages_are_missing_is_refused_before_training(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "nncf", None)
    write_collection(tmp_path / "rows.csv")
    file = write_recipe(tmp_path / "one.yaml", model={"name_or_path": str(tiny("bert"))})
    assert main("run_seqcls.py", "seqcls", train, METHODS, [str(file), "prediction.engine=openvino_int8"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line == "error: prediction.engine: openvino_int8 needs nncf: pip install 'categorize[openvino]'"
    assert not list(tmp_path.glob("outputs/*"))
