"""Transcripts: every form gives turns, speakers and times that segments find; what is damaged is kept or told."""

from __future__ import annotations

import gzip
import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from categorize.data.reading.transcripts.cues import seconds
from categorize.data.reading.ways_out import WayOut
from categorize.data.segments.cuts import cut_by_minutes
from categorize.data.segments.turns import find_turns
from categorize.data.source import read_source
from categorize.data.splits import load_data
from categorize.data.stream import RowStream
from categorize.errors import UserError
from categorize.recipe.data_sections import Columns, DataSection, Segments
from categorize.recipe.label_sections import LabelsSection
from tests.data.transcript_samples import (
    AMAZON,
    ASS,
    CHANNELS,
    OTTER,
    PIPELINE,
    REV,
    ROLLING,
    SRT,
    VTT,
    WHISPER,
    WHISPER_CPP,
    WHISPERX,
    WORDS,
    ZOOM_CHAT,
    ZOOM_TEXT,
    ZOOM_VTT,
)  # fmt: skip


def put(folder: Path, name: str, content: str | bytes | Any) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(content, str | bytes):
        content = json.dumps(content, ensure_ascii=False)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def section(source: Path | str, **more: Any) -> DataSection:
    return DataSection(source=str(source), format="transcript", **more)


def read(source: Path | str, **more: Any) -> tuple[list[dict[str, Any]], str]:
    read = read_source(section(source, **more))
    return read.tables["all"].table.to_pylist(), "\n".join(read.notes)


def fails(source: Path | str, form: str | None = "transcript") -> str:
    with pytest.raises(UserError) as caught:
        read_source(DataSection(source=str(source), format=form))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------- forms
@pytest.mark.parametrize(
    ("name", "content", "lines"),
    [
        ("a.vtt", VTT, ["[00:00:01] Ann Lee: Hello you & me, how are you?", "[00:00:01] Bob: Fine. And you?"]),
        ("a.srt", SRT, ["[00:00:01] ANN: Hello.", "[00:00:01] BOB: Hi!", "[00:00:01] ANN: How are you? Well <3?"]),
        ("rolling.vtt", ROLLING, ["[00:00:00] a rolling line comes again comes again"]),
        ("zoom.vtt", ZOOM_VTT, ["[00:02:24] Jane Doe: so: what is it like?", "[00:02:33] Bob: it's really. it's new."]),
        ("whisperx.srt", "1\n00:00:01,000 --> 00:00:02,000\n[SPEAKER_00]: Hi\n", ["[00:00:01] SPEAKER_00: Hi"]),
        ("changes.srt", "1\n0:0:1 -> 0:0:2\n>> Hi >> A\n>>> So", [f"[00:00:01] {said}" for said in ("Hi", "A", "So")]),
        ("a.ass", ASS, ["[00:00:01] Bob: first", "[00:00:05] Ann: second, with a comma and a line"]),
        ("whisper.json", WHISPER, ["[00:00:00] Hello there. Bye."]),
        ("x.json", WHISPERX, ["[00:00:00] SPEAKER_00: Ah?", "[00:00:01] SPEAKER_01: Well. S", "[00:00:04] Unknown: O"]),
        ("pipeline.json", PIPELINE, ["[00:00:00] 你好。 再见。"]),
        ("cpp.json", WHISPER_CPP, ["[00:00:01] Hello."]),
        ("words.json", WORDS, ["[00:00:00] it is so"]),
        ("list.json", WHISPER["segments"], ["[00:00:00] Hello there. Bye."]),
        ("amazon.json", AMAZON, ["[00:00:00] spk_0: Is it?", "[00:00:01] spk_1: Yes,"]),
        ("channels.json", CHANNELS, ["[00:00:00] Ch_0: Is", "[00:00:00] Ch_1: Yes.", "[00:00:00] Ch_0: it?"]),
        ("zoom.txt", ZOOM_TEXT, ["[14:05:12] Jane Doe: Hello everyone. Shall we?", "[14:05:20] 王小明: 好的"]),
        ("chat.txt", ZOOM_CHAT, ["[14:05:12] Jane Doe: hello: you", "[14:06:12] Bob: yo"]),
        ("rev.txt", REV, ["[00:00:00] Speaker 1: Hello there.", "[01:02:12] Speaker 2: Hi: you. Yes."]),
        ("otter.txt", OTTER, ["[00:00:03] Jane Doe: Hello there.", "[00:01:12] Bob: Hi."]),
        ("old.txt", "Bob: 00:01\nhello\nJane: 00:05\nhi", ["[00:00:01] Bob: hello", "[00:00:05] Jane: hi"]),
        ("trint.txt", "00:00:01 Bob\nhello\n\n00:00:05 Ann\nhi", ["[00:00:01] Bob: hello", "[00:00:05] Ann: hi"]),
        ("chapters.txt", "Intro (00:00)\nThe end (12:30)", ["Intro (00:00)", "The end (12:30)"]),
        ("figure.txt", "See figure (12:30) for more.\na -> b.", ["See figure (12:30) for more.", "a -> b."]),
        ("unnumbered.srt", "0:0:1,0 --> 0:0:2,0\n42\n0:0:2,0 --> 0:0:3,0\nwhy", ["[00:00:01] 42 why"]),
        ("prose.txt", "Ann: hello\n\nBob: hi\n", ["Ann: hello", "", "Bob: hi"]),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 else "",
)  # fmt: skip
def test_every_form_is_a_document_of_turns_with_speakers_and_times(
    name: str, content: Any, lines: list[str], tmp_path: Path
) -> None:
    [row], _ = read(put(tmp_path, name, content))
    assert row["text"].split("\n") == lines
    assert row["id"] == name.rpartition(".")[0] and row["folder"] == tmp_path.name


def test_byte_order_marks_line_ends_and_gzip_change_nothing(tmp_path: Path) -> None:
    [plain], _ = read(put(tmp_path, "plain.srt", SRT))
    others = ["\ufeff" + SRT, *(SRT.replace("\n", end) for end in ("\r\n", "\r")), SRT.replace(",", ".")]
    for i, content in enumerate([*others, gzip.compress(SRT.encode())]):
        name = "a.srt.gz" if isinstance(content, bytes) else f"a{i}.srt"
        assert read(put(tmp_path, name, content))[0][0]["text"] == plain["text"]
    [chinese], _ = read(put(tmp_path, "b.srt", SRT.replace("Hello", "你好").encode("gb18030")), encoding="gb18030")
    assert chinese["text"] == plain["text"].replace("Hello", "你好")
    broken = put(tmp_path, "c.srt", SRT.encode().replace(b"Hello", b"H\xffllo"))
    [row], notes = read(broken, encoding_errors="replace")
    assert row["text"] == plain["text"].replace("Hello", "H\ufffdllo") and "U+FFFD" in notes


def test_lines_that_are_said_again_stay_where_captions_do_not_roll(tmp_path: Path) -> None:
    cues = [
        f"00:00:{i:02d}.000 --> 00:00:{i + 1:02d}.000\n{said}\n"
        for i, said in enumerate(["No!", "No!", "Why?", "So.", "It is."])
    ]
    [row], notes = read(put(tmp_path, "a.vtt", "WEBVTT\n\n" + "\n".join(cues)))
    assert row["text"] == "[00:00:00] No! No! Why? So. It is." and "rolling" not in notes


@pytest.mark.parametrize(
    ("clock", "expected"),
    [
        ("01:02:03,500", 3723.5),
        ("02:03.5", 123.5),
        ("0:0:1.05", 1.05),
        ("1:2:3:250", 3723.25),
        ("12", None),
        ("0:x", None),
    ],
)
def test_clocks_of_every_form_are_read(clock: str, expected: float | None) -> None:
    assert seconds(clock) == expected


# ---------------------------------------------------------------- segments
def long_talk() -> str:
    cues = [
        f"{i // 60:02d}:{i % 60:02d}.000 --> {i // 60:02d}:{i % 60 + 4:02d}.000\nPython: it is {i}.\n"
        for i in range(0, 300, 5)
    ]
    return "WEBVTT\n\n" + "\n".join(["00:00.000 --> 00:00.500\n<v Ann>Go.</v>\n", *cues])


def test_long_turns_have_stamps_within_them_and_stay_one_turn(tmp_path: Path) -> None:
    [row], _ = read(put(tmp_path, "talk.vtt", long_talk().replace("Python: ", "")))
    [first, second] = find_turns(row["text"])
    assert (first.speaker, second.speaker) == ("Ann", "Unknown")
    assert [len(part.split(" it is ")) for part in cut_by_minutes(row["text"], 1)] == [13] * 5


def test_what_looks_like_a_label_within_a_turn_begins_no_line(tmp_path: Path) -> None:
    [row], _ = read(put(tmp_path, "talk.vtt", long_talk().replace("Python: ", "<v Ann>Python: ")))
    assert [turn.speaker for turn in find_turns(row["text"])] == ["Ann"]


def test_names_that_no_label_can_have_get_one_and_are_told(tmp_path: Path) -> None:
    voices = ["jane doe", "אבי", "Speaker 1", "Ann"]
    cues = [f"00:0{i}.000 --> 00:0{i + 1}.000\n<v {name}>said {i}" for i, name in enumerate(voices)]
    [row], notes = read(put(tmp_path, "talk.vtt", "WEBVTT\n\n" + "\n\n".join(cues)))
    assert [turn.speaker for turn in find_turns(row["text"])] == ["Jane Doe", "Speaker 2", "Speaker 1", "Ann"]
    assert row["speakers"] == voices
    assert "'jane doe' is 'Jane Doe'; 'אבי' is 'Speaker 2'" in notes


@pytest.mark.parametrize(
    ("by", "texts"),
    [
        ("turns", ["Jane Doe: so: what is it like?", "Bob: it's really. it's new."]),
        ("question_answer", ["Jane Doe: so: what is it like?\nBob: it's really. it's new."]),
        ("minutes", ["Jane Doe: so: what is it like?\nBob: it's really. it's new."]),
    ],
)
def test_a_recipe_cuts_transcripts_by_turns_questions_and_minutes(by: Any, texts: list[str], tmp_path: Path) -> None:
    from categorize.data.segments.tokens import PlainTokens

    put(tmp_path, "calm/zoom.vtt", ZOOM_VTT)
    data = DataSection(
        source=str(tmp_path / "**/*.vtt"), segments=Segments(by=by, minutes=1.0 if by == "minutes" else None)
    )
    assert (data.columns.id, data.columns.label) == ("id", None) and "timestamps" in data.cleaning
    stream = RowStream(data)
    [rows] = list(stream)
    segments = stream.input_spec.expand(rows, PlainTokens())
    assert segments["text"].to_pylist() == texts and stream.rows == 1
    assert segments["id"].to_pylist() == [f"zoom#{i}" for i in range(len(texts))]


# ---------------------------------------------------------------- folders and patterns
def test_a_folder_or_a_pattern_is_a_row_a_file_with_its_folder_as_a_label(tmp_path: Path) -> None:
    for i in range(10):
        put(tmp_path, f"{'calm' if i % 2 else 'angry'}/talk{i}.srt", SRT.replace("Hello", f"Hello {i}"))
    put(tmp_path, "calm/.hidden.srt", SRT)
    columns = Columns(id="id", label="folder")
    for source in (tmp_path, tmp_path / "**/*.srt"):
        data = section(source, columns=columns)
        loaded = load_data(data, LabelsSection(), write=False)
        assert loaded.label_set.names == ["angry", "calm"]
        assert sum(table.num_rows for table in (loaded.splits[name] for name in ("train", "validation", "test"))) == 10
        assert f"{source}: transcripts read: 10; cues: 30; speech: 00:00:30" in "\n".join(loaded.report.lines())


def test_one_recording_in_several_forms_is_read_once_and_told(tmp_path: Path) -> None:
    for suffix, content in {"srt": SRT, "vtt": VTT, "json": WHISPER, "txt": "Hello there."}.items():
        put(tmp_path, f"talk.{suffix}", content)
    rows, notes = read(tmp_path)
    assert [row["text"] for row in rows] == ["[00:00:00] Hello there. Bye."]
    assert "left out (3)" in notes


def test_files_of_one_name_have_their_paths_as_ids(tmp_path: Path) -> None:
    for name in ("a/talk.srt", "b/talk.srt", "b/other.srt"):
        put(tmp_path, name, SRT)
    assert [row["id"] for row in read(tmp_path / "*/*.srt")[0]] == ["a/talk.srt", "b/other.srt", "b/talk.srt"]


# ---------------------------------------------------------------- damage
def test_damaged_cues_keep_their_text_and_are_told(tmp_path: Path) -> None:
    broken = SRT.replace("00:00:03,500 --> 00:00:04,000", "00:00:03,500 --> 00:").replace("02,000", "00,000")
    [row], notes = read(put(tmp_path, "a.srt", "stray\n\n" + broken))
    assert row["text"].endswith("ANN: How are you? Well <3?")
    assert "damaged places (3): a.srt: line 1: 1 line before the first cue, left out; a.srt: line 4: " in notes
    segments = [*WHISPER["segments"], {"id": 2}, 5, {"text": "x", "start": float("nan")}]  # type: ignore[misc]
    [row], notes = read(put(tmp_path, "a.json", {"segments": segments}))
    assert row["text"].endswith("Bye. x")
    assert "damaged places (3): a.json: segment 3: \"{'id': 2}\" has no text, left out; a.json: segment 4: " in notes
    [row], notes = read(put(tmp_path, "a.ass", ASS.replace(",0:00:06.00", ",soon")))
    assert row["text"] == "[00:00:01] Bob: first" and "a.ass: line 6: " in notes
    whole = read(put(tmp_path, "a.ass", ASS))[0]
    assert read(put(tmp_path, "a.ass", ASS.replace(", Text", "")))[0] == whole


def test_transcripts_without_a_word_are_empty_rows_and_told(tmp_path: Path) -> None:
    put(tmp_path, "a.vtt", "WEBVTT\n\n")
    put(tmp_path, "b.json", {"text": "", "segments": []})
    put(tmp_path, "c.srt", "")
    put(tmp_path, "d.srt", SRT)
    rows, notes = read(tmp_path)
    assert [bool(row["text"]) for row in rows] == [False, False, False, True]
    assert "without a word (3): a.vtt; b.json; c.srt" in notes


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.vtt", "just text", "no cue in it; a transcript is WebVTT"),
        ("a.srt", SRT.encode("utf-16"), "UTF-16; set data.encoding: utf-16"),
        ("a.srt", SRT.replace("Hello", "é").encode("latin-1"), "is not UTF-8"),
        ("a.json", '{"segments": [', "line 1: broken JSON"),
        ("a.json", {"results": [], "status": "FAILED"}, "no segments or words of a recognizer in it; its keys: "),
        ("a.json", [1, 2], "no segments or words of a recognizer"),
        ("a.json", "[" * 100_000, "nested too deeply"),
        ("a.vtt.gz", gzip.compress(VTT.encode())[:-9], "broken gzip file"),
    ],
)  # fmt: skip
def test_what_is_no_transcript_is_refused_in_one_line(name: str, content: Any, message: str, tmp_path: Path) -> None:
    path = put(tmp_path, name, content)
    assert message in fails(path) and str(path) in fails(path)


def test_the_way_out_of_each_refused_source_is_named(tmp_path: Path) -> None:
    put(tmp_path, "a.vtt", VTT)
    put(tmp_path, "b.txt", REV)
    for source in (tmp_path, tmp_path / "*", put(tmp_path / "json", "w.json", WHISPER)):
        with pytest.raises(WayOut, match=r"data\.format: transcript") as caught:
            read_source(DataSection(source=str(source)))
        [way] = caught.value.ways
        assert read_source(DataSection(source=str(source), **way)).tables["all"].table.num_rows
    with pytest.raises(WayOut, match=r"a\.csv is not known as a transcript"):
        read_source(DataSection(source=str(put(tmp_path / "c", "a.csv", "a").parent / "*")))
    shutil.rmtree(tmp_path / "json"), shutil.rmtree(tmp_path / "c")
    assert len(read(tmp_path)[0]) == len(read(tmp_path / "*")[0]) == 2
    assert "no file has such a name" in fails(tmp_path / "*.srt", None)
    assert "holds no transcript" in fails(put(tmp_path, "empty/a.csv", "a").parent)


def test_no_damage_ends_in_a_traceback(tmp_path: Path) -> None:
    samples = {
        **{"a.vtt": VTT, "b.vtt": ROLLING, "a.srt": SRT, "a.ass": ASS, "a.txt": ZOOM_TEXT, "b.txt": REV},
        **{"a.json": json.dumps(WHISPERX), "b.json": json.dumps(AMAZON), "c.json": json.dumps(PIPELINE)},
    }
    rng = random.Random(5)
    for name, content in samples.items():
        for _ in range(25):
            damaged = bytearray(content.encode())
            for _ in range(rng.randint(1, 4)):
                at, size = rng.randrange(len(damaged)), rng.randint(0, 12)
                damaged[at : at + size] = rng.choice(
                    [b"", b"\x00", b"-->", b"\n\n", b"[", b"{", b"\xff", b"<v ", b'"', b": "]
                )
            try:
                read(put(tmp_path, name, bytes(damaged)))
            except UserError as error:
                assert "\n" not in str(error)
