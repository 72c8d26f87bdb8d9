"""Cleaning steps beyond characters: what each takes out or makes uniform, on examples, random texts and real rows."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from categorize.data.cleaning.report import CleaningTrace, excerpt
from categorize.data.cleaning.steps import STEPS, build_step, cleaner
from categorize.data.input_spec import InputSpec
from categorize.data.segments.turns import find_turns, read_label
from categorize.errors import UserError
from categorize.recipe.data_sections import CleaningOptions, CleaningStep, Columns

DATA = os.environ.get("CATEGORIZE_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="CATEGORIZE_DATA names no folder with the real datasets")


def options(**steps: Any) -> CleaningOptions:
    return CleaningOptions.model_validate(steps)


EXAMPLES: list[tuple[str | CleaningOptions, str, str]] = [
    ("html_entities", "a &amp;amp;lt; b &#128512;", "a < b 😀"),
    ("html_entities", "?a=1&copy=2 AT&T", "?a=1&copy=2 AT&T"),
    ("repeated_punctuation", "好！！！！！！ 啊。。。。。。 what?!?!?!?!", "好！！！ 啊。。。 what?!?!?!"),
    (options(repeated_punctuation={"keep": 1}), "!!?!!? 好~~", "!? 好~"),
    ("laughter", "哈哈哈哈哈 笑死23333333 すごいwwwww", "哈哈 笑死233 すごいww"),
    ("laughter", "Hahahaha LOOOL hhhhh hehehe", "haha lol hh hehe"),
    ("laughter", "12333 2333.5 www.a.com then hall allow lollipop", "12333 2333.5 www.a.com then hall allow lollipop"),
    (options(laughter={"replace": "<laugh>"}), "太好笑了哈哈哈2333", "太好笑了<laugh><laugh>"),
    ("urls", "see http://x.y/z?a=1, now", "see , now"),
    ("urls", "看https://b23.tv/abc这里 www.bilibili.com。好", "看这里 。好"),
    ("urls", "b23.tv/BV1xx yes.me 3/4 and/or a@b.com", "yes.me 3/4 and/or a@b.com"),
    (options(urls={"replace": "<url>"}), "(https://a.b/c) 和 http://d.e", "(<url>) 和 <url>"),
    ("mentions", "@foo_1 hi 回复 @张三 :好", "hi 回复 :好"),
    ("mentions", "mail a@b.com, 3 @ 5", "mail a@b.com, 3 @ 5"),
    ("mentions", "Sunday @11:22PM, @2：04 @2233娘", "Sunday @11:22PM, @2：04 "),
    ("timestamps", "[00:12:31] CEO: hi\n12:31 and at 12:30 we met (1:02:03)", "CEO: hi\nand at 12:30 we met "),
    ("timestamps", "1\n00:00:01,000 --> 00:00:04,000\nText\n", "Text\n"),
    ("annotation_tags", "Um {vocalsound} {vocalsound} we {disfmarker}\nand a<noise>b", "Um we \nand a b"),
    ("annotation_tags", "[Laughter.] ok [doge] [1] <3 （笑）好 [inaudible 00:12:31]", "ok [doge] [1] <3 好 "),
    (options(annotation_tags={"add": ["doge"]}), "ok [doge] [Doge]", "ok "),
    ("fillers", "Um, I think uh we, hmm, go. Umbrella, err... no", "I think we, go. Umbrella, ... no"),
    ("fillers", "嗯，好的。呃我想说，额……额度不够", "好的。我想说，……额度不够"),
    ("fillers", "36 mm film, ED not ER, Er:YAG, in 1999 um we", "36 mm film, ED not ER, Er:YAG, in 1999 we"),
    ("fillers", "HM Treasury. Medit\xader\xadranean. UHH, MMM ok", "HM Treasury. Medit\xader\xadranean. ok"),
    ("fillers", "嗯呢。嗯嗯呢，唔好意思（唔会无大肠味）唔，好的", "嗯呢。嗯嗯呢，唔好意思（唔会无大肠味）好的"),
    (options(fillers={"languages": ["en"]}), "嗯，uh 好", "嗯，好"),
    (options(fillers={"add": ["you know", "就是说"]}), "It is, You  know, 我就是说好", "It is, 我好"),
    ("speakers", "CEO: a\nAudience Q:  b\nSPEAKER_03: c\n用户：d", "CEO: a\nAudience Q: b\nSpeaker 3: c\n用户: d"),
    ("speakers", "The Chair (Hon. A (B, Lib.)): a\n[00:01] JOHN SMITH: b", "The Chair: a\n[00:01] John Smith: b"),
    ("speakers", "Speaker 3 (00:12): a\nSPEAKER_04 [0:00:13 - 0:00:20]: b", "Speaker 3: a\nSpeaker 4: b"),
    ("speakers", "We met (12:31) at 13:00: a\nsee [1]: b", "We met (12:31) at 13:00: a\nsee [1]: b"),
    ("speakers", "Note: a\nhttp://x\n12:31 b\nOne thing: c", "Note: a\nhttp://x\n12:31 b\nOne thing: c"),
    ("speakers", "我想说的是：d", "我想说的是：d"),
    (options(speakers={"style": "numbered"}), "Bob: a\nAnn: b\nBob: c", "Speaker 1: a\nSpeaker 2: b\nSpeaker 1: c"),
    (options(speakers={"style": "drop"}), "Bob: a\nb\n用户：c", "a\nb\nc"),
    (options(speakers={"names": ["das ich"]}), "das ich: a\nBob: b", "das ich: a\nBob: b"),
    (options(speakers={"names": ["das ich"], "style": "drop"}), "das ich: a\nBob: b", "a\nBob: b"),
]  # fmt: skip


@pytest.mark.parametrize(("step", "raw", "clean"), EXAMPLES, ids=lambda value: None)
def test_a_step_by_example(step: str | CleaningOptions, raw: str, clean: str) -> None:
    assert cleaner([step])(raw) == clean


PIECES = st.lists(
    st.sampled_from(
        [
            "哈", "23", "3", "w", "ha", "l", "o", "!", "?", "！", "…", "@", "a", "B", "用户", "：", ":", " ", "\n",
            "www.", "http://", "/", ".", "{gap}", "[laughter]", "<", ">", "{", "um", "uh", ",", "嗯", "呃", "额", "，",
            "[00:12]", "12:31", " --> ", "&amp;", "amp;", "&", "#60;", "Speaker 2", "Bob", "CEO", "-", "你知道",
            "35 ", "mm", "ER", "唔", "(00:12)",
        ]
    ),
    max_size=14,
).map("".join)  # fmt: skip
CHOICES = [
    "html_entities", "repeated_punctuation", "laughter", "urls", "mentions", "timestamps", "annotation_tags", "fillers",
    "speakers",
    options(repeated_punctuation={"keep": 1}), options(laughter={"replace": ""}), options(laughter={"replace": "哈哈"}),
    options(urls={"replace": "<url>"}), options(mentions={"replace": "@"}), options(timestamps={"replace": "[time]"}),
    options(annotation_tags={"replace": "…", "add": ["a B"]}), options(fillers={"add": ["你知道", "a", "B"]}),
    options(speakers={"style": "numbered"}), options(speakers={"style": "drop"}), options(speakers={"style": "field"}),
    options(speakers={"names": ["Bob", "用户"], "style": "numbered"}),
]  # fmt: skip


@pytest.mark.parametrize("choice", CHOICES, ids=lambda one: one if isinstance(one, str) else str(one.to_dict()))
@given(text=PIECES)
@settings(max_examples=60)
def test_a_step_done_twice_changes_nothing(choice: str | CleaningOptions, text: str) -> None:
    apply = build_step(choice)[1]
    assert apply(apply(text)) == apply(text)


@given(PIECES)
@example("w(00:12)(00:12)w")
def test_taking_marks_out_never_joins_words_that_were_apart(text: str) -> None:
    words = set(re.findall("[a-zA-Z]+", text))
    for step in ("annotation_tags", "timestamps"):
        assert set(re.findall("[a-zA-Z]+", cleaner([step])(text))) <= words


def test_a_replacement_that_is_taken_out_itself_is_refused() -> None:
    with pytest.raises(UserError, match=r"urls\.replace: 'http://x\.y' would be replaced itself"):
        cleaner([options(urls={"replace": "http://x.y"})])


@pytest.mark.parametrize("replacement", ["[哈哈]", "<haha>", "ww!"])
def test_a_replacement_that_laughs_within_a_longer_text_is_refused(replacement: str) -> None:
    with pytest.raises(UserError, match=r"laughter\.replace: .* would be replaced itself"):
        cleaner([options(laughter={"replace": replacement})])


def test_every_step_that_a_recipe_may_name_is_there() -> None:
    assert set(STEPS) == set(get_args(CleaningStep))
    with_options = {name for name, step in STEPS.items() if step.build is not None}
    assert with_options == set(CleaningOptions.model_fields)


def test_an_item_names_one_step() -> None:
    with pytest.raises(ValueError, match="found urls and mentions"):
        options(urls={}, mentions={})
    with pytest.raises(ValueError, match="found none"):
        options(urls=None)


def test_steps_with_options_are_saved_with_the_run(tmp_path: Path) -> None:
    spec = InputSpec(Columns(), None, ("nfkc", options(fillers={"add": ["you know"]}), options(urls={"replace": "U"})))
    spec.save(tmp_path)
    assert InputSpec.load(tmp_path) == spec
    assert InputSpec.load(tmp_path).text({"text": "you know http://x.y"}) == spec.text({"text": "you know http://x.y"})


def test_a_spec_of_an_older_run_still_loads() -> None:
    old = {
        "columns": Columns().model_dump(),
        "template": None,
        "cleaning": ["nfkc", "whitespace"],
        "segments": {"by": "document", "aggregation": "max"},
    }
    spec = InputSpec.from_dict(old)
    assert (spec.cleaning, spec.segments.aggregation) == (("nfkc", "whitespace"), "max")


# ---------------------------------------------------------------- what is reported
def test_touched_rows_are_counted_once_a_row_with_samples() -> None:
    spec = InputSpec(Columns(text=["a", "b"]), None, ("urls", "whitespace"))
    table = pa.table({"a": ["http://x.y q", "w", "http://x.y q"], "b": ["www.z.de  w", "w", "www.z.de  w"]})
    rows = spec.rows_from_table(table)
    trace = CleaningTrace(spec.cleaning)
    texts = spec.texts(rows["fields"].combine_chunks(), trace).to_pylist()
    assert texts == rows["text"].to_pylist() == ["q\nw", "w\nw", "q\nw"]
    report = trace.report
    assert [(step.step, step.rows) for step in report.steps] == [("urls", 2), ("whitespace", 0)]
    assert report.rows == 3
    assert report.line().endswith("urls 2, whitespace 0")
    assert any("'http://x.y q' -> 'q'" in line for line in report.lines())


@given(PIECES, PIECES)
def test_an_excerpt_is_short_and_differs_where_the_texts_do(before: str, after: str) -> None:
    long = "x" * 200
    one, two = excerpt(long + before + long, long + after + long)
    assert max(len(one), len(two)) <= 24 * 4 + 6 + len("...") * 2
    assert (one == two) == (before == after) or len(before + after) > 60


# ---------------------------------------------------------------- turns
def test_turns_begin_at_labels_and_take_the_lines_behind_them() -> None:
    text = "intro\nBob: a\nmore\n\n用户：b\n12:31 Ann: c"
    turns = find_turns(text)
    assert [(text[t.start : t.end], t.speaker) for t in turns] == [
        ("intro", None),
        ("Bob: a\nmore", "Bob"),
        ("用户：b", "用户"),
        ("12:31 Ann: c", "Ann"),
    ]
    assert [turn.start for turn in find_turns("one\n\n two\n")] == [0, 5]
    assert find_turns(" \n") == []


@given(PIECES)
def test_turns_hold_everything_but_white_space(text: str) -> None:
    turns = find_turns(text)
    assert "".join("".join(text[t.start : t.end] for t in turns).split()) == "".join(text.split())
    assert all(a.end <= b.start for a, b in pairwise(turns))


# ---------------------------------------------------------------- real rows
def rows_of(name: str) -> list[dict[str, Any]]:
    assert DATA is not None
    with gzip.open(Path(DATA) / name, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@needs_data
def test_every_turn_of_the_chinese_dialogues_has_its_speaker() -> None:
    for row in rows_of("crosswoz_domains_zh/train.jsonl.gz"):
        labels = [read_label(line) for line in row["text"].split("\n")]
        assert {label.name for label in labels if label} == {"用户", "系统"}
        dropped = cleaner([options(speakers={"style": "drop"})])(row["text"])
        assert "用户：" not in dropped and "系统：" not in dropped
        assert len(find_turns(row["text"])) == sum(label is not None for label in labels)


@needs_data
def test_meetings_keep_their_words_and_lose_their_marks() -> None:
    clean = cleaner(["annotation_tags", "fillers", "speakers", "whitespace"])
    missed: Counter[str] = Counter()
    for row in rows_of("qmsum_meetings/test.jsonl.gz")[::4]:
        raw = row["text"]
        assert "{vocalsound}" not in clean(raw) and "{disfmarker}" not in clean(raw)
        assert not re.search(r"(?i)\bu(?:m|h)\b", clean(raw))
        speakers = {turn.speaker for turn in find_turns(raw)}
        missed += {line[:80]: 1 for line in raw.split("\n") if ":" in line[:60] and not read_label(line)}
        assert speakers == {label.name for line in raw.split("\n") if (label := read_label(line))}
        # Nothing goes but marks, fillers and brackets behind names.
        assert len(clean(raw)) > 0.75 * len(raw)
    assert sum(missed.values()) <= 5, missed


@needs_data
def test_danmaku_and_reviews_lose_laughter_and_runs_and_nothing_else() -> None:
    clean = cleaner(["laughter", "repeated_punctuation"])
    touched = 0
    for row in rows_of("asap_reviews_zh_sample/train.jsonl.gz") + rows_of("goemotions/test.jsonl.gz")[:1000]:
        new = clean(row["text"])
        touched += new != row["text"]
        assert not re.search("哈{3,}|!{4,}|！{4,}", new)
        kept = re.sub(r"[!?.,;:~…。！？，、；：～·・—\-_=*^|哈嘿呵嘻haeowl\s]", "", row["text"].lower())
        assert kept == re.sub(r"[!?.,;:~…。！？，、；：～·・—\-_=*^|哈嘿呵嘻haeowl\s]", "", new.lower())
    assert touched > 20
