"""Keys of labelling recipes that cannot go together are refused together, each at its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from categorize.errors import UserError
from categorize.recipe.load import LoadedRecipe
from tests.recipes import load_recipe

from .conftest import Write

HEAD = """\
kind: label
name: job
data: {source: comments.csv}
labels: {names: [good, bad]}
"""
ONE = "{type: endpoint, url: http://localhost:1/v1, model: a}"
TWO = "{type: endpoint, url: http://localhost:2/v1, model: b}"
RUN = "{type: run, run: outputs/mine}"
SHOTS = "prompt: {retrieval: {k: 2}}\n"
SETS = "label_sets: {mood: {names: [good, bad]}, topic: {names: [film, food]}}\n"


@pytest.fixture
def load(write: Write) -> Callable[[str], LoadedRecipe]:
    """Reads a labelling recipe with more text below its head."""

    def read(more: str) -> LoadedRecipe:
        head = HEAD.replace("labels: ", "# labels: ") if "label_sets" in more else HEAD
        if more == f"{SHOTS}labeling:\n  teacher: {ONE}\n":
            head = head.replace("comments.csv}", "comments.csv, columns: {label: null}}")
        return load_recipe(write("r.yaml", head + more))

    return read


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (f"labeling:\n  teacher: {ONE}\n  answer: code\n  items: 50\n", "r.yaml:8: labeling.items: 50 rows a request"),
        (f"labeling:\n  teacher: {ONE}\n  answer: code\n  rationale: {{}}\n", "r.yaml:8: labeling.rationale: a bare"),
        (f"labeling:\n  teacher: {ONE}\n  ledger: outputs/job/answers\n", "r.yaml:7: labeling.ledger: outputs/job/ans"),
        (f"labeling:\n  teacher: {ONE}\n  agreement: {{min_confidence: 0.5}}\n", "r.yaml:7: labeling.agreement: joins"),
        (f"labeling:\n  teacher: {RUN}\n  flip_sample: 9\n", "r.yaml:7: labeling.flip_sample: is for teachers that"),
        (f"labeling:\n  teacher: {RUN}\n  spreadsheet: xlsx\n", "r.yaml:7: labeling.spreadsheet: is for teachers"),
        (f"labeling:\n  teachers:\n    - {ONE}\n    - {ONE}\n", "r.yaml:8: labeling.teachers[1].name: 'a' is the name"),
        (
            f"labeling:\n  teachers:\n    - {ONE[:-1]}, prices: {{input: 1}}}}\n"
            f"    - {TWO[:-1]}, prices: {{input: 1, currency: CNY}}}}\n",
            "r.yaml:8: labeling.teachers[1].prices.currency: CNY, but another teacher has USD",
        ),
        (
            "labeling:\n  teacher: {type: local, name_or_path: m, mode: scoring, grammar: true}\n",
            "r.yaml:6: labeling.teacher.grammar: is for mode: generation",
        ),
        (f"{SETS}labeling:\n  teacher: {ONE}\n  answer: code\n", "r.yaml:8: labeling.answer: code answers with one"),
        (f"{SETS}labeling:\n  teacher: {ONE}\n  spreadsheet: csv\n", "r.yaml:8: labeling.spreadsheet: has one column"),
        (f"{SETS}labeling:\n  teacher: {RUN}\n", "r.yaml:7: labeling.teacher: a student answers with one label set"),
        (
            f"{SHOTS}{SETS}labeling:\n  teacher: {ONE}\n",
            "prompt.retrieval: chooses from rows that have a label, and",
        ),
        (f"{SHOTS}labeling:\n  teacher: {RUN}\n", "prompt.retrieval: chooses examples for teachers that write"),
        (
            f"{SHOTS}labeling:\n  teachers: [{ONE}, {{type: local, name_or_path: m, mode: scoring}}]\n",
            "labeling.teachers[1].mode: scoring is without prompt.retrieval",
        ),
        (f"{SHOTS}labeling:\n  teacher: {ONE}\n  rationale: {{}}\n", "labeling.rationale: is in no example that"),
        (f"{SHOTS}labeling:\n  teacher: {ONE}\n", "name their column as data.columns.label"),
    ],
)
def test_what_cannot_work_is_refused_at_its_line(load: Callable[[str], LoadedRecipe], more: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        load(more)
    assert said in str(caught.value)


def test_all_faults_are_told_at_once(load: Callable[[str], LoadedRecipe]) -> None:
    with pytest.raises(UserError) as caught:
        load(f"labeling:\n  teacher: {ONE}\n  answer: code\n  items: 9\n  rationale: {{}}\n  ledger: outputs/job\n")
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == [
        "labeling.items",
        "labeling.rationale",
        "labeling.ledger",
    ]


@pytest.mark.parametrize(
    "more",
    [
        f"labeling: {{teacher: {ONE}, answer: code, items: 1, spreadsheet: xlsx, ledger: outputs/job.answers}}\n",
        f"labeling:\n  teacher: {ONE}\n  repeats: 3\n  agreement: {{min_confidence: 0.5}}\n",
        f"labeling:\n  teachers: [{ONE}, {RUN}]\n  flip_sample: 10\n  agreement: {{method: majority}}\n",
        f"labeling:\n  teachers: [{ONE}, {ONE[:-1]}, temperature: 1.0, name: warm}}]\n",
        f"{SETS}labeling: {{teacher: {ONE}, items: 10}}\n",
    ],
)
def test_what_works_is_taken(load: Callable[[str], LoadedRecipe], more: str) -> None:
    assert load(more).recipe.kind == "label"


def test_a_ledger_beside_the_run_is_taken_wherever_the_run_lies(write: Write, tmp_path: Path) -> None:
    text = f"{HEAD}output_dir: runs/job\nlabeling: {{teacher: {ONE}, ledger: runs/job.mine}}\n"
    assert load_recipe(write("r.yaml", text)).recipe.output_path == "runs/job"


def test_a_label_column_beside_several_label_sets_is_not_passed_over(write: Write) -> None:
    head = HEAD.replace("labels: ", "# labels: ").replace("comments.csv}", "comments.csv, columns: {label: class}}")
    with pytest.raises(UserError, match=r"r\.yaml:3: data\.columns\.label: is not read beside label_sets"):
        load_recipe(write("r.yaml", f"{head}{SETS}labeling:\n  teacher: {ONE}\n"))
