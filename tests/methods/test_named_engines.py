"""`prediction.engine` of a method, a run or a model that it does not compute is one line; members have it where it
does."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from categorize import load_predictor
from categorize.errors import UserError
from categorize.evaluate import evaluate
from categorize.label import label
from categorize.methods.registry import BUILT_IN, METHODS
from categorize.recipe.command import main
from categorize.recipe.decision_sections import ENGINES, PredictionSection
from categorize.recipe.load import load_recipe
from categorize.reports.report import load_report
from tests.engines.test_scoring import LABELS
from tests.labeling.students import write_label_recipe
from tests.methods.test_fusion import members, recipe_of, run, sections_of, write_rows
from tests.session.collections import write_recipe

Tiny = Callable[..., Path]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CATEGORIZE_CACHE", str(tmp_path / "cache"))
    write_rows()


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_recipe_names_an_engine_that_computes_its_method(name: str) -> None:
    kind = METHODS[name].kind
    model = {"name_or_path": "some/model"} if kind == "sft" else {"method": name}
    refused = []
    for engine in ENGINES:
        path = write_recipe(Path("one.yaml"), kind=kind, model=model, prediction={"engine": engine})
        try:
            load_recipe(path, methods=METHODS)
        except UserError as error:  # of some methods other keys are lacking
            refused += [line for line in str(error).splitlines() if "prediction.engine" in line]
    others = [one for one in ENGINES if one not in METHODS[name].engines]
    assert [line.partition(": prediction.engine: ")[2] for line in refused] == [
        f"{one} does not compute model.method {name}; write torch, or remove it" for one in others
    ]
    assert "torch" in METHODS[name].engines and all(line.startswith("one.yaml:") for line in refused)


def test_a_quantized_base_is_computed_by_torch_alone() -> None:
    path = write_recipe(Path("one.yaml"), model={"name_or_path": "some/model"}, quantization={"load_in_4bit": True})
    with pytest.raises(UserError, match=r"prediction\.engine: onnx takes no quantized base; write torch, or remove it"):
        load_recipe(path, ["prediction.engine=onnx", "adapter={type: lora}"], methods=METHODS)


def test_a_run_that_an_engine_does_not_compute_is_refused_before_it_is_loaded(
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe, engine = recipe_of("words", {"method": "tfidf"}), "prediction.engine=onnx_int8"
    assert run(recipe) == 0
    write_label_recipe(Path("label.yaml"), Path("outputs/words"), "rows.csv")
    written = {"kind": "eval", "training": None, "output_dir": "compared", **sections_of(recipe)}
    evaluation: dict[str, Any] = {"runs": ["outputs/words"], "bootstrap": 0, "closer": False}
    write_recipe(Path("eval.yaml"), **written, evaluation=evaluation)
    capsys.readouterr()
    said = "prediction.engine: onnx_int8 does not compute outputs/words (tfidf); write torch, or leave it out"
    for script, story in (("label", label), ("eval", evaluate)):
        assert main(f"run_{script}.py", script, story, METHODS, [f"{script}.yaml", engine]) == 2
        assert capsys.readouterr().err.splitlines() == [f"error: {said}"]
    with pytest.raises(UserError, match=re.escape(said)):
        load_predictor("outputs/words", section=PredictionSection(engine="onnx_int8"))
    evaluation["runs"] = [{"run": "outputs/words", "engine": "torch"}]
    write_recipe(Path("eval.yaml"), **written, evaluation=evaluation)
    assert main("run_eval.py", "eval", evaluate, METHODS, ["eval.yaml", engine]) == 0


@pytest.mark.slow
def test_a_causal_model_and_members_that_none_computes_are_refused(
    tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, section = recipe_of("fused", {"method": "fusion", "members": members()}), PredictionSection(engine="onnx")
    capsys.readouterr()
    assert run(recipe, "prediction.engine=onnx") == 2
    assert "onnx does not compute any of the members of fused; write torch" in capsys.readouterr().err
    assert run(recipe) == 0
    with pytest.raises(UserError, match=r"onnx does not compute outputs/fused \(fusion\); write torch"):
        load_predictor("outputs/fused", section=section)
    with pytest.raises(UserError, match=r"onnx does not compute .*, which method sft predicts with; write torch"):
        load_predictor(str(tiny("qwen2", chat=True)), label_set=LABELS, section=section)


@pytest.mark.slow
def test_members_that_an_engine_computes_have_it_and_the_baseline_of_an_evaluation_needs_none(tiny: Tiny) -> None:
    assert run(recipe_of("words", {"method": "tfidf"})) == 0
    head = recipe_of("head", {"name_or_path": str(tiny("bert"))})
    more = ["training={max_steps: 2, use_cpu: true}", "prediction.engine=onnx"]
    assert run(head, *more) == 0
    model = {"method": "fusion", "members": ["outputs/words", "outputs/head"]}
    fused = recipe_of("fused", model)
    assert run(fused, "prediction.engine=onnx") == 0
    found: Any = load_predictor("outputs/fused", section=PredictionSection(engine="onnx"))
    found.predict_texts(["apple x 1", "bolt y 2"])
    one, two = (member.inner for member in found.inner.members)
    assert two.computed["engine"] == "onnx" and not hasattr(one, "computed")
    evaluation = {"runs": ["outputs/head"], "bootstrap": 0, "closer": False}
    written = {"training": None, "output_dir": "compared", "evaluation": evaluation, **sections_of(fused)}
    comparison = write_recipe(Path("eval.yaml"), kind="eval", **written)
    assert main("run_eval.py", "eval", evaluate, METHODS, [str(comparison), "prediction.engine=onnx"]) == 0
    assert "TF-IDF baseline" in [line.name for line in load_report("compared/report.json").comparison.runs]
