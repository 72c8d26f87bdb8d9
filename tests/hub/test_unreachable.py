"""A Hub that does not answer: one line that names what is missing and the ways out, and it is asked once."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hub.server import Hub, Repository, running_hub
from tests.hub.test_hub import Machine, one_line
from tests.session.collections import write_collection, write_recipe

WAYS_OUT = (
    "set HF_ENDPOINT to a mirror or HTTPS_PROXY to a proxy, or download it where there is a network and set "
    "HF_HUB_OFFLINE=1\n"
)
LOAD = """
import sys
from categorize.errors import UserError
from categorize.nn.tokenizer import load_tokenizer
for name in sys.argv[1:]:
    try:
        print(len(load_tokenizer(name)))
    except UserError as error:
        print(error)
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as hub:
        yield hub


@pytest.fixture
def machine(root: Path, tmp_path: Path, hub: Hub) -> Machine:
    machine = Machine(root, tmp_path / "machine", hub)
    write_collection(machine.folder / "rows.csv")
    return machine


def closed_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{one.getsockname()[1]}"


def test_a_model_that_cannot_be_reached_is_one_line_before_the_data_is_read(machine: Machine, hub: Hub) -> None:
    """Asked once: huggingface_hub alone tries each of several files six times, with pauses of 23 s in all."""
    recipe = write_recipe(machine.folder / "one.yaml", model={"name_or_path": "owner/far"}).name
    hub.drop = "/"  # connections are accepted, and closed
    error = one_line(machine.train(recipe, "data.source=missing.csv"))
    assert error.startswith(f"error: owner/far: not in the local cache of the Hub, and no connection to {hub.url} (")
    assert "; give a local folder (model.name_or_path in a recipe), " in error and error.endswith(WAYS_OUT)
    assert len(hub.requests) == 1
    assert not (machine.folder / "outputs").exists()
    offline = one_line(machine.train(recipe, HF_HUB_OFFLINE="1"))
    assert offline.startswith("error: owner/far: not in the local cache of the Hub, and HF_HUB_OFFLINE is set; give a ")


def test_a_run_and_a_dataset_that_cannot_be_reached_are_one_line(machine: Machine) -> None:
    (failed,) = machine.predict("owner/far", HF_ENDPOINT=closed_port())
    start = "owner/far: no folder here, and cannot be fetched from the Hub: no connection to http://127.0.0.1:"
    assert failed["error"].startswith(start)
    assert failed["error"].endswith(WAYS_OUT.rstrip()) and "\n" not in failed["error"]
    recipe = write_recipe(machine.folder / "rows.yaml", model={"method": "tfidf"}, training=None).name
    error = one_line(machine.train(recipe, "data.source=owner/rows", HF_ENDPOINT=closed_port()))
    assert "'owner/rows' is neither a file here nor a Hub dataset in the local cache, and no connection to " in error
    assert error.startswith("error: data.source: ") and error.endswith(WAYS_OUT)


@pytest.mark.slow
def test_a_model_in_the_cache_is_loaded_without_the_hub(machine: Machine, hub: Hub, tiny: Callable[..., Path]) -> None:
    hub.repositories["owner/near"] = repository = Repository(private=False)
    repository.commit("files", {file.name: file.read_bytes() for file in tiny("bert").iterdir()})
    size, nothing = machine.run("-c", LOAD, "owner/near", "owner/nothing").stdout.splitlines()
    assert nothing == (  # what the Hub said, without the page of advice that transformers puts around it
        "owner/nothing: cannot load a tokenizer: no such repository, or the token may not see it (404) (check the "
        "spelling, the network or HF_TOKEN, or give a folder)"
    )
    hub.drop = "/"
    hub.requests.clear()
    again, far = machine.run("-c", LOAD, "owner/near", "owner/far").stdout.splitlines()
    assert again == size
    assert far.startswith("owner/far: not in the local cache of the Hub, and no connection to ")
    assert len(hub.requests) == 1
