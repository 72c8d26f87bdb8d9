"""From a spreadsheet through a provider's batches to tuned models, by the five commands of docs/labeling.md."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any
from zlib import crc32

import pyarrow.parquet as pq
import pytest

from categorize.data.export.folder import write_rows
from categorize.data.rows import content_key
from categorize.data.source import read_file
from demo import generate
from tests.labeling.provider import Provider

SHEETS = Path("outputs/label_deepseek_batch/spreadsheet")
SYSTEM = "prompt.system=Positive, Mild, Negative or Irrelevant?"
ROWS = 1200


def plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).split())


def commands(root: Path) -> list[list[str]]:
    """The five commands, as the documentation has them."""
    text = (root / "docs" / "labeling.md").read_text(encoding="utf-8")
    section = text.split("### From a spreadsheet through a provider's batches")[1].split("\n## ")[0]
    return [line.split() for line in re.findall(r"^    python (run_\w+\.py .*?)(?:\s+#.*)?$", section, re.MULTILINE)]


@pytest.fixture(scope="session")
def demo_models(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's pretrained models: those of `make demo` where they are built, else new ones."""
    built = root / "demo" / "models"
    if not (built / "build.json").exists():
        built = tmp_path_factory.mktemp("demo") / "models"
        subprocess.run([sys.executable, "-m", "demo.build_models", "--output", built], cwd=root, check=True)
    return built


@pytest.mark.slow
def test_five_commands_lead_from_a_spreadsheet_to_the_comparison_of_tuned_models(
    tmp_path: Path, root: Path, demo_models: Path
) -> None:
    lines = commands(root)
    assert [line[0] for line in lines] == [*["run_label.py"] * 2, "run_sft.py", "run_seqcls.py", "run_eval.py"]
    shutil.copytree(root / "recipes", tmp_path / "recipes")
    for script in {line[0] for line in lines}:
        shutil.copy(root / script, tmp_path)

    comments = list({one.message: one for one in generate.generate()}.values())[:ROWS]
    sheet = [(one.custom_id, one.message, -1) for one in comments]
    (tmp_path / "data").mkdir()
    write_rows(tmp_path / "data" / "gender_comments.xlsx", ("custom_id", "message", "class"), sheet, excel=True)
    truth = {plain(one.message): str(one.true_code) for one in comments}

    def answer(asked: list[dict[str, Any]]) -> str:
        text = asked[0]["text"]
        return "[9]" if crc32(text.encode()) % 40 == 0 else f"[{truth[text]}]"  # no such class: one in forty fails

    def run(number: int, *overrides: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, *lines[number - 1], *overrides]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    # 1, and the upload and download; 2
    run(1, "labeling.attempts=1")
    batches = tmp_path / "outputs" / "label_deepseek_batch.batches"
    provider = Provider(answer)
    bodies = [one["body"] for file in (batches / "requests").iterdir() for one in provider.requests(file)]
    assert len(bodies) == len(truth) and all(body["enable_thinking"] is False for body in bodies)
    provider.serve(batches)
    run(2, "labeling.attempts=1")
    names = ("unlabeled", "labeled", "purged")
    unlabeled, labeled, purged = (read_file(tmp_path / SHEETS / f"{name}.xlsx").table.to_pylist() for name in names)
    assert [row["custom_id"] for row in labeled] == [one.custom_id for one in comments]
    assert {row["class"] for row in unlabeled} == {"-1"} and len(unlabeled) == ROWS
    failed = {row["message"] for row in labeled if row["class"] == "-1"}
    assert failed == {text for text in truth if crc32(text.encode()) % 40 == 0} and failed
    assert purged == [row for row in labeled if row["class"] != "-1"]
    assert all(row["class"] == truth[row["message"]] for row in purged)

    # 3: a causal model by QLoRA; 4: an encoder
    small = ["training.num_train_epochs=4", "training.early_stopping=null"]
    decoder = [f"model.name_or_path={demo_models / 'decoder'}", "model.max_length=160", SYSTEM]
    batch = ["training.per_device_train_batch_size=16", "training.gradient_accumulation_steps=1"]
    light = ["training.activation_checkpointing=false", "training.learning_rate=3e-3", "adapter.lora_dropout=0"]
    run(3, *decoder, *small, *batch, *light, "prompt.completion=names")
    encoder = [f"model.name_or_path={demo_models / 'encoder'}", "model.max_length=64", "training.learning_rate=1e-3"]
    run(4, *encoder, *small)
    check_split(tmp_path, purged)

    # 5
    runs = [
        {"run": str(demo_models / "encoder"), "name": "encoder before"},
        {"run": "outputs/bert_base_chinese", "name": "encoder after"},
        {"run": str(demo_models / "decoder"), "name": "decoder before", "mode": "scoring"},
        {"run": "outputs/qwen3b_qlora", "name": "decoder after"},
    ]
    run(5, SYSTEM, "prompt.completion=names", f"evaluation.runs={json.dumps(runs)}")
    compared = json.loads((tmp_path / "outputs" / "eval_deepseek_batch" / "report.json").read_text())["runs"]
    accuracy = {one["name"]: one["metrics"]["accuracy"] for one in compared}
    for model in ("encoder", "decoder"):
        before = max(accuracy[f"{model} before"], accuracy["majority label"])
        assert accuracy[f"{model} after"] > before + 0.1, accuracy


def check_split(folder: Path, purged: list[dict[str, str]]) -> None:
    """70/10/20 by the stored assignment, which both students kept."""
    (stored,) = (folder / "outputs" / "splits").glob("*.parquet")
    assignment = {row["key"]: row["split"] for row in pq.read_table(stored).to_pylist()}
    rows = {row["custom_id"]: assignment[content_key([row["message"]])] for row in purged}
    shares = {name: count / len(purged) for name, count in Counter(rows.values()).items()}
    assert shares == pytest.approx({"train": 0.7, "validation": 0.1, "test": 0.2}, abs=0.005)
    for name in ("qwen3b_qlora", "bert_base_chinese"):
        predicted = pq.read_table(folder / "outputs" / name / "predictions" / "test.parquet")["id"].to_pylist()
        assert set(predicted) == {one for one, split in rows.items() if split == "test"}
    prints = [
        json.loads((folder / "outputs" / name / "run.json").read_text())["split_fingerprints"]
        for name in ("qwen3b_qlora", "bert_base_chinese")
    ]
    assert prints[0] == prints[1]
