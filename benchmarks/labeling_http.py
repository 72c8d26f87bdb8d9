#!/usr/bin/env python
"""Labelling through HTTP: rows a second with a server in another process that answers at once.

    python benchmarks/labeling_http.py --rows 100000

The server does as little as it can: it finds the ids in a request's bytes and writes the same label for each. The job
runs as `run_label.py` runs it, in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # the library and its neighbour, installed or not

from labeling import ITEMS, NAMES, write_comments  # noqa: E402

from categorize.recipe.terminal import run_command  # noqa: E402

WORK = ROOT / "outputs" / "benchmarks" / "labeling_http"
ID = re.compile(rb'comment_id\\": \\"(u[0-9]+-k[0-9]+)\\"')


class Instant(asyncio.Protocol):
    """Answers each request on a connection at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._come = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answer what is whole."""
        self._come += data
        head, found, body = self._come.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        if not found or length is None or len(body) < int(length[1]):
            return
        self._come = b""
        self.send(body)

    def send(self, body: bytes) -> None:
        """Answer one request."""
        items = [f'{{"comment_id": "{one.decode()}", "labels": ["{NAMES[0]}"]}}' for one in ID.findall(body)]
        self.write(f'{{"comments": [{", ".join(items)}]}}', len(items))

    def write(self, content: str, items: int) -> None:
        """Send an answer; its tokens are counted as 20 an item."""
        message = {"role": "assistant", "content": content}
        answer = json.dumps(
            {
                "id": "instant",
                "object": "chat.completion",
                "created": 0,
                "model": "instant",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {
                    "prompt_tokens": 20 * items,
                    "completion_tokens": 20 * items,
                    "total_tokens": 40 * items,
                },
            }
        ).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(answer)
        self._transport.write(head + answer)


async def serve(protocol: Callable[[], asyncio.Protocol] = Instant) -> None:
    """Serve until the process ends; says the port."""
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def write_recipe(folder: Path, source: Path, port: int, items: int) -> Path:
    """The recipe of the job."""
    path = folder / "recipe.yaml"
    path.write_text(
        f"kind: label\nname: job\noutput_dir: {folder / 'job'}\n"
        f"data: {{source: {source}, columns: {{text: text, id: id, label: null}}}}\n"
        f"labels: {{names: [{', '.join(NAMES)}]}}\n"
        f"labeling: {{items: {items}, teacher: {{type: endpoint, url: 'http://127.0.0.1:{port}/v1', "
        "model: instant}}\n",
        encoding="utf-8",
    )
    return path


def job(recipe: str) -> None:
    """One job in this process; prints its seconds and its peak memory as JSON, last."""
    from categorize.label import label
    from categorize.methods.registry import METHODS
    from categorize.recipe.command import parse_command

    start = time.perf_counter()
    label(parse_command("run_label.py", "label", METHODS, [recipe]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": time.perf_counter() - start, "peak": peak, "cpu": time.process_time()}))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000])
    parser.add_argument("--items", type=int, default=ITEMS, help="rows a request")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.serve:
        asyncio.run(serve())
    elif options.job:
        job(options.job)
    else:
        for rows in options.rows:
            measure(rows, options.items)
    return 0


def measure(rows: int, items: int) -> None:
    """One job, printed."""
    folder = WORK / str(rows)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_comments(folder / "comments.csv", rows)
    with subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            recipe = write_recipe(folder, folder / "comments.csv", int(server.stdout.readline()), items)
            command = [sys.executable, __file__, "--job", str(recipe)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        finally:
            server.kill()
    one = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{rows:,} rows, {items} a request, through HTTP: {one['seconds']:.1f} s ({one['cpu']:.1f} s of CPU), "
        f"{rows / one['seconds']:,.0f} rows/s, peak {one['peak'] / 1e6:.0f} MB",
        flush=True,
    )
    shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(run_command(main))
