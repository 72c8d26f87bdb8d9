"""A finished run goes to the Hub whole, comes back by its id as it was, and is never lost to a push that fails.

The Hub is a real server (tests/hub/server.py); its clients are processes of their own, as the client library reads its
settings at import.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from categorize.runs.contents import files_of
from categorize.runs.hub import HubId
from tests.hub.server import READ, WRITE, Fault, Hub, Repository, running_hub
from tests.session.collections import write_collection, write_recipe

TEXTS = ["good movie 1", "讨厌 这个 视频", "bad text bad", ""]
PREDICT = """
import json, sys
from categorize.errors import UserError
from categorize import load_predictor
found = []
for name in json.loads(sys.argv[1]):
    try:
        predictor = load_predictor(name)
    except UserError as error:
        found.append({"error": str(error)})
        continue
    predictions = predictor.predict_texts(json.loads(sys.argv[2]))
    found.append({
        "name": predictor.name, "probabilities": predictions.probabilities.tolist(), "decided": predictions.decided
    })
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with running_hub() as hub:
        yield hub


class Machine:
    """A user's machine: a working folder, and a cache of the Hub that is empty at first."""

    def __init__(self, root: Path, folder: Path, hub: Hub) -> None:
        self.root, self.folder, self.hub = root, folder, hub
        folder.mkdir(exist_ok=True)

    def run(self, *argv: str, token: str | None = WRITE, **environment: str) -> subprocess.CompletedProcess[str]:
        """A Python process in the working folder."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING_FACE"))}
        env |= {
            "PYTHONPATH": str(self.root),
            "HF_ENDPOINT": self.hub.url,
            "HF_HOME": str(self.folder / "hf_home"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "OMP_NUM_THREADS": "1",
            **({"HF_TOKEN": token} if token is not None else {}),
            **environment,
        }
        return subprocess.run(
            [sys.executable, *argv], cwd=self.folder, env=env, capture_output=True, text=True, timeout=300
        )

    def train(self, *argv: str, script: str = "run_seqcls.py", **options: Any) -> subprocess.CompletedProcess[str]:
        return self.run(str(self.root / script), *argv, **options)

    def push(self, *argv: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "categorize.hub", "push", *argv, **options)

    def predict(self, *names: str, texts: Sequence[str] = TEXTS, **environment: str) -> list[dict[str, Any]]:
        """What runs predict, or the error of each that cannot be loaded, one after the other in one process."""
        done = self.run("-c", PREDICT, json.dumps(names), json.dumps(texts), **environment)
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout.splitlines()[-1]))


MakeMachine = Callable[[str], Machine]


@pytest.fixture(scope="module")
def machine(root: Path, hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> MakeMachine:
    home = tmp_path_factory.mktemp("machines")
    return lambda name: Machine(root, home / name, hub)


@pytest.fixture(scope="module")
def author(machine: MakeMachine) -> Machine:
    """The machine that trained a linear model and pushed it as `owner/linear`."""
    author = machine("author")
    write_collection(author.folder / "rows.csv")
    hub = {"repo_id": "owner/linear"}
    write_recipe(author.folder / "linear.yaml", model={"method": "tfidf"}, training=None, hub=hub)
    done = author.train("linear.yaml")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"pushed: {author.hub.url}/owner/linear"
    return author


@pytest.fixture(scope="module")
def here(author: Machine) -> dict[str, Any]:
    """What the linear model predicts where it was trained."""
    return author.predict("outputs/linear")[0]


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that a failed command prints."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


# ---------------------------------------------------------------- there and back
def test_a_pushed_run_predicts_by_its_id_on_another_machine(here: dict[str, Any], machine: MakeMachine) -> None:
    (there,) = machine("reader").predict("owner/linear")
    assert there == here
    assert there["name"] == "linear" and there["decided"][0] == ["good"]


def test_a_push_is_private_and_one_commit_without_checkpoints_or_texts(author: Machine) -> None:
    repository = author.hub.repositories["owner/linear"]
    assert repository.private
    assert [commit.title for commit in repository.commits] == ["initial commit", "linear: tfidf, single-label"]
    assert set(repository.files) == {
        "README.md",
        "decision_rule.json",
        "input.json",
        "label_set.json",
        "metrics.json",
        "model.safetensors",
        "recipe.yaml",
        "run.json",
        "tfidf.json",
        "vocabulary.json",
    }
    local = contents(author.folder / "outputs/linear")
    assert all(local[name] == content for name, content in repository.files.items() if name != "README.md")


def test_the_card_has_the_metadata_of_the_hub_and_the_id_to_load(author: Machine) -> None:
    local = (author.folder / "outputs/linear/README.md").read_text()
    pushed = author.hub.repositories["owner/linear"].files["README.md"].decode()
    assert 'load_predictor("outputs/linear")' in local and 'load_predictor("owner/linear")' in pushed
    metadata = yaml.safe_load(pushed.split("---\n")[1])
    results = metadata.pop("model-index")[0]["results"][0]
    assert metadata == {
        "library_name": "categorize",
        "pipeline_tag": "text-classification",
        "tags": ["categorize", "tfidf", "single-label"],
        "metrics": ["accuracy", "f1"],
    }
    measured = json.loads((author.folder / "outputs/linear/metrics.json").read_text())["test"]["accuracy"]
    assert results["metrics"][0] == {"type": "accuracy", "value": round(measured, 4), "name": "accuracy"}


@pytest.fixture(scope="module")
def lora(author: Machine, tiny: Callable[..., Path]) -> Repository:
    """An adapter that was trained on a base of the Hub, and pushed."""
    base = Repository(private=False)
    base.commit("a model", contents(tiny("bert")))
    author.hub.repositories["someone/tiny-bert"] = base
    write_recipe(
        author.folder / "lora.yaml",
        model={"name_or_path": "someone/tiny-bert"},
        adapter={"type": "lora"},
        hub={"repo_id": "owner/lora", "private": False},
    )
    done = author.train("lora.yaml", "training.save_strategy=epoch")
    assert done.returncode == 0, done.stderr
    return author.hub.repositories["owner/lora"]


@pytest.fixture(scope="module")
def sft(author: Machine, tiny: Callable[..., Path]) -> Repository:
    """An adapter of a decoder, tuned with a prompt, and pushed."""
    base = Repository(private=False)
    base.commit("a model", contents(tiny("qwen2", chat=True)))
    author.hub.repositories["tiny-qwen2"] = base  # one of those without an owner
    write_recipe(
        author.folder / "sft.yaml",
        kind="sft",
        model={"name_or_path": "tiny-qwen2", "max_length": 256},
        prompt={"system": "Say the mood."},
        adapter={"type": "lora"},
        training={"max_steps": 4},
        hub={"repo_id": "owner/sft"},
    )
    done = author.train("sft.yaml", script="run_sft.py")
    assert done.returncode == 0, done.stderr
    return author.hub.repositories["owner/sft"]


@pytest.mark.slow
def test_an_adapter_is_pushed_as_peft_reads_it_without_predictions_and_checkpoints(
    author: Machine, lora: Repository
) -> None:
    assert not lora.private
    assert {"adapter_config.json", "adapter_model.safetensors", "head.json", "tokenizer.json"} <= set(lora.files)
    assert not any("/" in name or name.endswith((".bin", ".pt", ".parquet")) for name in lora.files)
    assert (author.folder / "outputs/lora/predictions/test.parquet").exists()
    metadata = yaml.safe_load(lora.files["README.md"].decode().split("---\n")[1])
    assert metadata["library_name"] == "peft" and metadata["base_model"] == "someone/tiny-bert"


@pytest.mark.slow
def test_runs_of_every_method_predict_elsewhere_and_are_compared_by_their_ids(
    author: Machine, machine: MakeMachine, lora: Repository, sft: Repository
) -> None:
    """Bases and runs are named by Hub id; nothing but the data is on the second machine. The decoder answers by the
    prompt that it was trained with."""
    assert json.loads(sft.files["prompt.json"])["system"] == "Say the mood."
    other = machine("other")
    write_collection(other.folder / "rows.csv")
    runs = ["owner/lora", {"run": "owner/linear@main", "name": "first"}, "owner/sft", "someone/tiny-bert"]
    write_recipe(other.folder / "table.yaml", kind="eval", evaluation={"runs": runs}, training=None)
    done = other.train("table.yaml", script="run_eval.py")
    assert done.returncode == 0, done.stderr
    for name, run in (("lora", "lora"), ("first", "linear"), ("sft", "sft")):
        there = pq.read_table(other.folder / f"outputs/table/predictions/{name}.parquet")
        here = pq.read_table(author.folder / f"outputs/{run}/predictions/test.parquet")
        assert there["predicted"] == here["predicted"]
        np.testing.assert_allclose(
            there["probabilities"].to_pylist(), here["probabilities"].to_pylist(), atol=1e-6, err_msg=name
        )


@pytest.mark.slow
def test_a_fusion_is_pushed_with_its_members_and_their_encoders(
    author: Machine, machine: MakeMachine, tiny: Callable[..., Path]
) -> None:
    """One member reads the vectors of an encoder in a folder of the author's machine."""
    encoder = author.folder / "encoder"
    shutil.copytree(tiny("bert"), encoder)
    features = {"type": "encoder", "name_or_path": "encoder", "max_length": 16, "cache": False}
    write_recipe(author.folder / "vectors.yaml", model={"method": "embedding", "features": features}, training=None)
    assert author.train("vectors.yaml", "hub={repo_id: owner/vectors}").returncode == 0
    members = ["outputs/linear", "outputs/vectors"]
    write_recipe(author.folder / "fused.yaml", model={"method": "fusion", "members": members}, training=None)
    done = author.train("fused.yaml", "hub={repo_id: owner/fused}")
    assert done.returncode == 0, done.stderr
    assert not (author.folder / "outputs/fused/members").exists()
    files = author.hub.repositories["owner/fused"].files
    folders = {name.rpartition("/")[0] for name in files}
    (inside,) = {name.split("/")[3] for name in files if name.startswith("members/vectors/encoders/")}
    assert folders == {"", "members/linear", "members/vectors", f"members/vectors/encoders/{inside}"}
    here = author.predict(*members[1:], "outputs/fused")
    encoder.rename(author.folder / "elsewhere")
    there = machine("fusions").predict("owner/vectors", "owner/fused")
    (author.folder / "elsewhere").rename(encoder)
    for name, expected, found in zip(("vectors", "fused"), here, there, strict=True):
        assert found["name"] == name and found["decided"] == expected["decided"]
        np.testing.assert_allclose(found["probabilities"], expected["probabilities"], rtol=1e-5, atol=1e-7)
    again = author.push("outputs/linear", "owner/fused")
    assert again.returncode == 0, again.stderr
    assert not any("/" in name for name in author.hub.repositories["owner/fused"].files)


def test_a_revision_names_what_was_pushed_then(author: Machine, machine: MakeMachine, here: dict[str, Any]) -> None:
    first = machine("first").push("../author/outputs/linear", "owner/twice")
    assert first.returncode == 0, first.stderr
    repository = author.hub.repositories["owner/twice"]
    oid = repository.commits[-1].oid
    repository.commit("spoilt", {**repository.files, "label_set.json": b"{"})
    found, lost = machine("later").predict(f"owner/twice@{oid}", "owner/twice@v9")
    assert found == here
    assert lost["error"].startswith("owner/twice@v9: ") and "it has no such revision" in lost["error"]


def test_predictions_are_pushed_only_when_asked_and_leave_with_the_next_push(author: Machine) -> None:
    run = "outputs/linear"
    assert author.push(run, "owner/texts", "--predictions", "--public").returncode == 0
    repository = author.hub.repositories["owner/texts"]
    assert not repository.private
    assert {"predictions/test.parquet", "predictions/validation.parquet"} <= set(repository.files)
    repository.commit("by hand", {**repository.files, "LICENSE": b"mine", "adapter_config.json": b"{}"})
    again = author.push(run, "owner/texts", "--public")
    assert again.returncode == 0, again.stderr
    assert set(repository.files) == {*files_of(author.folder / run), "LICENSE"}


# ---------------------------------------------------------------- failures
@pytest.mark.parametrize(
    ("token", "drop", "repo_id", "reason"),
    [
        (None, None, "owner/new", "no Hugging Face token is set; log in with `hf auth login`, or set HF_TOKEN"),
        ("hf_unknown", None, "owner/new", "the Hugging Face token is not valid (401)"),
        (READ, None, "owner/new", "the token may not write there (403)"),
        (WRITE, None, "someone/else", "the token may not write there (403)"),
        (WRITE, "/commit/", "owner/new", "no connection to http://127.0.0.1"),
        (WRITE, "/repos/create", "owner/new", "no connection to http://127.0.0.1"),
    ],
)
def test_a_failed_push_is_one_line_and_the_run_is_whole(
    author: Machine, token: str | None, drop: str | None, repo_id: str, reason: str
) -> None:
    before = contents(author.folder / "outputs/linear")
    author.hub.drop = drop
    try:
        error = one_line(author.push("outputs/linear", repo_id, token=token))
    finally:
        author.hub.drop = None
    assert error.startswith(f"error: {repo_id}: not pushed: {reason}")
    again = f"python -m categorize.hub push outputs/linear {repo_id}"
    assert error.endswith(f"; the run itself is finished at outputs/linear; push it again with: {again}\n")
    assert contents(author.folder / "outputs/linear") == before
    if (half := author.hub.repositories.pop(repo_id, None)) is not None:
        assert half.files == {}


def test_a_training_without_a_hub_in_reach_leaves_the_finished_run_and_the_way_to_push_it(
    author: Machine, machine: MakeMachine
) -> None:
    owner = machine("unlucky")
    shutil.copy(author.folder / "rows.csv", owner.folder)
    hub = {"repo_id": "owner/late", "private": False, "predictions": True}
    write_recipe(owner.folder / "linear.yaml", model={"method": "tfidf"}, training=None, hub=hub)
    owner.hub.drop = "/api/"
    try:
        done = owner.train("linear.yaml")
    finally:
        owner.hub.drop = None
    assert "hub: cannot ask the Hub now (no connection to http://127.0.0.1" in done.stdout
    error = one_line(done)
    command = error.rpartition("push it again with: python ")[2].split()
    flags = ["--public", "--predictions"]
    assert command == ["-m", "categorize.hub", "push", "outputs/linear", "owner/late", *flags]
    finished, trained = (one.folder / "outputs/linear/predictions/test.parquet" for one in (owner, author))
    assert pq.read_table(finished) == pq.read_table(trained)
    assert owner.run(*command).returncode == 0
    assert "predictions/test.parquet" in owner.hub.repositories["owner/late"].files


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault("/preupload/", 401, 99), "the Hugging Face token is not valid (401)"),
        pytest.param(Fault("/commit/", 409, 99), "the Hub answered 409: as the test wishes", marks=pytest.mark.slow),
        pytest.param(Fault("/commit/", 429, 99), "the Hub answered 429: as the test wishes", marks=pytest.mark.slow),
        pytest.param(Fault("PUT /lfs/", times=99, bytes=20), "no connection to", marks=pytest.mark.slow),
    ],
)
def test_a_fault_that_stays_leaves_the_repository_as_it_was(author: Machine, fault: Fault, reason: str) -> None:
    author.hub.fault, author.hub.blobs = replace(fault), {}
    try:
        error = one_line(author.push("outputs/linear", "owner/faulty"))
    finally:
        author.hub.fault = None
    assert f"owner/faulty: not pushed: {reason}" in error
    assert author.hub.repositories["owner/faulty"].files == {}


@pytest.mark.parametrize(
    "fault",
    [
        Fault("/commit/", 429, headers={"Retry-After": "1"}),
        pytest.param(Fault("PUT /lfs/", bytes=20), marks=pytest.mark.slow),
    ],
)
def test_a_fault_that_passes_does_not_end_a_push(author: Machine, fault: Fault) -> None:
    """Asked to wait, or cut in the middle of a file."""
    author.hub.fault, author.hub.blobs = replace(fault), {}
    done = author.push("outputs/linear", "owner/shaky")
    assert author.hub.fault.times == 0
    author.hub.fault = None
    assert done.returncode == 0, done.stderr
    repository = author.hub.repositories.pop("owner/shaky")
    assert len(repository.commits) == 2 and "model.safetensors" in repository.files


@pytest.mark.slow
def test_a_push_that_another_push_came_before_changes_nothing(author: Machine) -> None:
    author.hub.fault = None
    assert author.push("outputs/linear", "owner/busy").returncode == 0
    repository = author.hub.repositories["owner/busy"]
    seen = repository.commits[-1].oid
    author.hub.between = lambda: repository.commit("theirs", {**repository.files, "LICENSE": b"mine"})
    try:
        error = one_line(author.push("outputs/linear", "owner/busy"))
    finally:
        author.hub.between = None
    assert "owner/busy: not pushed: the Hub answered 412: A commit has happened since" in error
    assert repository.commits[-1].title == "theirs" and repository.commits[-2].oid == seen


@pytest.mark.slow
def test_a_branch_is_pushed_to_and_read_by_its_name(
    author: Machine, machine: MakeMachine, here: dict[str, Any]
) -> None:
    for _ in range(2):
        done = author.push("outputs/linear", "owner/branches", "--revision", "v2")
        assert done.returncode == 0, done.stderr
    repository = author.hub.repositories["owner/branches"]
    assert repository.files == {} and len(repository.branches["v2"]) == 3
    (there,) = machine("branches").predict("owner/branches@v2")
    assert there == here


STOCK = """
import json, sys
sys.modules["categorize"] = None
from huggingface_hub import ModelCard
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, pipeline
repo, base, texts = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
ModelCard.load(repo).validate()
classify = pipeline("text-classification", repo)
found = [{one["label"]: one["score"] for one in classify(text, top_k=None)} for text in texts]
adapted = PeftModel.from_pretrained(
    AutoModelForSequenceClassification.from_pretrained(base, num_labels=2), repo, subfolder="adapter"
).eval()
again = [adapted(**classify.tokenizer(text, return_tensors="pt")).logits.softmax(-1)[0].tolist() for text in texts]
print(json.dumps([found, again]))
"""


@pytest.mark.slow
def test_merged_weights_are_loaded_by_the_id_alone_with_stock_tools(author: Machine, lora: Repository) -> None:
    """By the pipeline without a word of labels; and the adapter that lies beside them, by peft."""
    refused = one_line(author.push("outputs/lora", "owner/whole", "--merged"))
    assert "make it with python -m categorize.export outputs/lora --to merged" in refused
    done = author.run("-m", "categorize.export", "outputs/lora", "--to", "merged")
    assert done.returncode == 0, done.stderr
    done = author.push("outputs/lora", "owner/whole", "--merged")
    assert done.returncode == 0, done.stderr
    files = set(author.hub.repositories["owner/whole"].files)
    assert {
        "config.json",
        "model.safetensors",
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
    } <= files
    assert "adapter_config.json" not in files
    done = author.run("-c", STOCK, "owner/whole", "someone/tiny-bert", json.dumps(TEXTS[:3]))
    assert done.returncode == 0, done.stderr
    found, again = json.loads(done.stdout.splitlines()[-1])
    ours, whole = author.predict("outputs/lora", "owner/whole", texts=TEXTS[:3])
    for predicted in (whole["probabilities"], again, [[one["good"], one["bad"]] for one in found]):
        np.testing.assert_allclose(predicted, ours["probabilities"], atol=1e-5)


@pytest.mark.slow
def test_checkpoints_are_pushed_without_their_optimizer_and_leave_with_the_next_push(
    author: Machine, lora: Repository
) -> None:
    overrides = ["name=history", "hub.repo_id=owner/history", "hub.checkpoints=true", "training.save_strategy=epoch"]
    done = author.train("lora.yaml", *overrides, "training.keep_checkpoints=true", "training.save_total_limit=5")
    assert done.returncode == 0, done.stderr
    repository = author.hub.repositories["owner/history"]
    kept = {name for name in repository.files if name.startswith("checkpoints/")}
    assert len({name.split("/")[1] for name in kept}) == 2
    assert not any(
        "optimizer" in name or "rng" in name or not name.endswith((".json", ".safetensors")) for name in kept
    )
    assert len(repository.commits) == 2
    again = author.push("outputs/lora", "owner/history", "--public")
    assert again.returncode == 0, again.stderr
    assert not any(name.startswith("checkpoints/") for name in repository.files)


@pytest.mark.slow
def test_a_finished_run_is_pushed_by_its_recipe_without_training(author: Machine) -> None:
    done = author.train("linear.yaml", "--push", "hub.repo_id=owner/by_recipe")
    assert done.returncode == 0, done.stderr
    assert "pushed: " in done.stdout and "predicting" not in done.stdout
    assert "model.safetensors" in author.hub.repositories["owner/by_recipe"].files
    refused = one_line(author.train("linear.yaml", "--push", "hub=null"))
    assert refused.startswith("error: --push: the recipe has no hub section")


# ---------------------------------------------------------------- secrets and personal data
def test_personal_data_stop_a_push_by_place_and_kind_unless_it_is_allowed(
    author: Machine, machine: MakeMachine
) -> None:
    owner = machine("personal")
    rows = (author.folder / "rows.csv").read_text()
    (owner.folder / "rows.csv").write_text(re.sub(r"^(r\d+,)", r"\1call 13812345678 ", rows, flags=re.MULTILINE))
    hub = {"repo_id": "owner/personal", "examples": True}
    write_recipe(owner.folder / "linear.yaml", model={"method": "tfidf"}, training=None, hub=hub)
    error = one_line(owner.train("linear.yaml"))
    places = error.partition("secrets or personal data in ")[2]
    assert "not pushed" in error and "phone number (13...78)" in places and "13812345678" not in error
    assert error.endswith("python -m categorize.hub push outputs/linear owner/personal\n")
    assert "owner/personal" not in owner.hub.repositories
    done = owner.push("outputs/linear", "--allow-personal-data", "--predictions")
    assert done.returncode == 0, done.stderr
    assert "texts of the data go with it:" in done.stdout and "predictions: the texts of 34 rows" in done.stdout
    assert "owner/personal" in owner.hub.repositories


# ---------------------------------------------------------------- before training
@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(
    ("token", "offline", "repo_id", "reason"),
    [
        (None, "0", "owner/new", "no Hugging Face token is set; log in with `hf auth login`, or set HF_TOKEN"),
        ("hf_unknown", "0", "owner/new", "the Hugging Face token is not valid (401)"),
        (READ, "0", "owner/new", "the Hugging Face token may only read"),
        (WRITE, "1", "owner/new", "nothing can be pushed with HF_HUB_OFFLINE"),
        (WRITE, "0", "owner/a..b", "Cannot have -- or .. in repo_id"),
        (WRITE, "0", "owner/open", "owner/open is public"),
    ],
)
def test_what_a_push_lacks_is_said_before_training(
    author: Machine, token: str | None, offline: str, repo_id: str, reason: str, dry_run: bool
) -> None:
    author.hub.repositories["owner/open"] = Repository(private=False)
    overrides = [f"hub.repo_id={repo_id}", "output_dir=outputs/never", *(["--dry-run"] if dry_run else [])]
    error = one_line(author.train("linear.yaml", *overrides, token=token, HF_HUB_OFFLINE=offline))
    assert error.startswith("error: hub.") and reason in error
    assert not list((author.folder / "outputs").glob("never*"))


def test_a_dry_run_says_what_would_be_pushed_and_pushes_nothing(author: Machine, tiny: Callable[..., Path]) -> None:
    base = str(tiny("bert"))
    write_recipe(author.folder / "base.yaml", model={"name_or_path": base}, adapter={"type": "lora"})
    done = author.train("base.yaml", "hub={repo_id: owner/dry, predictions: true}", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f"hub: when it is done, the run goes to {author.hub.url}/owner/dry (new, private): " in done.stdout
    assert "predictions with their texts" in done.stdout
    assert f"hub: the adapter's base {base} is a folder of this machine" in done.stdout
    assert "owner/dry" not in author.hub.repositories


# ---------------------------------------------------------------- names
def test_what_is_here_wins_and_what_is_nowhere_is_one_line(author: Machine, machine: MakeMachine) -> None:
    reader = machine("names")
    shutil.copytree(author.folder / "outputs/linear", reader.folder / "owner/linear")
    manifest = reader.folder / "owner/linear/run.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"name": "local"}))
    local, fetched, *lost = reader.predict("owner/linear", "owner/linear@main", "owner/lost", "else/lost", "lost")
    assert (local["name"], fetched["name"]) == ("local", "linear")
    reasons = (
        "owner/lost: no such run folder",  # a folder `owner` is here
        "else/lost: no folder here, and cannot be fetched from the Hub: no such repository",
        "lost: no folder here, and cannot be fetched from the Hub: no such repository",
    )
    for failed, reason in zip(lost, reasons, strict=True):
        assert failed["error"].startswith(reason) and "\n" not in failed["error"]
    cached, offline = reader.predict("owner/linear@main", "else/lost", HF_HUB_OFFLINE="1")
    assert cached["name"] == "linear"
    assert "cannot be fetched from the Hub: HF_HUB_OFFLINE is set" in offline["error"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("owner/name", HubId("owner/name")),
        ("gpt2", HubId("gpt2")),
        ("owner/na.me-1@refs/pr/1", HubId("owner/na.me-1", "refs/pr/1")),
        ("./name", None),
        ("../name", None),
        ("~/name", None),
        ("/name", None),
        ("a/b/c", None),
        ("owner/name@", None),
        ("outputs/视频", None),
    ],
)
def test_ids_and_paths_are_told_apart(text: str, expected: HubId | None) -> None:
    assert HubId.parse(text) == expected


def test_only_files_of_the_run_are_pushed(tmp_path: Path) -> None:
    pushed = ["adapter_model.safetensors", "additional_chat_templates/tool.jinja", "merges.txt", "spiece.model"]
    kept = [
        ".env",
        "notes.txt",
        "thesis.docx",
        "splits.parquet",
        "training_args.bin",
        "checkpoints/checkpoint-1/x.json",
    ]
    for name in (*pushed, *kept, "predictions/test.parquet"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list(files_of(tmp_path)) == sorted(pushed)
    assert list(files_of(tmp_path, predictions=True)) == sorted([*pushed, "predictions/test.parquet"])
