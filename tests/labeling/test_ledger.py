"""The ledger: what was committed stays, however a process ends; one job at a time; damaged files are named."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from categorize.errors import UserError
from categorize.labeling.budget import Spent
from categorize.labeling.exchange import Item, Outcome, Reply, Request, Tokens
from categorize.labeling.ledger import Ledger, set_aside

ONE = {"model": "one"}


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def asked(number: int, count: int = 2) -> tuple[Request, list[Item]]:
    items = [Item(key(number * 100 + i), f"text {i}") for i in range(count)]
    return Request(f"u{number}", tuple(items), [], 50), items


def test_what_was_recorded_is_found_with_all_that_is_known_of_it(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "l")
    variant = ledger.variant(ONE)
    request, (good, bad) = asked(1)
    outcomes = [
        Outcome(good, (("joy", "fear"), ("0.5",)), rationale="laughs", confidence=0.75),
        Outcome(bad, None, "missing", position=1),
    ]
    number = ledger.record(variant, request, Reply("{}", "length", Tokens(9, 4, 2), seconds=1.5), outcomes, cost=0.5)
    ledger.close()
    again = Ledger.open(tmp_path / "l")
    found = again.find(variant, [good.key, bad.key, key(7)])
    assert set(found) == {good.key, bad.key}
    one = found[good.key]
    assert (one.state, one.labels, one.rationale) == ("labelled", (("joy", "fear"), ("0.5",)), "laughs")
    assert (one.attempts, one.cost, one.request, one.items, one.confidence) == (1, 0.25, number, 2, 0.75)
    assert (found[bad.key].state, found[bad.key].reason, found[bad.key].position) == ("failed", "missing", 1)
    raw = again.raw(number)
    assert (raw.text, raw.finish_reason, raw.tokens, raw.seconds) == ("{}", "length", Tokens(9, 4, 2), 1.5)
    assert raw.keys == (good.key, bad.key)
    assert again.spent() == Spent(1, Tokens(9, 4, 2), 0.5)
    assert again.requests == 1
    again.close()


def test_answers_of_another_variant_are_not_found_but_known_elsewhere(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "l")
    one, two = ledger.variant(ONE), ledger.variant({"model": "two"})
    assert one != two and one == ledger.variant(dict(ONE))
    request, (item, other) = asked(1)
    ledger.record(one, request, Reply(""), [Outcome(item, (("a",),)), Outcome(other, None, "missing")])
    assert ledger.find(two, [item.key, other.key]) == {}
    there = ledger.elsewhere([one], [item.key, other.key])
    assert {key: stored.labels for key, stored in there.items()} == {item.key: (("a",),)}
    assert ledger.elsewhere([two], [item.key]) == {}
    ledger.close()


def test_attempts_and_costs_of_a_row_add_up_over_its_requests(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "l")
    variant = ledger.variant(ONE)
    request, items = asked(1, 4)
    outcomes = [Outcome(item, None, "truncated", position=i) for i, item in enumerate(items)]
    ledger.record(variant, request, Reply("", "length"), outcomes, 0.4, again={item.key for item in items})
    assert ledger.find(variant, [items[0].key]) == {}, "what will be asked again is not settled"
    assert ledger.unsettled(variant) == {item.key: (1, 4) for item in items}
    alone = Request("u2", (items[0],), [], 50)
    ledger.record(variant, alone, Reply("x"), [Outcome(items[0], (("a",),))], 0.3)
    stored = ledger.find(variant, [items[0].key])[items[0].key]
    assert stored.attempts == 2 and stored.cost == pytest.approx(0.4)
    assert len(ledger.unsettled(variant)) == 3
    ledger.close()


def test_a_refused_or_lost_request_is_kept_with_what_it_cost(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "l")
    variant = ledger.variant(ONE)
    request, items = asked(1)
    number = ledger.record(variant, request, None, [Outcome(item, None, "too long") for item in items])
    ledger.lost(request, Spent(1, Tokens(10, 0, 5), 0.7))
    assert ledger.raw(number).text is None and ledger.raw(number).finish_reason == "refused"
    assert ledger.spent() == Spent(2, Tokens(10, 0, 5), 0.7)
    ledger.close()


def test_many_keys_are_found_across_queries(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "l")
    variant = ledger.variant(ONE)
    for number in range(30):
        request, items = asked(number, 100)
        ledger.record(variant, request, Reply(""), [Outcome(item, (("a",),)) for item in items])
    keys = [key(i) for i in range(0, 6000, 2)]
    assert ledger.settled(variant, keys) == {key(i) for i in range(0, 3000, 2)}
    assert len(ledger.find(variant, keys)) == 1500
    ledger.close()


def test_each_process_writes_a_file_of_its_own_and_reads_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Ledger.open(tmp_path / "l")
    second = Ledger.open(tmp_path / "l", process=1)
    variant = first.variant(ONE)
    assert variant == second.variant(ONE)
    numbers = []
    for number, ledger in enumerate((first, second)):
        request, items = asked(number)
        numbers.append(ledger.record(variant, request, Reply(str(number)), [Outcome(one, (("a",),)) for one in items]))
    second.flush()
    first.refresh()
    assert len(set(numbers)) == 2 and [first.raw(one).text for one in numbers] == ["0", "1"]
    assert len(first.find(variant, [key(0), key(1), key(100), key(101)])) == 4
    second.close()
    first.close()
    alone = Ledger.open(tmp_path / "l")
    assert alone.spent().requests == 2
    alone.close()


def test_a_second_job_on_the_same_ledger_is_refused_in_one_line(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "l")
    code = "import sys; from categorize.labeling.ledger import Ledger; Ledger.open(sys.argv[1], int(sys.argv[2]))"
    environment = {**os.environ, "MASTER_PORT": "12345"}  # of another launch
    for process in ("0", "1"):
        command = [sys.executable, "-c", code, str(tmp_path / "l"), process]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
        last = done.stderr.splitlines()[-1]
        assert done.returncode == 1 and "UserError" in last and "another job is working with this ledger" in last
    with pytest.raises(UserError, match="another job"):
        set_aside(tmp_path / "l")
    ledger.close()
    Ledger.open(tmp_path / "l").close()


def test_a_ledger_that_is_begun_anew_keeps_the_old_one_under_another_name(tmp_path: Path) -> None:
    for number in range(3):
        ledger = Ledger.open(tmp_path / "l", restart=number > 0)
        variant = ledger.variant(ONE)
        assert ledger.spent().requests == 0
        request, items = asked(number)
        ledger.record(variant, request, Reply(""), [Outcome(one, (("a",),)) for one in items])
        ledger.close()
    old = sorted(tmp_path.glob("l.before-*"))
    assert len(old) == 2
    kept = Ledger.open(old[0])
    assert kept.spent().requests == 1
    kept.close()


@pytest.mark.parametrize("content", [b"not sqlite" * 1000, b""])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "l").mkdir()
    (tmp_path / "l" / "answers-0.sqlite").write_bytes(content)
    if not content:
        Ledger.open(tmp_path / "l").close()  # a kill right after the file was made
        return
    with pytest.raises(UserError, match=r"answers-0.sqlite: a damaged file, or not a ledger's"):
        Ledger.open(tmp_path / "l")


def test_damage_inside_a_file_is_one_line_when_it_is_met(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "l")
    variant = ledger.variant(ONE)
    for number in range(200):
        request, items = asked(number, 50)
        ledger.record(variant, request, Reply("x" * 500), [Outcome(one, (("a",),)) for one in items])
    ledger.close()
    file = tmp_path / "l" / "answers-0.sqlite"
    content = bytearray(file.read_bytes())
    content[8192:-4096] = b"\xff" * (len(content) - 12288)
    file.write_bytes(bytes(content))
    with pytest.raises(UserError, match="a damaged file") as caught:
        Ledger.open(tmp_path / "l").find(variant, [key(i) for i in range(10_000)])
    assert "\n" not in str(caught.value)


def test_a_foreign_sqlite_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "l").mkdir()
    with sqlite3.connect(tmp_path / "l" / "answers-0.sqlite") as foreign:
        foreign.execute("CREATE TABLE mine (x)")
    with pytest.raises(UserError, match="not a ledger's"):
        Ledger.open(tmp_path / "l")


def test_a_full_disk_stops_the_job_and_what_was_stored_before_stays(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "l")
    variant = ledger.variant(ONE)
    request, items = asked(1)
    ledger.record(variant, request, Reply("kept"), [Outcome(one, (("a",),)) for one in items])
    ledger.flush()
    ledger._commits._connection.execute("PRAGMA max_page_count = 1")  # as sqlite reports a full disk
    with pytest.raises(UserError, match=r"could not be stored.*full"):
        for number in range(2, 500):
            request, items = asked(number)
            ledger.record(variant, request, Reply("x" * 5000), [Outcome(one, (("a",),)) for one in items])
            ledger.flush()
    with pytest.raises(UserError, match="could not be stored"):
        ledger.close()
    again = Ledger.open(tmp_path / "l")
    assert len(again.find(variant, [key(100), key(101)])) == 2
    again.close()


def test_no_thread_is_left_when_a_ledger_is_closed(tmp_path: Path) -> None:
    before = threading.active_count()
    Ledger.open(tmp_path / "l").close()
    assert threading.active_count() == before


def test_a_killed_writer_leaves_every_flushed_answer(tmp_path: Path) -> None:
    code = """if True:
        import os, signal, sys
        from tests.labeling.test_ledger import *
        ledger = Ledger.open(sys.argv[1])
        variant = ledger.variant(ONE)
        for number in range(1000):
            request, items = asked(number)
            ledger.record(variant, request, Reply("x"), [Outcome(one, (("a",),)) for one in items])
            if number == 500:
                ledger.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "l")], timeout=60)
    assert done.returncode == -9
    ledger = Ledger.open(tmp_path / "l")
    variant = ledger.variant(ONE)
    count = ledger.spent().requests
    assert count >= 501
    keys = [key(number * 100) for number in range(1000)]
    assert len(ledger.find(variant, keys)) == count, "a request and its answers are there together"
    ledger.close()
