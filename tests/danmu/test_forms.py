"""Files of comments as tools write them: what they lack is unknown, units and lost ids are told, nothing is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from categorize.errors import UserError
from tests.danmu.test_bad_input import HEAD, lines, put, read, record, texts_of

FIELDS = ("onset_time", "mode", "font_size", "color", "sent_at", "pool", "sender_id")


def elements(count: int = 30, **changes: Any) -> list[dict[str, Any]]:
    """Comments as the protobuf of a player's server becomes JSON: what is 0 is left out."""
    one = {"mode": 1, "fontsize": 25, "color": 16777215, "midHash": "a2d376ad", "ctime": "1626077354", "weight": 4}
    times = [{"progress": 20_000 * i} if i else {} for i in range(count)]
    return [
        {"id": str(10**17 + i), **time, **one, "content": f"t{i}", "idStr": str(10**17 + i), **changes}
        for i, time in enumerate(times)
    ]


def csv_of(rows: Sequence[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return (
        "\n".join(",".join(map(str, row)) for row in [columns, *([r.get(c, "") for c in columns] for r in rows)]) + "\n"
    )


def values(row: dict[str, Any], *names: str) -> list[Any]:
    return [row[name] for name in names]


# ---------------------------------------------------------------- forms
@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("v1.json", json.dumps),
        ("v1.jsonl", lambda rows: lines(*rows)),
        ("v1.csv", csv_of),
        ("v1.json", lambda rows: json.dumps({"elems": rows, "state": 0})),
        ("v1.json", lambda rows: json.dumps({"code": 0, "data": {"elems": rows, "count": len(rows)}}, indent=1)),
        ("v1.jsonl", lambda rows: lines({"elems": rows[:9]}, {"elems": rows[9:]})),
    ],
)
def test_protobuf_shaped_comments_have_milliseconds_and_an_unknown_pool(name: str, write: Any, tmp_path: Path) -> None:
    done, rows = read(put(tmp_path, name, write(elements())))
    assert [row["onset_time"] for row in rows] == [20.0 * i for i in range(30)]
    assert values(rows[3], *FIELDS[1:4], "pool", "sender_id", "video_id") == [
        "scroll",
        25,
        "#FFFFFF",
        None,
        "a2d376ad",
        "v1",
    ]
    assert (rows[3]["row_id"], rows[3]["text"], f"{rows[3]['sent_at']:%Y}") == (str(10**17 + 3), "t3", "2021")
    assert done.counts.notes["unknown: pool"] == 30 and done.counts.records == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("v.xml", '<i><d p="12.3,1,16777215,[Site]ab c">x</d></i>'),
        ("v.csv", 'p,m\n"12.3,1,16777215,[Site]ab c",x\n'),
        ("v.json", '{"count": 1, "comments": [{"cid": 17, "p": "12.3,1,16777215,[Site]ab c", "m": "x"}]}'),
    ],
)
def test_four_fields_are_time_mode_colour_and_user(name: str, content: str, tmp_path: Path) -> None:
    done, [row] = read(put(tmp_path, name, content))
    assert values(row, *FIELDS) == [12.3, "scroll", None, "#FFFFFF", None, None, "[Site]ab c"]
    assert (row["text"], row["row_id"]) == ("x", "17") if name.endswith("json") else row["row_id"].startswith("made")
    assert done.counts.notes["unknown: font_size, sent_at, pool"] == 1


def test_eight_fields_that_were_cut_are_not_taken_for_four(tmp_path: Path) -> None:
    done, rows = read(put(tmp_path, "v.xml", f'<i><d p="12.3,1,25,16777215">x</d><d p="{HEAD},1">y</d></i>'))
    assert texts_of(rows) == ["y"] and dict(done.counts.rejected) == {"p has 4 fields, not 8 or 9": 1}


def test_time_and_text_are_enough_and_what_is_unknown_is_told_once(tmp_path: Path) -> None:
    done, rows = read(put(tmp_path, "v.csv", "time,text\n1.5,a\n1.5,a\n0:02.5,b\n"))
    assert [values(row, "onset_time", "text", "mode", "sender_id") for row in rows] == [
        [1.5, "a", None, None], [1.5, "a", None, None], [2.5, "b", None, None],
    ]  # fmt: skip
    told = [line for line in done.counts.lines() if line.startswith("note")]
    assert told == [
        "note: 3 times: no row_id: the identity is made of sender, time and text",
        "note: 3 times: unknown: mode, font_size, color, sent_at, pool, sender_id",
    ]


def test_columns_of_other_names_dates_and_colours_are_understood(tmp_path: Path) -> None:
    table = "dm_id,video time,danmaku,Send-Time,userId,bvid,colour,cid\nab12,3,hi,2021-7-12 16:09:14,u 1,BV1,ff0000,9\n"
    _, [row] = read(put(tmp_path, "v.csv", table))
    assert values(row, "row_id", "onset_time", "text", "sender_id", "video_id", "color", "chat_id") == [
        "ab12", 3.0, "hi", "u 1", "BV1", "#FF0000", "9",
    ]  # fmt: skip
    assert f"{row['sent_at']:%Y-%m-%dT%H:%M:%S}" == "2021-07-12T08:09:14"


@pytest.mark.parametrize("time", ["2021-07-12 16:09:14", "1626077354", "1626077354000"])
def test_a_column_time_may_be_the_time_of_sending(time: str, tmp_path: Path) -> None:
    _, [row] = read(put(tmp_path, "v.csv", f"time,text\n{time},a\n"))
    assert row["onset_time"] is None and f"{row['sent_at']:%Y-%m-%dT%H:%M:%S}" == "2021-07-12T08:09:14"


def test_chinese_headers_are_a_table_with_a_hint_that_works(tmp_path: Path) -> None:
    from categorize.data.source import read_source
    from categorize.recipe.data_sections import DataSection

    path = put(tmp_path, "v.csv", "弹幕出现时间,弹幕内容,发送时间\n1.5,好看,2021\n")
    with pytest.raises(UserError, match=r"without data\.format and with data\.columns\.text='弹幕内容'"):
        read(path)
    data = DataSection(source=str(path), columns={"text": "弹幕内容"})
    assert read_source(data).tables["all"].table["弹幕内容"].to_pylist() == ["好看"]


# ---------------------------------------------------------------- units
@pytest.mark.parametrize(
    ("column", "times", "seconds", "told"),
    [
        ("progress", range(0, 300_000, 10_000), 290.0, ""),
        ("progress", range(0, 1500, 50), 1450.0, "read as seconds: in milliseconds the last of 30 comments"),
        ("progress", [i / 2 for i in range(30)], 14.5, "read as seconds"),
        ("progress", [900], 0.9, ""),
        ("time", range(0, 1500, 50), 1450.0, ""),
        ("time", range(0, 1_500_000, 50_000), 1450.0, "read as milliseconds: in seconds the last"),
        ("time", [i * 50_000 + 0.5 for i in range(30)], 1_450_000.5, ""),
    ],
)
def test_times_are_told_by_magnitude(column: str, times: Any, seconds: float, told: str, tmp_path: Path) -> None:
    done, rows = read(put(tmp_path, "v.csv", csv_of([{column: t, "text": f"t{t}"} for t in times])))
    assert rows[-1]["onset_time"] == seconds
    assert [told in remark for remark in done.counts.remarks] == ([True] if told else [])


@pytest.mark.parametrize(("duration", "seconds"), [(1500, 1450.0), (90, 1.45)])
def test_a_length_of_the_video_tells_the_unit(duration: int, seconds: float, tmp_path: Path) -> None:
    rows = [{"progress": t, "text": f"t{t}", "duration": duration} for t in (50, 700, 1450)]
    assert read(put(tmp_path, "v.csv", csv_of(rows)))[1][-1]["onset_time"] == (seconds if duration == 1500 else 1.45)


# ---------------------------------------------------------------- identities
@pytest.mark.parametrize(
    ("ids", "reason"),
    [
        ([0] * 12, "the row_id is 0"),
        (["5.43E+16"] * 12, "the row_id lost its last digits in a spreadsheet"),
        ([51870527213010000 + 100 * (i // 4) for i in range(12)], "the row_id lost its last digits in a spreadsheet"),
    ],
)  # fmt: skip
def test_lost_ids_are_told_and_sender_time_and_text_identify_a_comment(
    ids: list[Any], reason: str, tmp_path: Path
) -> None:
    rows = [{**one, "id": row_id, "idStr": row_id} for one, row_id in zip(elements(12), ids, strict=True)]
    (tmp_path / "raw").mkdir()
    for name, some in (("a", rows), ("b", [*rows[6:], {**rows[0], "midHash": "ffff"}])):
        put(tmp_path / "raw", f"{name}.csv", csv_of([{**row, "video_id": "v"} for row in some]))
    done, found = read(tmp_path / "raw")
    assert sorted(texts_of(found)) == sorted(["t0", *(f"t{i}" for i in range(12))])
    assert [row["collections"] for row in found if row["text"] in ("t6", "t0")] == [1, 2, 1]
    assert (done.counts.merged, done.counts.conflicts) == (6, 0)
    assert done.counts.notes[f"{reason}: the identity is made of sender, time and text"] == 19
    assert all(row["row_id"].startswith("made") for row in found)


def test_some_ids_that_end_in_00_are_ids(tmp_path: Path) -> None:
    path = put(tmp_path, "v.jsonl", lines(record(["a", "b", "c"], 51870527213010900)))
    assert [row["row_id"] for row in read(path)[1]] == [f"518705272130109{i:02d}" for i in range(3)]


# ---------------------------------------------------------------- files
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("v.csv", "time,text\n1,a\n2,b\n"),
        ("v.jsonl", lines({"time": 1, "text": "a"}, {"time": 2, "text": "b"})),
        ("v.xml", f'<i>\n<d p="{HEAD},1">a</d>\n<d p="{HEAD},2">b</d>\n</i>\n'),
    ],
)
def test_lines_of_old_macs_are_lines(name: str, content: str, tmp_path: Path) -> None:
    done, rows = read(put(tmp_path, name, content.replace("\n", "\r")))
    assert texts_of(rows) == ["a", "b"] and not done.counts.remarks


def test_a_carriage_return_within_json_ends_no_line(tmp_path: Path) -> None:
    assert texts_of(read(put(tmp_path, "v.jsonl", lines(record(["aXb"])).strip().replace("X", "\r")))[1]) == ["a\rb"]


def test_other_elements_are_counted_and_a_file_that_is_cut_is_said_to_be(tmp_path: Path) -> None:
    others = f'<D p="{HEAD},7">x</D><sc ts="1" price="30">y</sc><sc ts="2">z</sc><gift name="g"/>'
    whole = f'<?xml version="1.0"?><i><chatid>1</chatid><maxlimit>9</maxlimit><d p="{HEAD},1">a</d>{others}'
    done, rows = read(put(tmp_path, "whole.xml", whole + "</i>\n"))
    assert texts_of(rows) == ["a"] and not done.counts.remarks
    assert done.counts.notes == {
        f"<{name}> elements, which are not comments: not read": n for name, n in (("D", 1), ("sc", 2), ("gift", 1))
    }
    done, rows = read(put(tmp_path, "cut.xml", whole))
    assert texts_of(rows) == ["a"]
    assert done.counts.remarks == [
        "cut.xml: the file ends without </i>: it is cut off; what came before was read; copy the file again"
    ]
    done, _ = read(put(tmp_path, "fragment.xml", f'<d p="{HEAD},1">a</d>'))
    assert not done.counts.remarks
