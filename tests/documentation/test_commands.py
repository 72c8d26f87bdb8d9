"""Every command, recipe and piece of Python in the documentation runs as it stands there, page by page from top to
bottom, and prints what the page says it prints. What cannot run here is listed with its reason:

python -m tests.documentation.test_commands
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from categorize.methods.registry import METHODS
from categorize.recipe.load import load_fragment, load_recipe, peek_kind
from tests.documentation.pages import Block, blocks, pages
from tests.hub.server import WRITE, running_hub

ROOT = Path(__file__).resolve().parent.parent.parent
README = "README.md"
AFTER_README = ("docs/data.md", "docs/prediction.md", "docs/labeling.md", "docs/evaluation.md", "docs/hub.md")
"""Pages that speak of the run and the files that the README makes."""
STAND_INS = {"google-bert/bert-base-multilingual-cased": "bert"}  # models of the Hub, and what is built in their place
REASONS: tuple[tuple[str, str], ...] = (
    (r"(make|pip|hf|\.) ", "installs, logs in, or starts what is tested by itself"),
    (r".*\b(RECIPE|RUN|FILE|FOLDER|TASK)\b", "a pattern, not a command"),
    (r".*recipes/demo/eval\.yaml", "make demo runs it, on runs of its own"),
    (r".*recipes/tasks/mine\.yaml", "a name of the reader's"),
    (r".*\breleased/", "a name of the reader's"),
    (r".*data\.splits\.test=0\.3", "would cut the README's split anew"),
    (r".*training\.class_weights\.", "an example of overrides"),
    (r"accelerate launch .*multi_gpu", "several GPUs"),
    (
        r".*categorize\.recipe\.(schema|upstream)|.*demo\.generate( |$)|.*build_models --force",
        "writes the checkout anew",
    ),
)


def why_not(block: Block, command: str) -> str | None:
    """Why a command cannot be run here; None where it can."""
    if block.why_not is not None:
        return block.why_not
    for pattern, reason in REASONS:
        if re.match(pattern, f"{command} "):
            return reason
    named = re.findall(r"\brecipes/[\w./]+\.yaml", command)
    if any(is_shipped(name) and not name.startswith("recipes/demo/") for name in named):
        return "a shipped recipe: data of the reader's, a model of the Hub, or a GPU"
    return None


def is_shipped(name: str) -> bool:
    return (ROOT / name).exists() and re.match(r"recipes/my_|recipes/mine", name) is None


def page_names() -> list[str]:
    kept = {"CHANGELOG.md", "benchmarks/README.md", "benchmarks/RESULTS.md", "CONTRIBUTING.md"}
    return [page.relative_to(ROOT).as_posix() for page in pages(ROOT) if page.relative_to(ROOT).as_posix() not in kept]


def to_run(page: str) -> list[tuple[Block, list[str], list[tuple[str, str]]]]:
    """The blocks of a page that are run: with their commands, and those that are not, with their reasons."""
    found = []
    for block in blocks(ROOT / page):
        if block.language == "bash" and (block.commands or block.why_not is None):
            told = [(command, why_not(block, command)) for command in block.commands]
            found.append(
                (block, [one for one, why in told if why is None], [(one, why) for one, why in told if why is not None])
            )
        elif block.language == "python":
            found.append((block, [], [("python", block.why_not)] if block.why_not else []))
    return found


def runs_something(page: str) -> bool:
    return any(commands or (not left and block.why_not is None) for block, commands, left in to_run(page))


class Folder:
    """A folder as a reader's: the checkout's files, some comments, and a Hub that answers on this machine."""

    def __init__(self, place: Path, url: str) -> None:
        self.place = place
        programs = place / ".programs"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING_FACE"))},
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false",
            "HF_ENDPOINT": url, "HF_TOKEN": WRITE, "HF_HOME": str(place / ".hub"), "HF_HUB_DISABLE_XET": "1",
            "NO_PROXY": "127.0.0.1,localhost", "ACCELERATE_USE_CPU": "true",
        }  # fmt: skip

    def make(self, stand_ins: dict[str, str]) -> Folder:
        self.place.mkdir()
        for name in (
            "run_seqcls.py",
            "run_sft.py",
            "run_eval.py",
            "run_label.py",
            "demo",
            "accelerate_configs",
            "deploy",
        ):
            (self.place / name).symlink_to(ROOT / name)
        shutil.copytree(ROOT / "recipes", self.place / "recipes", ignore=shutil.ignore_patterns("my_*", "mine*"))
        (self.place / ".programs").mkdir()
        python = self.place / ".programs/python"
        python.write_text(f'#!/bin/bash\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
        self.stand_ins = stand_ins
        _write_comments(self.place / "my_comments.xlsx", 150, labelled=True)
        _write_comments(self.place / "new_comments.xlsx", 20, labelled=False)
        return self

    def read(self, page: str) -> None:
        """Go through a page as a reader would."""
        said, python, text = "", "", (ROOT / page).read_text(encoding="utf-8").splitlines()
        for block in blocks(ROOT / page):
            if block.language == "yaml":
                self.write(block, "\n".join(text[: block.line]))
            elif block.language == "python" and block.why_not is None:
                python += f"{block.text}\n"
                (self.place / "page.py").write_text(python, encoding="utf-8")
                said = self.start(block, "python page.py")
            elif block.language == "bash" and block.why_not is None:
                commands = block.commands
                if commands:
                    said = "".join(self.start(block, one) for one in commands if why_not(block, one) is None)
                else:
                    said = self.start(block, block.text)
            elif block.language == "text":
                check_said(block, said)

    def write(self, block: Block, before: str) -> None:
        """Put a recipe where the page says that it goes, and check it."""
        if not block.text.startswith("#"):
            return  # a part of a recipe; its keys are checked elsewhere
        named = re.findall(r"^#.* python \S+ (recipes/\S+\.yaml)", block.text, re.M)
        named = named or re.findall(r"`(recipes/[\w/]+\.yaml)`", before)
        path = self.place / named[-1]
        text = block.text
        for model, architecture in self.stand_ins.items():
            text = text.replace(model, architecture)
        path.write_text(f"{text}\n", encoding="utf-8")
        kind = peek_kind(path)
        if kind is None:
            load_fragment(path, methods=METHODS)
        else:
            load_recipe(path, [], kind, methods=METHODS)

    def start(self, block: Block, command: str) -> str:
        done = subprocess.run(
            ["bash", "-ec", command],
            cwd=self.place, env=self.environment, capture_output=True, text=True, timeout=1500,
        )  # fmt: skip
        assert done.returncode == 0, f"{block}: {command}\n{done.stdout[-1500:]}{done.stderr[-3000:]}"
        return done.stdout + done.stderr


def check_said(block: Block, said: str) -> None:
    """Lines that a page shows were said; fractions and seconds differ from machine to machine."""
    lines = {_without_fractions(line) for line in said.splitlines()}
    missing = [line for line in block.text.splitlines() if _without_fractions(line) not in lines]
    assert not missing, f"{block}: not said: {missing}\n{said[-3000:]}"


def _without_fractions(line: str) -> str:
    return " ".join(re.sub(r"\d*\.\d+|\d+ (s|min)\b", "#", line).split())


def _write_comments(path: Path, rows: int, labelled: bool) -> None:
    from openpyxl import Workbook

    topics = (("how much is the {} one", 1), ("the {} lid is cracked", 2), ("I love the {} one", 3))
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "comments"
    sheet.append(["nr", "comment", "topic"] if labelled else ["nr", "comment"])
    for i in range(rows):
        text, topic = topics[i % 3]
        row = [i + 1, text.format(f"{('red', 'blue', 'green', 'old', 'new')[i % 5]} {i}")]
        sheet.append([*row, topic if i % 10 else None] if labelled else row)
    book.save(path)


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    with running_hub() as server:
        yield server.url


@pytest.fixture(scope="module")
def folder(hub: str, tiny: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Folder]:
    stand_ins = {model: str(tiny(architecture)) for model, architecture in STAND_INS.items()}
    return lambda: Folder(tmp_path_factory.mktemp("page") / "checkout", hub).make(stand_ins)


@pytest.fixture(scope="module")
def after_readme(folder: Callable[[], Folder]) -> Folder:
    read = folder()
    read.read(README)
    return read


def test_the_main_pages_are_run_and_each_other_command_says_why_it_is_not() -> None:
    found = [one for page in page_names() for one in to_run(page)]
    assert sum(len(commands) for _, commands, _ in found) > 35
    assert all(why for _, _, others in found for _, why in others)
    assert {"docs/tutorial.md", "docs/quickstart.zh.md", README} <= set(filter(runs_something, page_names()))


@pytest.mark.slow
def test_the_readme_does_what_it_says(after_readme: Folder) -> None:
    assert (after_readme.place / "outputs/mine_eval/report.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in page_names() if page != README and runs_something(page)])
def test_a_page_does_what_it_says(page: str, request: pytest.FixtureRequest, tmp_path: Path, hub: str) -> None:
    if page in AFTER_README:
        shutil.copytree(request.getfixturevalue("after_readme").place, tmp_path / "checkout", symlinks=True)
        there = Folder(tmp_path / "checkout", hub)
        there.stand_ins = {}
    else:
        there = request.getfixturevalue("folder")()
    there.read(page)


def main() -> None:
    """Print what is run and what is not, with the reasons."""
    counts = [0, 0]
    for page in page_names():
        for block, commands, left in to_run(page):
            ran = commands or ([block.language] if not left else [])
            counts = [counts[0] + len(ran), counts[1] + len(left)]
            for one in ran:
                print(f"run      {block.page.relative_to(ROOT)}:{block.line}  {one.splitlines()[0]}")
            for one, why in left:
                print(f"not run  {block.page.relative_to(ROOT)}:{block.line}  {one}  ({why})")
    print(f"{counts[0]} run, {counts[1]} not")


if __name__ == "__main__":
    main()
