"""A stand-in for a provider's batches: request files in, result files out, in another order and with faults."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

Answers = Callable[[list[dict[str, Any]]], str]


class Provider:
    """Answers request files as a provider does.

    Args:
        answers: the text that is answered to the last message's comments.
        form: `openai` (also SiliconFlow's) or `anthropic`.
        expired: share of the requests that expire, in the first round that has any.
        broken: share of the requests that meet a broken server, the same way.
        cut: the last line of a result file is cut in the middle.
        twice: result lines come twice.
    """

    def __init__(self, answers: Answers, form: str = "openai", **faults: Any) -> None:
        self.answers, self.form = answers, form
        self.faults: dict[str, Any] = {"expired": 0.0, "broken": 0.0, "cut": False, "twice": False} | faults
        self.random = random.Random(5)
        self.asked: Counter[str] = Counter()
        self.served: set[Path] = set()
        self.ids: list[str] = []

    def requests(self, file: Path) -> list[dict[str, Any]]:
        """What a file asks."""
        text = file.read_text(encoding="utf-8")
        return json.loads(text)["requests"] if self.form == "anthropic" else list(map(json.loads, text.splitlines()))

    def serve(self, folder: Path) -> int:
        """Answer the request files of a batches folder that are new; returns how many requests were answered."""
        answered = 0
        for file in sorted((folder / "requests").iterdir()):
            if file in self.served:
                continue
            self.served.add(file)
            good, bad = [], []
            for request in self.requests(file):
                self.ids.append(request["custom_id"])
                body = request["params"] if self.form == "anthropic" else request["body"]
                comments = self._comments(body)
                drawn = self.random.random()
                if drawn < self.faults["expired"]:
                    bad.append(self._expired(request["custom_id"]))
                elif drawn < self.faults["expired"] + self.faults["broken"]:
                    bad.append(self._broken(request["custom_id"]))
                else:
                    self.asked.update(one["text"] for one in comments)
                    good.append(self._answer(request["custom_id"], self.answers(comments)))
                    answered += 1
            self.faults |= {"expired": 0.0, "broken": 0.0}
            self.random.shuffle(good)
            lines = [json.dumps(one, ensure_ascii=False) for one in good]
            lines += lines[:3] if self.faults["twice"] else []
            text = "\n".join(lines) + "\n"
            if self.faults["cut"] and not self.faults["twice"]:
                text = text[: -len(lines[-1]) // 2]
                self.faults["cut"] = False
            results = folder / "results"
            results.mkdir(exist_ok=True)
            (results / f"{file.stem}_output.jsonl").write_text(text, encoding="utf-8")
            (results / f"{file.stem}_error.jsonl").write_text("\n".join(map(json.dumps, bad)), encoding="utf-8")
        return answered

    def _comments(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        said = json.loads(body["messages"][-1]["content"])
        return said.get("comments", [said])

    def _answer(self, one: str, text: str) -> dict[str, Any]:
        if self.form == "anthropic":
            usage = {"input_tokens": 40, "cache_read_input_tokens": 60, "output_tokens": 10}
            content = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": text}]
            message = {"content": content, "stop_reason": "end_turn", "usage": usage}
            return {"custom_id": one, "result": {"type": "succeeded", "message": message}}
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 60}}
        choices = [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]
        body = {"object": "chat.completion", "choices": choices, "usage": usage}
        return {"id": f"r_{one}", "custom_id": one, "response": {"status_code": 200, "body": body}, "error": None}

    def _expired(self, one: str) -> dict[str, Any]:
        if self.form == "anthropic":
            return {"custom_id": one, "result": {"type": "expired"}}
        error = {"code": "batch_expired", "message": "This request could not be executed before the window expired."}
        return {"id": f"r_{one}", "custom_id": one, "response": None, "error": error}

    def _broken(self, one: str) -> dict[str, Any]:
        if self.form == "anthropic":
            error = {"type": "error", "error": {"type": "api_error", "message": "Internal server error"}}
            return {"custom_id": one, "result": {"type": "errored", "error": error}}
        body = {"error": {"code": "server_error", "message": "The server had an error"}}
        return {"id": f"r_{one}", "custom_id": one, "response": {"status_code": 500, "body": body}, "error": None}
