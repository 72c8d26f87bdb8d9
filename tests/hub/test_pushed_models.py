"""What a training run pushed is used by its id alone: by this project in a fresh process, by the code of its card."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.hub.server import Hub, Repository, running_hub
from tests.hub.test_elsewhere import CODES, STOCK
from tests.hub.test_hub import Machine, contents
from tests.session.collections import write_collection, write_recipe

TEXTS = ["good movie 1", "bad text bad", "a"]
NAMES = ["good", "bad", "late"]
SEVERAL = {
    "data": {"columns": {"id": "id", "text": "text", "label": "moods"}},
    "labels": {"task": "multi_label", "names": NAMES},
}
BARE = """
import json, sys
sys.modules["categorize"] = None
from transformers import pipeline
try:
    found = pipeline("text-classification", "owner/adapter")("good movie 1", top_k=None)
    print(json.dumps(sorted(one["label"] for one in found)))
except Exception as error:
    print(json.dumps(type(error).__name__))
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with running_hub() as hub:
        yield hub


@pytest.fixture
def author(root: Path, hub: Hub, tiny: Callable[..., Path], tmp_path: Path) -> Machine:
    """A machine with rows, and bases on its Hub."""
    author = Machine(root, tmp_path / "author", hub)
    write_collection(author.folder / "rows.csv")
    for name, options in (("bert", {"scale": 3}), ("qwen2", {"chat": True})):
        base = Repository(private=False)
        base.commit("a model", contents(tiny(name, **options)))
        hub.repositories[f"someone/{name}"] = base
    return author


def card_of(hub: Hub, repo_id: str) -> str:
    return hub.repositories[repo_id].files["README.md"].decode()


def by_the_card(machine: Machine, heading: str, repo_id: str) -> list[dict[str, float]]:
    """What the code below a heading of the pushed card gives for each text, without this project."""
    section = card_of(machine.hub, repo_id).split(f"### With {heading}\n")[1].split("\n#")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert "outputs/" not in code
    done = machine.run("-c", STOCK, json.dumps(code), json.dumps(TEXTS))
    assert done.returncode == 0, done.stderr
    rows = [row[0] if isinstance(row[0], list) else row for row in json.loads(done.stdout.splitlines()[-1])]
    return [{one["label"]: one["score"] for one in row} for row in rows]


@pytest.mark.slow
def test_a_head_adapter_answers_by_its_id_with_its_names_by_the_code_of_its_card(
    author: Machine, root: Path, tmp_path: Path
) -> None:
    """A bare pipeline cannot: it reads the base's config, in which there are two labels without names."""
    sections = {
        "model": {"name_or_path": "someone/bert"},
        "adapter": {"type": "lora"},
        "hub": {"repo_id": "owner/adapter"},
    }
    write_recipe(author.folder / "one.yaml", **sections, **SEVERAL)
    done = author.train("one.yaml")
    assert done.returncode == 0, done.stderr
    reader = Machine(root, tmp_path / "reader", author.hub)
    (here,), (there,) = author.predict("outputs/one", texts=TEXTS), reader.predict("owner/adapter", texts=TEXTS)
    assert there["decided"] == here["decided"]
    np.testing.assert_allclose(there["probabilities"], here["probabilities"], atol=1e-6)
    found = by_the_card(reader, "peft and transformers", "owner/adapter")
    np.testing.assert_allclose([[one[name] for name in NAMES] for one in found], here["probabilities"], atol=1e-5)
    assert "`hub.weights: merged`" in card_of(author.hub, "owner/adapter")
    bare = reader.run("-c", BARE)
    assert bare.returncode == 0 and json.loads(bare.stdout.splitlines()[-1]) != sorted(NAMES)


@pytest.mark.slow
def test_a_training_pushes_merged_weights_that_predict_by_their_id_as_the_run_does(
    author: Machine, root: Path, tmp_path: Path
) -> None:
    hub = {"repo_id": "owner/whole", "weights": "merged"}
    sections = {"model": {"name_or_path": "someone/bert"}, "adapter": {"type": "lora"}, "hub": hub}
    write_recipe(author.folder / "one.yaml", **sections, **SEVERAL)
    done = author.train("one.yaml")
    assert done.returncode == 0, done.stderr
    assert "model.safetensors" in author.hub.repositories["owner/whole"].files
    reader = Machine(root, tmp_path / "reader", author.hub)
    del author.hub.repositories["someone/bert"]  # nothing of the base is needed
    (here,) = author.predict("outputs/one", texts=TEXTS, HF_HUB_OFFLINE="1")
    (there,) = reader.predict("owner/whole", texts=TEXTS)
    assert there["decided"] == here["decided"]
    np.testing.assert_allclose(there["probabilities"], here["probabilities"], atol=1e-5)
    found = by_the_card(reader, "transformers", "owner/whole")
    np.testing.assert_allclose([[one[name] for name in NAMES] for one in found], here["probabilities"], atol=1e-5)


@pytest.mark.slow
def test_the_server_of_a_tuned_adapter_gets_its_settings_from_the_hub(
    author: Machine, root: Path, tmp_path: Path
) -> None:
    hub = {"repo_id": "owner/codes"}
    model = {"name_or_path": "someone/qwen2", "max_length": 256}
    write_recipe(author.folder / "one.yaml", kind="sft", model=model, adapter={"type": "lora"}, hub=hub, **CODES)
    done = author.train("one.yaml", script="run_sft.py")
    assert done.returncode == 0, done.stderr
    (line,) = re.findall(r"^transformers serve .*$", card_of(author.hub, "owner/codes"), re.MULTILINE)
    assert (
        line == 'transformers serve "owner/codes" --decision-config "$(hf download --quiet owner/codes decision.json)"'
    )
    fetch = "from huggingface_hub.cli.hf import main; main()"
    fetched = Machine(root, tmp_path / "reader", author.hub).run(
        "-c", fetch, *shlex.split("download --quiet owner/codes decision.json")
    )
    assert fetched.returncode == 0, fetched.stderr
    assert Path(fetched.stdout.strip()).read_bytes() == author.hub.repositories["owner/codes"].files["decision.json"]
