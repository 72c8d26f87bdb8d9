"""Run a command while a model is served on this machine, and stop the server whatever happens.

    python -m demo.serve MODEL -- COMMAND ... {url} ...

The server is a real one, `transformers serve`, on a free port; `{url}` in the command becomes its base URL. Its log
goes to MODEL.serve.log. The exit status is the command's.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

PATIENCE = 180.0  # seconds for the server to load its model


@contextmanager
def served(model: str) -> Iterator[str]:
    """The base URL of a server of this model, while it is needed.

    Raises:
        SystemExit: it ended, or did not answer in time.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).parent / "transformers"
    command = [program, "serve", model, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    log = Path(f"{model}.serve.log")
    with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=file) as server:
        try:
            ends = time.monotonic() + PATIENCE
            while not _answers(port):
                if server.poll() is not None or time.monotonic() > ends:
                    raise SystemExit(f"DEMO FAILED: {model} is not served; see {log}")
                time.sleep(0.2)
            print(f"{model} is served at http://127.0.0.1:{port}/v1", flush=True)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def main(arguments: Sequence[str]) -> int:
    """Serve, run, stop."""
    if len(arguments) < 3 or arguments[1] != "--":
        print(__doc__, file=sys.stderr)
        return 2
    model, _, *command = arguments
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the server is stopped then too
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the server too: more threads make so small a model slower
    with served(model) as url:
        return subprocess.call([argument.replace("{url}", url) for argument in command])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
