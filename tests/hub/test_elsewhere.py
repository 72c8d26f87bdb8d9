"""Stock transformers and peft, in a process without this project, predict as the run does, by the code of its card."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest

from categorize import load_predictor
from categorize.labels import Label, LabelSet
from categorize.methods.registry import METHODS
from categorize.methods.sft.decision_file import decision_settings
from categorize.predictions import Predictions
from categorize.prompts.messages import PromptSettings
from categorize.prompts.tokens import PromptFormat
from categorize.recipe.command import main
from categorize.train import train
from tests.session.collections import write_collection, write_recipe

Tiny = Callable[..., Path]
TEXTS = ["good movie 1", "bad text bad 讨厌 2", "a"]
LABELS = LabelSet("single_label", (Label("good"), Label("bad", 'not "good"')))
STOCK = """
import ast, json, sys
sys.modules["categorize"] = None
*first, last = ast.parse(json.loads(sys.argv[1])).body
names = {}
exec(compile(ast.Module(first, []), "card", "exec"), names)
found = [
    eval(compile(ast.unparse(last).replace("...", one), "card", "eval"), names) for one in json.loads(sys.argv[2])
]
print(json.dumps(found))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_collection(tmp_path / "rows.csv")
    return tmp_path


def trained(folder: Path, base: Path, kind: str = "seqcls", *argv: str, **sections: Any) -> Path:
    """The folder of a finished run."""
    described = {"name_or_path": str(base), **sections.pop("model", {})}
    recipe = write_recipe(folder / "one.yaml", kind=kind, model=described, **sections)
    assert main(f"run_{kind}.py", kind, train, METHODS, [str(recipe), *argv]) == 0
    return folder / "outputs/one"


def card_code(run: Path, heading: str) -> str:
    """The Python below a heading of the card."""
    section = (run / "README.md").read_text().split(f"### With {heading}\n")[1].split("\n#")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return str(code)


def without_us(code: str, texts: Sequence[str] = TEXTS) -> list[Any]:
    """What the code gives for each text in a process that cannot import this project."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", STOCK, json.dumps(code), json.dumps(texts)]
    done = subprocess.run(command, env={**env, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout.splitlines()[-1]))


def ours(run: Path) -> Predictions:
    return load_predictor(run).predict_texts(TEXTS)


SEVERAL = {
    "data": {"columns": {"id": "id", "text": "text", "label": "moods"}},
    "labels": {"task": "multi_label", "names": ["good", "bad", "late"]},
}
SCORES = {
    "data": {"columns": {"id": "id", "text": "text", "label": "score"}},
    "labels": {"task": "regression", "names": ["score"]},
}
LORA = {"adapter": {"type": "lora"}}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "sections"),
    [
        ("bert", {}),
        ("bert", {**LORA, **SCORES}),
        ("deberta", {"adapter": {"type": "ia3"}}),
        ("qwen2", {**LORA, **SEVERAL}),
    ],
)
def test_a_head_predicts_the_same_in_the_stock_pipeline_with_its_names(
    folder: Path, tiny: Tiny, architecture: str, sections: dict[str, Any]
) -> None:
    run = trained(folder, tiny(architecture, scale=3), **sections)
    found = without_us(card_code(run, "peft and transformers" if "adapter" in sections else "transformers"))
    expected = ours(run)
    if expected.score is not None:
        np.testing.assert_allclose([row[0]["score"] for row in found], expected.score, rtol=1e-5)
        return
    names = json.loads((run / "run.json").read_text())["labels"]
    scores = [{one["label"]: one["score"] for one in row[0]} for row in found]
    assert expected.probabilities is not None
    np.testing.assert_allclose([[row[name] for name in names] for row in scores], expected.probabilities, atol=1e-5)


@pytest.mark.slow
def test_peft_loads_an_adapter_by_its_folder_alone_once_it_is_told_the_labels(folder: Path, tiny: Tiny) -> None:
    run = trained(folder, tiny("bert", scale=3), **LORA, **SEVERAL)
    expected = ours(run)
    code = f"""
import torch
from peft import AutoPeftModelForSequenceClassification
from transformers import AutoTokenizer
model = AutoPeftModelForSequenceClassification.from_pretrained("{run}", num_labels=3).eval()
tokenizer = AutoTokenizer.from_pretrained("{run}")
model(**tokenizer("...", return_tensors="pt")).logits[0].sigmoid().tolist()
"""
    np.testing.assert_allclose(without_us(code), expected.probabilities, atol=1e-5)


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({"model": {"pooling": "mean"}}, "its head reads the mean pooling of all tokens"),
        pytest.param(
            {"adapter": {"type": "bottleneck"}},
            "its adapter (bottleneck) is not one that transformers loads",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"training": {"loss": "corn"}, "labels": {"task": "ordinal", "names": ["good", "bad"]}},
            "its outputs are not the labels",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_head_that_stock_models_lack_says_so_in_its_card(
    folder: Path, tiny: Tiny, sections: dict[str, Any], reason: str
) -> None:
    run = trained(folder, tiny("bert"), "seqcls", "training.max_steps=1", **sections)
    text = (run / "README.md").read_text()
    assert f"- Only this project reads it: {reason}" in text
    assert "from transformers import" not in text


# ---------------------------------------------------------------- decisions
@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("completion", ["codes", "names"])
def test_the_decision_file_asks_with_the_tokens_of_the_prompt(tiny: Tiny, chat: bool, completion: str) -> None:
    from transformers import AutoTokenizer
    from transformers.decision import DecisionConfig, label_token_ids

    tokenizer = AutoTokenizer.from_pretrained(tiny("qwen2", chat=chat))
    labels = LABELS if completion == "codes" else LabelSet("single_label", (Label("a"), Label("b")))
    shots = ({"text": 'so "{{ good }}"', "label": labels.names[0]},)
    system = "Say {labels}\n{% raw %} it's \\n"
    settings = PromptSettings(
        system, "Text: {text}", completion=completion, shots=shots, separator="" if chat else None
    )
    prompt = PromptFormat(settings, labels, tokenizer, 400)
    held = decision_settings(prompt, 1.7)
    if completion == "names" and not chat:  # a blank and a letter are two tokens to this tokenizer
        assert held == "its labels are not one token each (prompt.completion: codes makes them so)"
        return
    assert isinstance(held, dict)
    config = DecisionConfig(**held)
    question = {"type": "choice", "criteria": dict.fromkeys(labels.names)}
    for text in ("good movie", " blanks \n", "{{ state }} 讨厌 \\ ' \"", ""):
        ((inputs, asked),) = config.prepare_inputs({"state": text, "questions": {"label": question}}, tokenizer)
        assert inputs["input_ids"][0].tolist() == list(prompt.encode({"text": text}).prompt_ids)
        expected = [prompt.completions[name][0] for name in labels.names]
        assert label_token_ids(tokenizer, tuple(asked[0].labels)) == expected
    assert config.temperature == {"choice": 1.7}
    turned = {"type": "choice", "criteria": dict.fromkeys(labels.names[::-1])}
    with pytest.raises(Exception, match="with these criteria, in this order"):
        config.prepare_inputs({"state": "x", "questions": {"label": turned}}, tokenizer)


CODES = {"prompt": {"system": "Say the mood.\n{labels}", "completion": "codes"}, "training": {"max_steps": 4}}


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [{"type": "lora"}, None])
def test_a_tuned_model_decides_the_same_in_the_stock_pipeline(
    folder: Path, tiny: Tiny, adapter: dict[str, Any] | None
) -> None:
    sections = {**CODES, "adapter": adapter, "decision": {"calibration": "temperature"}}
    run = trained(folder, tiny("qwen2", chat=True, scale=3), "sft", "model.max_length=256", **sections)
    assert json.loads((run / "decision_rule.json").read_text())["temperature"] != 1
    found = without_us(card_code(run, "peft and transformers" if adapter else "transformers"))
    expected = ours(run)
    got = [[one["probabilities"][name] for name in ("good", "bad")] for one in found]
    np.testing.assert_allclose(got, expected.probabilities, atol=1e-5)
    assert [[one["choice"]] for one in found] == expected.decided


@pytest.mark.slow
def test_a_server_answers_as_the_run_does(folder: Path, tiny: Tiny, tmp_path: Path) -> None:
    """`transformers serve` and the request, as the card writes them."""
    run = trained(folder, tiny("qwen2", chat=True, scale=3), "sft", "model.max_length=256", **CODES)
    (block,) = re.findall(r"```bash\n(transformers serve.*?)```", (run / "README.md").read_text(), re.DOTALL)
    serve, curl = map(shlex.split, block.strip().splitlines())
    body = json.loads(curl[curl.index("-d") + 1])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = curl[1].replace("localhost:8000", f"127.0.0.1:{port}")
    command = [str(Path(sys.executable).parent / serve[0]), *serve[1:], "--port", str(port), "--device", "cpu"]
    expected = ours(run)
    assert expected.probabilities is not None
    with (tmp_path / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            while True:
                assert process.poll() is None, (tmp_path / "log").read_text()
                try:
                    httpx.get(f"http://127.0.0.1:{port}/health")
                    break
                except httpx.HTTPError:
                    time.sleep(0.5)
            for text, probabilities in zip(TEXTS, expected.probabilities, strict=True):
                answer = httpx.post(url, json={**body, "state": text}, timeout=120).json()["answers"]["label"]
                got = [answer["probabilities"][name] for name in ("good", "bad")]
                np.testing.assert_allclose(got, probabilities, atol=1e-5)
        finally:
            process.terminate()


@pytest.mark.slow
def test_written_answers_are_the_same_in_the_stock_pipeline(folder: Path, tiny: Tiny) -> None:
    sections = {"prompt": {"system": "Say the mood."}, "prediction": {"mode": "generation"}, **LORA}
    sections["training"] = {"max_steps": 60, "learning_rate": 1e-2, "activation_checkpointing": False}
    run = trained(folder, tiny("qwen2", chat=True), "sft", "model.max_length=256", **sections)
    answered = pq.read_table(run / "predictions/test.parquet").to_pylist()[:4]
    assert any(row["raw"] for row in answered)
    code = card_code(run, "peft and transformers")
    assert without_us(code, [row["text"] for row in answered]) == [row["raw"] for row in answered]
