"""The endpoint teacher against a real `transformers serve` process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from categorize.labeling.budget import Budget, most_input_tokens
from categorize.labeling.exchange import JobStops
from categorize.labeling.teachers.endpoint import EndpointTeacher
from categorize.recipe.labeling_sections import Budget as BudgetSection
from categorize.recipe.labeling_sections import EndpointTeacher as Section
from tests.labeling.test_endpoint import ask, code_request, request

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(tiny: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """URL and name of a tiny model."""
    model = str(tiny("qwen2", chat=True))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).parent / "transformers", "serve", model, "--port", str(port), "--device", "cpu"]
    log = (tmp_path_factory.mktemp("serve") / "log").open("w")
    with subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"}) as process:
        try:
            while True:
                assert process.poll() is None, Path(log.name).read_text()
                try:
                    httpx.get(f"http://127.0.0.1:{port}/health")
                    break
                except httpx.HTTPError:
                    time.sleep(0.2)
            yield f"http://127.0.0.1:{port}/v1", model
        finally:
            process.terminate()


def test_a_real_server_is_probed_asked_and_its_count_is_read(served: tuple[str, str]) -> None:
    url, model = served
    said: list[str] = []
    budget = Budget(BudgetSection())
    teacher = EndpointTeacher(Section(type="endpoint", url=url, model=model), budget, said.append)
    asked = request(["好看", "bad"])
    replies = ask(teacher, asked, request(["fine"], 2))
    for one, reply in zip((asked, request(["fine"], 2)), replies, strict=True):
        assert 0 < reply.tokens.input <= most_input_tokens(one)
        assert 0 < reply.tokens.output <= one.max_tokens
        assert reply.finish_reason in ("stop", "length") and reply.text
    assert budget.spent.requests == 1 and budget.spent.tokens.input > 0  # the probe
    assert not said  # it ignores response_format


def test_a_real_server_without_log_probabilities_gives_answers_alone(served: tuple[str, str]) -> None:
    url, model = served
    (reply,) = ask(EndpointTeacher(Section(type="endpoint", url=url, model=model)), code_request("好看", ("A", "B")))
    assert reply.probabilities is None and reply.tokens.output > 0


def test_a_real_server_s_refusals_stop_the_job(served: tuple[str, str]) -> None:
    url, model = served
    with pytest.raises(JobStops, match=r"nothere.*does not have this model"):
        ask(EndpointTeacher(Section(type="endpoint", url=url, model="nothere")), request(["a"]))
    with pytest.raises(JobStops, match=r"unheard_of.*labeling\.teacher\.extra_body"):
        section = Section(type="endpoint", url=url, model=model, extra_body={"unheard_of": 1})
        ask(EndpointTeacher(section), request(["a"]))
    with pytest.raises(JobStops, match=r"nothing answers chat requests.*labeling\.teacher\.url"):
        ask(EndpointTeacher(Section(type="endpoint", url=url.removesuffix("/v1"), model=model)), request(["a"]))
