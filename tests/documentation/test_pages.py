"""What the pages name is there: links and anchors, recipe keys, commands with their options, modules and files."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from categorize.methods.registry import METHODS
from categorize.recipe.command import FLAGS, VALUES
from categorize.recipe.load import load_recipe
from tests.documentation.pages import anchors, blocks, pages, prose

SECTIONS = "data labels prompt quantization adapter training decision search hub evaluation prediction labeling model"
KEY = re.compile(rf"`({'|'.join(SECTIONS.split())})\.([a-z_]+(?:\.[a-z_]+)*)\b(?![(])")
FILES = ("json", "safetensors", "svg", "parquet", "csv", "yaml")  # prompt.json is a file
OF_RUN_JSON = ("filled_rows", "scoring_on_validation", "truncated_rows", "rows_an_epoch", "rows_per_second")
KINDS = {"run_seqcls.py": "seqcls", "run_sft.py": "sft", "run_eval.py": "eval", "run_label.py": "label"}
FOREIGN = {"--config_file", "--num_processes", "--num_machines", "--machine_rank", "--main_process_ip", "--multi_gpu"}


def test_every_link_and_every_anchor_leads_somewhere(root: Path) -> None:
    broken = []
    for page in pages(root):
        for target, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]+))?\)", prose(page)):
            there = (page.parent / target).resolve() if target else page
            if not there.exists() or (anchor and anchor not in anchors(there)):
                broken.append(f"{page.relative_to(root)}: {target}#{anchor}")
    assert not broken


def test_every_recipe_key_that_a_page_names_is_one(root: Path) -> None:
    schema = json.loads((root / "recipes/recipe.schema.json").read_text(encoding="utf-8"))
    keys = set(_keys(schema))
    wrong = []
    for page in pages(root):
        if page.name in ("architecture.md", "CONTRIBUTING.md", "CHANGELOG.md"):
            continue  # they name modules
        for section, rest in KEY.findall(prose(page)):
            if rest.split(".")[-1] not in {*keys, *FILES, *OF_RUN_JSON}:
                wrong.append(f"{page.relative_to(root)}: {section}.{rest}")
    assert not wrong


def test_every_yaml_block_of_a_page_has_keys_of_a_recipe(root: Path) -> None:
    keys = set(_keys(json.loads((root / "recipes/recipe.schema.json").read_text(encoding="utf-8"))))
    seen, wrong = 0, []
    for block in (block for page in pages(root) for block in blocks(page) if block.language == "yaml"):
        seen += 1
        for section, value in (yaml.safe_load(block.text) or {}).items():
            found = {section, *value} if isinstance(value, dict) else {section}
            wrong += [f"{block}: {key}" for key in found - keys if section not in ("label_sets",)]
    assert seen > 20 and not wrong


def test_every_command_of_a_page_names_scripts_modules_files_and_options_that_exist(root: Path) -> None:
    sources = [
        path.read_text(encoding="utf-8") for name in ("categorize", "demo") for path in (root / name).rglob("*.py")
    ]
    known = {*FLAGS, *VALUES, "--help", *FOREIGN}
    known |= {flag for text in sources for flag in re.findall(r'"(--[a-z][a-z-]+)"', text)}
    written = {name for page in pages(root) for name in re.findall(r"recipes/[\w./]+\.yaml", page.read_text("utf-8"))}
    own = {name for name in written if re.fullmatch(r"recipes/(tasks/)?(mine|my_)\w*\.yaml", name)}
    seen, wrong = 0, []
    for block in (block for page in pages(root) for block in blocks(page) if block.language == "bash"):
        if block.page.parent.name == "benchmarks":
            continue
        for command in block.commands:
            if not re.match(r"(python|accelerate launch) ", command):
                continue
            seen += 1
            words = command.split()
            wrong += [f"{block}: {word}" for word in words if word.startswith("--") and word.split("=")[0] not in known]
            for name in re.findall(
                r"\b(?:run_\w+\.py|(?:recipes|accelerate_configs|demo)/[\w./]+\.(?:yaml|xlsx))", command
            ):
                if name not in own and not (root / name).exists():
                    wrong.append(f"{block}: {name}")
            run = re.match(r"(?:python|accelerate launch.*) (run_\w+\.py) (recipes/\S+)(.*)", command)
            if run is not None and run[2] not in own and (root / run[2]).exists():
                overrides = [word for word in run[3].split() if re.match(r"[\w.]+=", word)]
                load_recipe(root / run[2], overrides, KINDS[run[1]], methods=METHODS)
            for module in re.findall(r"-m ((?:categorize|demo)[\w.]*)", command):
                if importlib.util.find_spec(module) is None:
                    wrong.append(f"{block}: {module}")
    assert seen > 60 and not wrong


def test_the_page_of_commands_names_every_option_of_the_scripts(root: Path) -> None:
    page = (root / "docs/reference/commands.md").read_text(encoding="utf-8")
    assert not [flag for flag in (*FLAGS, *VALUES) if f"`{flag}" not in page]


def test_every_page_stands_in_the_navigation_of_the_site(root: Path) -> None:
    written = (root / "mkdocs.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r"([\w./-]+\.md)\b", written[written.index("\nnav:") :]))
    inside = {path.relative_to(root / "docs").as_posix() for path in (root / "docs").rglob("*.md")}
    assert inside <= listed and "index.md" in listed


def _keys(node: Any) -> Iterator[str]:
    """The names of all keys that a schema has, at any depth."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name in ("properties", "$defs", "definitions") and isinstance(value, dict):
                yield from value
            yield from _keys(value)
    elif isinstance(node, list):
        for value in node:
            yield from _keys(value)
