"""Lists of tuples are cut where tuples end, whatever their texts hold."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from categorize.danmu.tuples import cut, learn

HEADS = [
    ["12.3", "1", "25", "16777215", "1626077354", "0", "a2d376ad", "51870527213010951"],
    ["0.47900", "4", "18", "15138834", "1625843057", "1", "f4b0b794", "2978414126"],
    ["1e-05", "5", "64", "0", "1626077354000", "0", "1", "26132238280687620"],
]


def written(texts: list[str], joint: str, opener: str = "", closer: str = "") -> str:
    tuples = [",".join([*HEADS[i % 3], text]) for i, text in enumerate(texts)]
    return opener + joint.join(tuples) + closer


@pytest.mark.parametrize(
    ("joint", "opener", "closer"),
    [(";", "", ""), ("),(", "(", ")"), ("\n", "", ""), ("], [", "[[", "]]"), ("|", "", ""), ("<br>", "", ""),
     ("}{", "{", "}"), ("\\n", "", ""), ("###", "", ""), (", ", "", ""), ("\x1f", "", ""), ("；", "", "")],
)  # fmt: skip
def test_the_joint_is_learned(joint: str, opener: str, closer: str) -> None:
    texts = ["哈哈哈", "a, b; c", 'he said "hi" (twice)', "好！", "[1,2]", "第一行\n第二行", "", "1,2,3", "…end", "x"]
    style = learn([written(texts, joint, opener, closer)])
    assert style is not None and style.joint == joint
    found = cut(written(texts, joint, opener, closer), style)
    assert found.texts == texts
    assert found.heads == [",".join(HEADS[i % 3]) for i in range(10)]
    assert not found.rejected


def test_a_python_list_of_tuples_is_read() -> None:
    rows = [(12.3, 1, 25, 16777215, 1626077354, 0, "a2d376ad", 51870527213010951, t) for t in ("it's", 'a "b"', "c\nd")]
    found = cut(repr(rows), learn([repr(rows)]))
    assert found.texts == ["it's", 'a "b"', "c\nd"]
    assert not found.rejected


def test_a_json_list_of_lists_written_as_text_is_read() -> None:
    import json

    text = json.dumps([[*HEADS[0], 'say "a", "b"'], [*HEADS[1], "c\\d\n"]], ensure_ascii=False)
    found = cut(text, learn([text]))
    assert found.texts == ['say "a", "b"', "c\\d\n"]


def test_a_list_in_another_style_than_its_file_is_cut_in_its_own() -> None:
    style = learn([written(["a", "b", "c"], ";")] * 5)
    assert cut(written(["d", "e"], "),(", "(", ")"), style).texts == ["d", "e"]
    assert cut(written(["d", "e", "f"], "\n"), style).texts == ["d", "e", "f"]


def test_white_space_between_some_fields_costs_no_tuple() -> None:
    spaced = " , ".join([*HEADS[1][:4], "\t".join(["", *HEADS[1][4:5]]), *HEADS[1][5:]]) + ",  b"
    text = ";".join([written(["a"], ";"), spaced, written(["c", "d"], ";")])
    found = cut(text, learn([written(["x", "y", "z"], ";")]))
    assert found.texts == ["a", "  b", "c", "d"]
    assert found.heads[1] == ",".join(HEADS[1])
    assert not found.rejected


def test_a_joint_behind_the_last_tuple_is_not_a_text() -> None:
    lists = [written(["a", "b"], ";") + ";"] * 3
    style = learn(lists)
    assert cut(lists[0], style).texts == ["a", "b"]
    assert cut(written(["a", "b;"], ";"), learn([written(["a", "b"], ";")])).texts == ["a", "b;"]


@pytest.mark.parametrize("text", ["", "[]", "()", "null", "  "])
def test_an_empty_list_has_no_comment_and_no_reject(text: str) -> None:
    assert cut(text, None).elements == 0


def test_a_tuple_cut_in_the_middle_is_rejected_and_its_neighbours_are_whole() -> None:
    stub = ",".join(HEADS[0][:5])
    text = ";".join([written(["a"], ";"), stub, written(["b", "c"], ";")])
    found = cut(text, learn([text]))
    assert found.texts == ["a", "b", "c"]
    assert [raw for _, _, raw in found.rejected] == [stub]


@pytest.mark.parametrize("field", range(8))
def test_a_tuple_with_one_damaged_field_is_rejected(field: int) -> None:
    damaged = [*HEADS[0], "lost"]
    damaged[field] = "??"
    text = ";".join([written(["a"], ";"), ",".join(damaged), written(["b", "c"], ";")])
    found = cut(text, learn([written(["x", "y", "z"], ";")]))
    assert (found.texts, len(found.rejected)) == (["a", "b", "c"], 1)


def test_a_list_that_begins_within_a_tuple_loses_that_one_alone() -> None:
    text = written(["a", "b", "c"], ";")[9:]
    found = cut(text, learn([written(["x", "y"], ";")]))
    assert (found.texts, len(found.rejected)) == (["b", "c"], 1)


def test_a_list_that_was_cut_off_loses_its_last_text_alone() -> None:
    whole = written(["a", "b", "hello"], "),(", "(", ")")
    style = learn([whole])
    assert cut(whole[:-1], style).texts == ["a", "b"]  # the closing bracket is gone: so may be some text
    found = cut(written(["a", "b", "hel"], ";"), learn([written(["x", "y"], ";")]), truncated=True)
    assert (found.texts, len(found.rejected)) == (["a", "b"], 1)


def test_eight_fields_without_the_joint_stay_text_and_are_counted() -> None:
    quoting = "看 " + ",".join(HEADS[0]) + ",abc"
    found = cut(written(["a", quoting, "c"], ";"), learn([written(["x", "y"], ";")]))
    assert found.texts == ["a", quoting, "c"]
    assert found.embedded == 1


TEXTS = st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=30), min_size=1, max_size=12)


@given(TEXTS, st.sampled_from([";", "),(", "\n", "|", "##", "\t"]))
@example([";", ";;", "a;b"], ";")
@example(["),(", "(", ")"], "),(")
def test_any_texts_come_back_with_a_named_joint(texts: list[str], joint: str) -> None:
    opener, closer = ("(", ")") if joint == "),(" else ("", "")
    if not closer and texts[-1].endswith(joint):
        texts[-1] += "x"  # at the end of a list the joint is none
    text = written(texts, joint, opener, closer)
    found = cut(text, learn([text], joint), joint)
    if closer:
        # White space behind the closing bracket is none of the text's.
        assert found.texts[:-1] == texts[:-1] and not found.rejected
    assert found.texts == texts


@given(TEXTS, st.sampled_from([";", "),(", "\n", ", ", "|", ""]), st.data())
def test_no_list_crashes_and_none_loses_the_count(texts: list[str], joint: str, data: st.DataObject) -> None:
    text = written(texts, joint)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    broken = text[:start] + data.draw(st.text(max_size=5)) + text[end:]
    for named in (None, joint or None):
        found = cut(broken, learn([broken], named), named)
        assert len(found.heads) == len(found.texts)
        assert found.elements >= bool(
            broken.strip() and broken.strip() not in ("[]", "()", "{}", "null", "nan", "None")
        )
