"""A method from outside the package: registered, or installed as a plug-in, it is as good as the project's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import run_eval
import run_seqcls
from categorize import load_predictor
from categorize.errors import UserError
from categorize.methods.registry import BUILT_IN, METHODS, Registry
from categorize.recipe.command import main
from categorize.recipe.load import load_recipe
from categorize.recipe.sections import SeqclsRecipe, TrainedRecipe
from tests.methods.keywords import KeywordMethod, KeywordModel
from tests.session.collections import write_collection, write_recipe

KNOWN = [name for name in BUILT_IN if METHODS[name].kind == "seqcls"]
MODEL = {"method": "keywords", "min_count": 2}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_collection(tmp_path / "rows.csv")
    return tmp_path


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(METHODS, "_methods", dict(METHODS._methods))  # gone after the test
    METHODS.register(KeywordMethod)


def recipe(folder: Path, **model: object) -> str:
    return str(write_recipe(folder / "words.yaml", model={**MODEL, **model}, training=None))


@pytest.mark.usefixtures("registered")
def test_a_registered_method_trains_reloads_and_is_compared(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recipe(folder)
    assert main("run_seqcls.py", "seqcls", run_seqcls.run, METHODS, [path, "--dry-run"]) == 0
    assert "words of 80 rows would be counted" in capsys.readouterr().out
    assert main("run_seqcls.py", "seqcls", run_seqcls.run, METHODS, [path]) == 0
    manifest = json.loads((folder / "outputs/words/run.json").read_text())
    assert manifest["method"] == "keywords" and manifest["details"]["words"] > 5
    assert "library_name: categorize" in (folder / "outputs/words/README.md").read_text()
    assert load_predictor("outputs/words").predict_texts(["bad text", "good movie"]).decided == [["bad"], ["good"]]
    evaluation = {"runs": ["outputs/words"], "bootstrap": 0, "baselines": ["majority"]}
    comparison = write_recipe(folder / "compare.yaml", kind="eval", training=None, evaluation=evaluation)
    assert main("run_eval.py", "eval", run_eval.run, METHODS, [str(comparison)]) == 0
    runs = json.loads((folder / "outputs/compare/report.json").read_text())["runs"]
    assert [(one["name"], one["method"]) for one in runs][1:] == [("words", "keywords")]
    assert runs[1]["metrics"]["accuracy"] > 0.9


@pytest.mark.usefixtures("registered")
def test_its_keys_are_checked_as_those_of_the_others(folder: Path) -> None:
    for model, sections, told in (
        ({"min_cuont": 3}, {}, "model.min_cuont: unknown key; did you mean min_count?"),
        ({"min_count": 0}, {}, "model.min_count: expected a number above 0, found the number 0"),
        ({"fallback": "fine"}, {}, "model.fallback: 'fine' is not one of labels.names: good, bad"),
        ({"pooling": "mean"}, {}, "model.pooling: belongs to model.method: head"),
        (
            {"method": "keyword"},
            {},
            f"model.method: expected one of {', '.join(KNOWN)}, keywords, found the text 'keyword'",
        ),
        ({}, {"adapter": {"type": "lora"}}, "adapter: is not read by model.method keywords; remove it"),
        ({}, {"training": {"num_train_epochs": 2}}, "training: is not read by model.method keywords; remove it"),
        ({}, {"data": {"segments": {"by": "tokens"}}}, "data.segments.by: tokens needs data.segments.max_tokens"),
    ):
        written = write_recipe(folder / "words.yaml", **{"training": None, **sections, "model": {**MODEL, **model}})
        with pytest.raises(UserError) as caught:
            load_recipe(written, methods=METHODS)
        lines = str(caught.value).splitlines()
        assert any(told in line for line in lines), lines


def test_a_method_of_documents_gets_them_whole(folder: Path) -> None:
    class Whole(KeywordMethod):
        unit = "document"

    written = write_recipe(folder / "words.yaml", training=None, data={"segments": {"by": "turns"}}, model=MODEL)
    methods = Registry(BUILT_IN)
    methods.register(Whole)
    with pytest.raises(UserError, match=r"data\.segments\.by: model\.method keywords reads whole documents"):
        load_recipe(written, methods=methods)


@pytest.mark.usefixtures("registered")
def test_a_method_that_does_not_merge_says_so_before_training(folder: Path) -> None:
    loaded = load_recipe(recipe(folder), methods=METHODS).recipe
    assert isinstance(loaded, TrainedRecipe)
    with pytest.raises(UserError, match=r"--merge: method keywords does not merge adapters .*; leave the flag out"):
        METHODS.of(loaded).check_merge(loaded)


def install(site: Path, place: str) -> None:
    """What an installer leaves of a package with an entry point."""
    info = site / "keyword_package-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: keyword-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[categorize.methods]\nkeywords = {place}\n")


@pytest.mark.slow
def test_an_installed_plug_in_trains_from_the_command_line(folder: Path, root: Path) -> None:
    install(folder / "site", "tests.methods.keywords:KeywordMethod")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder / "site"), str(root)])}
    command = [sys.executable, str(root / "run_seqcls.py"), recipe(folder)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "words: keywords -> outputs/words" in done.stdout
    with pytest.raises(UserError, match=r"words: method 'keywords' is unknown here \(known: head, .*sft.*\)"):
        load_predictor("outputs/words")


def test_an_installed_plug_in_is_a_method_as_the_others_are(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(folder / "site", "tests.methods.keywords:KeywordMethod")
    monkeypatch.syspath_prepend(str(folder / "site"))
    loaded = load_recipe(recipe(folder, fallback="bad"), methods=(methods := Registry(BUILT_IN))).recipe
    assert isinstance(loaded, SeqclsRecipe) and loaded.model == KeywordModel(**MODEL, fallback="bad")
    assert isinstance(methods.of(loaded), KeywordMethod)


def test_a_broken_plug_in_is_named_and_is_only_in_the_way_of_its_own_recipes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(folder / "site", "keyword_package_without_code:Method")
    monkeypatch.syspath_prepend(str(folder / "site"))
    methods = Registry(BUILT_IN)
    assert list(methods) == [*BUILT_IN, "keywords"]
    with pytest.raises(UserError, match=r"^model\.method: keywords \(keyword_package_without_code:Method\) cannot be"):
        methods["keywords"]
    assert load_recipe(write_recipe(folder / "mine.yaml", model={"name_or_path": "x"}), methods=methods).recipe


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match="there is a method 'tfidf' already"):
        METHODS.register(type("Mine", (KeywordMethod,), {"name": "tfidf"}))


def test_the_registry_imports_a_method_when_it_is_asked_for(root: Path) -> None:
    code = (
        "import sys, categorize\nfrom categorize.methods.registry import METHODS\n"
        f"assert list(METHODS) == {[*BUILT_IN]}\n"
        "rooms = lambda: [n for n in sys.modules if n.startswith('categorize.methods.') and n.endswith('.section')]\n"
        "print(rooms()); METHODS['tfidf']; print(rooms(), 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["[]", "['categorize.methods.tfidf.section'] False"], done.stdout + done.stderr
