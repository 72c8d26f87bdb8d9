"""TextRank: the ranks are networkx's on the graph of the paper, and a cut keeps the highest-ranked sentences."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from categorize.data.segments import textrank as module
from categorize.data.segments.cuts import Document, cut_documents, sentences
from categorize.data.segments.textrank import similarities, textrank, words
from categorize.data.segments.tokens import PlainTokens
from categorize.recipe.data_sections import Segments

networkx = pytest.importorskip("networkx")
ENGLISH = (
    "The council met on Monday to speak about the new bridge. The bridge is to cross the river at the old mill. "
    "Some members said that the bridge costs too much. It rained. The mill owner fears for the river and the old mill. "
    "A vote on the costs of the bridge follows next Monday. Tea was served!"
)
CHINESE = (
    "大桥将横跨老磨坊旁的河流。议会周一讨论新大桥。有人说新大桥费用太高。"
    "下雨了。老磨坊主人担心河流。下周一表决大桥费用。"
)
SOME = ["ab", "cd", "ef", "gh", "好的", "很好", "的好"]


def split(text: str) -> list[str]:
    return [text[a:b] for a, b in sentences(text, 0, len(text))]


def by_networkx(given: list[str]) -> list[float]:
    """The paper's graph, edge by edge."""
    graph = networkx.Graph()
    graph.add_nodes_from(range(len(given)))
    bags = [words(one) for one in given]
    for i, one in enumerate(bags):
        for j, other in enumerate(bags[:i]):
            if one & other and len(one) * len(other) > 1:
                graph.add_edge(i, j, weight=len(one & other) / (math.log(len(one)) + math.log(len(other))))
    ranks = networkx.pagerank(graph, alpha=0.85, max_iter=1000, tol=1e-12)
    return [ranks[i] for i in range(len(given))]


@pytest.mark.parametrize("text", [ENGLISH, CHINESE, "One. Two. Three.", "Same words here. Same words here."])
def test_ranks_are_those_of_networkx_on_the_graph_of_the_paper(text: str) -> None:
    found = split(text)
    np.testing.assert_allclose(textrank(found), by_networkx(found), atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from(SOME), max_size=6).map(" ".join),
        max_size=9,
    )
)
def test_ranks_are_those_of_networkx_whatever_the_sentences(given: list[str]) -> None:
    if given:
        np.testing.assert_allclose(textrank(given), by_networkx(given), atol=1e-6)
    else:
        assert textrank(given).shape == (0,)


def test_a_graph_that_is_made_in_parts_gives_the_same_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(1)
    given = [" ".join(dice.choices("abcdefghijklmnop", k=5)) for _ in range(60)]
    whole, graph = textrank(given), similarities(given).toarray()
    assert graph.shape == (60, 60) and (graph == graph.T).all() and not graph.diagonal().any()
    monkeypatch.setattr(module, "KEPT", 10)
    monkeypatch.setattr(module, "PART", 7)
    np.testing.assert_array_equal(textrank(given), whole)
    np.testing.assert_array_equal(similarities(given).toarray(), graph)


@pytest.mark.parametrize(("text", "most"), [(ENGLISH, 30), (CHINESE, 24)])
def test_a_cut_keeps_the_highest_ranked_sentences_that_fit_in_the_order_of_the_text(text: str, most: int) -> None:
    found = split(text)
    ranks, left, wanted = by_networkx(found), most, set()
    for i in sorted(range(len(found)), key=lambda i: (-round(ranks[i] * len(found), 6), i)):
        length = int(PlainTokens().lengths([found[i]])[0])
        if length <= left:
            wanted.add(i)
            left -= length
    [[segment]] = cut_documents([Document("d", [text])], Segments(by="textrank", max_tokens=most), PlainTokens())
    assert "".join(segment.text.split()) == "".join("".join(found[i].split()) for i in sorted(wanted))
    assert 1 < len(wanted) < len(found)


def test_a_sentence_that_fits_nowhere_gives_its_beginning() -> None:
    text = "one two three four five six. " * 3
    [[segment]] = cut_documents([Document("d", [text])], Segments(by="textrank", max_tokens=3), PlainTokens())
    assert segment.text == "one two three"
