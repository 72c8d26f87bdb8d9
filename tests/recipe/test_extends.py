"""Recipes that build on other files."""

from __future__ import annotations

from pathlib import Path

import pytest

from categorize.errors import UserError
from categorize.recipe.sections import SftRecipe
from tests.recipes import load_recipe

from .conftest import MINIMAL, Write


def error_of(path: str | Path) -> str:
    with pytest.raises(UserError) as caught:
        load_recipe(path, environment={})
    return str(caught.value)


def test_paths_are_relative_to_the_file_that_names_them(write: Write) -> None:
    write("tasks/danger.yaml", "extends: shared/base.yaml\nname: task\n")
    write("tasks/shared/base.yaml", MINIMAL + "seed: 7\n")
    loaded = load_recipe(write("mine/r.yaml", "extends: ../tasks/danger.yaml\n"))
    assert (loaded.recipe.name, loaded.recipe.seed) == ("task", 7)
    assert loaded.sources == ("mine/r.yaml", "tasks/danger.yaml", "tasks/shared/base.yaml")
    assert loaded.where("seed") == "tasks/shared/base.yaml:7"


def test_later_files_of_a_list_lie_on_top(write: Write) -> None:
    write("a.yaml", MINIMAL + "seed: 1\n")
    write("b.yaml", "seed: 2\nname: b\n")
    loaded = load_recipe(write("r.yaml", "extends: [a.yaml, b.yaml]\nname: r\n"))
    assert (loaded.recipe.seed, loaded.recipe.name) == (2, "r")


def test_a_circle_is_refused_with_its_chain(write: Write) -> None:
    write("a.yaml", "extends: b.yaml\n")
    write("b.yaml", "# one\nextends: a.yaml\n")
    assert error_of("a.yaml") == "b.yaml:2: extends goes in a circle: a.yaml -> b.yaml -> a.yaml"


def test_two_ways_to_one_file_are_not_a_circle(write: Write) -> None:
    write("base.yaml", MINIMAL)
    write("a.yaml", "extends: base.yaml\n")
    write("b.yaml", "extends: base.yaml\n")
    assert load_recipe(write("r.yaml", "extends: [a.yaml, b.yaml]\n")).recipe.name == "mine"


def test_a_missing_file_names_who_extends_it_and_what_was_meant(write: Write) -> None:
    write("base.yaml", MINIMAL)
    said = "bse.yaml: no such file, named in r.yaml:1; did you mean base.yaml?"
    assert error_of(write("r.yaml", "extends: bse.yaml\n")) == said


def test_an_error_in_a_base_names_the_base(write: Write) -> None:
    write("base.yaml", MINIMAL + "sed: 1\n")
    assert error_of(write("r.yaml", "extends: base.yaml\n")) == "base.yaml:7: sed: unknown key; did you mean seed?"


def test_extends_takes_paths_only(write: Write) -> None:
    said = error_of(write("r.yaml", MINIMAL + "extends: [3]\n"))
    assert "r.yaml:7: extends: expected the path of a file, or a list of paths, found the number 3" in said


def test_null_deletes_and_the_default_returns(write: Write) -> None:
    write("base.yaml", MINIMAL + "training: {learning_rate: 1e-3, bf16: true}\nprediction: {batch_size: 3}\n")
    loaded = load_recipe(write("r.yaml", "extends: base.yaml\ntraining: {learning_rate: null}\nprediction: null\n"))
    assert loaded.resolved["training"] == {"bf16": True}
    assert loaded.recipe.prediction.batch_size is None


def test_null_says_null_where_the_key_may_be_null(write: Write) -> None:
    write("base.yaml", MINIMAL + "adapter: {type: lora}\n")
    text = "extends: base.yaml\nadapter: null\ndata: {columns: {label: null}}\n"
    loaded = load_recipe(write("r.yaml", text))
    assert loaded.recipe.data.columns.label is None
    assert loaded.resolved["adapter"] is None


def test_a_required_key_that_was_deleted_is_missing(write: Write) -> None:
    write("base.yaml", MINIMAL)
    assert "data.source: is missing" in error_of(write("r.yaml", "extends: base.yaml\ndata: {source: null}\n"))


def test_a_null_that_deletes_nothing_is_a_forgotten_value(write: Write) -> None:
    said = error_of(write("r.yaml", MINIMAL + "training:\n  learning_rate:\n"))
    assert said == "r.yaml:8: training.learning_rate: expected a number, found nothing"


# ---------------------------------------------------------------- labels.schema
def test_a_label_schema_lies_under_the_labels(write: Write) -> None:
    write("tasks/words.yaml", "task: multi_label\nnames: [joy, fear]\ncodes: {0: joy}\n")
    write("tasks/words_task.yaml", "labels: {schema: words.yaml, unknown: drop}\n")
    text = MINIMAL + "extends: tasks/words_task.yaml\nlabels: {codes: {1: fear}}\n"
    labels = load_recipe(write("r.yaml", text)).recipe.labels
    assert (labels.task, labels.names, labels.unknown) == ("multi_label", ["joy", "fear"], "drop")
    assert labels.codes == {"0": "joy", "1": "fear"}


def test_a_label_schema_may_extend_another(write: Write) -> None:
    write("a.yaml", "names: [x, y]\n")
    write("b.yaml", "extends: a.yaml\nunknown: drop\n")
    labels = load_recipe(write("r.yaml", MINIMAL + "labels: {schema: b.yaml}\n")).recipe.labels
    assert (labels.names, labels.unknown) == (["x", "y"], "drop")


def test_another_schema_replaces_the_first(write: Write) -> None:
    write("a.yaml", "names: [x, y]\ncodes: {0: x}\n")
    write("b.yaml", "names: [p, q]\n")
    path = write("r.yaml", MINIMAL + "labels: {schema: a.yaml}\n")
    labels = load_recipe(path, ["labels.schema=b.yaml"]).recipe.labels
    assert (labels.names, labels.codes) == (["p", "q"], {})


def test_a_schema_replaces_inherited_names(write: Write) -> None:
    write("a.yaml", "names: [p, q]\n")
    base = write("base.yaml", MINIMAL + "labels: {names: [x, y], codes: {0: x}, unknown: drop}\n")
    child = write("r.yaml", "extends: base.yaml\nlabels: {schema: a.yaml}\n")
    for loaded in (load_recipe(child), load_recipe(base, ["labels.schema=a.yaml"])):
        labels = loaded.recipe.labels
        assert (labels.names, labels.codes, labels.unknown) == (["p", "q"], {}, "drop")
    own = load_recipe(write("o.yaml", "extends: r.yaml\nlabels: {names: [s, t]}\n")).recipe.labels
    assert own.names == ["s", "t"]


def test_a_missing_label_schema_names_the_recipe(write: Write) -> None:
    said = error_of(write("r.yaml", MINIMAL + "labels:\n  schema: gone.yaml\n"))
    assert said == "gone.yaml: no such file, named in r.yaml:8"


def test_an_error_in_a_schema_names_the_schema(write: Write) -> None:
    write("a.yaml", "nmes: [x, y]\n")
    said = error_of(write("r.yaml", MINIMAL + "labels: {schema: a.yaml}\n"))
    assert said == "a.yaml:1: labels.nmes: unknown key; did you mean names?"


# ---------------------------------------------------------------- prompt.file
SFT = "kind: sft\nname: t\ndata: {source: a.csv}\nmodel: {name_or_path: m}\n"


def test_an_instruction_may_lie_in_a_file_beside_the_recipe(write: Write) -> None:
    write("prompts/danmu.txt", "给弹幕分类。\n\nLabels: {labels}\r\nNo: braces {} or # marks matter.\n\n")
    write("prompts/base.yaml", "prompt: {file: danmu.txt}\n")
    loaded = load_recipe(write("r.yaml", SFT + "extends: prompts/base.yaml\n"))
    assert isinstance(loaded.recipe, SftRecipe)
    text = "给弹幕分类。\n\nLabels: {labels}\nNo: braces {} or # marks matter."
    assert loaded.recipe.prompt.system == text
    assert [Path(name).name for name in loaded.sources] == ["r.yaml", "base.yaml", "danmu.txt"]


def test_the_resolved_recipe_needs_no_file_of_the_instruction(write: Write) -> None:
    file = write("i.txt", "Sort: {labels}\n  indented, 'quoted', \"twice\"")
    loaded = load_recipe(write("r.yaml", SFT + "prompt: {file: i.txt}\n"))
    file.unlink()
    again = load_recipe(write("resolved.yaml", loaded.text))
    assert again.recipe == loaded.recipe and "file" not in loaded.resolved["prompt"]


def test_instruction_and_file_are_one_or_the_other(write: Write) -> None:
    write("i.txt", "From the file.")
    both = error_of(write("r.yaml", SFT + "prompt:\n  system: x\n  file: i.txt\n"))
    assert both == "r.yaml:7: prompt.file: cannot go with prompt.system, which holds an instruction too; keep one"
    written = write("r.yaml", SFT + "prompt: {system: Own.}\n")
    laid_over = load_recipe(written, ["prompt.file=i.txt"]).recipe
    assert isinstance(laid_over, SftRecipe) and laid_over.prompt.system == "From the file."
    from_file = write("f.yaml", SFT + "prompt: {file: i.txt}\n")
    for override, system in (("prompt.system=Other.", "Other."), ("prompt.file=null", None)):
        recipe = load_recipe(from_file, [override]).recipe
        assert isinstance(recipe, SftRecipe) and recipe.prompt.system == system


@pytest.mark.parametrize(
    ("value", "content", "message"),
    [
        ("gone.txt", None, "gone.txt: no such file, named in r.yaml:5"),
        ("i.txt", b" \n", "i.txt: the file is empty, named in r.yaml:5; it holds the instruction"),
        ("i.txt", "弹幕".encode("gb18030"), "iconv -f gb18030 -t utf-8 i.txt"),
        ("[i.txt]", b"x", "prompt.file: expected the path of a file, found a list"),
    ],
)
def test_a_file_that_holds_no_instruction_is_named(
    write: Write, value: str, content: bytes | None, message: str
) -> None:
    path = write("r.yaml", SFT + f"prompt: {{file: {value}}}\n")
    if content is not None:
        (path.parent / "i.txt").write_bytes(content)
    assert message in error_of(path)
