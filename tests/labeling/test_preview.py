"""The dry run and the probe of a labelling job: what they say, what they leave, what they pay for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from categorize.label import label
from categorize.labeling.exchange import JobStops
from categorize.methods.registry import METHODS
from categorize.recipe.command import parse_command
from tests.labeling.jobs import InProcess, start, table, texts, write_recipe, write_rows

PRICED = {"type": "endpoint", "url": "http://127.0.0.1:9/v1", "model": "m", "concurrency": 4}
PRICES = {"input": 1.0, "cached_input": 0.1, "output": 2.0}


def said(
    capsys: pytest.CaptureFixture[str], folder: Path, asked: InProcess, *flags: str, rows: int = 100, **labeling: Any
) -> str:
    capsys.readouterr()
    start(write_recipe(folder, write_rows(folder, texts(rows)), labeling=labeling), asked, *flags)
    return capsys.readouterr().out


def test_a_dry_run_shows_a_request_and_what_the_job_takes_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = InProcess()
    out = said(capsys, tmp_path, teacher, "--dry-run", items=10, teacher=PRICED | {"prices": PRICES})
    assert "a request, with 3 of its 10 rows:" in out and '"text": "comment 0"' in out and "- good" in out
    assert "100 texts in 10 requests" in out and "USD, or" in out and "where the shared part is cached" in out
    assert "estimated, without the model's tokenizer" in out
    assert "warning" not in out and not teacher.sizes
    assert sorted(path.name for path in tmp_path.iterdir()) == ["comments.csv", "recipe.yaml"]


def test_the_dry_run_warns_where_an_answer_cannot_fit_or_a_budget_cannot_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = PRICED | {"max_tokens": 300}
    out = said(capsys, tmp_path, InProcess(), "--dry-run", items=50, teacher=small, budget={"requests": 1})
    assert "may be cut at max_tokens: 300; set labeling.items: " in out
    assert "warning: labeling.budget.requests: 1" in out
    items = int(out.partition("labeling.items: ")[2].partition(",")[0])
    out = said(capsys, tmp_path, InProcess(), "--dry-run", items=items, teacher=small)
    assert "warning" not in out


@pytest.mark.slow
def test_the_tokenizer_of_a_model_at_hand_counts(tmp_path: Path, tiny: Any, capsys: pytest.CaptureFixture[str]) -> None:
    model = {**PRICED, "model": str(tiny("qwen2"))}
    out = said(capsys, tmp_path, InProcess(), "--dry-run", teacher=model)
    assert "counted by the model's tokenizer" in out


def test_a_probe_asks_a_few_requests_that_are_paid_for_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    teacher = InProcess(seconds=0.01)
    out = said(capsys, tmp_path, teacher, "--probe", items=10, teacher=PRICED | {"prices": PRICES})
    assert len(teacher.sizes) == 4 and "probe: 40 texts in 4 requests" in out
    assert "the other 60 texts at this rate" in out and "6 requests" in out
    assert not (tmp_path / "job").exists()
    out = said(capsys, tmp_path, teacher, items=10, teacher=PRICED | {"prices": PRICES})
    assert set(teacher.asked.values()) == {1} and len(teacher.asked) == 100
    assert table(tmp_path).num_rows == 100


def test_a_student_beside_the_job_tells_how_long_it_would_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "student").mkdir()
    run = {"prediction": {"documents_per_second": 50.0}}
    (tmp_path / "student" / "run.json").write_text(json.dumps(run))
    out = said(capsys, tmp_path, InProcess(), "--probe")
    assert f"a student as fast as {tmp_path / 'student'}: 2 s for 100 texts (50 a second)" in out


def test_a_finished_job_has_nothing_left_to_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, tmp_path, InProcess())
    assert "nothing is left to ask about" in said(capsys, tmp_path, InProcess(), "--dry-run")


def test_a_dry_run_of_answers_by_code_shows_one_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, tmp_path, InProcess(), "--dry-run", answer="code", items=1)
    assert "a request, with 1 row:" in out and "100 texts in 100 requests" in out


def test_a_dry_run_needs_no_key_and_a_job_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    recipe = write_recipe(tmp_path, write_rows(tmp_path, texts(20)))
    command = ["labeling.teacher.api_key_env=NO_SUCH_KEY"]
    label(parse_command("run_label.py", "label", METHODS, [str(recipe), *command, "--dry-run"]))
    out = capsys.readouterr().out
    assert "warning: the environment variable NO_SUCH_KEY is not set" in out and "20 texts in 3 requests" in out
    for more in ([], ["--dry-run", "--probe"]):
        with pytest.raises(JobStops, match="NO_SUCH_KEY is not set"):
            label(parse_command("run_label.py", "label", METHODS, [str(recipe), *command, *more]))
