"""Provider batches: request files within limits, results in any state, and nothing paid twice."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from categorize.errors import UserError
from categorize.label import label
from categorize.labeling.batches import providers
from categorize.labeling.teachers.registry import make_teacher
from categorize.methods.registry import METHODS
from categorize.recipe.command import parse_command
from tests.labeling.jobs import InProcess, meant, table, texts, write_recipe, write_rows
from tests.labeling.provider import Provider

CODES = {"good": "1", "bad": "2", "odd": "3"}


def run(recipe: Path, *arguments: str) -> None:
    label(parse_command("run_label.py", "label", METHODS, [str(recipe), *arguments]))


def many(comments: list[dict[str, Any]]) -> str:
    return json.dumps(
        {"comments": [{"comment_id": one["comment_id"], "labels": [meant(one["text"])]} for one in comments]}
    )


def code(comments: list[dict[str, Any]]) -> str:
    return f"[{CODES[meant(comments[0]['text'])]}]"


def recipe_of(folder: Path, rows: list[dict[str, str]], provider: str = "openai", **labeling: Any) -> Path:
    teacher = {
        "type": "batch_file",
        "provider": provider,
        "model": "some/model",
        "extra_body": {"enable_thinking": False, "top_k": None},
        "prices": {"input": 2.0, "cached_input": 1.0, "output": 8.0, "batch_discount": 0.5},
    }
    names = {"names": list(CODES), "codes": {code: name for name, code in CODES.items()}}
    items = 1 if labeling.get("answer") == "code" else 8
    sections = {"teacher": teacher, "items": items} | labeling
    return write_recipe(folder, write_rows(folder, rows), labels=names, labeling=sections)


def check_all(folder: Path, rows: list[dict[str, str]]) -> None:
    found = table(folder).to_pylist()
    assert [(row["id"], row["label"]) for row in found] == [(row["id"], meant(row["text"])) for row in rows]


@pytest.fixture
def batches(tmp_path: Path) -> Path:
    return tmp_path / "job.batches"


@pytest.mark.parametrize("form", ["openai", "anthropic"])
def test_what_expired_broke_or_came_twice_is_asked_again_and_nothing_else(tmp_path, batches, form, capsys):
    rows = [*texts(200), {"id": "again", "text": "comment 3"}]
    recipe = recipe_of(tmp_path, rows, form)
    run(recipe)
    assert not (tmp_path / "job").exists()
    provider = Provider(many, form, expired=0.2, broken=0.2, twice=True)
    first = provider.serve(batches)
    assert 5 < first < 24
    run(recipe)
    said = capsys.readouterr().out
    assert "is asked again" in said and "known or repeated" in said
    assert provider.serve(batches) == 25 - first
    run(recipe)
    check_all(tmp_path, rows)
    assert set(provider.asked.values()) == {1} and len(provider.asked) == 200
    assert len(set(provider.ids)) == len(provider.ids)
    spent = json.loads((tmp_path / "job" / "run.json").read_text())["spent"]
    # 25 answers of 40 fresh, 60 cached and 10 written tokens, at half of the price.
    assert spent["money"] == pytest.approx(25 * (40 * 2 + 60 * 1 + 10 * 8) / 1e6 / 2)
    assert spent["cached_input_tokens"] == 25 * 60


def test_a_start_without_new_results_changes_nothing(tmp_path, batches, capsys):
    recipe = recipe_of(tmp_path, texts(20))
    run(recipe)
    before = {path: path.read_bytes() for path in batches.rglob("*") if path.is_file()}
    run(recipe)
    assert "waiting for the results of 3 requests" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in batches.rglob("*") if path.is_file()} == before


def test_an_expired_batch_holds_answers_that_were_paid_for(tmp_path, batches):
    """All requests have an error line, and some an answer too, in a file that is read later."""
    rows = texts(40)
    recipe = recipe_of(tmp_path, rows)
    run(recipe)
    Provider(many, expired=1.0).serve(batches)
    (output,) = (batches / "results").glob("*_output.jsonl")
    output.unlink()
    provider = Provider(many)
    provider.serve(batches)
    (batches / "results" / "0_error.jsonl").write_text(
        "\n".join(
            json.dumps(
                {"custom_id": json.loads(line)["custom_id"], "response": None, "error": {"code": "batch_expired"}}
            )
            for line in output.read_text().splitlines()
        )
    )
    run(recipe)
    check_all(tmp_path, rows)


def test_results_that_are_missing_are_waited_for_until_told(tmp_path, batches, capsys):
    rows = texts(40)
    recipe = recipe_of(tmp_path, rows)
    run(recipe)
    provider = Provider(many)
    provider.serve(batches)
    (output,) = (batches / "results").glob("*_output.jsonl")
    lines = output.read_text().splitlines()
    output.write_text("\n".join(lines[:3]) + "\n" + lines[3][: len(lines[3]) // 2])  # the download was cut
    run(recipe)
    said = capsys.readouterr().out
    assert "1 line cannot be read as results" in said and f"{output}:4" in said
    assert "waiting for the results of 2 requests" in said
    assert not list((batches / "requests").glob("*-002-*"))
    run(recipe, "--retry-failed")
    assert provider.serve(batches) == 2
    run(recipe)
    check_all(tmp_path, rows)


def test_rows_whose_answer_failed_are_asked_about_in_smaller_requests_and_at_last_fail(tmp_path, batches):
    rows = texts(16)

    def spoiled(comments: list[dict[str, Any]]) -> str:
        kept = [one for one in comments if one["text"] not in ("comment 3", "comment 9")]
        return many(kept)

    recipe = recipe_of(tmp_path, rows, attempts=3)
    provider, rounds = Provider(spoiled), 0
    while not (tmp_path / "job").exists():
        run(recipe)
        rounds += bool(provider.serve(batches))
        assert rounds < 9
    found = {row["text"]: row for row in table(tmp_path).to_pylist()}
    for text, row in found.items():
        if text in ("comment 3", "comment 9"):
            assert row["source"] == "failed" and row["label"] is None and row["reason"]
        else:
            assert row["label"] == meant(text) and provider.asked[text] == 1
    run(recipe, "--retry-failed")
    provider.answers = many
    assert provider.serve(batches) > 0
    run(recipe)
    check_all(tmp_path, rows)


def test_one_row_a_request_is_answered_by_a_bare_code_and_becomes_spreadsheets(tmp_path, batches):
    from categorize.data.source import read_file

    rows = texts(30)

    def with_a_bad_one(comments: list[dict[str, Any]]) -> str:
        return "[7]" if comments[0]["text"] == "comment 4" else code(comments)

    recipe = recipe_of(tmp_path, rows, answer="code", spreadsheet="xlsx", attempts=1)
    run(recipe)
    Provider(with_a_bad_one).serve(batches)
    run(recipe)
    sheets = {
        name: read_file(tmp_path / "job" / "spreadsheet" / f"{name}.xlsx").table.to_pylist()
        for name in ("unlabeled", "labeled", "purged")
    }
    expected = [
        {"custom_id": row["id"], "message": row["text"], "class": "-1" if i == 4 else CODES[meant(row["text"])]}
        for i, row in enumerate(rows)
    ]
    assert sheets["labeled"] == expected
    assert sheets["purged"] == [row for row in expected if row["class"] != "-1"]
    assert sheets["unlabeled"] == [row | {"class": "-1"} for row in expected]


def test_bodies_are_what_the_recipe_says_and_share_their_beginning(tmp_path, batches):
    recipe = recipe_of(tmp_path, texts(40))
    run(recipe)
    (file,) = (batches / "requests").iterdir()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    bodies = [line["body"] for line in lines]
    assert all(line["method"] == "POST" and line["url"] == "/v1/chat/completions" for line in lines)
    assert all(body["model"] == "some/model" and body["enable_thinking"] is False for body in bodies)
    assert all("top_k" not in body and body["temperature"] == 0 and body["max_tokens"] == 1800 for body in bodies)
    assert len({json.dumps(body["messages"][:-1]) for body in bodies}) == 1


@pytest.mark.parametrize("form", ["openai", "anthropic"])
def test_files_keep_the_limits_of_the_provider(tmp_path, batches, form, monkeypatch):
    small = dataclasses.replace(providers.PROVIDERS[form], requests=7, size=12_000)
    monkeypatch.setitem(providers.PROVIDERS, form, small)
    rows = texts(200)
    rows[50]["text"] = "很长的弹幕 " * 800
    recipe = recipe_of(tmp_path, rows, form, items=4)
    run(recipe)
    files = sorted((batches / "requests").iterdir())
    provider = Provider(many, form)
    counts = [len(provider.requests(file)) for file in files]
    assert sum(counts) == 50 and max(counts) <= 7
    assert all(file.stat().st_size <= 12_000 for file, n in zip(files, counts, strict=True) if n > 1)
    provider.serve(batches)
    run(recipe)
    check_all(tmp_path, rows)


def test_a_budget_ends_the_writing_and_counts_what_is_under_way(tmp_path, batches, capsys):
    rows = texts(80)
    recipe = recipe_of(tmp_path, rows, budget={"requests": 4})
    run(recipe)
    assert "labeling.budget.requests" in capsys.readouterr().out
    provider = Provider(many)
    assert provider.serve(batches) == 4
    run(recipe)
    assert provider.serve(batches) == 0
    run(recipe, "labeling.budget.requests=10")
    assert provider.serve(batches) == 6
    run(recipe, "labeling.budget.requests=10")
    check_all(tmp_path, rows)


def test_results_of_other_jobs_and_request_files_are_told_apart(tmp_path, batches, capsys):
    rows = texts(16)
    recipe = recipe_of(tmp_path, rows)
    run(recipe)
    provider = Provider(many)
    provider.serve(batches)
    (batches / "results" / "other.jsonl").write_text(json.dumps(provider._answer("other-u1", "{}")))
    (requests,) = (batches / "requests").iterdir()
    (batches / "results" / "mistake.jsonl").write_text(requests.read_text())
    run(recipe)
    said = capsys.readouterr().out
    assert "1 result of requests that this job did not send: other-u1" in said
    assert "2 lines cannot be read as results" in said
    check_all(tmp_path, rows)


def test_a_place_of_results_that_is_not_there_is_named(tmp_path):
    recipe = recipe_of(tmp_path, texts(3))
    run(recipe)
    with pytest.raises(UserError, match=r"labeling\.teacher\.results: .*nowhere: no such file or folder"):
        run(recipe, f"labeling.teacher.results={tmp_path / 'nowhere'}")


def test_beginning_anew_keeps_the_earlier_files(tmp_path, batches):
    recipe = recipe_of(tmp_path, texts(8))
    run(recipe)
    before = sorted(path.read_bytes() for path in batches.rglob("*.jsonl"))
    run(recipe, "--restart")
    (aside,) = tmp_path.glob("job.batches.before-*")
    assert sorted(path.read_bytes() for path in aside.rglob("*.jsonl")) == before
    assert len(list((batches / "requests").iterdir())) == 1


def test_a_dry_run_shows_what_a_start_would_write_and_writes_nothing(tmp_path, capsys):
    recipe = recipe_of(tmp_path, texts(40), answer="code")
    before = sorted(tmp_path.rglob("*"))
    run(recipe, "--dry-run")
    said = capsys.readouterr().out
    assert sorted(tmp_path.rglob("*")) == before
    assert '{"text": "comment 0"}' in said and "40 texts in 40 requests" in said
    assert f"writes the requests that are lacking into {tmp_path / 'job.batches' / 'requests'}" in said
    promised = float(said.split("at most ")[1].split()[0])
    run(recipe)
    written = float(capsys.readouterr().out.split("at most ")[1].split()[0])
    assert promised == pytest.approx(written, abs=0.011)
    run(recipe, "--dry-run")
    assert "40 requests are under way" in capsys.readouterr().out


def test_the_status_file_tells_a_watching_script_whether_results_are_waited_for(tmp_path, batches):
    def status() -> dict[str, Any]:
        found = json.loads((tmp_path / "job.ledger" / "status.json").read_text())
        return {key: found[key] for key in ("state", "to_ask", "left")}

    recipe = recipe_of(tmp_path, texts(20))
    run(recipe)
    assert status() == {"state": "waiting", "to_ask": 20, "left": 20}
    Provider(many).serve(batches)
    run(recipe)
    assert status() == {"state": "finished", "to_ask": 20, "left": 0}


def test_a_batch_beside_a_server_is_waited_for_and_both_votes_become_one_label(tmp_path, batches):
    server = InProcess()
    server.name = "server"
    server_section = {"type": "endpoint", "name": "server", "url": "http://127.0.0.1:9/v1", "model": "m"}
    batch = {"type": "batch_file", "name": "batch", "model": "some/model", "max_tokens": 700}
    rows = texts(40)
    recipe = recipe_of(tmp_path, rows, teacher=None, teachers=[server_section, batch])

    def start() -> None:
        def make(section: Any, *rest: Any) -> Any:
            return server if section.name == "server" else make_teacher(section, *rest)

        label(parse_command("run_label.py", "label", METHODS, [str(recipe)]), make)

    start()
    assert server.asked.total() == 40 and not (tmp_path / "job").exists()
    provider = Provider(many)
    assert provider.serve(batches) == 5
    bodies = [one["body"] for file in (batches / "requests").iterdir() for one in provider.requests(file)]
    assert {body["max_tokens"] for body in bodies} == {700}
    start()
    assert server.asked.total() == 40  # not asked again
    check_all(tmp_path, rows)


def test_corrections_of_a_review_stand_in_the_spreadsheets_too(tmp_path, batches):
    from categorize.data.source import read_file
    from categorize.labeling.review.labelled import label_sets_of_run, rewrite_with

    recipe = recipe_of(tmp_path, texts(12), spreadsheet="csv")
    run(recipe)
    Provider(many).serve(batches)
    run(recipe)
    wrong = next(name for name in CODES if name != meant("comment 5"))
    job = tmp_path / "job"
    rewrite_with(job, {"c5": {"label": (wrong,)}}, label_sets_of_run(job))
    for name in ("labeled", "purged"):
        rows = read_file(job / "spreadsheet" / f"{name}.csv").table.to_pylist()
        expected = [CODES[wrong if i == 5 else meant(f"comment {i}")] for i in range(12)]
        assert [row["class"] for row in rows] == expected
    assert len(list((job / "spreadsheet").iterdir())) == 3


def test_one_process_of_a_launch_writes_and_reads_the_files(tmp_path, batches):
    rows = texts(24)
    recipe = recipe_of(tmp_path, rows)
    code = "import sys; from pathlib import Path; from tests.labeling.test_batches import run; run(Path(sys.argv[1]))"

    def launch() -> None:
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", code, str(recipe)],
                env={**os.environ, "RANK": str(rank), "WORLD_SIZE": "2", "MASTER_PORT": "1"},
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(2)
        ]
        for process in processes:
            _, error = process.communicate(timeout=120)
            assert process.returncode == 0, error

    launch()
    provider = Provider(many)
    assert provider.serve(batches) == 3
    launch()
    check_all(tmp_path, rows)
    assert set(provider.asked.values()) == {1}
