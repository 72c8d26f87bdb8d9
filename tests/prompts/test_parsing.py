"""Answers are read: to the letter, or however they are wrapped; what is not certain is not valid."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from categorize.labels import Label, LabelRules, LabelSet, spell
from categorize.prompts.messages import PromptSettings
from categorize.prompts.parsing import INVALID, Answer, parse_strict, parse_tolerant
from categorize.prompts.tokens import PromptFormat
from categorize.recipe.label_sections import Task
from tests.tiny_tokenizers import build_tokenizer

MOODS = LabelSet(
    "single_label",
    (Label("Positive", aliases=("好评",), code="1"), Label("Negative", aliases=("差评",), code="2"), Label("Mild")),
)
PRESENCE = LabelSet(
    "single_label", (Label("social"), Label("social presence"), Label("cognitive"), Label("喜欢"), Label("不喜欢"))
)
SEVERAL = LabelSet("multi_label", (Label("good"), Label("bad"), Label("late delivery"), Label("好看")))
SCORE = LabelSet("regression", (Label("score"),), rules=LabelRules(minimum=1, maximum=10))


def tolerant(text: str, label_set: LabelSet = MOODS, words: list[str] | None = None) -> Answer:
    return parse_tolerant(text, label_set, words or label_set.names)


def strict(text: str, label_set: LabelSet = MOODS, words: list[str] | None = None) -> Answer:
    return parse_strict(text, label_set, words or label_set.names)


# ---------------------------------------------------------------- one label
@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Positive", "Positive"),
        (" positive.\n", "Positive"),
        ("POSITIVE!!", "Positive"),
        ("(1)", "Positive"),
        ("[1]", "Positive"),
        ("【2】", "Negative"),
        ("（１）", "Positive"),
        ("1", "Positive"),
        ("1. Positive", "Positive"),
        ("**Positive**", "Positive"),
        ('"Negative"', "Negative"),
        ("Label: Positive.", "Positive"),
        ("Label: 2", "Negative"),
        ("The label is 'Mild'.", "Mild"),
        ("The answer is Negative because the movie was bad", "Negative"),
        ("答案：好评。", "Positive"),
        ("答案是差评，因为电影不好看", "Negative"),
        ("这条评论属于【好评】", "Positive"),
        ("答案是Positive。", "Positive"),
        ("Ｐｏｓｉｔｉｖｅ", "Positive"),
        ("<think>Negative or Positive? hm</think>\n\nPositive", "Positive"),
        ("so it is not Positive but\n</think>\nNegative", "Negative"),
        ("Positive\nPositive", "Positive"),
        ("positive (code 1)", "Positive"),
        ("```\nMild\n```", "Mild"),
        ('{"label": "Mild"}', "Mild"),
        ("<label>Mild</label>", "Mild"),
    ],
)
def test_a_wrapped_label_is_read(text: str, label: str) -> None:
    assert tolerant(text) == Answer((label,))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n",
        "I do not know",
        "The answer is Negative because it is not Positive",
        "Positive or Negative",
        "It is not Positive",
        "It isn't positive.",
        "non-negative",
        "Positively surprised",
        "mildly put",
        "3",
        "(3)",
        "12",
        "不是好评",
        "<think>Positive, I think",
        "<think>Positive</think>",
        "1 of 2",
        "Positive (2)",
    ],
)
def test_what_is_not_certain_is_not_valid(text: str) -> None:
    assert tolerant(text) == INVALID
    assert strict(text) == INVALID


@pytest.mark.parametrize("text", ["positive", "Positive.", "(1)", "Label: Positive", "1", "好评", "Positive Negative"])
def test_strict_takes_nothing_but_the_words_that_were_asked_for(text: str) -> None:
    assert strict(text) == INVALID


def test_strict_allows_space_around() -> None:
    assert strict(" Positive\n") == Answer(("Positive",))


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("social presence", "social presence"),
        ("Label: social presence.", "social presence"),
        ("social", "social"),
        ("it is social_presence", "social presence"),
        ("不喜欢", "不喜欢"),
        ("我认为是不喜欢", "不喜欢"),
        ("答案：喜欢", "喜欢"),
    ],
)
def test_a_label_within_another_is_not_counted(text: str, label: str) -> None:
    assert tolerant(text, PRESENCE) == Answer((label,))


def test_a_label_within_a_word_is_not_counted() -> None:
    labels = LabelSet("single_label", (Label("art"), Label("é"), Label("spam")))
    for text in ("party", "started", "anti-spam", "café"):
        assert tolerant(text, labels) == INVALID
    assert tolerant("it's art-like, so: art", labels) == Answer(("art",))
    assert tolerant("no doubt: spam", labels) == Answer(("spam",))


# ---------------------------------------------------------------- codes
def test_a_code_wins_over_another_label_s_name_and_a_word_of_one_letter_is_not_a_code() -> None:
    labels = LabelSet("single_label", (Label("B"), Label("A"), Label("other")))
    words = ["A", "B", "C"]  # codes that are names of other labels
    assert strict("A", labels, words) == tolerant("A", labels, words) == Answer(("B",))
    assert tolerant("[b]", labels, words) == Answer(("A",))
    assert tolerant("Answer: C", labels, words) == Answer(("other",))
    assert tolerant("C. other", labels, words) == Answer(("other",))
    assert tolerant("A good one", labels, words) == INVALID
    assert strict("c", labels, words) == INVALID


def test_a_part_of_a_number_or_of_a_time_is_not_a_label() -> None:
    stars = LabelSet("ordinal", tuple(Label(str(i)) for i in range(1, 6)))
    for text in ("Rating: 4.5", "4.5", "(4.5)", "4,5", "[1:30]", "at 4:30", "Rating: 4.5 of 5"):
        assert tolerant(text, stars) == INVALID, text
    for text in ("Rating: 4", "4.", "(4)", "[4]", "4, because", "Rating: 4.\n", "**4**"):
        assert tolerant(text, stars) == Answer(("4",)), text


# ---------------------------------------------------------------- several labels
@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("good, late delivery", ("good", "late delivery")),
        ("late delivery, good", ("good", "late delivery")),
        ("good", ("good",)),
        ("none", ()),
        ("None.", ()),
        ("[Good; Late_Delivery]", ("good", "late delivery")),
        ('["good", "late delivery"]', ("good", "late delivery")),
        ("good and bad", ("good", "bad")),
        ("- good\n- bad", ("good", "bad")),
        ("good、好看", ("good", "好看")),
        ("标签：good，好看。", ("good", "好看")),
        ("The labels are good, bad.", ("good", "bad")),
        ("good, good", ("good",)),
    ],
)
def test_lists_are_read_in_label_set_order(text: str, labels: tuple[str, ...]) -> None:
    assert tolerant(text, SEVERAL) == Answer(labels)


@pytest.mark.parametrize("text", ["", "nothing fits", "goodness", "good, but not bad", "<think>good"])
def test_lists_that_name_nothing_certain_are_not_valid(text: str) -> None:
    assert tolerant(text, SEVERAL) == INVALID


def test_a_strict_list_holds_known_labels_once() -> None:
    assert strict("good, bad", SEVERAL) == Answer(("good", "bad"))
    assert strict("none", SEVERAL) == Answer(())
    for text in ("good, nice", "good, good", "good;bad", "good, none", ""):
        assert strict(text, SEVERAL) == INVALID


def test_codes_are_listed_too() -> None:
    words = ["A", "B", "C", "D"]
    for text in ("A, C", "[A; C]", "A,C.", "a and c"):
        assert tolerant(text, SEVERAL, words) == Answer(("good", "late delivery"))


# ---------------------------------------------------------------- numbers
@pytest.mark.parametrize(
    ("text", "score"),
    [("7", 7.0), ("7.25", 7.25), ("7,5", 7.5), ("Score: 7", 7.0), ("[7]", 7.0), ("评分：７", 7.0), ("**10**.", 10.0)],
)
def test_a_number_is_read(text: str, score: float) -> None:
    assert tolerant(text, SCORE) == Answer(score=score)


@pytest.mark.parametrize("text", ["", "high", "11", "0.5", "-3", "7 of 10", "7-8", "7/10", "<think>7"])
def test_a_number_out_of_range_or_one_of_several_is_not_valid(text: str) -> None:
    assert tolerant(text, SCORE) == INVALID


def test_a_strict_number_stands_alone() -> None:
    assert strict("7.5", SCORE) == Answer(score=7.5)
    for text in ("Score: 7", "7.", "seven", "7 8", "nan", "inf"):
        assert strict(text, SCORE) == INVALID


@pytest.mark.parametrize(
    ("text", "score"),
    [("−2", -2.0), ("Score: −2.5", -2.5), (".5", 0.5), ("-.5", -0.5), ("0,500", 0.5), ("'7'", 7.0), ("7分", 7.0)],
)
def test_signs_and_leading_points_of_a_number_are_read(text: str, score: float) -> None:
    assert tolerant(text, LabelSet("regression", (Label("score"),))) == Answer(score=score)


@pytest.mark.parametrize(
    "text",
    [
        "1,000", "1 000", "1'000", "1,000.5", "1.2.3", "10²", "3½", "1e3", "5k", "5 k", "5 million", "3万", "50%", "v2",
        "2-3", "2–3", "–2", "±2", "minus 2", "负2", "- 2", "12:30", "2024-10-11",
    ],
)  # fmt: skip
def test_a_number_that_could_be_another_is_not_valid(text: str) -> None:
    assert tolerant(text, LabelSet("regression", (Label("score"),))) == INVALID


# ---------------------------------------------------------------- labels that are nearly the same
def labels_of(*names: str, task: Task = "single_label") -> LabelSet:
    return LabelSet(task, tuple(Label(name) for name in names))


@pytest.mark.parametrize(
    ("names", "text", "label"),
    [
        ("A a", "(A)", "A"),
        ("A a", "[a].", "a"),
        ("US us Us", "US.", "US"),
        ("US us Us", "The answer is Us.", "Us"),
        ("US us Us", "uS", None),
        ("US other", "Let us see", None),
        ("US other", "us", "US"),
        ("C C# C++", "C#.", "C#"),
        ("C C# C++", "Answer: C++.", "C++"),
        ("C C# C++", "(C)", "C"),
        ("C Java", "C#.", None),
        ("R Java", "Answer: R&B", None),
        ("Java Node", "It is Node.js", None),
        ("NET Java", "It is .NET", None),
        ("A B", "A-", None),
        ("A A- B", "A-.", "A-"),
        ("Good good.", "GOOD.", "good."),
        ("Good good.", "Good.", None),  # the first with a full stop, or the second with a capital
        ("-1 0 1", "(-1)", "-1"),
        ("-1 0 1", "−1.", "-1"),
        ("−1 0 1", "-1.", "−1"),
        ("0 1", "-1", None),
        ("0 1", "(−1)", None),
        ("0 5", ".5", None),
        ("0 5", "4:5", None),
        ("10 20", "10.5", None),
        ("10 20", "Rating: -10", None),
        ("10 20", "It is 10,000", None),
        ("10 20", "3/10 as it is", None),
        ("10 20", "10%", None),
        ("10 20", "It is 10.", "10"),
        ("好 坏", "好奇", None),
        ("好 坏", "答案是好。", "好"),
        ("हि अ", "हिन्दी", None),
        ("👨 👩", "👨\u200d👩", None),
        ("a_b a-b", "a_b.", "a_b"),
        ("ab*cd cd*ef", "it is ab cd ef", None),  # they overlap
    ],
)
def test_the_label_in_its_own_spelling_and_the_longer_one_win(names: str, text: str, label: str | None) -> None:
    found = tolerant(text, labels_of(*(name.replace("*", " ") for name in names.split())))
    assert found == (Answer((label,)) if label else INVALID)


def test_codes_that_differ_in_case_are_told_apart() -> None:
    labels = labels_of(*(f"label {i}" for i in range(37)))
    prompt = PromptFormat(PromptSettings("x", completion="codes"), labels, TOKENIZER, 512)
    assert {"A", "a"} <= set(prompt.words)
    for code in ("A", "a"):
        for text in (f"({code})", f"{code}.", f"Answer: {code}", f"**{code}**"):
            assert tolerant(text, labels, prompt.words).labels == (labels.names[prompt.words.index(code)],)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("好看, 无趣", None),
        ("good, boring", None),
        ("good and boring", None),
        ("- good\n- boring", None),
        ("good, none", None),
        ("1. bad\n2. good", None),  # places in the list, or codes
        ("good, late", None),
        ("Labels:\n- good\n- bad", ("good", "bad")),
        ('```json\n["good", "bad"]\n```', ("good", "bad")),
        ("late delivery, good", ("good", "late delivery")),
    ],
)
def test_a_list_with_a_part_that_is_not_a_label_is_not_valid(text: str, labels: tuple[str, ...] | None) -> None:
    several = LabelSet("multi_label", (Label("good", code="1"), Label("bad"), Label("late delivery"), Label("好看")))
    assert tolerant(text, several) == (Answer(labels) if labels else INVALID)


def test_a_label_called_none_is_told_from_no_label() -> None:
    several = labels_of("None", "good", task="multi_label")
    assert tolerant("none", several) == Answer()
    assert tolerant("None.", several) == Answer(("None",))
    assert tolerant("NONE.", several) == INVALID
    assert tolerant("none.", labels_of("good", "bad", task="multi_label")) == Answer()


WRAPPINGS = [
    "{}", "{}.", "({})", "[{}]", '"{}"', "**{}**", "`{}`", "# {}", "- {}", "{}!", "{},", "Label: {}", "label={}",
    "答案：{}。", "The answer is {}.", "The answer is {} in my view", "<label>{}</label>", '{{"label": "{}"}}',
    "【{}】", "{}\n\nIt fits.",
]  # fmt: skip
CASES = {"as it is": str, "upper": str.upper, "lower": str.lower, "title": str.title, "swapped": str.swapcase}
NEAR = [
    "C", "C#", "c", "US", "us", "Us", "-1", "1", "10", "1.0", ".5", "social", "Social tie", "好看", "不好看",
]  # fmt: skip
NEAR_NAMES = st.lists(
    st.one_of(
        st.text("aAbB12.-−+#,'_ 好奇*!(\"", min_size=1, max_size=4),
        st.sampled_from(NEAR),
    ),
    min_size=2,
    max_size=6,
    unique_by=spell,
).filter(lambda names: all(map(spell, names)))  # fmt: skip


@settings(max_examples=300)
@given(names=NEAR_NAMES, wrapping=st.sampled_from(WRAPPINGS), case=st.sampled_from(sorted(CASES)), data=st.data())
def test_whatever_labels_and_wrapping_it_is_the_label_that_was_meant_or_not_valid(
    names: list[str], wrapping: str, case: str, data: st.DataObject
) -> None:
    several = data.draw(st.booleans())
    assume(not several or all("," not in name for name in names))
    labels = labels_of(*names, task="multi_label" if several else "single_label")
    meant = data.draw(st.sampled_from(names))
    written = CASES[case](meant)
    text = wrapping.format(written)
    # What is another label to the letter, or holds a longer one, says that one.
    assume(written == meant or spell(written) not in map(spell, names))
    longer = {name for name in names if len(name) > len(meant) and name.casefold() in text.casefold()}
    found = tolerant(text, labels)
    assert found == INVALID or (len(found.labels) == 1 and found.labels[0] in {meant, *longer})


# ---------------------------------------------------------------- what was asked for is read
NAMES = st.lists(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12),
    min_size=2,
    max_size=6,
    unique_by=lambda name: spell(name).casefold(),
).filter(lambda names: all(spell(name) and name.strip() for name in names))
TOKENIZER = build_tokenizer("chatml")


@settings(deadline=None, max_examples=150)
@given(names=NAMES, completion=st.sampled_from(["names", "codes"]), data=st.data())
def test_an_answer_is_read_as_the_gold_it_was_made_of(names: list[str], completion: str, data: st.DataObject) -> None:
    several = data.draw(st.booleans())
    if several and completion == "names":
        assume(all("," not in name and name.strip() != "none" for name in names))
    labels = LabelSet("multi_label" if several else "single_label", tuple(Label(name) for name in names))
    prompt = PromptFormat(PromptSettings("x", completion=completion), labels, TOKENIZER, 512)
    size = (0, len(names)) if several else (1, 1)
    gold = data.draw(st.lists(st.sampled_from(names), min_size=size[0], max_size=size[1], unique=True))
    expected = Answer(tuple(name for name in names if name in gold))
    text = prompt.answer(gold)
    assert parse_strict(text, labels, prompt.words) == expected
    assert parse_tolerant(text, labels, prompt.words) == expected


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e6, max_value=1e6))
def test_a_score_is_read_as_it_was_written(score: float) -> None:
    labels = LabelSet("regression", (Label("score"),))
    prompt = PromptFormat(PromptSettings("x"), labels, TOKENIZER, 128)
    expected = Answer(score=float(f"{score:.6g}"))
    assert parse_strict(prompt.answer((), score), labels, prompt.words) == expected
    assert parse_tolerant(prompt.answer((), score), labels, prompt.words) == expected


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=60), st.sampled_from([MOODS, PRESENCE, SEVERAL, SCORE]))
def test_any_text_is_read_without_an_error(text: str, labels: LabelSet) -> None:
    for parse in (parse_strict, parse_tolerant):
        answer = parse(text, labels, labels.names)
        assert set(answer.labels) <= set(labels.names)
        assert answer.valid or (answer.labels == () and answer.score is None)
