"""The table of a labelling run goes to the Hub as a dataset, whole and in one commit, and comes back as it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.hub.server import Fault, Hub, Repository, running_hub
from tests.hub.test_hub import Machine, contents, one_line
from tests.labeling.fault_server import Script, Serving, serving
from tests.labeling.jobs import texts, write_recipe, write_rows
from tests.session.collections import write_collection
from tests.session.collections import write_recipe as write_training

LABELS = ["good", "bad"]
FETCH = """
import json, sys
sys.modules["categorize"] = None
from datasets import load_dataset
from huggingface_hub import DatasetCard
DatasetCard.load("owner/labels").validate()
rows = load_dataset("owner/labels", split="train")
rows.to_parquet("fetched.parquet")
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with running_hub() as hub:
        yield hub


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("teacher"), Script(labels=LABELS)) as server:
        yield server


def job(machine: Machine, server: Serving, rows: list[dict[str, str]], **changes: Any) -> Path:
    """A recipe on a machine."""
    source = write_rows(machine.folder, rows)
    asked = {"type": "endpoint", "url": server.url, "model": "tiny", "prices": {"input": 1.0, "output": 2.0}}
    labeling = {"teacher": asked, "items": 5, "rows": "all", "shard_rows": 20} | changes.pop("labeling", {})
    data = {"source": str(source), "columns": {"text": "text", "id": "id", "label": "mood"}}
    labels = {"names": [{"name": "good", "description": "Likes it."}, "bad"]}
    hub = {"repo_id": "owner/labels", "license": "cc-by-4.0", "language": "en"} | changes.pop("hub", {})
    return write_recipe(
        machine.folder, source, output_dir="outputs/labels", data=data, labels=labels, labeling=labeling, hub=hub
    )


def rows_with_gold(count: int) -> list[dict[str, str]]:
    return [{**row, "mood": "good" if i < 10 else ""} for i, row in enumerate(texts(count))] + [
        {"id": "empty", "text": "", "mood": ""}
    ]


@pytest.fixture(scope="module")
def author(root: Path, hub: Hub, teacher: Serving, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """The machine that labelled 41 rows and pushed them as `owner/labels`."""
    author = Machine(root, tmp_path_factory.mktemp("author"), hub)
    job(author, teacher, rows_with_gold(40))
    done = author.train("recipe.yaml", script="run_label.py")
    assert done.returncode == 0, done.stderr
    assert f"hub: when it is done, the run goes to {hub.url}/datasets/owner/labels (new, private): " in done.stdout
    assert "  labels: the texts of 41 rows" in done.stdout
    assert done.stdout.splitlines()[-1] == f"pushed: {hub.url}/datasets/owner/labels"
    return author


def local_table(machine: Machine) -> pa.Table:
    return pa.concat_tables(map(pq.read_table, sorted((machine.folder / "outputs/labels/labels").glob("*.parquet"))))


def metadata_of(card: str) -> dict[str, Any]:
    return dict(yaml.safe_load(card.split("---\n")[1]))


@pytest.mark.slow
def test_the_table_comes_back_as_it_was_with_stock_tools_alone(author: Machine, root: Path, tmp_path: Path) -> None:
    reader = Machine(root, tmp_path / "reader", author.hub)
    done = reader.run("-c", FETCH)
    assert done.returncode == 0, done.stderr
    assert pq.read_table(reader.folder / "fetched.parquet").to_pylist() == local_table(author).to_pylist()


def test_a_push_is_one_private_commit_of_the_table_and_how_it_came_about(author: Machine) -> None:
    repository = author.hub.repositories["datasets/owner/labels"]
    assert repository.private
    assert [commit.title for commit in repository.commits] == ["initial commit", "job: labeling"]
    local = contents(author.folder / "outputs/labels")
    assert set(repository.files) == set(local) == {
        "README.md", "label_set.json", "metrics.json", "prompt.json", "recipe.yaml", "run.json",
        *(f"labels/part-0000{i}.parquet" for i in range(3)),
    }  # fmt: skip
    assert all(content == local[name] for name, content in repository.files.items() if name != "README.md")
    messages = json.loads(local["prompt.json"])["messages"]
    assert messages[0]["role"] == "system" and "Likes it." in messages[0]["content"]


def test_the_card_tells_the_labels_who_gave_them_their_cost_and_how_right_they_are(author: Machine) -> None:
    card = author.hub.repositories["datasets/owner/labels"].files["README.md"].decode()
    assert metadata_of(card) == {
        "license": "cc-by-4.0",
        "language": "en",
        "annotations_creators": ["machine-generated"],
        "pretty_name": "job",
        "task_categories": ["text-classification"],
        "size_categories": ["n<1K"],
        "tags": ["categorize", "single-label"],
        "configs": [
            {"config_name": "default", "data_files": [{"split": "train", "path": "labels/*.parquet"}]}
        ],
    }  # fmt: skip
    table, run = local_table(author), json.loads((author.folder / "outputs/labels/run.json").read_text())
    given = table["label"].to_pylist()
    good = given.count("good")
    assert f"| good | Likes it. | {good} | {good / 40:.1%} |" in card
    assert "| `teacher` | 40 |" in card and "| `failed` | 1 |" in card and "| empty text | 1 |" in card
    gold = json.loads((author.folder / "outputs/labels/metrics.json").read_text())["gold"]["tiny"]
    right = given[:10].count("good") / 10
    assert f"- against gold, tiny: {right:.1%} right [{gold['low']:.1%}, {gold['high']:.1%}], of 10 texts" in card
    assert f"| cost | {run['spent']['money']:.4f} USD |" in card and run["spent"]["money"] > 0
    assert "with labels by `tiny`" in card and 'load_dataset("owner/labels"' in card
    assert json.loads((author.folder / "outputs/labels/prompt.json").read_text())["messages"][0]["content"] in card
    assert author.folder.as_posix() not in card and "127.0.0.1" not in card


@pytest.mark.slow
def test_the_command_pushes_it_again_and_takes_away_what_is_not_in_it_any_more(author: Machine) -> None:
    repository = author.hub.repositories["datasets/owner/labels"]
    more = {"labels/part-00003.parquet": b"old", "LICENSE": b"mine", "data/other.parquet": b"theirs"}
    repository.commit("by hand", {**repository.files, **more})
    (author.folder / "outputs/labels/README.md").unlink()  # as runs were before they had cards
    done = author.push("outputs/labels")
    assert done.returncode == 0, done.stderr
    assert set(repository.files) == {*contents(author.folder / "outputs/labels"), "LICENSE", "data/other.parquet"}
    refused = one_line(author.push("outputs/labels", "--merged"))
    assert refused == "error: --merged: outputs/labels is a labelling run, which has no adapter; leave it out\n"


@pytest.mark.slow
def test_personal_data_in_a_row_stop_the_push_and_the_run_is_whole(
    author: Machine, root: Path, tmp_path: Path, teacher: Serving
) -> None:
    owner = Machine(root, tmp_path / "owner", author.hub)
    rows = [*rows_with_gold(4), {"id": "13912345678", "text": "call 13812345678", "mood": ""}]
    job(owner, teacher, rows, hub={"repo_id": "owner/personal"})
    error = one_line(owner.train("recipe.yaml", script="run_label.py"))
    assert "phone number (13...78)" in error and "13812345678" not in error
    assert "secrets or personal data in labels/part-00000.parquet row 13912345678: " in error
    assert error.endswith("python -m categorize.hub push outputs/labels owner/personal\n")
    assert "datasets/owner/personal" not in author.hub.repositories and local_table(owner).num_rows == 6
    done = owner.push("outputs/labels", "--allow-personal-data")
    assert done.returncode == 0, done.stderr
    assert set(author.hub.repositories["datasets/owner/personal"].files) == set(
        contents(owner.folder / "outputs/labels")
    )


# ---------------------------------------------------------------- while the job runs
@pytest.mark.slow
def test_the_card_tells_how_far_the_job_is_and_a_hub_that_fails_stops_nothing(
    root: Path, hub: Hub, teacher: Serving, tmp_path: Path
) -> None:
    """The first update meets a fault; the job ends with its budget, goes on, and is pushed whole."""
    owner = Machine(root, tmp_path / "owner", hub)
    where = {"repo_id": "owner/live", "progress_minutes": 60}
    job(owner, teacher, rows_with_gold(40), hub=where, labeling={"budget": {"requests": 4}})
    hub.fault = Fault("/commit/", 500)
    try:
        stopped = owner.train("recipe.yaml", script="run_label.py")
    finally:
        hub.fault = None
    assert stopped.returncode == 2 and stopped.stderr.startswith("error: labeling.budget.requests: ")
    lines = [line for line in stopped.stdout.splitlines() if "was not updated" in line]
    assert lines == [
        "hub: the card of owner/live was not updated (the Hub answered 500: as the test wishes); the job goes on"
    ]
    done = json.loads((owner.folder / "outputs/labels.ledger/status.json").read_text())["labelled"]
    repository = hub.repositories["datasets/owner/live"]
    assert repository.private
    assert [commit.title for commit in repository.commits[1:]] == [f"job: {done} of 40 texts"] and 0 < done < 40
    assert set(repository.files) == {"README.md"}
    card = repository.files["README.md"].decode()
    assert "| state | stopped: a budget is used up |" in card and f"| done | {done} of 40 texts |" in card
    assert metadata_of(card)["license"] == "cc-by-4.0" and "configs" not in metadata_of(card)
    repository.commit("by hand", {"README.md": card.encode() + b"Words of mine.\n"})
    again = owner.train("recipe.yaml", "labeling.budget.requests=null", script="run_label.py")
    assert again.returncode == 0, again.stderr
    before, last = repository.commits[-2:]
    assert before.title == f"job: 0 of {40 - done} texts" and last.title == "job: labeling"
    assert before.files["README.md"].decode().endswith("Words of mine.\n")
    assert before.files["README.md"].decode().count("| state |") == 1
    assert "| state |" not in last.files["README.md"].decode()


@pytest.mark.slow
def test_what_a_student_labels_is_pushed_and_told_too(root: Path, hub: Hub, tmp_path: Path) -> None:
    owner = Machine(root, tmp_path / "owner", hub)
    write_collection(owner.folder / "rows.csv")
    write_training(owner.folder / "mine.yaml", model={"method": "tfidf"}, training=None)
    assert owner.train("mine.yaml").returncode == 0
    labeling = {"teacher": {"type": "run", "run": "outputs/mine"}}
    data = {"source": "rows.csv", "columns": {"id": "id", "text": "text", "label": None}}
    section = {"repo_id": "owner/by_student", "progress_minutes": 60}
    recipe = {"kind": "label", "name": "labels", "data": data, "labeling": labeling, "hub": section}
    (owner.folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    done = owner.train("recipe.yaml", script="run_label.py")
    assert done.returncode == 0, done.stderr
    repository = hub.repositories["datasets/owner/by_student"]
    assert [commit.title for commit in repository.commits[1:]] == ["labels: 0 rows, 0.0%", "labels: labeling"]
    card = repository.files["README.md"].decode()
    assert "with labels by `mine`" in card and "| cost |" not in card and "| state |" not in card
    assert (
        repository.files["labels/part-00000.parquet"]
        == (owner.folder / "outputs/labels/labels/part-00000.parquet").read_bytes()
    )
    again = owner.train("recipe.yaml", script="run_label.py")
    assert "labelled before" in again.stdout and again.stdout.splitlines()[-1].startswith("pushed: ")
    assert repository.commits[-1].files == repository.commits[2].files


@pytest.mark.slow
def test_a_card_that_another_wrote_at_the_same_time_stays(
    root: Path, hub: Hub, teacher: Serving, tmp_path: Path
) -> None:
    owner = Machine(root, tmp_path / "owner", hub)
    theirs = Repository(private=True)
    hub.repositories["datasets/owner/busy"] = theirs
    job(owner, teacher, rows_with_gold(4), hub={"repo_id": "owner/busy", "progress_minutes": 60})
    meanwhile = iter([lambda: theirs.commit("theirs", {"README.md": b"# ours\n"})])
    hub.between = lambda: next(meanwhile, lambda: None)()
    try:
        done = owner.train("recipe.yaml", script="run_label.py")
    finally:
        hub.between = None
    assert done.returncode == 0, done.stderr
    assert (
        "hub: the card of owner/busy was not updated (the Hub answered 412: A commit has happened since" in done.stdout
    )
    assert [commit.title for commit in theirs.commits[1:]] == ["theirs", "job: labeling"]
