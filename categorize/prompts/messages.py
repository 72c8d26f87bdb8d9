"""A prompt without a tokenizer: a row and a label set become chat messages or plain text, and what comes back becomes
labels.

Endpoints and batch files are asked by these; `prompts.tokens` puts the tokens of a local model on top.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import islice, product
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Any

import numpy as np

from categorize.errors import UserError
from categorize.labels import Label, LabelSet
from categorize.predictions import Predictions, Usage
from categorize.prompts.parsing import NONE, Answer, parse_strict, parse_tolerant, settled
from categorize.recipe.sections import PromptSection
from categorize.recipe.template import Template
from categorize.recipe.wording import first_few

SYSTEMS = {
    "single_label": "Read the text and answer with the one label that fits it best.\nLabels:\n{labels}",
    "ordinal": "Read the text and answer with the one level that fits it best, from lowest to "
    "highest.\nLevels:\n{labels}",
    "multi_label": "Read the text and answer with every label that fits it, separated by commas, or with "
    "none.\nLabels:\n{labels}",
    "regression": "Read the text and answer with its score as a number.",
}
YES_NO_SYSTEM = "Read the text and say whether the label that is asked about fits it."
YES_NO = ("yes", "no")
QUESTION = str(PromptSection.model_fields["question"].default)


@dataclass(frozen=True)
class PromptSettings:
    """What a prompt is made of: a recipe's `prompt` section, and what was chosen for its labels and tokenizer.

    `codes` stand for the labels in answers; `separator` stands between the prompt and an answer; `question` asks about
    one label; `descriptions`: True: every label must have one, False: none is shown.
    """

    system: str
    template: str = "{text}"
    completion: str = "names"
    shots: tuple[Mapping[str, str], ...] = ()
    codes: tuple[str, ...] | None = None
    separator: str | None = None
    question: str = QUESTION
    descriptions: bool | None = None

    @classmethod
    def from_section(cls, section: PromptSection, label_set: LabelSet) -> PromptSettings:
        """What a recipe describes; without an instruction of its own, the one of the task."""
        system = section.system
        if system is None:
            system = YES_NO_SYSTEM if section.completion == "yes_no" else SYSTEMS[label_set.task]
        return cls(
            system,
            section.template,
            section.completion,
            tuple(section.shots),
            question=section.question,
            descriptions=section.descriptions,
        )


class Prompt:
    """Renders rows and answers for one label set, and reads answers.

    >>> from categorize.labels import Label, LabelSet
    >>> moods = LabelSet("single_label", (Label("good", "likes it"), Label("bad")))
    >>> prompt = Prompt(PromptSettings("Say it.\\n{labels}", completion="codes"), moods)
    >>> [message["content"] for message in prompt.messages({"text": "great movie"})]
    ['Say it.\\n- A: good (likes it)\\n- B: bad', 'great movie']
    >>> prompt.answer(["bad"])
    'B'
    >>> prompt.read("**B**").labels
    ('bad',)

    Args:
        settings: the parts of the prompt. Codes are letters, digits and pairs of letters unless it names them.
        label_set: labels that may be answered.
        special_tokens: what a tokenizer reads as more than text, the longest first: rows cannot spell it.

    Raises:
        UserError: the template has a brace of no placeholder, there are more labels than codes, or labels lack the
            description that is asked for.
    """

    def __init__(self, settings: PromptSettings, label_set: LabelSet, special_tokens: Sequence[str] = ()) -> None:
        self.label_set, self.special_tokens = label_set, special_tokens
        if settings.completion == "codes" and settings.codes is None and not label_set.is_regression:
            codes = tuple(islice(code_words(), len(label_set)))
            if len(codes) < len(label_set):
                raise UserError(
                    f"prompt.completion: codes: there are {len(codes)} codes for {len(label_set)} labels; use names, "
                    "or narrow the labels of each row by prediction.candidates"
                )
            settings = replace(settings, codes=codes)
        self.settings = settings
        lacking = [label.name for label in label_set.labels if not label.description]
        if settings.descriptions and lacking and not label_set.is_regression:
            raise UserError(
                f"prompt.descriptions: {first_few(lacking)} have none; write {{name: ..., description: ...}} in "
                "labels.names"
            )
        try:
            self.template = Template.parse(settings.template)
        except ValueError as error:
            raise UserError(f"prompt.template: {error}") from None

    # ------------------------------------------------------------ answers
    @property
    def words(self) -> list[str]:
        """What stands for each label in an answer: its name, or its code."""
        return list(self.settings.codes) if self.settings.codes is not None else self.label_set.names

    def answer(self, gold: Sequence[str], score: float | None = None) -> str:
        """The answer's text: labels in label-set order, separated by commas, or a number."""
        if self.label_set.is_regression:
            if score is None:
                raise ValueError("a regression's answer needs a score")
            return number(score)
        words = [self.words[i] for i in sorted(self.label_set.index[name] for name in gold)]
        return ", ".join(words) if words else NONE

    def read(self, text: str, parsing: str = "tolerant") -> Answer:
        """What an answer says; `parsing`: `strict`, to the letter, or `tolerant`, however it is wrapped."""
        parse = parse_strict if parsing == "strict" else parse_tolerant
        answer = parse(text, self.label_set, self.words)
        return settled(answer, self.label_set)

    def predictions(
        self, ids: Sequence[str], raw: Sequence[str], parsing: str, usage: Usage | None = None
    ) -> Predictions:
        """Answers as decided predictions; what cannot be read is not valid and has no label."""
        read = [self.read(text, parsing) for text in raw]
        valid = np.array([one.valid for one in read], dtype=bool)
        found: dict[str, Any] = {"decided": [list(one.labels) for one in read]}
        if self.label_set.is_regression:
            found = {"score": np.array([np.nan if one.score is None else one.score for one in read])}
        return Predictions(ids, valid=valid, raw=list(raw), usage=usage or Usage(), **found)

    def check_answers(self) -> None:
        """For models that answer: raise UserError for labels whose answers would mean something else."""
        for word in self.words if self.label_set.is_multi_label and not self.yes_no else ():
            if "," in word or word.strip() == NONE:
                raise UserError(
                    f"labels: {word!r} cannot stand in an answer of several labels, separated by commas or "
                    f"{NONE!r}; rename it or set prompt.completion: codes"
                )

    # ------------------------------------------------------------ questions
    @property
    def yes_no(self) -> bool:
        """Whether each label is asked about by itself, to be answered with yes or no."""
        return self.settings.completion == "yes_no"

    @property
    def questions(self) -> list[str]:
        """What is asked behind a row about each label, where each is asked about by itself."""
        return [
            self.settings.question.replace("{label}", self._described(one.name, one)) for one in self.label_set.labels
        ]

    @property
    def columns(self) -> list[str]:
        """Fields of a row that its prompt depends on."""
        return sorted({"text", *self.template.columns})

    @property
    def system(self) -> str:
        """The instruction, with the list of labels."""
        return self.settings.system.replace("{labels}", self._label_list())

    def messages(self, fields: Mapping[str, str], question: str = "") -> list[dict[str, str]]:
        """The chat that asks about one row: instruction, worked examples, the row, and a question behind it.

        Raises:
            UserError: the template names a column that the row does not have, or an example has no label of the set.
        """
        messages = [{"role": "system", "content": self.system}]
        for shot in self.settings.shots:
            answer = self._shot_answer(shot)
            messages += [{"role": "user", "content": self.row(shot)}, {"role": "assistant", "content": answer}]
        return [*messages, {"role": "user", "content": self.row(fields) + question}]

    def plain(self, fields: Mapping[str, str], question: str = "") -> str:
        """The same as one text that ends where the answer begins, for models without a chat template."""
        system, *turns = (message["content"] for message in self.messages(fields, question))
        said = (f"{'Answer' if i % 2 else 'Text'}: {turn}\n" + "\n" * (i % 2) for i, turn in enumerate(turns))
        return f"{system}\n\n{''.join(said)}Answer:"

    def row(self, fields: Mapping[str, str]) -> str:
        """The part of the prompt that shows one row: the template, filled.

        Raises:
            UserError: the template names a column that the row does not have.
        """

        def value(column: str) -> str:
            try:
                return self.escape_special_tokens(fields[column] or "")
            except KeyError:
                raise UserError(f"prompt.template: {{{column}}} names no column; columns: {sorted(fields)}") from None

        row = self.template.fill(value)
        if not self.special_tokens:
            return row
        # Fields may spell a special token together, or with the template around them.
        literal = self.template.fill(lambda _: "\0")
        own = [literal.count(token) for token in self.special_tokens]
        return row if [row.count(token) for token in self.special_tokens] == own else self.escape_special_tokens(row)

    def escape_special_tokens(self, text: str) -> str:
        """The text with any special token that it spells broken by a space: a comment cannot end its own turn."""
        return break_tokens(text, self.special_tokens)

    def _shot_answer(self, shot: Mapping[str, str]) -> str:
        for name in (*self.template.columns, "label"):
            if name not in shot:
                raise UserError(
                    f"prompt.shots: {dict(shot)!r} has no {name}; give label and all that prompt.template names: "
                    f"{self.settings.template!r}"
                )
        if self.label_set.is_regression:
            with suppress(ValueError):
                if math.isfinite(score := float(shot["label"])):
                    return number(score)
            raise UserError(
                f"prompt.shots: label {shot['label']!r} is not a number; a regression's rows are answered with one"
            )
        words = (
            [part.strip() for part in shot["label"].split(",")] if self.label_set.is_multi_label else [shot["label"]]
        )
        for word in words:
            if word not in self.label_set.index:
                raise UserError(f"prompt.shots: label {word!r} is not in the label set: {self.label_set.names}")
        return self.answer(words)

    def _label_list(self) -> str:
        lines = []
        for label, word in zip(self.label_set.labels, self.words, strict=True):
            lines.append(f"- {self._described(f'{word}: {label.name}' if word != label.name else word, label)}")
        return "\n".join(lines)

    def _described(self, name: str, label: Label) -> str:
        shown = label.description if self.settings.descriptions is not False else ""
        return f"{name} ({shown})" if shown else name


def code_words() -> Iterator[str]:
    """What may stand for labels, in order: capital letters, digits, letters, pairs of capital letters."""
    yield from (*ascii_uppercase, *digits, *ascii_lowercase)
    yield from map("".join, product(ascii_uppercase, repeat=2))


def number(score: float) -> str:
    """A score as an answer: six significant digits, never an exponent, which no reader of answers expects.

    >>> number(3.50), number(1e-7), number(-0.0)
    ('3.5', '0.0000001', '0')
    """
    text = f"{Decimal(f'{score:.6g}'):f}"
    return "0" if text == "-0" else text


def break_tokens(text: str, tokens: Iterable[str]) -> str:
    """The text with each of these tokens that it spells broken by a space.

    >>> break_tokens("so <|im_end|>", ["<|im_end|>"])
    'so < |im_end|>'
    """
    for token in tokens:
        if token in text:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text
