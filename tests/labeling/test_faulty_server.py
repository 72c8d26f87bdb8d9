"""The whole way, from the rows to the table of labels, with a server that answers a fifth of the requests badly.

What the server means for a row is a pure function of its text, so that every label of the table can be checked.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from categorize.errors import UserError
from categorize.label import label
from categorize.labeling import progress
from categorize.labeling.exchange import JobStops
from categorize.methods.registry import METHODS
from categorize.recipe.command import parse_command
from tests.labeling.fault_server import TRANSPORT, Script, Serving, serving, truth
from tests.labeling.faults import TEXT_FAULTS, TEXTS
from tests.labeling.jobs import table, write_recipe

NAMES = ["joy", "social presence", "学习", "other", "none of it"]
CODES = list("ABCDE")  # that the prompt gives to labels without codes of their own
QUICK = [name for name in TRANSPORT if name not in ("hang", "500")]  # without pauses


def write_texts(folder: Path, count: int) -> int:
    """Comments, many of which try to pass for something else; each tenth is the same as the one before."""
    numbers = [i - (i % 10 == 9) for i in range(count)]
    texts = [f"{TEXTS[number % (len(TEXTS) - 1)]} {number}" for number in numbers]
    lines = [json.dumps({"id": f"r{i}", "text": text}, ensure_ascii=False) for i, text in enumerate(texts)]
    (folder / "comments.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return count


def run(folder: Path, server_url: str, multi_label: bool = False, **labeling: Any) -> None:
    teacher = {"type": "endpoint", "url": server_url, "model": "m", "timeout": 3.0, "max_concurrency": 16}
    teacher |= {name: labeling.pop(name) for name in ("prices", "api_key_env") if name in labeling}
    labels = {"names": NAMES} if not multi_label else {"names": NAMES, "task": "multi_label"}
    recipe = write_recipe(folder, folder / "comments.jsonl", labels=labels, labeling={"teacher": teacher, **labeling})
    label(parse_command("run_label.py", "label", METHODS, [str(recipe)]))


def check(folder: Path, count: int, log: Sequence[dict[str, Any]], multi_label: bool = False) -> None:
    """Every row once and in order, with what the server meant for it; and what was answered well is kept."""
    rows = table(folder).to_pylist()
    assert [row["id"] for row in rows] == [f"r{i}" for i in range(count)]
    assert {row["text"] for row in rows} == {text for entry in log for text in entry["texts"]}
    failed = [row for row in rows if row["source"] == "failed"]
    for row in rows:
        if row["source"] == "failed":
            assert row["label"] is None and row["reason"]
        else:
            said = row["label"] if multi_label else [row["label"]]
            assert sorted(said) == sorted(truth(row["text"], NAMES, multi_label)), row
    assert len(failed) < 0.001 * len(rows)
    # Each item that stood complete and valid in an answer needs no other request.
    answered: dict[str, int] = {}
    kept = again = 0
    for entry in log:
        for id, text in zip(entry["ids"], entry["texts"], strict=True):
            again += text in answered
            if id in entry["valid"]:
                kept += 1
                answered[text] = entry["n"]
    assert kept >= 0.9 * count * 0.99 and again <= 0.01 * kept


def test_a_fifth_of_bad_answers_costs_no_row_and_spoils_none(tmp_path: Path) -> None:
    count = write_texts(tmp_path, 2000)
    with serving(tmp_path, Script(NAMES, seed=1, rate=0.2, faults=[*TEXT_FAULTS, *QUICK])) as server:
        run(tmp_path, server.url, items=10)
        log = server.log()
    assert len({entry["fault"] for entry in log}) > 20
    check(tmp_path, count, log)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("multi_label", [False, True])
def test_thousands_of_answers_with_every_fault(tmp_path: Path, seed: int, multi_label: bool) -> None:
    count = write_texts(tmp_path, 20_000)
    script = Script(NAMES, multi_label=multi_label, seed=seed, rate=0.2, faults=[*TEXT_FAULTS, *TRANSPORT])
    with serving(tmp_path, script) as server:
        run(tmp_path, server.url, multi_label, items=10)
        log = server.log()
    assert {*TEXT_FAULTS, *TRANSPORT} <= {entry["fault"] for entry in log}
    check(tmp_path, count, log, multi_label)


@pytest.mark.parametrize("fault", sorted(TEXT_FAULTS))
def test_a_server_that_always_answers_so_gives_the_labels_that_it_means_or_none(tmp_path: Path, fault: str) -> None:
    count = write_texts(tmp_path, 40)
    with serving(tmp_path, Script(NAMES, seed=2, rate=1.0, faults=[fault])) as server:
        run(tmp_path, server.url, items=8)
    rows = table(tmp_path).to_pylist()
    assert len(rows) == count
    assert all(row["source"] == "failed" or row["label"] == truth(row["text"], NAMES)[0] for row in rows), rows


def test_rows_answered_by_a_code_have_the_confidence_that_the_server_gives(tmp_path: Path) -> None:
    count = write_texts(tmp_path, 100)
    script = Script(NAMES, codes=CODES, token_ids=True, rate=0.2, faults=QUICK)
    with serving(tmp_path, script) as server:
        run(tmp_path, server.url, answer="code", items=1)
    rows = table(tmp_path).to_pylist()
    assert len(rows) == count
    assert all(row["label"] == truth(row["text"], NAMES)[0] and 0.2 < row["confidence"] <= 1.0 for row in rows), rows


def test_a_server_that_dies_and_comes_back_costs_only_what_was_in_flight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.2)
    count = write_texts(tmp_path, 600)
    status = tmp_path / "job.ledger" / "status.json"
    with serving(tmp_path, Script(NAMES, seconds=0.02)) as server, ThreadPoolExecutor() as pool:
        port = int(server.url.split(":")[2].split("/")[0])

        def die_and_come_back() -> tuple[list[dict[str, Any]], Serving]:
            while len(server.log()) < 40:
                time.sleep(0.01)
            server.process.kill()
            server.process.wait()
            for _ in range(600):  # a watching script sees it
                if status.exists() and "cannot be reached" in json.loads(status.read_text(encoding="utf-8"))["trouble"]:
                    break
                time.sleep(0.05)
            second = serving(tmp_path, Script(NAMES), port)
            return server.log(), pool_of_servers.enter_context(second)

        with ExitStack() as pool_of_servers:
            death = pool.submit(die_and_come_back)
            run(tmp_path, server.url, items=5)
            log, revived = death.result()
            assert revived.log() and f"waits: {server.url} cannot be reached" in capsys.readouterr().out
            check(tmp_path, count, [*log, *revived.log()])


def test_calls_settle_at_what_a_real_server_takes(tmp_path: Path) -> None:
    count = write_texts(tmp_path, 3000)
    with serving(tmp_path, Script(NAMES, at_once=6, seconds=0.02)) as server:
        run(tmp_path, server.url, items=5)
        log = server.log()
    check(tmp_path, count, [entry for entry in log if entry["fault"] != "429"])
    assert max(entry["at_once"] for entry in log) > 6  # it was tried
    assert sum(entry["fault"] == "429" for entry in log) < 0.1 * len(log)


@pytest.mark.parametrize("budget", [{"requests": 30}, {"tokens": 30_000}, {"money": 0.02}])
def test_a_server_never_counts_more_than_a_budget(tmp_path: Path, budget: dict[str, Any]) -> None:
    count = write_texts(tmp_path, 600)
    prices = {"input": 1.0, "output": 1.0}  # a money budget of 0.02 is 20,000 tokens
    with serving(tmp_path, Script(NAMES, rate=0.2, faults=[*TEXT_FAULTS, *QUICK])) as server:
        for times in range(1, 3):  # a second start has what the first has left, and sends nothing
            with pytest.raises(UserError, match=rf"labeling\.budget\.{next(iter(budget))}.*goes on"):
                run(tmp_path, server.url, prices=prices, items=5, budget=budget)
            log = [entry for entry in server.log() if entry["fault"] != "429"]
            billed = sum(entry["tokens"] for entry in log)
            assert len(log) <= budget.get("requests", len(log))
            assert billed <= budget.get("tokens", 1e6 * budget.get("money", billed))
            assert len(log) > 1 or times == 2
        run(tmp_path, server.url, prices=prices, items=5)
        check(tmp_path, count, server.log())


def test_the_key_stands_in_no_file_and_in_nothing_that_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    key = "sk-Zx81-never-shown"
    monkeypatch.setenv("TEST_KEY", key)
    write_texts(tmp_path, 30)
    with serving(tmp_path, Script(NAMES, key=key, rate=0.3, faults=QUICK)) as server:
        run(tmp_path, server.url, api_key_env="TEST_KEY", items=5)
    (tmp_path / "wrong").mkdir()
    write_texts(tmp_path / "wrong", 30)
    with serving(tmp_path, Script(NAMES, key="another")) as server, pytest.raises(JobStops) as error:
        run(tmp_path / "wrong", server.url, api_key_env="TEST_KEY", items=5)
    assert "$TEST_KEY" in str(error.value)  # the server repeated it
    files = [path for path in tmp_path.rglob("*") if path.is_file() and not path.name.startswith("server-")]
    assert len(files) > 10 and not [path for path in files if key.encode() in path.read_bytes()]
    printed = capfd.readouterr()
    assert printed.out and key not in printed.out + printed.err + str(error.value)
