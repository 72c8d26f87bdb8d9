"""A tokenizer's chat template, made to ask one question the same way every day, whatever roles it knows."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from categorize.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Chat templates of Llama 3.2, gpt-oss and others tell the model today's date, so that a tuned model would be asked
# otherwise each day. For them it is always the day that Llama's own template names where there is no clock.
TODAY = {
    "%d": "26", "%-d": "26", "%m": "07", "%b": "Jul", "%B": "July", "%y": "24", "%Y": "2024", "%F": "2024-07-26",
    "%a": "Fri", "%A": "Friday", "%H": "12", "%I": "12", "%M": "00", "%S": "00", "%p": "PM",
}  # fmt: skip
STANDING_CLOCK = (
    "{%- macro strftime_now(form) -%}{{ form"
    + "".join(f" | replace('{directive}', '{value}')" for directive, value in TODAY.items())
    + " }}{%- endmacro -%}"
)
MARK = "answer"
QUESTION = {"role": "user", "content": "x"}
ANSWERED = [QUESTION, {"role": "assistant", "content": MARK}]


class ChatTemplate:
    """Renders messages by the chat template of a tokenizer.

    Raises:
        UserError: the template cannot hold a question of plain text.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        template = str(tokenizer.get_chat_template())
        self.template = STANDING_CLOCK + template if "strftime_now" in template else template
        self._check()

    def render(self, messages: list[dict[str, str]], generate: bool) -> str:
        """The text of messages; with `generate`, up to where the template lets an answer begin."""
        from jinja2.exceptions import TemplateError

        opening = messages[0]
        try:
            text = self._apply(messages, generate)
            if opening["role"] != "system" or opening["content"].strip() in text:
                return text
        except TemplateError:
            if opening["role"] != "system":
                raise
        # Some templates know no system role, and refuse it or leave it out: the instruction then opens the first turn.
        first = {"role": "user", "content": f"{opening['content']}\n\n{messages[1]['content']}"}
        return self._apply([first, *messages[2:]], generate)

    @cached_property
    def lead(self) -> str:
        """What the template writes of an answer's turn before the answer, beyond the prompt that asks for one: gpt-oss
        names the channel, GLM begins a line."""
        asked = self.render([QUESTION], generate=True)
        answered, mark, _ = self.render(ANSWERED, generate=False).rpartition(MARK)
        return answered[len(asked) :] if mark and answered.startswith(asked) else ""

    @cached_property
    def tail(self) -> str:
        """What the template writes behind an answer."""
        return self.render(ANSWERED, generate=False).rpartition(MARK)[2]

    def _check(self) -> None:
        from jinja2.exceptions import TemplateError

        reason = "it leaves out what is said"
        turns = [{"role": "system", "content": MARK}, {"role": "user", "content": "7 x 7"}]
        try:
            text = self.render(turns, generate=True)
            if MARK in text and "7 x 7" in text:
                return
        except (TemplateError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{self.tokenizer.name_or_path}: its chat template cannot ask a question of plain text: {reason}; use a "
            "model of text alone"
        )

    def _apply(self, messages: list[dict[str, str]], generate: bool) -> str:
        # `enable_thinking` is read by the templates that know it and ignored by the rest.
        text = self.tokenizer.apply_chat_template(
            messages,
            chat_template=self.template,
            tokenize=False,
            add_generation_prompt=generate,
            enable_thinking=False,
        )
        # Templates of models that always think open the block themselves; an answer is not a thought.
        return f"{text.rstrip()}\n\n</think>\n\n" if generate and text.rstrip().endswith("<think>") else str(text)
