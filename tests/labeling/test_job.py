"""A labelling job with a teacher in the process: the table is exact, nothing is asked twice, nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from categorize.errors import StoppedEarly, UserError
from categorize.labeling.budget import Spent
from categorize.labeling.exchange import Tokens
from categorize.labeling.job import share_of
from categorize.labeling.ledger import Ledger
from categorize.recipe.labeling_sections import Budget
from tests.labeling.jobs import NAMES, InProcess, labels_of, meant, start, table, texts, write_recipe, write_rows


def job(folder: Path, rows: list[dict[str, Any]], teacher: InProcess, *arguments: str, **changes: Any) -> None:
    start(write_recipe(folder, write_rows(folder, rows), **changes), teacher, *arguments)


def test_each_row_is_in_the_table_once_in_order_with_its_own_label(tmp_path: Path) -> None:
    rows = [{**row, "id": f"x{i}", "video": f"v{i % 3}"} for i, row in enumerate(texts(100) + texts(30) + texts(1))]
    rows.insert(50, {"id": "blank", "text": "  ", "video": "v"})
    teacher = InProcess()
    job(tmp_path, rows, teacher, labeling={"shard_rows": 40})
    done = table(tmp_path)
    assert done["id"].to_pylist() == [row["id"] for row in rows]
    assert done["video"].to_pylist() == [row["video"] for row in rows]
    wanted = [None if row["id"] == "blank" else meant(row["text"]) for row in rows]
    assert done["label"].to_pylist() == wanted
    assert Counter(done["source"].to_pylist()) == {"teacher": 100, "duplicate": 31, "failed": 1}
    first = {row["text"]: row["id"] for row in reversed(rows)}
    repeated = Counter(row["text"] for row in rows)
    for row, of, source in zip(rows, done["duplicate_of"].to_pylist(), done["source"].to_pylist(), strict=True):
        assert of == (first[row["text"]] if source == "duplicate" else None)
        assert source != "duplicate" or repeated[row["text"]] > 1
    assert done["reason"].to_pylist()[50] == "empty text"
    parts = sorted((tmp_path / "job" / "labels").iterdir())
    assert [part.name for part in parts] == [f"part-0000{i}.parquet" for i in range(4)]
    assert [pq.read_metadata(part).num_rows for part in parts] == [40, 40, 40, 12]
    assert set(teacher.asked.values()) == {1}, "equal texts are asked about once"
    assert not list((tmp_path / "job.ledger").glob("rows-*")), "the rows are not kept behind a job"


def test_costs_of_rows_add_up_to_what_was_spent(tmp_path: Path) -> None:
    rows = texts(60)
    job(tmp_path, rows, InProcess(lambda asked, objects: objects[1:]))
    done = table(tmp_path)
    manifest = json.loads((tmp_path / "job" / "run.json").read_text())
    assert manifest["kind"] == "label"
    assert sum(done["cost"].to_pylist()) == pytest.approx(manifest["spent"]["money"], abs=1e-6)
    assert manifest["spent"]["money"] > 0
    assert min(done["attempts"].to_pylist()) >= 1


def test_a_finished_job_answers_from_its_ledger(tmp_path: Path) -> None:
    rows = texts(50)
    job(tmp_path, rows, InProcess())
    before = table(tmp_path)
    again = InProcess()
    job(tmp_path, rows, again)
    assert not again.asked and table(tmp_path).equals(before)
    more = InProcess()
    job(tmp_path, rows + texts(5, "new"), more, labeling={"items": 20})
    assert set(more.asked) == {row["text"] for row in texts(5, "new")}, "another batch size pays for nothing again"
    assert table(tmp_path)["label"].to_pylist() == labels_of(rows + texts(5, "new"))


def test_what_fails_is_asked_again_in_smaller_requests_and_alone_at_last(tmp_path: Path) -> None:
    def drop_long(asked: list[str], objects: list[dict[str, Any]]) -> Any:
        return [one for text, one in zip(asked, objects, strict=True) if len(asked) == 1 or "7" not in text]

    teacher = InProcess(drop_long)
    rows = texts(40)
    job(tmp_path, rows, teacher)
    assert table(tmp_path)["label"].to_pylist() == labels_of(rows)
    assert max(teacher.sizes) == 8 and set(teacher.sizes) - {1}, teacher.sizes
    assert all(teacher.asked[row["text"]] == 1 for row in rows if "7" not in row["text"])


def test_a_request_that_the_server_refuses_is_halved_until_it_fits(tmp_path: Path) -> None:
    teacher = InProcess(limit=3)
    rows = texts(40)
    job(tmp_path, rows, teacher)
    assert table(tmp_path)["label"].to_pylist() == labels_of(rows)
    assert set(teacher.asked.values()) == {1} and {8, 4, 2} <= set(teacher.sizes)


def test_a_row_that_never_works_is_stored_as_failed_with_its_answer_and_not_paid_for_again(tmp_path: Path) -> None:
    def spoil(asked: list[str], objects: list[dict[str, Any]]) -> Any:
        return [
            {**one, "labels": ["?"]} if text == "comment 3" else one for text, one in zip(asked, objects, strict=True)
        ]

    rows = texts(20)
    teacher = InProcess(spoil)
    job(tmp_path, rows, teacher, labeling={"attempts": 2})
    done = table(tmp_path).to_pylist()
    assert [row["id"] for row in done if row["source"] == "failed"] == ["c3"]
    failed = done[3]
    assert failed["label"] is None and failed["reason"] == "unknown label '?'"
    assert failed["attempts"] == teacher.asked["comment 3"] == 3, "once among 8, and twice alone"
    assert teacher.sizes == [8, 8, 4, 1, 1]
    ledger = Ledger.open(tmp_path / "job.ledger")
    assert '"?"' in (ledger.raw(failed["request"]).text or "")
    ledger.close()

    resumed = InProcess()
    job(tmp_path, rows, resumed)
    assert not resumed.asked
    retried = InProcess()
    job(tmp_path, rows, retried, "--retry-failed")
    assert retried.asked == {"comment 3": 1}
    last = table(tmp_path).to_pylist()[3]
    assert (last["label"], last["source"], last["attempts"]) == (meant("comment 3"), "teacher", 4)


def test_a_refused_row_fails_alone_at_once(tmp_path: Path) -> None:
    teacher = InProcess(limit=0)
    job(tmp_path, texts(2), teacher, labeling={"items": 2})
    done = table(tmp_path)
    assert done["source"].to_pylist() == ["failed"] * 2 and done["reason"].to_pylist() == ["too long"] * 2
    assert teacher.sizes == [2, 1, 1]


def test_failed_duplicates_are_failed_too(tmp_path: Path) -> None:
    rows = [{"id": str(i), "text": "same"} for i in range(3)]
    job(tmp_path, rows, InProcess(limit=0))
    done = table(tmp_path)
    assert done["source"].to_pylist() == ["failed"] * 3 and done["duplicate_of"].to_pylist() == [None, "0", "0"]


def test_gold_labels_stay_and_are_not_asked_about_unless_all_rows_are(tmp_path: Path) -> None:
    rows = [{**row, "label": "odd" if i % 2 else ""} for i, row in enumerate(texts(10))]
    source = write_rows(tmp_path, rows)
    data = {"source": str(source), "columns": {"text": "text", "id": "id", "label": "label"}}
    teacher = InProcess()
    start(write_recipe(tmp_path, source, data=data), teacher)
    done = table(tmp_path)
    assert done["label"].to_pylist()[1::2] == ["odd"] * 5 and done["source"].to_pylist() == ["teacher", "gold"] * 5
    assert done["data.label"].to_pylist()[1] == "odd", "a raw column of the same name goes aside"
    assert set(teacher.asked) == {row["text"] for row in rows[::2]}
    start(write_recipe(tmp_path, source, data=data, labeling={"rows": "all"}), teacher)
    assert table(tmp_path)["label"].to_pylist() == labels_of(rows)


@pytest.mark.parametrize("task", ["multi_label", "regression"])
def test_labels_have_the_type_of_their_task(tmp_path: Path, task: str) -> None:
    def answer(asked: list[str], objects: list[dict[str, Any]]) -> Any:
        value: dict[str, Any] = {"score": 1.5} if task == "regression" else {"labels": ["odd", "good"]}
        if task == "multi_label" and asked[0] == "comment 0":
            objects[0]["labels"] = []
            return [objects[0], *({"comment_id": one["comment_id"], **value} for one in objects[1:])]
        return [{"comment_id": one["comment_id"], **value} for one in objects]

    labels = {"task": task} | ({} if task == "regression" else {"names": list(NAMES)})
    job(tmp_path, texts(3), InProcess(answer), labels=labels)
    wanted = [1.5] * 3 if task == "regression" else [[], ["good", "odd"], ["good", "odd"]]
    assert table(tmp_path)["label"].to_pylist() == wanted


def test_several_label_sets_are_columns_of_their_own(tmp_path: Path) -> None:
    def answer(asked: list[str], objects: list[dict[str, Any]]) -> Any:
        return [{"comment_id": one["comment_id"], "mood": ["good"], "topic": ["art", "war"]} for one in objects]

    sets = {"mood": {"names": list(NAMES)}, "topic": {"task": "multi_label", "names": ["art", "war"]}}
    recipe = write_recipe(tmp_path, write_rows(tmp_path, texts(3)), label_sets=sets)
    content = yaml.safe_load(recipe.read_text())
    del content["labels"]
    recipe.write_text(yaml.safe_dump(content))
    start(recipe, InProcess(answer))
    done = table(tmp_path)
    assert done["mood"].to_pylist() == ["good"] * 3 and done["topic"].to_pylist() == [["art", "war"]] * 3


def test_a_changed_prompt_or_label_set_reuses_nothing_unless_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = texts(30)
    job(tmp_path, rows, InProcess())
    fewer = {"names": ["good", "bad", "new"]}
    kept = {row["text"] for row in rows if meant(row["text"]) != "odd"}
    changed = InProcess(lambda asked, objects: [{**one, "labels": ["new"]} for one in objects], limit=0)
    source = write_rows(tmp_path, rows)
    recipe = write_recipe(tmp_path, source, labels=fewer)
    capsys.readouterr()
    start(recipe, changed, "--dry-run")
    said = capsys.readouterr().out
    assert f"--reuse takes the {len(kept)} whose labels are in the set" in said and "30 to ask about" in said
    reusing = InProcess(lambda asked, objects: [{**one, "labels": ["new"]} for one in objects])
    start(recipe, reusing, "--reuse")
    assert set(reusing.asked) == {row["text"] for row in rows} - kept
    done = table(tmp_path)
    for text, label, source_of in zip(
        done["text"].to_pylist(), done["label"].to_pylist(), done["source"].to_pylist(), strict=True
    ):
        assert (label, source_of) == ((meant(text), "reused") if text in kept else ("new", "teacher"))
    another = InProcess(model="two")
    start(write_recipe(tmp_path, source), another)
    assert len(another.asked) == 30, "another teacher reuses nothing"


def test_restart_asks_everything_again_and_keeps_the_old_answers(tmp_path: Path) -> None:
    rows = texts(10)
    job(tmp_path, rows, InProcess())
    again = InProcess()
    job(tmp_path, rows, again, "--restart")
    assert len(again.asked) == 10
    (old,) = tmp_path.glob("job.ledger.before-*")
    assert (old / "answers-0.sqlite").exists()


def test_a_used_up_budget_stops_in_one_line_without_a_table_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    rows = texts(80)
    teacher = InProcess()
    with pytest.raises(UserError, match=r"labeling.budget.requests: .* texts got their answer") as caught:
        job(tmp_path, rows, teacher, labeling={"budget": {"requests": 5}})
    assert "\n" not in str(caught.value) and len(teacher.sizes) == 5
    assert not (tmp_path / "job").exists()
    assert json.loads((tmp_path / "job.ledger" / "status.json").read_text())["state"] == "out_of_budget"
    with pytest.raises(UserError, match=r"labeling.budget.requests"):
        job(tmp_path, rows, teacher, labeling={"budget": {"requests": 5}})
    assert len(teacher.sizes) == 5, "what earlier starts spent counts"
    job(tmp_path, rows, teacher, labeling={"budget": {"requests": 10}})
    assert table(tmp_path)["label"].to_pylist() == labels_of(rows)
    assert set(teacher.asked.values()) == {1}


def test_a_folder_that_is_not_a_labelling_run_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "run.json").write_text('{"kind": "sft", "method": "sft"}')
    teacher = InProcess()
    with pytest.raises(UserError, match="--overwrite"):
        job(tmp_path, texts(3), teacher)
    (tmp_path / "job" / "run.json").unlink()
    (tmp_path / "job" / "mine.txt").write_text("x")
    with pytest.raises(UserError, match="do not belong to a run"):
        job(tmp_path, texts(3), teacher)
    assert not teacher.asked


def test_an_interrupted_training_in_the_same_place_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "job.incomplete").mkdir()
    (tmp_path / "job.incomplete" / "recipe.yaml").write_text("kind: sft\n")
    with pytest.raises(UserError, match="interrupted run"):
        job(tmp_path, texts(3), InProcess())


def test_labels_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"labels.names: a teacher chooses among labels that it is told"):
        job(tmp_path, texts(3), InProcess(), labels={"task": "single_label"})


def test_a_stop_signal_lets_requests_in_flight_come_and_the_next_start_goes_on(tmp_path: Path) -> None:
    def stop_at_30(asked: list[str], objects: list[dict[str, Any]]) -> Any:
        if "comment 30" in asked:
            os.kill(os.getpid(), signal.SIGTERM)
        return objects

    rows = texts(2000)  # more than may be in flight at once
    teacher = InProcess(stop_at_30, seconds=0.01)
    with pytest.raises(
        StoppedEarly, match="stopped by SIGTERM; every answer that came is stored, and the same command"
    ):
        job(tmp_path, rows, teacher)
    assert json.loads((tmp_path / "job.ledger" / "status.json").read_text())["state"] == "stopped"
    assert 30 < len(teacher.asked) < 2000 and not (tmp_path / "job").exists()
    second = InProcess()
    job(tmp_path, rows, second)
    assert not set(second.asked) & set(teacher.asked), "no answer that came is asked for again"
    assert table(tmp_path)["label"].to_pylist() == labels_of(rows)


PROCESS = """if True:
    import sys
    from pathlib import Path
    from tests.labeling.jobs import *
    start(Path(sys.argv[1]), InProcess(log=Path(sys.argv[2])), *sys.argv[3:])
"""


def launch(recipe: Path, *arguments: str) -> list[list[str]]:
    """Run a recipe in two processes; the texts that each was asked about."""
    logs = [recipe.parent / f"log-{rank}" for rank in range(2)]
    for log in logs:
        log.write_text("")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(recipe), str(logs[rank]), *arguments],
            env={**os.environ, "RANK": str(rank), "WORLD_SIZE": "2", "MASTER_PORT": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (1, 0)
    ]
    for process in processes:
        _, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
    return [[text for line in log.read_text().splitlines() for text in json.loads(line)] for log in logs]


def test_the_processes_of_a_launch_share_the_work_and_one_writes_the_table(tmp_path: Path) -> None:
    rows = texts(120) + [{"id": f"again {i}", "text": f"comment {i}"} for i in range(20)]
    recipe = write_recipe(tmp_path, write_rows(tmp_path, rows))
    asked = launch(recipe)
    assert all(asked) and Counter(asked[0] + asked[1]) == {f"comment {i}": 1 for i in range(120)}
    assert table(tmp_path)["label"].to_pylist() == labels_of(rows)
    alone = InProcess()
    start(recipe, alone)
    assert not alone.asked, "fewer processes read the answers of all"


@pytest.mark.slow
def test_a_launch_begins_anew_with_all_its_processes(tmp_path: Path) -> None:
    rows = texts(120)
    recipe = write_recipe(tmp_path, write_rows(tmp_path, rows))
    first = launch(recipe)
    again = launch(recipe, "--restart")
    assert [sorted(one) for one in again] == [sorted(one) for one in first] and all(again)
    (old,) = tmp_path.glob("job.ledger.before-*")
    for folder in (old, tmp_path / "job.ledger"):
        ledger = Ledger.open(folder)
        assert ledger.spent().requests == sum(len(one) // 8 + (len(one) % 8 > 0) for one in first)
        ledger.close()


def test_what_is_left_of_a_budget_is_shared_out_among_processes() -> None:
    section = Budget(requests=10, money=4.0)
    share = share_of(section, Spent(4, Tokens(), 1.0), 2)
    assert (share.requests, share.money, share.tokens, share.hours) == (7, 2.5, None, None)
    assert share_of(section, Spent(12, Tokens(), 5.0), 2).requests == 12, "nothing is left"
    assert share_of(section, Spent(), 1) == section


def test_a_review_s_group_that_is_not_a_column_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    teacher = InProcess()
    recipe = write_recipe(tmp_path, write_rows(tmp_path, texts(4)), labeling={"review": {"groups": "period"}})
    with pytest.raises(UserError, match=r"labeling\.review\.groups: .* has no column 'period'; columns: 'id', 'text'"):
        start(recipe, teacher)
    assert not teacher.asked
