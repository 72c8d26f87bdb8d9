"""The lexical matcher: what is found, what is learned of finds, and labels that training never saw."""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import run_seqcls
from categorize import load_predictor
from categorize.errors import UserError
from categorize.labels import Group, Label, LabelSet
from categorize.methods.lexical.predictor import Finding, LexicalPredictor
from categorize.methods.lexical.terms import Segmenter, Terms, stem
from categorize.methods.registry import METHODS
from categorize.recipe.command import main
from tests.session.collections import write_recipe

MULTI = "multi_label"
CARDS = LabelSet(
    MULTI,
    (Label("credit card", parent="money"), Label("card"), Label("cash", aliases=("coins", "bank notes"))),
    (Group("money"),),
)
WORDS = ["apple", "river", "stone", "cloud", "ember", "frost", "grape", "hazel", "ivory", "jade"]


def found(label_set: LabelSet, text: str, coverage: float = 1.0, segmentation: str = "characters") -> dict[str, int]:
    """Names of the labels in a text, and how often."""
    segmenter = Segmenter(segmentation)
    finds = Terms(label_set, segmenter, coverage).find(segmenter.sentences(text))
    names = [*label_set.names, *(group.name for group in label_set.groups)]
    return {names[i]: one.count for i, one in finds.items()}


def test_the_longest_term_is_found_and_what_stands_inside_it_is_not() -> None:
    assert found(CARDS, "My credit cards were stolen") == {"credit card": 1}
    assert found(CARDS, "My credit card, and another card") == {"credit card": 1, "card": 1}
    assert found(CARDS, "Coins or BANK  NOTES: it is money") == {"cash": 2, "money": 1}
    assert found(CARDS, "cardigan") == {}


def test_words_of_a_term_stand_in_one_sentence_in_any_order() -> None:
    several = LabelSet(MULTI, (Label("water supply"), Label("x")))
    assert found(several, "the supply of drinking water") == {"water supply": 1}
    assert found(several, "Water is wet. The supply is dry.") == {}
    assert found(several, "version 1.5 of the water.supply") == {"water supply": 1}


def test_coverage_counts_the_rarity_of_words() -> None:
    cards = LabelSet(MULTI, (Label("card_arrival"), Label("card_linking"), Label("card_swallowed")))
    assert found(cards, "no arrival yet", 0.5) == {"card_arrival": 1}
    assert found(cards, "my card", 0.5) == {} and found(cards, "no arrival yet", 1.0) == {}


@pytest.mark.parametrize("segmentation", ["characters", pytest.param("jieba", marks=pytest.mark.slow)])
def test_chinese_terms_are_found_by_words_or_by_characters_in_sequence(segmentation: str) -> None:
    if segmentation == "jieba":
        pytest.importorskip("jieba")
    fields = LabelSet(MULTI, (Label("军事学"), Label("气候变化", aliases=("全球变暖",)), Label("变化")))
    assert found(fields, "论全球变暖与气候变化的影响", segmentation=segmentation) == {"气候变化": 2}
    assert found(fields, "军民共事，学习进步", segmentation=segmentation) == {}
    assert found(fields, "ＡＢＣ军事学", segmentation=segmentation) == {"军事学": 1}


def test_characters_in_sequence_may_be_most_of_a_term() -> None:
    fields = LabelSet(MULTI, (Label("军事学"), Label("法学"), Label("工学")))
    assert found(fields, "现代军事理论", 0.5) == {"军事学": 1}
    assert found(fields, "学", 0.5) == {}


@given(
    terms=st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=3), min_size=2, max_size=8, unique_by=tuple),
    text=st.lists(st.sampled_from(WORDS), max_size=12),
    coverage=st.sampled_from([0.3, 0.5, 0.8, 1.0]),
)
def test_the_hash_finds_what_comparing_every_term_finds(
    terms: list[list[str]], text: list[str], coverage: float
) -> None:
    labels = LabelSet(MULTI, tuple(Label(" ".join(words)) for words in terms))
    segmenter = Segmenter("characters")
    index = Terms(labels, segmenter, coverage)
    got = {labels.names[i] for i in index.find([text])}
    rarity = {token: index._rarity[number] for token, number in index._number.items()}
    enough = {
        " ".join(words)
        for words in terms
        if sum(rarity[word] for word in set(words) & set(text))
        >= (coverage - 1e-9) * sum(rarity[w] for w in set(words))
    }
    hidden = {name for name in enough if any(name != other and re.search(rf"\b{name}\b", other) for other in enough)}
    assert enough - hidden <= got <= enough


def test_stems_are_those_of_harman() -> None:
    pairs = {"queries": "query", "horses": "horse", "shoes": "shoes", "cards": "card", "bus": "bus"}
    assert {word: stem(word) for word in pairs} == pairs


def test_nothing_is_asked_of_a_label_without_a_letter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = LabelSet(MULTI, (Label("!!!"), Label("card")))
    predictor = LexicalPredictor(odd, Finding("characters"))
    assert predictor.terms.unnamed == ["!!!"]
    assert np.isfinite(predictor.logits(["a card!!!", ""])).all()


def test_a_text_without_finds_gives_no_label_the_lead() -> None:
    logits = LexicalPredictor(CARDS, Finding("characters")).logits(["nothing here", ""])
    assert np.ptp(logits) == 0 and (logits < -3).all()


def rows(path: Path, seed: int, names: list[str], count: int = 240) -> None:
    """Texts in which the gold label stands early and a wrong one stands late, if at all."""
    generator = np.random.default_rng(seed)
    filler = ["the", "of", "and", "to", "in", "is", "was", "for", "on", "that"]
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["text", "subject"])
        for _ in range(count):
            gold, wrong = generator.choice(names, 2, replace=False)
            words = list(generator.choice(filler, 12))
            words[1], words[-1] = gold, wrong if generator.random() < 0.9 else "end"
            table.writerow([" ".join(words), gold])


SEEN = ["apple pie", "river bank", "stone age", "cloud cover"]
UNSEEN = ["frost bite", "grape vine", "jade plant"]


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for seed, split in enumerate(("train", "validation", "test")):
        rows(tmp_path / f"{split}.csv", seed, SEEN)
    return write_recipe(
        tmp_path / "one.yaml",
        model={"method": "lexical", "segmentation": "characters"},
        training=None,
        data={
            "source": {split: f"{split}.csv" for split in ("train", "validation", "test")},
            "columns": {"text": "text", "label": "subject"},
        },
        labels={"names": [*SEEN, *UNSEEN]},
    )


def run(*arguments: str) -> int:
    return main("run_seqcls.py", "seqcls", run_seqcls.run, METHODS, list(arguments))


def test_what_training_taught_of_finds_holds_for_labels_that_it_never_saw(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(trained.name, "--dry-run") == 0
    assert "terms as they are looked for: apple pie; river bank" in capsys.readouterr().out
    assert run(trained.name) == 0
    assert "100.0% of the gold stands in the text, 5" in capsys.readouterr().out
    metrics = json.loads(Path("outputs/one/metrics.json").read_text())
    assert metrics["test"]["accuracy"] > 0.97
    files = {path.name for path in Path("outputs/one").iterdir()}
    assert {"lexical.json", "token_frequencies.json", "model.safetensors"} <= files
    assert not any(name.endswith((".pkl", ".bin", ".joblib")) for name in files)
    predictor = load_predictor("outputs/one")
    text = "was frost bite to is on the of that and for to grape vine"
    assert predictor.predict_texts([text]).decided == [["frost bite"]]
    other = predictor.for_labels(LabelSet("single_label", (Label("ivory coast"), Label("hazel nut"))))
    assert other.predict_texts(["was hazel nut to is on the of that and for ivory coast"]).decided == [["hazel nut"]]
    assert "scores labels that it was not trained on (2)" in other.notes
    # Without learning, rarity and length cannot tell the two finds from each other.
    assert run(trained.name, "--overwrite", "model.learn=false") == 0
    assert json.loads(Path("outputs/one/metrics.json").read_text())["test"]["accuracy"] < 0.9


def test_a_saved_run_predicts_the_same_and_a_seed_repeats_it(trained: Path) -> None:
    texts = ["the apple pie", "a river bank of jade plants", "", "stone"]
    found = []
    for _ in range(2):
        assert run(trained.name, "--overwrite") == 0
        found.append(load_predictor("outputs/one").predict_texts(texts).probabilities)
    np.testing.assert_array_equal(found[0], found[1])


def test_it_works_without_any_labelled_row(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("plain.csv").write_text("text\nwe ate apple pie\nthe jade plants grew\n", encoding="utf-8")
    data = ["data.source=plain.csv", "data.columns={text: text, label: null}", "labels.task=multi_label"]
    assert run(trained.name, *data, "--dry-run") == 0
    assert run(trained.name, *data) == 0
    assert "no training rows: candidates are scored by rarity and length" in capsys.readouterr().out
    predictor = load_predictor("outputs/one")
    assert predictor.predict_texts(["we ate apple pies", "the jade plant", "apple", ""]).decided == [
        ["apple pie"],
        ["jade plant"],
        [],
        [],
    ]


def test_a_run_cut_by_jieba_says_so_where_jieba_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jieba", None)
    with pytest.raises(UserError, match=r"jieba is not installed: pip install 'categorize\[chinese\]'"):
        Segmenter("jieba")
    assert Segmenter(None).segmentation == "characters"


def test_a_regression_is_refused_before_anything_is_read(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(trained.name, "labels={task: regression}") == 2
    assert "model.method: lexical finds names of labels, but labels.task is regression" in capsys.readouterr().err
