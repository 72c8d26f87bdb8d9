"""Broken files: what is whole is read, what is not is counted, and a file that is not danmu is one line of error."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from categorize.danmu import Ingested, Settings, ingest
from categorize.errors import UserError

HEAD = "12.3,1,25,16777215,1626077354,0,a2d376ad"


def record(texts: list[str], first_id: int = 51870527213010951, **changes: Any) -> dict[str, Any]:
    tuples = [f"{HEAD},{first_id + i},{text}" for i, text in enumerate(texts)]
    return {
        "video_id": "v1", "collect_YMDH": "2021071218", "chat_id": "c1", "maxlimit": 100,
        "danmu_list": ";".join(tuples), **changes,
    }  # fmt: skip


def lines(*records: dict[str, Any]) -> str:
    return "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in records)


def put(tmp_path: Path, name: str, content: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(path: Path, **options: Any) -> tuple[Ingested, list[dict[str, Any]]]:
    done = ingest(str(path), path.parent / "out", Settings(**options))
    return done, pq.read_table(done.folder / "comments").to_pylist()


def texts_of(rows: list[dict[str, Any]]) -> list[str]:
    return [row["text"] for row in rows]


# ---------------------------------------------------------------- salvaged
def test_a_truncated_gzip_keeps_what_came_before(tmp_path: Path) -> None:
    whole = lines(*(record([f"第{i}条 {j}" for j in range(20)], 10**17 + 100 * i) for i in range(200)))
    path = put(tmp_path, "cut.jsonl.gz", gzip.compress(whole.encode())[:-2000])
    done, rows = read(path)
    assert 1000 < len(rows) < 4000
    assert any("gzip stream is cut off" in remark for remark in done.counts.remarks)


def test_a_gzip_damaged_in_the_middle_keeps_what_came_before(tmp_path: Path) -> None:
    whole = lines(*(record([f"第{i}条 {j} {i * j**5}" for j in range(20)], 10**17 + 100 * i) for i in range(200)))
    packed = gzip.compress(whole.encode())
    half = len(packed) // 2
    done, rows = read(put(tmp_path, "bad.jsonl.gz", packed[:half] + bytes(range(256)) + packed[half + 256 :]))
    assert 1000 < len(rows) < 4000
    assert any("gzip stream is damaged" in remark for remark in done.counts.remarks)


def test_a_truncated_json_record_keeps_its_whole_tuples(tmp_path: Path) -> None:
    path = put(tmp_path, "cut.jsonl", lines(record(["a", "b"]), record(["c", "d", "e"], 7))[:-6])
    done, rows = read(path)
    assert texts_of(rows) == ["a", "b", "c", "d"]
    assert sum(done.counts.rejected.values()) == 1
    assert [row["video_id"] for row in rows] == ["v1"] * 4


def test_bare_quotation_marks_in_json_cost_no_comment(tmp_path: Path) -> None:
    path = put(tmp_path, "bare.jsonl", lines(record(["a", "XbX", "c"])).replace("X", '"'))
    assert texts_of(read(path)[1]) == ["a", '"b"', "c"]


def test_a_broken_record_in_a_json_array_is_counted(tmp_path: Path) -> None:
    whole = [record(["a"], 1), record(["b"], 2), record(["c"], 3)]
    text = "[" + ",\n".join([json.dumps(whole[0]), '{"video_id": oops}', json.dumps(whole[2])]) + "]"
    done, rows = read(put(tmp_path, "array.json", text))
    assert texts_of(rows) == ["a", "c"]
    assert done.counts.broken_records == 1


def test_nul_bytes_and_control_characters_are_kept_and_cleaned(tmp_path: Path) -> None:
    path = put(
        tmp_path, "nul.jsonl", lines(record(["a\x00b", "bell"])).replace("\\u0000", "\0").replace("bell", "b\x07")
    )
    _, rows = read(path, cleaning=("control_characters",))
    assert texts_of(rows) == ["a\x00b", "b\x07"]
    assert [row["clean_text"] for row in rows] == ["ab", "b"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_encodings_are_told_by_the_bytes(encoding: str, tmp_path: Path) -> None:
    path = put(tmp_path, "text.jsonl", lines(record(["前方高能", "好看"])).encode(encoding))
    done, rows = read(path)
    assert texts_of(rows) == ["前方高能", "好看"]
    assert bool(done.counts.remarks) == (encoding in ("gb18030", "utf-16"))


def test_a_gb18030_character_behind_megabytes_of_ascii_is_read(tmp_path: Path) -> None:
    many = [record([f"{i:05d}" * 8], i + 1) for i in range(10_000)]
    path = put(tmp_path, "late.jsonl", lines(*many, record(["好看"], 10**9)).encode("gb18030"))
    assert texts_of(read(path)[1])[-1] == "好看"


def test_mixed_encodings_cost_characters_and_are_counted(tmp_path: Path) -> None:
    path = put(
        tmp_path, "mixed.jsonl", lines(record(["前方高能"])).encode() + lines(record(["好看"], 9)).encode("gb18030")
    )
    done, rows = read(path)
    assert texts_of(rows)[0] == "前方高能"
    assert "\ufffd" in texts_of(rows)[1]
    assert any("broken characters" in remark for remark in done.counts.remarks)


def test_half_an_emoji_becomes_a_replacement_character(tmp_path: Path) -> None:
    path = put(tmp_path, "half.jsonl", lines(record(["aXb"])).replace("X", "\\ud83d"))
    done, rows = read(path)
    assert texts_of(rows) == ["a\ufffdb"]
    assert any("surrogate" in note for note in done.counts.notes)


def test_a_quotation_mark_that_never_closes_costs_its_own_line(tmp_path: Path) -> None:
    table = "time,mode,size,color,timestamp,pool,user_hash,row_id,text\n"
    rows = [f"{HEAD},{i},text {i}" for i in range(100, 110)]
    rows[3] = f'{HEAD},103,"never closed'
    done, found = read(put(tmp_path, "open.csv", table + "\n".join(rows) + "\n"))
    assert len(found) == 9
    assert done.counts.broken_records == 1
    reject = json.loads((done.folder / "rejects.jsonl").read_text(encoding="utf-8"))
    assert (reject["record"], reject["raw"]) == (5, rows[3])


# ---------------------------------------------------------------- ids, times, collections
def test_ids_beyond_2_to_the_53_stay_exact(tmp_path: Path) -> None:
    path = put(tmp_path, "ids.jsonl", lines(record(["a"], 26132238280687620), record(["b"], 26132238280687621)))
    assert [row["row_id"] for row in read(path)[1]] == ["26132238280687620", "26132238280687621"]


def test_an_id_that_comes_again_is_one_row_with_its_count(tmp_path: Path) -> None:
    again = record(["a", "b"], 50, collect_YMDH="2021071219", maxlimit=2)
    path = put(tmp_path, "twice.jsonl", lines(record(["a", "a"], 50), again, again))
    done, rows = read(path)
    assert [(row["row_id"], row["collections"], row["possibly_cut"]) for row in rows] == [
        ("50", 3, True),
        ("51", 3, True),
    ]
    assert [f"{rows[0][name]:%d %H}" for name in ("first_collected", "last_collected")] == ["12 10", "12 11"]
    assert (done.counts.merged, done.counts.conflicts, done.counts.cut_collections) == (4, 2, 2)
    assert texts_of(rows) == ["a", "a"]


def test_rows_of_several_collections_may_stand_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from categorize.danmu import chunks, spill

    monkeypatch.setattr(chunks, "_BATCH", 7)
    monkeypatch.setattr(spill, "_TABLE_ROWS", 10)
    columns = "video_id,collect_YMDH,chat_id,maxlimit,time,mode,size,color,timestamp,pool,user_hash,row_id,text"
    rows = [
        [v, "2021071218", f"c{v}", 15 if v == "A" else 100, i, 1, 25, 0, 1626077354, 0, "ab", f"9{i:03}{ord(v)}", "x"]
        for i in range(20)
        for v in "ABC"
    ]
    path = put(tmp_path, "rows.csv", "\n".join([columns, *(",".join(map(str, row)) for row in rows)]))
    done, found = read(path)
    assert (done.counts.records, done.counts.cut_collections, done.counts.rows) == (3, 1, 60)
    table = pq.read_table(done.folder / "collections.parquet").to_pylist()
    about = [(one["video_id"], one["elements"], one["possibly_cut"]) for one in table]
    assert about == [("A", 20, True), ("B", 20, False), ("C", 20, False)]
    # Also the comments that came before the collection reached its limit.
    assert {row["video_id"] for row in found if row["possibly_cut"]} == {"A"}
    assert sum(row["possibly_cut"] for row in found) == 20


def test_a_large_xml_file_that_reached_its_limit_flags_all_its_comments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from categorize.danmu import elements

    monkeypatch.setattr(elements, "_BATCH", 500)
    body = "".join(f'<d p="{HEAD},{i + 10**10}">x{i}</d>' for i in range(40))
    path = put(tmp_path, "v.xml", f"<i><chatid>7</chatid><maxlimit>40</maxlimit>{body}</i>")
    done, found = read(path)
    assert done.counts.cut_collections == 1 and all(row["possibly_cut"] for row in found)


def test_an_id_twice_in_one_collection_counts_as_one_collection(tmp_path: Path) -> None:
    done, rows = read(put(tmp_path, "same.jsonl", lines(record(["a"], 5, danmu_list=f"{HEAD},5,a;{HEAD},5,a"))))
    assert [row["collections"] for row in rows] == [1]
    assert (done.counts.elements, done.counts.merged, done.counts.repeated) == (2, 1, 1)


def test_comments_with_the_id_0_are_not_merged(tmp_path: Path) -> None:
    done, rows = read(put(tmp_path, "zero.jsonl", lines(record(["a"], 0), record(["b"], 0))))
    assert texts_of(rows) == ["a", "b"]
    assert len({row["row_id"] for row in rows}) == 2 and done.counts.merged == 0


@pytest.mark.parametrize("sent", ["1626077354", "1626077354000", "1626077354000000"])
def test_the_time_of_sending_is_told_by_its_magnitude(sent: str, tmp_path: Path) -> None:
    path = put(tmp_path, "time.jsonl", lines(record(["a"])).replace("1626077354", sent))
    assert f"{read(path)[1][0]['sent_at']:%Y-%m-%dT%H:%M:%SZ}" == "2021-07-12T08:09:14Z"


def test_the_zone_of_collect_ymdh_can_be_named(tmp_path: Path) -> None:
    path = put(tmp_path, "zone.jsonl", lines(record(["a"])))
    assert f"{read(path)[1][0]['first_collected']:%Y%m%d%H}" == "2021071210"
    assert f"{read(path, utc_offset=0.0)[1][0]['first_collected']:%Y%m%d%H}" == "2021071218"


def test_fields_have_names(tmp_path: Path) -> None:
    tuples = "1.5,5,64,255,1626077354,1,a,1,a;2,4,30,-1,0,2,b,2,b;3,77,25,0,1626077354,9,c,3,c"
    done, rows = read(put(tmp_path, "names.jsonl", lines(record([], danmu_list=tuples))))
    assert [row["mode"] for row in rows] == ["top", "bottom", "mode 77"]
    assert [row["font_size_name"] for row in rows] == ["extra large", "custom", "medium"]
    assert [row["color"] for row in rows] == ["#0000FF", "#FFFFFF", "#000000"]
    assert [row["pool"] for row in rows] == ["subtitle", "special", "pool 9"]
    assert rows[1]["sent_at"] is None
    assert sum(done.counts.notes.values()) == 4  # a mode, a pool, a colour, a time


def test_a_list_may_be_a_list(tmp_path: Path) -> None:
    fields = [*HEAD.split(","), "7"]
    values = [[*fields, "a"], ",".join([*fields[:7], "8", "b, c"]), [*fields[:7], "9", "d", " e"], fields[:3], 5]
    done, rows = read(put(tmp_path, "list.jsonl", lines(record([], danmu_list=values))))
    assert texts_of(rows) == ["a", "b, c", "d, e"]
    assert sum(done.counts.rejected.values()) == 2


def test_a_list_may_be_of_objects_with_the_names_of_any_export(tmp_path: Path) -> None:
    names = ["onset_time", "mode", "font_size", "color", "timestamp", "pool", "sender_id", "row_id"]
    one = {**dict(zip(names, [*HEAD.split(","), "7"], strict=True)), "text": "a"}
    other = {**dict(zip(["time", "mode", "size", *names[3:]], [*HEAD.split(","), "8"], strict=True)), "content": ""}
    bare = {key: value for key, value in one.items() if key != "text"}
    done, rows = read(put(tmp_path, "list.jsonl", lines(record([], danmu_list=[one, other, bare]))))
    assert texts_of(rows) == ["a", ""]
    ((reason, count),) = done.counts.rejected.items()
    assert reason.startswith("no column text") and "among 'onset_time'" in reason and count == 1


@pytest.mark.parametrize("write", [repr, json.dumps], ids=["python", "json"])
def test_a_list_of_strings_may_be_written_into_a_cell(write: Any, tmp_path: Path) -> None:
    texts = ["it's, so", 'a "b", c', "你好', '", '", "', "\\n\n\t🎉", f"{HEAD},99,embedded", ""]
    values = [f"{HEAD},{51870527213010951 + i},{text}" for i, text in enumerate(texts)]
    table = [["video_id", "danmu_list"], ["v", write([*values, "1,2,damaged"])], ["w", write(values[:1])]]
    with (tmp_path / "cells.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(table)
    done, rows = read(tmp_path / "cells.csv")
    assert texts_of(rows) == texts
    assert (done.counts.elements, done.counts.merged, sum(done.counts.rejected.values())) == (9, 1, 1)


def test_a_table_may_have_the_fields_in_one_column(tmp_path: Path) -> None:
    path = put(tmp_path, "p.csv", f'p,text\n"{HEAD},5,10","a, b"\n"{HEAD},6",c\n"1,2",d\n')
    done, rows = read(path)
    assert texts_of(rows) == ["a, b", "c"]
    assert rows[0]["video_id"] == "p"
    assert sum(done.counts.rejected.values()) == 1


def test_a_very_long_text_is_a_text(tmp_path: Path) -> None:
    _, rows = read(put(tmp_path, "long.jsonl", lines(record(["长" * 3_000_000, "b"]))))
    assert [len(text) for text in texts_of(rows)] == [3_000_000, 1]


# ---------------------------------------------------------------- refused
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("no.csv", "a,b\n1,2\n", "no column text"),
        ("no.jsonl", '{"a": 1}\n', "no whole comment"),
        ("no.xml", "<html></html>", "no whole comment"),
        ("no.jsonl", "just text\n", "no whole comment"),
        ("empty.json", "", "no whole comment"),
        ("no.parquet", "PAR", "not a readable Parquet file"),
        ("no.txt", "x", "the name does not tell the form"),
    ],
)
def test_what_is_not_danmu_is_refused_in_one_line(name: str, content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read(put(tmp_path, name, content))
    assert name in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["a.json", "a.csv"])
def test_a_table_with_other_columns_is_told_their_names_and_nothing_of_joints(name: str, tmp_path: Path) -> None:
    row = {"when": "1.5", "said": "好"}
    content = json.dumps([row] * 3) if name == "a.json" else "when,said\n1.5,好\n"
    with pytest.raises(UserError) as caught:
        read(put(tmp_path, name, content))
    assert "among 'when', 'said'" in str(caught.value)
    assert "joint" not in str(caught.value) and "columns (" not in str(caught.value)


def test_a_source_without_files_is_refused(tmp_path: Path) -> None:
    for source in (tmp_path / "none.jsonl", tmp_path / "*.xml", tmp_path):
        with pytest.raises(UserError, match=r"no such file|holds no danmu file"):
            ingest(str(source), tmp_path / "out", Settings())


# ---------------------------------------------------------------- anything
BASES = {
    "fuzz.jsonl": lines(*(record(["a", "b, c", "好 (看)"], 100 * i + 1) for i in range(4))).encode(),
    "fuzz.json": json.dumps([record(["a", "b"], 100 * i + 1) for i in range(4)]).encode(),
    "fuzz.xml": ("<i>" + "".join(f'<d p="{HEAD},{i}">t{i}</d>' for i in range(9)) + "</i>").encode(),
    "fuzz.csv": ("time,mode,size,color,timestamp,pool,user_hash,row_id,text\n" + f'{HEAD},5,"a, b"\n' * 9).encode(),
    "elems.json": json.dumps(
        {"elems": [{"progress": 9 * i, "content": "a", "midHash": "ab"} for i in range(9)]}
    ).encode(),
    "loose.csv": b"time,content,color,date\n" + b"1.5,a,#ffffff,2021-07-12 16:09\n12:30,b,,1626077354\n" * 5,
    "fuzz.jsonl.gz": gzip.compress(lines(*(record(["a", "b"], 100 * i + 1) for i in range(4))).encode(), mtime=0),
}


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("name", list(BASES))
def test_no_damage_to_a_file_crashes_or_loses_the_count(name: str, tmp_path: Path, data: st.DataObject) -> None:
    base = BASES[name]
    start = data.draw(st.integers(0, len(base)))
    end = data.draw(st.integers(start, min(len(base), start + 40)))
    noise = data.draw(st.binary(max_size=8) | st.sampled_from([b'"', b"\n", b"\x00", b"{", b"</d>", b"<d ", b"\xff"]))
    path = put(tmp_path, name, base[:start] + noise + base[end:])
    try:
        done, rows = read(path)
    except UserError as error:
        assert "\n" not in str(error)
        return
    counts = done.counts
    rejected, apart = sum(counts.rejected.values()), sum(counts.set_apart.values())
    assert counts.parsed + apart + rejected == counts.elements
    assert len(rows) == counts.rows == counts.parsed - counts.merged
    with (done.folder / "rejects.jsonl").open(encoding="utf-8") as file:
        assert sum(1 for _ in file) == rejected + counts.broken_records + counts.conflicts


@settings(max_examples=30)
@given(rows=st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=20), min_size=1, max_size=8))
def test_any_texts_come_back_from_a_table(tmp_path_factory: pytest.TempPathFactory, rows: list[str]) -> None:
    folder = tmp_path_factory.getbasetemp() / "tables"
    folder.mkdir(exist_ok=True)
    path = folder / "any.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["time", "mode", "size", "color", "timestamp", "pool", "user_hash", "row_id", "text"])
        table.writerows([*HEAD.split(","), str(i + 1), text] for i, text in enumerate(rows))
    found = read(path)[1]
    assert texts_of(found) == rows
