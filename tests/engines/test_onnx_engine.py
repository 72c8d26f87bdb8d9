"""ONNX Runtime in torch's place: it gives the same, and is refused where it does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from categorize.engines.half_precision import FOLDER
from categorize.errors import UserError
from categorize.methods.head.runtime import AGREEMENT, GRAPH
from tests.engines.test_heads_on_cpu import MANY, batch, predictor

pytestmark = pytest.mark.slow
Tiny = Callable[..., Path]


def test_onnx_agrees_is_kept_and_a_broken_graph_is_refused(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import onnx

    monkeypatch.setenv(FOLDER, str(tmp_path))
    (expected,) = predictor(tiny("bert"), dtype="float32").predict([batch(MANY)])
    for engine, tolerance in (("onnx", 1e-5), ("onnx_int8", 0.05)):
        found = predictor(tiny("bert"), engine=engine)
        (given,) = found.predict([batch(MANY)])
        np.testing.assert_allclose(given.probabilities, expected.probabilities, atol=tolerance)
        assert found.computed["engine"] == engine
        assert found.computed["agreement"]["rows"] == len(set(MANY))
        assert f"computing by {engine}: 0 of {len(set(MANY))} texts change their label" in capsys.readouterr().out
    folders = list((tmp_path / "onnx").iterdir())
    assert len(folders) == 2
    for folder in folders:
        assert json.loads((folder / AGREEMENT).read_text())["rows"] == len(set(MANY))
        graph = onnx.load(folder / GRAPH)
        noise = np.random.default_rng(0)
        for one in graph.graph.initializer:
            if (weights := onnx.numpy_helper.to_array(one)).dtype == np.float32 and weights.ndim >= 1:
                broken = weights + 3 * noise.standard_normal(weights.shape, dtype=np.float32)
                one.CopyFrom(onnx.numpy_helper.from_array(broken, one.name))
        for data in folder.glob("*.data"):
            data.unlink()
        onnx.save(graph, folder / GRAPH)
        (folder / AGREEMENT).unlink()
    for engine in ("onnx", "onnx_int8"):
        with pytest.raises(UserError, match=f"prediction.engine: {engine} does not give what the run gives"):
            list(predictor(tiny("bert"), engine=engine).predict([batch(MANY)]))
