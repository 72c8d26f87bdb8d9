"""The tokens that segments are cut by, of a model's tokenizer, alone or within a prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from categorize.errors import UserError
from categorize.predictions import IntArray
from categorize.prompts.tokens import PromptFormat

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CHUNK = 256


class TokenizerTokens:
    """Tokens of a tokenizer; see `data.tokens.TokenCounter`.

    Args:
        max_length: longest input of the model, special tokens included.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_length: int) -> None:
        self.tokenizer = tokenizer
        self.room: int | None = max(1, max_length - tokenizer.num_special_tokens_to_add(pair=False))

    def spans(self, texts: Sequence[str]) -> list[IntArray]:
        """Begin and end of every token in characters.

        Raises:
            UserError: the tokenizer cannot tell where its tokens stand.
        """
        if not self.tokenizer.is_fast:
            raise UserError(
                f"{self.tokenizer.name_or_path}: its tokenizer is a slow one, which cannot tell where tokens stand; "
                "set data.segments.by: document, or use a model with a fast tokenizer"
            )
        return [
            np.array(spans, dtype=np.int64).reshape(-1, 2)
            for encoding in self._encoded(texts, return_offsets_mapping=True)
            for spans in encoding["offset_mapping"]
        ]

    def lengths(self, texts: Sequence[str]) -> IntArray:
        """Tokens of each text by itself, without special tokens."""
        lengths = [len(ids) for encoding in self._encoded(texts) for ids in encoding["input_ids"]]
        return np.array(lengths, dtype=np.int64)

    def _encoded(self, texts: Sequence[str], **options: Any) -> Iterator[Any]:
        for start in range(0, len(texts), CHUNK):
            chunk = list(texts[start : start + CHUNK])
            yield self.tokenizer(chunk, add_special_tokens=False, split_special_tokens=True, verbose=False, **options)


class PromptTokens(TokenizerTokens):
    """Tokens of texts that stand in a prompt: their room is what the instruction and the answer leave.

    A text is as long as what it adds to the prompt, for tokens merge across its edges.
    """

    def __init__(self, prompt: PromptFormat) -> None:
        super().__init__(prompt.tokenizer, prompt.max_length)
        self.prompt = prompt
        named = prompt.template.columns
        # A template may name the text's own column instead; a segment stands there, too.
        self._column = named[0] if "text" not in named and len(named) == 1 else "text"
        self._empty = self._tokens("")
        self.room = max(1, prompt.max_length - prompt.answer_room - self._empty)

    def lengths(self, texts: Sequence[str]) -> IntArray:
        """Tokens that each text adds to an empty prompt."""
        return np.array([self._tokens(text) - self._empty for text in texts], dtype=np.int64)

    def _tokens(self, text: str) -> int:
        rendered = self.prompt.render({**dict.fromkeys(self.prompt.columns, ""), self._column: text})
        return len(self.tokenizer(rendered, add_special_tokens=False, verbose=False)["input_ids"])


def text_tokens(
    tokenizer: PreTrainedTokenizerBase, max_length: int, prompt: PromptFormat | None = None
) -> TokenizerTokens:
    """The tokens of texts as a model reads them: by themselves, or within its prompt."""
    return TokenizerTokens(tokenizer, max_length) if prompt is None else PromptTokens(prompt)
