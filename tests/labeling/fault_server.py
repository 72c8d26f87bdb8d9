"""A chat server on loopback, in a process of its own, that answers well or, on a seeded script, in every bad way.

What is true of a comment is a pure function of its text (`truth`), so that tests can check every label. Each request is
logged as a line of JSON: what was asked, what happened, what was meant.

    with serving(tmp_path, Script(labels=["a", "b"], rate=0.2)) as server:
        server.url, server.log()
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

ROOT = Path(__file__).resolve().parent.parent.parent
TRANSPORT = ("429", "500", "hang", "close", "error in 200", "no choices", "not JSON")


def truth(text: str, labels: Sequence[str], multi_label: bool = False) -> list[str]:
    """The labels of a comment: one of them, or none to two where there may be several."""
    number = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
    if not multi_label:
        return [labels[number % len(labels)]]
    count, number = number % 3, number // 3
    return sorted({labels[(number + i * 7) % len(labels)] for i in range(count)})


@dataclass
class Script:
    """How the server behaves.

    Attributes:
        labels: of the task; `codes` of the same length are answered where one row is asked about by code.
        rate: share of chat requests with a fault.
        faults: which; names of `TRANSPORT` and of `faults.TEXT_FAULTS`.
        replies: to the first chat requests, in order: `{"status", "headers", "body"}`, a body being text or JSON.
            None: as usual.
        refused: keys that a body must not have: answered with 422.
        key: that must be sent.
        at_once: requests at a time; more are answered with 429.
        retry_after: with each 429.
        top: log-probabilities that it gives of the likeliest codes; token_ids: gives any that are asked for.
        seconds: that an answer takes.
        cached: input tokens of each answer that were cached.
    """

    labels: list[str] = field(default_factory=lambda: ["good", "bad"])
    codes: list[str] = field(default_factory=list)
    multi_label: bool = False
    seed: int = 0
    rate: float = 0.0
    faults: list[str] = field(default_factory=list)
    replies: list[dict[str, Any] | None] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    key: str = ""
    at_once: int = 0
    retry_after: str | None = "0"
    top: int = 0
    token_ids: bool = False
    seconds: float = 0.0
    cached: int = 0


async def serve(port: int) -> None:
    """Serve on loopback until the process ends; says its port on a line of stdout. A request to /play brings a script
    and its log file."""
    playing = [FaultServer(Script(), Path(os.devnull))]

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
                body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
                path = head[0].split(" ")[1]
                if path == "/play":
                    playing[0] = FaultServer(Script(**body["script"]), Path(body["log"]))
                    keep = await _send(writer, 200, {})
                else:
                    keep = await playing[0].answer(path, headers, body, writer)
                if not keep:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", port, limit=2**24)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


class FaultServer:
    """Answers each request by the script, and logs it."""

    def __init__(self, script: Script, log: Path) -> None:
        self.script, self._log = script, log.open("a", encoding="utf-8")
        self.asked = self.running = 0

    async def answer(
        self, path: str, headers: Mapping[str, str], body: Mapping[str, Any], writer: asyncio.StreamWriter
    ) -> bool:
        """Answer a request; whether the connection goes on."""
        self.running += 1
        try:
            return await self._answer(path, headers, body, writer)
        finally:
            self.running -= 1

    async def _answer(
        self, path: str, headers: Mapping[str, str], body: Mapping[str, Any], writer: asyncio.StreamWriter
    ) -> bool:
        script = self.script
        if path.endswith("/tokenize"):
            known = script.token_ids and "prompt" in body
            content = {"tokens": _token_ids(body["prompt"], script.codes)} if known else {"detail": "Not Found"}
            return await _send(writer, 200 if known else 404, content)
        number, self.asked = self.asked, self.asked + 1
        dice = random.Random(f"{script.seed}:{number}")
        items = _items(body)
        fault = dice.choice(script.faults) if items and dice.random() < script.rate else ""
        scripted = script.replies[number] if number < len(script.replies) else None
        entry: dict[str, Any] = {"n": number, "at_once": self.running, "keys": sorted(body), "fault": fault}
        entry |= {
            "ids": [id for id, _ in items],
            "texts": [text for _, text in items],
            "valid": [],
            "meant": {},
            "tokens": 0,
        }
        status, said, extra = 200, None, {}
        if script.key and headers.get("authorization") != f"Bearer {script.key}":
            message = f"Incorrect API key provided: {headers.get('authorization', '')}"
            status, said = 401, {"error": {"message": message, "code": "invalid_api_key"}}
        elif unknown := sorted(set(script.refused) & set(body)):
            status, said = 422, {"detail": f"Unexpected keys in the request: {unknown}"}
        elif scripted is not None:
            status, said = scripted.get("status", 200), scripted.get("body", "")
            extra = scripted.get("headers") or {}
        elif script.at_once and self.running > script.at_once:
            fault = "429"
        elif script.seconds:
            await asyncio.sleep(script.seconds)
        if said is not None:
            entry["fault"] = str(status)
        elif fault in TRANSPORT:
            entry["fault"] = fault
        else:
            text, ended = self._text(body, items, fault, dice, entry)
            said = self._completion(body, text, ended)
            entry["tokens"] = said["usage"]["prompt_tokens"] + said["usage"]["completion_tokens"]
        self._note(entry)  # before the client can look
        if said is None:
            return await self._transport_fault(fault, writer)
        return await _send(writer, status, said, extra)

    def _note(self, entry: Mapping[str, Any]) -> None:
        self._log.write(json.dumps(entry, ensure_ascii=False) + "\n")
        self._log.flush()

    async def _transport_fault(self, fault: str, writer: asyncio.StreamWriter) -> bool:
        if fault == "429":
            after = {} if self.script.retry_after is None else {"Retry-After": self.script.retry_after}
            return await _send(writer, 429, {"error": {"message": "Too many requests"}}, after)
        if fault == "500":
            return await _send(writer, 500, "Internal Server Error")
        if fault == "hang":
            await asyncio.sleep(3600)
        if fault == "close":
            writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{"choices": [{"mess')
            await writer.drain()
            return False
        if fault == "error in 200":
            return await _send(writer, 200, {"error": {"message": "upstream failed", "type": "server_error"}})
        if fault == "no choices":
            return await _send(writer, 200, {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 0}})
        return await _send(writer, 200, '{"choices": [{"message": {"content": "{')

    def _text(
        self,
        body: Mapping[str, Any],
        items: Sequence[tuple[str, str]],
        fault: str,
        dice: random.Random,
        entry: dict[str, Any],
    ) -> tuple[str, str]:
        """What is written, and why it ends; notes what was meant, and which items are complete and valid."""
        script = self.script
        if not items:
            return ('{"comments": []}', "stop") if not script.codes else (script.codes[0], "stop")
        labels = {id: truth(text, script.labels, script.multi_label) for id, text in items}
        if items[0][0] == "":
            entry["meant"] = labels
            return script.codes[script.labels.index(labels[""][0])], "stop"
        answer = [{"comment_id": id, "labels": labels[id]} for id, _ in items]
        entry["meant"], entry["valid"] = labels, list(labels)
        if not fault:
            return json.dumps({"comments": answer}, ensure_ascii=False), "stop"
        from tests.labeling.faults import spoil

        text, ended, entry["valid"] = spoil(fault, answer, body["messages"], dice)
        return text, ended

    def _completion(self, body: Mapping[str, Any], text: str, ended: str) -> dict[str, Any]:
        script = self.script
        choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": ended}
        if body.get("logprobs") and text in script.codes:
            likely = [text, *[code for code in script.codes if code != text]]
            tops = [{"token": code, "logprob": -float(i + 1)} for i, code in enumerate(likely)]
            if script.token_ids and body.get("logprob_token_ids"):
                tops = [{**one, "token": f"token_id:{_token_ids(one['token'], script.codes)[0]}"} for one in tops]
            else:
                tops = tops[: min(script.top, body.get("top_logprobs", 0))]
            if tops:
                choice["logprobs"] = {"content": [{**tops[0], "top_logprobs": tops}]}
        given = sum(len(message["content"]) for message in body["messages"]) // 4
        usage = {"prompt_tokens": given, "completion_tokens": min(len(text) // 4 + 1, _most(body))}
        if script.cached:
            usage["prompt_tokens_details"] = {"cached_tokens": script.cached}  # type: ignore[assignment]
        return {"object": "chat.completion", "choices": [choice], "usage": usage}


@dataclass
class Serving:
    """A running server.

    Attributes:
        url: base URL.
    """

    url: str
    process: subprocess.Popen[str]
    log_file: Path

    def log(self) -> list[dict[str, Any]]:
        """Chat requests so far, in the order of their answers."""
        whole, _, _ = self.log_file.read_text(encoding="utf-8").rpartition("\n")  # a line may be under way
        return [json.loads(line) for line in whole.splitlines()]


_IDLE: list[tuple[subprocess.Popen[str], int]] = []  # processes that have played their script, and their ports


@contextmanager
def serving(folder: Path, script: Script, port: int = 0) -> Iterator[Serving]:
    """A server in a process of its own, which plays this script until the block ends."""
    log = folder / f"server-{len(list(folder.glob('server-*.jsonl')))}.jsonl"
    log.touch()
    process, port = _IDLE.pop() if _IDLE and not port else _started(port)
    played = Request(f"http://127.0.0.1:{port}/play", json.dumps({"script": asdict(script), "log": str(log)}).encode())
    build_opener(ProxyHandler({})).open(played).close()
    yield Serving(f"http://127.0.0.1:{port}/v1", process, log)
    if process.poll() is None:
        _IDLE.append((process, port))


def _started(port: int) -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, "-m", "tests.labeling.fault_server", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    atexit.register(process.kill)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


async def _send(writer: asyncio.StreamWriter, status: int, body: Any, headers: Mapping[str, str] | None = None) -> bool:
    content = (body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)).encode()
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(content)}", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
    await writer.drain()
    return True


def _items(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Ids and texts of the comments that are asked about; a single one without an id; none in a probe."""
    try:
        asked = json.loads(body["messages"][-1]["content"])
    except (ValueError, KeyError, IndexError, TypeError):
        return []
    if not isinstance(asked, dict):
        return []
    if "text" in asked:
        return [("", asked["text"])]
    return [(one["comment_id"], one["text"]) for one in asked.get("comments", [])]


def _token_ids(text: str, codes: Sequence[str]) -> list[int]:
    return [100 + list(codes).index(text)] if text in codes else [7, 8]


def _most(body: Mapping[str, Any]) -> int:
    return int(body.get("max_tokens") or body.get("max_completion_tokens") or 1)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
