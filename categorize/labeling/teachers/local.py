"""A teacher on this machine: a causal model that writes answers, by transformers.

Requests that wait are answered together, in a thread of their own: the loop that asks goes on meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from categorize.engines.generation import generate_tokens
from categorize.errors import UserError
from categorize.labeling.exchange import JobStops, Refused, Reply, Request, Tokens
from categorize.prompts.chat_template import ChatTemplate
from categorize.prompts.messages import break_tokens
from categorize.prompts.tokens import special_tokens
from categorize.recipe.labeling_sections import LocalTeacher as LocalSection

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from categorize.methods.sft.model import Causal

Waiting = tuple[Request, "asyncio.Future[Reply]", asyncio.AbstractEventLoop]
ROOM = 16  # tokens of an answer, at least
NO_BOUND = 2**20  # tokens of an input: the model's own bound counts


class LocalTeacher:
    """Answers requests by generating.

    Raises:
        UserError: the model cannot be loaded, or answers are to be guided and xgrammar is not installed.
    """

    def __init__(self, section: LocalSection, trust_remote_code: bool = False) -> None:
        import torch

        from categorize.methods.sft.model import load_causal
        from categorize.nn.device import settle_device
        from categorize.nn.precision import resolve_dtype

        settle_device()
        self._guide = _Guide() if section.grammar else None
        self.section = section
        self.name = section.name or Path(section.name_or_path).name
        self._causal: Causal | None = load_causal(
            section.name_or_path,
            revision=section.revision,
            dtype=resolve_dtype(section.dtype, trained=False),
            max_length=NO_BOUND,
            trust_remote_code=trust_remote_code,
        )
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._causal.model.to(self._device).eval()
        self._reading = _Reading(self._causal.tokenizer)
        self.identity: Mapping[str, Any] = {
            "type": "local",
            "model": section.name_or_path,
            "revision": section.revision,
            "commit": getattr(self._causal.model.config, "_commit_hash", None),
            "dtype": self._causal.settings.dtype,
            "temperature": section.temperature,
            "top_p": section.top_p,
            "grammar": section.grammar,
        }
        self._waiting: deque[Waiting] = deque()
        self._change = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="local teacher", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------ the loop's side
    async def ask(self, request: Request) -> Reply:
        """The answer to one request; see `Teacher`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Reply] = loop.create_future()
        with self._change:
            self._waiting.append((request, future, loop))
            self._change.notify()
        return await future

    async def close(self) -> None:
        """Let the model go, when the batch that is being answered is done."""
        with self._change:
            self._closed = True
            self._change.notify()
        await asyncio.to_thread(self._thread.join)
        self._causal = None
        from categorize.nn.device import free_memory

        free_memory()

    # ------------------------------------------------------------ the thread's side
    def _work(self) -> None:
        while (batch := self._next()) is not None:
            try:
                replies: Sequence[Reply | Exception] = self._answer([request for request, _, _ in batch])
            except Exception as error:  # whatever torch raises: the job ends with one line
                reason = " ".join(str(error).split())[:300]
                replies = [JobStops(f"labeling.teacher: {self.name} cannot answer: {reason}")] * len(batch)
            for (_, future, loop), reply in zip(batch, replies, strict=True):
                if not loop.is_closed():
                    loop.call_soon_threadsafe(_settle, future, reply)

    def _next(self) -> list[Waiting] | None:
        """The requests that wait, up to a batch; None when there will be no more."""
        with self._change:
            while True:
                while self._waiting and self._waiting[0][1].cancelled():
                    self._waiting.popleft()
                if self._waiting:
                    size = min(self.section.batch_size, len(self._waiting))
                    return [self._waiting.popleft() for _ in range(size)]
                if self._closed:
                    return None
                self._change.wait()

    def _answer(self, requests: Sequence[Request]) -> list[Reply | Exception]:
        """Answers to a batch; what is too long for the model is refused."""
        import torch

        assert self._causal is not None
        start = time.perf_counter()
        tokenizer, model = self._causal.tokenizer, self._causal.model
        prompts = [self._reading.tokens(request) for request in requests]
        room = self._causal.settings.max_length
        fits = [i for i, ids in enumerate(prompts) if len(ids) + ROOM <= room]
        replies: list[Reply | Exception] = [
            Refused(f"a prompt of {len(ids)} tokens; {self.name} reads {room}, the answer included") for ids in prompts
        ]
        if not fits:
            return replies
        longest = max(len(prompts[i]) for i in fits)
        asked = max(requests[i].max_tokens for i in fits)
        most = min(asked, room - longest)
        more = self._guide.arguments(self._causal, [requests[i].schema for i in fits]) if self._guide else {}
        with torch.inference_mode():
            found = generate_tokens(model, [prompts[i] for i in fits], self._config(most), self._device, **more)
        seconds = time.perf_counter() - start
        for i, (tokens, ended) in zip(fits, found, strict=True):
            allowed = min(requests[i].max_tokens, most)
            is_whole = ended and len(tokens) <= allowed
            text = tokenizer.decode(tokens[:allowed], skip_special_tokens=True, clean_up_tokenization_spaces=False)
            counted = Tokens(len(prompts[i]), 0, min(len(tokens) + ended, allowed))
            replies[i] = Reply(text, "stop" if is_whole else "length", counted, None, seconds)
        return replies

    def _config(self, most: int) -> Any:
        """Generation as the recipe says it; a base's own settings stay out, but for its end tokens."""
        from transformers import GenerationConfig

        assert self._causal is not None
        own, end = self._causal.model.generation_config.eos_token_id, self._causal.tokenizer.eos_token_id
        ends = {int(one) for one in (end, *(own if isinstance(own, list) else [own])) if one is not None}
        samples = self.section.temperature > 0
        return GenerationConfig(
            max_new_tokens=most,
            do_sample=samples,
            temperature=self.section.temperature if samples else None,
            top_p=self.section.top_p if samples else None,
            top_k=0 if samples else None,
            num_beams=1,
            repetition_penalty=1.0,
            eos_token_id=sorted(ends),
            pad_token_id=int(self._causal.tokenizer.pad_token_id),
        )


def _settle(future: asyncio.Future[Reply], reply: Reply | Exception) -> None:
    if future.done():  # cancelled: the job stopped
        return
    if isinstance(reply, Exception):
        future.set_exception(reply)
    else:
        future.set_result(reply)


class _Reading:
    """Requests as a model reads them."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._chat = ChatTemplate(tokenizer) if tokenizer.chat_template else None
        self._special = special_tokens(tokenizer)

    def tokens(self, request: Request) -> list[int]:
        """Token ids; a comment that spells a special token cannot end its own turn."""
        messages = [
            {"role": one["role"], "content": break_tokens(one["content"], self._special)} for one in request.messages
        ]
        text = (
            self._chat.render(messages, generate=True) + self._chat.lead
            if self._chat is not None
            else f"{self._tokenizer.bos_token or ''}" + "\n\n".join(one["content"] for one in messages) + "\n\n"
        )
        return [int(token) for token in self._tokenizer(text, add_special_tokens=False)["input_ids"]]


def check_room(section: LocalSection, shortest: Request, trust_remote_code: bool = False) -> None:
    """Refuse, before the weights are read, a model whose context does not hold the shortest request and an answer.

    Args:
        shortest: about one empty text.

    Raises:
        UserError: the instruction is too long, as one is that lists many labels; or there is no such model.
    """
    from transformers import AutoConfig

    from categorize.nn.tokenizer import clamp_length, load_tokenizer, loading

    name, revision = section.name_or_path, section.revision
    tokenizer = load_tokenizer(name, revision, trust_remote_code)
    with loading(name, "the model"):
        config = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=trust_remote_code)
    room, needed = clamp_length(NO_BOUND, config, tokenizer), len(_Reading(tokenizer).tokens(shortest)) + ROOM
    if needed > room:
        raise UserError(
            f"labeling.teacher: instruction, labels, examples and an answer take {needed:,} tokens, "
            f"{section.name or name} reads {room:,}; shorten prompt.system or the descriptions of the labels, show "
            "fewer examples (prompt.shots, prompt.retrieval.k), or take a model with a longer context"
        )


class _Guide:
    """Grammars of the answers' schemas, by xgrammar."""

    def __init__(self) -> None:
        try:
            import xgrammar
        except ImportError:
            raise UserError(
                "labeling.teacher.grammar: needs xgrammar: pip install 'categorize[grammar]', or leave grammar out"
            ) from None
        self._library: Any = xgrammar
        self._compiler: Any = None

    def arguments(self, causal: Causal, schemas: Sequence[Mapping[str, Any] | None]) -> dict[str, Any]:
        """Arguments of `generate` that guide each row; a row without a schema is free, and so is its batch."""
        if any(schema is None for schema in schemas):
            return {}
        from xgrammar.contrib.hf import LogitsProcessor

        if self._compiler is None:
            size = causal.model.config.get_text_config().vocab_size
            about = self._library.TokenizerInfo.from_huggingface(causal.tokenizer, vocab_size=size)
            self._compiler = self._library.GrammarCompiler(about)
        grammars = [self._compiler.compile_json_schema(json.dumps(schema, ensure_ascii=False)) for schema in schemas]
        return {"logits_processor": [LogitsProcessor(grammars)]}
