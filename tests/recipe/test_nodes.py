"""YAML into nodes that know their lines; merging two of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from categorize.errors import UserError
from categorize.recipe.nodes import (
    MOST_NODES,
    Mapping,
    Node,
    Scalar,
    Sequence,
    compose,
    get,
    key_position,
    merge,
    to_plain,
)
from categorize.recipe.problems import Position, Problems
from categorize.recipe.scalars import LONG_TEXT, dump


def read(text: str, file: str = "r.yaml") -> Node:
    problems = Problems()
    node = compose(text, file, problems)
    problems.raise_if_any()
    assert node is not None
    return node


def refusal(text: str) -> str:
    with pytest.raises(UserError) as caught:
        read(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_value_knows_its_line() -> None:
    root = read("a: 1\nb:\n  c:\n    - x\n    - y\n")
    items = get(root, "b", "c")
    assert isinstance(items, Sequence)
    assert [item.position for item in items.items] == [Position("r.yaml", 4), Position("r.yaml", 5)]
    assert key_position(root, "b", "c") == Position("r.yaml", 3)


def test_keys_are_text_as_written() -> None:
    assert to_plain(read("0: a\n-1: b\n1.0: c\ntrue: d\nno: e\n007: f\n")) == {
        "0": "a",
        "-1": "b",
        "1.0": "c",
        "true": "d",
        "no": "e",
        "007": "f",
    }


def test_a_duplicate_key_is_refused_with_both_lines() -> None:
    assert refusal("a: 1\nb: 2\na: 3\n") == "r.yaml:3: a: is set twice, first in line 1; remove one"
    assert "first in line 1" in refusal('0: x\n"0": y\n')


def test_all_duplicates_are_reported_at_once() -> None:
    problems = Problems()
    compose("a: 1\na: 2\nb: {c: 1, c: 2}\n", "r.yaml", problems)
    assert len(problems) == 2


def test_an_alias_repeats_its_anchor() -> None:
    assert to_plain(read("a: &x [1, 2]\nb: *x\n")) == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<<: {a: 1}\n", "r.yaml:1: merge keys (<<) are not in YAML 1.2; name a shared file under extends"),
        ("a: &x [*x]\n", "r.yaml:1: alias *x stands inside what it names"),
        ("a: *x\n", "r.yaml:1: alias *x names no anchor"),
        (
            "a: !!python/object:os.system x\n",
            "r.yaml:1: a: tag 'tag:yaml.org,2002:python/object:os.system' is not used",
        ),
        ("a: !mine {b: 1}\n", "tag '!mine' is not used in recipes"),
        ("a: !!int x\n", "does not fit its tag"),
        ("? [a]\n: 1\n", "a key must be plain text"),
        ("?\n: 1\n", "a value without a key"),
        ("a: 1\n---\nb: 2\n", "r.yaml:2: a second document begins here"),
        ("a: 1\n\tb: 2\n", "r.yaml:2: not valid YAML"),
        ("a:\n\t- 2\n", "indent with spaces, not with tabs"),
        ("a: b: c\n", 'r.yaml:1: not valid YAML: a text with a colon needs quotes: a: "b: c"'),
        ("a: [1\nb: 2\n", "r.yaml:2: not valid YAML"),
        ("a: 1\nb: \x07\n", "r.yaml:2: not valid YAML: the character '\\x07' is not allowed"),
        ("a: " + "[" * 60 + "]" * 60, "nested deeper than"),
        ("a: " + "9" * 5000, "a number of 5000 digits"),
    ],
)
def test_what_is_not_a_recipe_is_refused_in_one_line(text: str, said: str) -> None:
    assert said in refusal(text)


RAW_WORDING = ("while parsing", "while scanning", "expected <", "<block", "<document", "token", "not allowed here")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "a:\n  b: What did they say: really?\n",
            'r.yaml:2: {}a text with a colon needs quotes: b: "What did they say: ',
        ),
        (
            "a: {b: What did they say?, c: d}\n",
            'r.yaml:1: {}a text in brackets that holds ? needs quotes: "What did they ',
        ),
        ("a: [What did they say?, c]\n", 'needs quotes: "What did they say?"'),
        ("a:\n   b: c\n    d: e\n", "r.yaml:3: {}'d' is indented by 4 spaces, deeper than 'b' above it"),
        ("a:\n  b: c\n d: e\n", "r.yaml:3: {}'d' is indented by 1 space, and the keys above it by 0 or 2"),
        ("  a: b\nc: d\n", "r.yaml:2: {}'c' is indented by 0 spaces, and the keys above it by 2"),
        ("a:b\nc: d\n", "the line above, 'a:b', is not a key with its value"),
        ("a:\n- b\nc\n", "r.yaml:3: {}'c' is neither a key with its value (key: value) nor an item of a list"),
        ("a: {b: c\nd: e\n", "r.yaml:2: {}the {{ of line 1 is not closed before this place; close it with }}"),
        ("a: [b\nc: d\n", "the [ of line 1 is not closed before this place; close it with ]"),
        ("a: 'b\nc: d\n", "r.yaml:1: {}a quotation mark opens here and never closes"),
        ("a: 'it's'\n", "something stands behind the end of a value; quote the whole text: \"'it's'\""),
        ("a: {b} {c} # d\n", 'quote the whole text: "{{b}} {{c}}"'),
        ('a: "\\d"\n', "a backslash begins an escape; use single quotes"),
        ("a: - b\n", 'quote a text that begins with -: "- b"'),
        ("a: ? b\n", 'quote a text that begins with ?: "? b"'),
        ("a: %b\n", 'quote a text that begins with %: "%b"'),
        ("a: @b # c\n", 'quote a text that begins with @: "@b"'),
        ("a: &\n", "quote a text that begins with &"),
        ("a: }b\n", 'quote a text that begins with }}: "}}b"'),
        ("a: |b\n  c\n", 'quote a text that begins with | or >: "|b"'),
        ("a: *b\n", "quote a text that begins with *"),
    ],
)
def test_broken_yaml_is_told_in_the_words_of_who_wrote_it(text: str, said: str) -> None:
    message = refusal(text)
    assert said.format("not valid YAML: ") in message
    assert not any(word in message for word in RAW_WORDING)


@given(st.text(alphabet="ab:?-{}[]&*!|>%@`'\"#, \n\t\\", max_size=40))
def test_any_broken_yaml_is_one_line_without_a_traceback(text: str) -> None:
    try:
        compose(text, "r.yaml", Problems())
    except UserError as error:
        assert str(error).startswith("r.yaml") and "\n" not in str(error)


def test_a_long_list_is_read_as_a_short_one_is_and_a_long_broken_file_is_told_alike() -> None:
    names = [f"label {i}, with 'marks'" for i in range(20_000)]
    text = dump({"names": names})
    assert len(text) > LONG_TEXT
    assert to_plain(read(text)) == {"names": names}
    assert read(text).size == 20_002
    more = "a: 1e-4\nb: no\nc: '1'\nd:\ne: &x [true, \"true\"]\nf: *x\n1: !!str 2\n"
    assert to_plain(read(text + more)) == {"names": names, **to_plain(read(more))}
    assert "merge keys" in refusal(text + "<<: {a: 1}\n") and "is set twice" in refusal(text + "a: 1\na: 2\n")
    assert 'a text with a colon needs quotes: c: "d: e"' in refusal(text + "c: d: e\n")


def test_many_values_without_aliases_are_not_an_alias_bomb() -> None:
    text = "a: [" + "x, " * MOST_NODES + "y]\n"
    node = read(text)
    assert node.size > MOST_NODES


def test_core_tags_are_kept() -> None:
    assert to_plain(read("a: !!str 1\nb: !!float 1\nc: ! 2\nd: !!map {}\n")) == {"a": "1", "b": 1.0, "c": "2", "d": {}}


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert "aliases (*name) multiply what they repeat" in refusal("\n".join(lines))


# ---------------------------------------------------------------- merging
def merged(base: str, top: str) -> Any:
    return to_plain(merge(read(base, "base.yaml"), read(top, "top.yaml"), implied="head"))


def test_mappings_merge_while_lists_and_scalars_replace() -> None:
    assert merged("a: {b: 1, c: [1, 2]}\nd: 1\n", "a: {c: [3]}\ne: 2\n") == {"a": {"b": 1, "c": [3]}, "d": 1, "e": 2}


def test_null_deletes_what_was_inherited() -> None:
    assert merged("a: {b: 1, c: 2}\nd: {x: 1}\n", "a: {b: null}\nd: ~\n") == {"a": {"c": 2}}


def test_a_null_that_meets_nothing_stays_null() -> None:
    assert merged("a: 1\n", "b: null\n") == {"a": 1, "b": None}


def test_a_changed_type_drops_the_old_siblings() -> None:
    assert merged("adapter: {type: lora, r: 8}\n", "adapter: {type: ia3}\n") == {"adapter": {"type": "ia3"}}
    assert merged("adapter: {type: lora, r: 8}\n", "adapter: {type: lora, bias: all}\n") == {
        "adapter": {"type": "lora", "r": 8, "bias": "all"}
    }


def test_a_changed_method_drops_the_old_siblings_even_where_the_old_one_was_implied() -> None:
    assert merged("model: {name_or_path: x}\n", "model: {method: tfidf}\n") == {"model": {"method": "tfidf"}}
    kept = {"model": {"name_or_path": "x", "method": "head"}}
    assert merged("model: {name_or_path: x}\n", "model: {method: head}\n") == kept


def test_after_a_merge_every_value_still_knows_its_file() -> None:
    root = merge(read("a: 1\nb: {c: 1}\n", "base.yaml"), read("\n\nb: {d: 2}\n", "top.yaml"))
    assert key_position(root, "b", "c") == Position("base.yaml", 2)
    assert key_position(root, "b", "d") == Position("top.yaml", 3)


KEYS = st.sampled_from(["a", "b", "c", "d"])
VALUES = st.recursive(
    st.integers() | st.text("xyz", min_size=1, max_size=3) | st.lists(st.integers(), max_size=3),
    lambda inner: st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)
MAPPINGS = st.dictionaries(KEYS, VALUES, max_size=4)


def reference(base: Any, top: Any) -> Any:
    """Merging as the documentation says it, on plain data without nulls."""
    if not (isinstance(base, dict) and isinstance(top, dict)):
        return top
    return {key: reference(base.get(key), top[key]) if key in top else base[key] for key in {**base, **top}}


@given(MAPPINGS, MAPPINGS)
def test_merging_follows_its_definition(base: dict[str, Any], top: dict[str, Any]) -> None:
    assert merged(dump(base), dump(top)) == reference(base, top)


@given(MAPPINGS, MAPPINGS, MAPPINGS)
def test_the_last_file_has_the_last_word(first: Any, second: Any, third: Any) -> None:
    below = merge(read(dump(first)), read(dump(second)))
    whole = to_plain(merge(below, read(dump(third))))
    assert reference(whole, third) == whole


@given(MAPPINGS)
def test_merging_a_file_with_itself_or_with_nothing_changes_nothing(data: dict[str, Any]) -> None:
    node = read(dump(data))
    assert to_plain(merge(node, node)) == data
    assert to_plain(merge(node, Mapping({}, Position("x")))) == data
    assert to_plain(merge(Mapping({}, Position("x")), node)) == data


def leaves(node: Node) -> list[Scalar]:
    if isinstance(node, Scalar):
        return [node]
    inner = node.items if isinstance(node, Sequence) else [entry.value for entry in node.entries.values()]
    return [leaf for child in inner for leaf in leaves(child)]


@given(MAPPINGS, MAPPINGS)
def test_every_merged_value_stands_in_the_file_and_line_that_it_names(base: Any, top: Any) -> None:
    texts = {"base.yaml": dump(base).splitlines(), "top.yaml": dump(top).splitlines()}
    root = merge(read(dump(base), "base.yaml"), read(dump(top), "top.yaml"))
    for leaf in leaves(root):
        assert leaf.text in texts[leaf.position.file][leaf.position.line - 1]


@given(st.text(max_size=60))
def test_any_text_gives_nodes_or_one_line(text: str) -> None:
    try:
        compose(text, "r.yaml", Problems())
    except UserError as error:
        assert len(str(error).splitlines()) == 1
