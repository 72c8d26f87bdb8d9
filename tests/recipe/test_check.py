"""Every recipe of a folder is checked."""

from __future__ import annotations

from functools import partial

import pytest

from categorize.methods.registry import METHODS
from categorize.recipe import check

from .conftest import MINIMAL, Write

main = partial(check.main, METHODS)

HEADER = "# yaml-language-server: $schema={schema}\n# For tests. Run: python run_seqcls.py {path}\n"


def complete(path: str, schema: str) -> str:
    return HEADER.format(schema=schema, path=path) + MINIMAL


@pytest.fixture
def schema(write: Write) -> None:
    write("recipes/recipe.schema.json", "{}\n")


@pytest.mark.usefixtures("schema")
def test_recipes_at_any_depth_and_fragments_are_checked(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    write("recipes/a.yaml", complete("recipes/a.yaml", "recipe.schema.json"))
    write("recipes/demo/deep/b.yaml", complete("recipes/demo/deep/b.yaml", "../../recipe.schema.json"))
    write("recipes/tasks/t.yaml", "labels: {schema: words.yaml}\ndata: {columns: {text: m}}\n")
    write("recipes/tasks/words.yaml", "names: [a, b]\n")
    assert main(["recipes"]) == 0
    out = capsys.readouterr().out
    assert out.count("ok ") == 4
    assert out.count("recipe (seqcls)") == out.count("fragment") == 2
    assert out.endswith("4 files checked, 0 wrong\n")


@pytest.mark.usefixtures("schema")
@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("recipes/a.yaml", MINIMAL, "recipes/a.yaml:1: the first line must name the schema"),
        ("recipes/a.yaml", complete("recipes/a.yaml", "gone/recipe.schema.json"), "no such schema from here: gone/"),
        (
            "recipes/a.yaml",
            complete("recipes/b.yaml", "recipe.schema.json"),
            "must hold the command: python run_seqcls.py",
        ),
        ("recipes/a.yaml", complete("recipes/a.yaml", "recipe.schema.json") + "sed: 1\n", "did you mean seed?"),
        ("recipes/tasks/t.yaml", "labels: {nmes: [a]}\n", "labels.nmes: unknown key; did you mean names?"),
        ("recipes/tasks/t.yaml", "data: {source: 3}\n", "data.source: expected"),
        ("recipes/tasks/words.yaml", "names: [a, 1]\n", "labels.names[1]: expected a mapping or a text"),
        ("recipes/tasks/words.yaml", "names: [{description: x}]\n", "labels.names[0].name: is missing"),
        ("recipes/tasks/t.yaml", "nonsense: 1\n", "nonsense: unknown key"),
        ("recipes/tasks/t.yaml", "a: [\n", "not valid YAML"),
    ],
)
def test_one_wrong_file_fails_the_check(
    write: Write, capsys: pytest.CaptureFixture[str], name: str, text: str, said: str
) -> None:
    write("recipes/fine.yaml", complete("recipes/fine.yaml", "recipe.schema.json"))
    write(name, text)
    assert main(["recipes"]) == 1
    out = capsys.readouterr().out
    assert said in out
    assert out.endswith("2 files checked, 1 wrong\n")


def test_nothing_to_check_is_an_error(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    write("recipes/readme.txt", "x")
    assert main(["recipes"]) == 1
    assert main(["gone"]) == 1
    assert "gone: no such file or folder" in capsys.readouterr().err


def test_the_recipes_of_this_repository_are_right(root: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(str(root))
    assert main(["recipes"]) == 0
