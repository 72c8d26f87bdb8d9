"""Near duplicates: what counts as nearly the same, in Chinese and elsewhere, against exact comparison of all pairs."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from categorize.data.splitting.near import SIMILARITY, NearTexts, normalized, shingles


def near(a: str, b: str) -> bool:
    found = NearTexts.of([a, b])
    return bool(found.reached(np.arange(found.nodes) == found.node[0])[found.node[1]])


def test_case_punctuation_space_and_unicode_form_do_not_count() -> None:
    assert near("这个视频真的很好看！！", "这个 视频真的很好看。")
    assert near("Good MOVIE, really", "good movie really!!!")
    assert near("ＡＢＣ真好看啊", "abc真好看啊")
    assert near("哈哈哈哈", "哈哈哈哈哈哈哈哈")


def test_one_word_more_in_a_long_text_is_near_and_another_text_is_not() -> None:
    text = "主播今天的操作实在是太厉害了，希望以后每天都能看到这样精彩的直播内容"
    assert near(text, text + "呀")
    assert not near(text, "今天天气不错，我们一起去公园散步吧，晚上再去吃火锅")
    english = "the committee agreed to move the deadline for all remaining tasks to the end of next week"
    assert near(english, english.replace("agreed", "agrees"))
    assert not near(english, "we should ask the design team about the remote control before we go on")


def test_texts_of_signs_alone_are_told_apart() -> None:
    assert not near("😀😀", "👍")
    assert not near("?", "!!!")
    assert near("😀 😀", "😀😀")


@given(st.lists(st.text(max_size=30), max_size=20))
def test_no_text_breaks_the_comparison_and_no_pair_is_wrong(texts: list[str]) -> None:
    found = NearTexts.of(texts)
    sets = [shingles(normalized(text)) for text in texts]
    assert [[a == b for b in found.node] for a in found.node] == [[a == b for b in sets] for a in sets]
    text_of = {int(node): normalized(text) for node, text in zip(found.node, texts, strict=True)}
    for a, b in found.pairs.tolist():
        one, other = shingles(text_of[a]), shingles(text_of[b])
        assert len(one & other) / len(one | other) >= SIMILARITY
    assert len(found.components_of_nodes()) == found.nodes


def test_nearly_all_pairs_of_a_collection_are_found() -> None:
    source = random.Random(5)
    characters = [chr(0x4E00 + i) for i in range(300)]
    texts = []
    for _ in range(150):
        base = source.choices(characters, k=source.randint(12, 40))
        texts.append("".join(base))
        changed = list(base)
        changed[source.randrange(len(changed))] = "龘"
        texts.append("".join(changed) + source.choice(["", "了"]))
    found = NearTexts.of(texts)
    pairs = {tuple(sorted(pair)) for pair in found.pairs.tolist()}
    sets = {int(node): shingles(normalized(text)) for node, text in zip(found.node, texts, strict=True)}
    truth = {
        (a, b) for a in sets for b in sets if a < b and len(sets[a] & sets[b]) / len(sets[a] | sets[b]) >= SIMILARITY
    }
    assert len(truth) > 50
    assert pairs <= truth
    assert len(truth - pairs) <= 0.03 * len(truth)


def test_the_size_of_a_block_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    source = random.Random(3)
    texts = ["".join(source.choices("一二三四五 abc", k=source.randint(0, 30))) for _ in range(200)]
    texts += [text + "六" for text in texts]
    whole = NearTexts.of(texts)
    monkeypatch.setattr("categorize.data.splitting.near._BLOCK", 100)
    parts = NearTexts.of(texts)
    assert len(whole.pairs) > 20
    assert parts.node.tolist() == whole.node.tolist()
    assert parts.pairs.tolist() == whole.pairs.tolist()


def test_a_form_letter_sent_a_thousand_times_is_one_component() -> None:
    letter = "关注我的频道领取免费的精美礼品，先到先得，数量有限，赶快点击下面的链接参加活动吧"
    found = NearTexts.of([f"{letter}{chr(0x4E00 + i)}" for i in range(1000)] + ["完全不同的另一句话"])
    component = found.components_of_nodes()[found.node]
    assert len(set(component[:1000].tolist())) == 1
    assert component[1000] != component[0]
