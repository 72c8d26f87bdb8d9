"""load_data gives the same split in every recipe; what was stored or published stays."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from categorize.data.splits import default_split_file
from categorize.recipe.data_sections import Columns, SplitSettings
from categorize.recipe.label_sections import LabelsSection
from tests.data.small_sources import SPLITS, comments, fails, ids, load, official, section, where, write

# Of the source below, as its rows were once read one by one.
AS_IT_WAS = "e8ab4bad17ebdc0ca35a656cae3ea1e37499ce5253daa608ec82f89d83b747e0"


def test_every_row_is_in_one_split_and_shares_are_kept(tmp_path: Path) -> None:
    data = load(write(tmp_path / "a.jsonl", comments()))
    sizes = {name: table.num_rows for name, table in ((n, data.splits[n]) for n in SPLITS)}
    assert sum(sizes.values()) == 200
    assert len(set.union(*ids(data).values())) == 200
    assert abs(sizes["test"] - 40) <= 2
    assert abs(sizes["validation"] - 20) <= 2
    assert sizes["unlabeled"] == 0
    assert data.label_set.names == ["a", "b"]


def test_rows_splits_and_report_of_a_source_stay_as_they_were(tmp_path: Path) -> None:
    source = random.Random(5)
    labels = ["a", "b;a", " b", "", "n/a", "[]", '["a", "c"]', "d；b"]
    texts = ["", "ＡＢ  c", "AB c", "好 &amp; 好", "x\u200by", *(f"评论 {i % 70}" for i in range(200))]
    rows = [
        {"id": f"c{i}", "text": source.choice(texts), "label": source.choice(labels), "doc": f"{i // 2 or ''}"}
        for i in range(400)
    ]
    (tmp_path / "a.csv").write_text(
        "id,text,label,doc\n"
        + "".join(f'{r["id"]},{r["text"]},"{r["label"].replace(chr(34), chr(34) * 2)}",{r["doc"]}\n' for r in rows),
        encoding="utf-8",
    )
    columns = Columns(id="id", document="doc")
    data = load(tmp_path / "a.csv", LabelsSection(task="multi_label"), columns=columns, dedupe="exact")
    tables = [data.splits[name] for name in SPLITS] + [data.left_out, data.places, data.splits.assignment]
    told = data.report.to_dict() | {"source": "", "notes": [], "fingerprints": data.splits.fingerprints}
    made = json.dumps([*(table.to_pylist() for table in tables), told], ensure_ascii=False)
    assert hashlib.sha256(made.encode()).hexdigest() == AS_IT_WAS


def test_two_recipes_over_one_source_split_alike(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", comments())
    plain = load(path)
    named = load(path, LabelsSection(names=["Good", "Bad"], codes={"a": "Good", "b": "Bad"}), cleaning=[])
    assert ids(plain) == ids(named)
    assert plain.splits.fingerprints != named.splits.fingerprints  # the gold differs


def test_equal_texts_never_straddle_two_splits(tmp_path: Path) -> None:
    rows = [
        {"id": str(i), "text": f"  text\t{i % 90}" if i % 2 else f"ｔext {i % 90}", "label": "ab"[i % 2]}
        for i in range(300)
    ]
    data = load(write(tmp_path / "a.jsonl", rows))
    texts = [set(data.splits[name]["content_hash"].to_pylist()) for name in SPLITS]
    assert sum(map(len, texts)) == len(set.union(*texts)) == 90


def test_documents_that_are_labelled_in_their_first_row_alone_are_warned_of(tmp_path: Path) -> None:
    rows = [
        {"id": str(i), "text": f"text {i}", "label": "ab"[i // 3 % 2] if i % 3 == 0 else "", "doc": f"d{i // 3}"}
        for i in range(300)
    ]
    data = load(write(tmp_path / "a.jsonl", rows), columns=Columns(id="id", document="doc"))
    (warning,) = [one for one in data.report.warnings if "labelled in some rows only" in one]
    assert warning.startswith("100 documents, such as 'd0', are") and "other 200 rows are unlabeled" in warning
    whole = [{**row, "label": "ab"[int(row["doc"][1:]) % 2]} for row in rows]
    report = load(write(tmp_path / "b.jsonl", whole), columns=Columns(id="id", document="doc")).report
    assert not any("some rows only" in one for one in report.warnings)


@pytest.mark.parametrize("column", ["group", "document"])
def test_blanks_around_a_group_or_document_make_no_other_one(column: str, tmp_path: Path) -> None:
    rows = [
        {"id": str(i), "text": f"text {i}", "label": "ab"[i % 2], "who": f"Ann {i % 40}" + " " * (i % 3)}
        for i in range(400)
    ]
    rows[7]["who"] = rows[11]["who"] = "  "
    data = load(write(tmp_path / "a.jsonl", rows), columns=Columns.model_validate({"id": "id", column: "who"}))
    place = where(data)
    for name in {row["who"].strip() for row in rows} - {""}:
        assert len({place[row["id"]] for row in rows if row["who"].strip() == name}) == 1
    cells = "group" if column == "group" else "document_id"
    found = {cell for split in SPLITS for cell in data.splits[split][cells].to_pylist()}
    assert len(found) == (41 if column == "group" else 42)  # blank ones: no group, documents of their own


def test_groups_and_documents_never_straddle_two_splits(tmp_path: Path) -> None:
    rows = [{"id": str(i), "text": f"text {i % 50}", "label": "ab"[i % 2], "video": f"v{i % 40}"} for i in range(400)]
    path = write(tmp_path / "a.jsonl", rows)
    for columns in (Columns(id="id", group="video"), Columns(id="id", document="video")):
        data = load(path, columns=columns)
        videos = [{fields["video"] for fields in data.splits[name]["fields"].to_pylist()} for name in SPLITS]
        assert sum(map(len, videos)) == len(set.union(*videos)) == 40
        # Groups win over equal texts; those are counted and can be told apart.
        assert data.report.overlaps["test"] == data.splits.seen_in_train("test").sum() > 0


def test_rows_with_an_empty_document_are_split_by_their_text(tmp_path: Path) -> None:
    rows = [{"id": str(i), "text": f"text {i % 30}", "label": "ab"[i % 2], "d": None} for i in range(120)]
    data = load(write(tmp_path / "a.jsonl", rows), columns=Columns(id="id", document="d"))
    assert data.report.overlaps == {}
    assert data.splits.train["document_id"].to_pylist() == data.splits.train["id"].to_pylist()


def test_correcting_a_label_or_adding_rows_moves_no_stored_row(tmp_path: Path) -> None:
    path, split_file = tmp_path / "a.jsonl", tmp_path / "s.parquet"
    rows = comments()
    before = where(load(write(path, rows), split_file=split_file))
    for row in rows[::5]:
        row["label"] = "b"
    rows.reverse()
    more = [{"id": f"n{i}", "text": f"new {i}", "label": "ab"[i % 2]} for i in range(100)]
    data = load(write(path, more + rows), split_file=split_file)
    after = where(data)
    assert {row: after[row] for row in before} == before
    assert abs(data.splits.test.num_rows - 60) <= 3
    assert where(load(path, split_file=split_file)) == after


def test_a_row_that_becomes_labelled_leaves_the_others_alone(tmp_path: Path) -> None:
    path, split_file = tmp_path / "a.jsonl", tmp_path / "s.parquet"
    rows = comments()
    for row in rows[:40]:
        row["label"] = None
    before = where(load(write(path, rows), split_file=split_file))
    assert {split for row, split in before.items() if int(row[1:]) < 40} == {"unlabeled"}
    for row in rows[:40]:
        row["label"] = "a"
    after = where(load(write(path, rows), split_file=split_file))
    assert all(after[row] == split for row, split in before.items() if split != "unlabeled")
    assert "unlabeled" not in after.values()


def test_resplit_forgets_the_stored_assignment(tmp_path: Path) -> None:
    path, split_file = tmp_path / "a.jsonl", tmp_path / "s.parquet"
    rows = comments()
    load(write(path, rows[:50]), split_file=split_file)
    write(path, rows)
    fresh = where(load(path))
    assert where(load(path, split_file=split_file)) != fresh
    assert where(load(path, split_file=split_file, resplit=True)) == fresh
    assert where(load(path, split_file=split_file)) == fresh


def test_changing_validation_leaves_test_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", comments())
    more = load(path, splits=SplitSettings(validation=0.3))
    assert ids(load(path))["test"] == ids(more)["test"]
    assert more.splits.validation.num_rows >= 58


def test_the_stored_file_is_written_whole_and_by_the_first_process_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, split_file = write(tmp_path / "a.jsonl", comments()), tmp_path / "deep" / "s.parquet"
    first = load(path, split_file=split_file, write=False)
    monkeypatch.setenv("RANK", "1")
    assert ids(load(path, split_file=split_file)) == ids(first)
    assert not split_file.exists()
    monkeypatch.setenv("RANK", "0")
    load(path, split_file=split_file)
    table = pq.read_table(split_file)
    assert table.num_rows == 200
    assert table.equals(first.splits.assignment)
    assert [item.name for item in split_file.parent.iterdir()] == ["s.parquet"]
    written = split_file.stat().st_mtime_ns
    load(path, split_file=split_file)
    assert split_file.stat().st_mtime_ns == written


def test_a_stored_split_of_other_settings_or_a_broken_one_is_refused(tmp_path: Path) -> None:
    path, split_file = write(tmp_path / "a.jsonl", comments()), tmp_path / "s.parquet"
    load(path, split_file=split_file)
    message = fails(path, split_file=split_file, splits=SplitSettings(seed=7))
    assert "seed 42" in message
    assert "--resplit" in message
    split_file.write_bytes(b"broken")
    assert "--resplit" in fails(path, split_file=split_file)
    load(path, split_file=split_file, resplit=True)
    load(path, split_file=split_file)


def test_a_split_that_cannot_be_stored_is_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", comments())
    (tmp_path / "file").write_text("x")
    assert "cannot be stored" in fails(path, split_file=tmp_path / "file" / "s.parquet")


def test_a_recipe_that_cannot_work_stores_nothing(tmp_path: Path) -> None:
    path, split_file = write(tmp_path / "a.jsonl", comments()), tmp_path / "s.parquet"
    fails(path, LabelsSection(names=["a", "c"]), split_file=split_file)
    assert not split_file.exists()


def test_recipes_of_one_source_share_the_stored_file(tmp_path: Path) -> None:
    one = section(tmp_path / "comments.csv.gz")
    other = one.model_copy(update={"cleaning": [], "columns": Columns(id="id", label="other")})
    path = default_split_file(one, tmp_path)
    assert path == default_split_file(other, tmp_path)
    assert path.parent == tmp_path / "splits"
    assert path.name.startswith("comments-")
    assert len(path.stem) == len("comments-") + 12
    changes: list[dict[str, Any]] = [
        {"sheet": "b"},
        {"columns": Columns(text="t")},
        {"columns": Columns(group="g")},
        {"splits": SplitSettings(seed=1)},
        {"splits": SplitSettings(validation=0.2)},
    ]
    assert len({path, *(default_split_file(one.model_copy(update=change), tmp_path) for change in changes)}) == 6
    named = one.model_copy(update={"splits": SplitSettings(file="here.parquet")})
    assert default_split_file(named, tmp_path) == Path("here.parquet")


def test_fingerprints_do_not_depend_on_row_order(tmp_path: Path) -> None:
    rows = comments()
    one = load(write(tmp_path / "a.jsonl", rows)).splits.fingerprints
    assert load(write(tmp_path / "b.jsonl", rows[::-1])).splits.fingerprints == one
    rows[0]["label"] = "a"
    assert load(write(tmp_path / "c.jsonl", rows)).splits.fingerprints != one


# ---------------------------------------------------------------- official splits
def test_official_splits_are_kept_and_their_overlaps_counted(tmp_path: Path) -> None:
    rows = comments()
    source = official(tmp_path, train=rows[:150], validation=rows[140:170], test=rows[145:], unlabeled=rows[:3])
    data = load(source, columns=Columns(), split_file=tmp_path / "s.parquet")
    assert {name: data.splits[name].num_rows for name in SPLITS} == {
        "train": 150,
        "validation": 30,
        "test": 55,
        "unlabeled": 3,
    }
    assert data.report.overlaps == {"validation": 10, "test": 5}
    assert data.splits.test["id"].to_pylist()[0] == "test-1"
    assert data.splits.unlabeled["gold"].to_pylist() == [None] * 3
    assert not (tmp_path / "s.parquet").exists()


def test_a_split_that_is_not_published_is_cut_from_train(tmp_path: Path) -> None:
    rows = comments()
    with_test = load(official(tmp_path, train=rows[:150], test=rows[150:]))
    assert ids(with_test)["test"] == {row["id"] for row in rows[150:]}
    assert abs(with_test.splits.validation.num_rows - 15) <= 2
    alone = load(official(tmp_path, train=rows))
    assert abs(alone.splits.test.num_rows - 40) <= 2


def test_split_files_may_differ_in_their_columns(tmp_path: Path) -> None:
    source = official(tmp_path, train=comments(50, extra="x"), test=comments(20), unlabeled=[{"id": "u", "text": "t"}])
    data = load(source)
    assert data.splits.test["fields"][0].as_py()["extra"] is None
    assert data.splits.train.schema == data.splits.unlabeled.schema
