"""Rows and a label set become token ids: the only place where a prompt is rendered and tokenized.

Training, label scoring, generation and teachers all read `PromptFormat.encode`, so that a tuned model always sees in
use what it saw in training. The format is saved with the run as `prompt.json`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from functools import cached_property
from itertools import product
from string import ascii_lowercase, ascii_uppercase, digits
from typing import TYPE_CHECKING, Any

from categorize.errors import UserError
from categorize.labels import LabelSet
from categorize.prompts.chat_template import ChatTemplate
from categorize.recipe.template import Template, escaped

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from categorize.recipe.sections import PromptSection

SYSTEMS = {
    "single_label": "Read the text and answer with the one label that fits it best.\nLabels:\n{labels}",
    "ordinal": "Read the text and answer with the one level that fits it best, from lowest to "
    "highest.\nLevels:\n{labels}",
    "multi_label": "Read the text and answer with every label that fits it, separated by commas, or with "
    "none.\nLabels:\n{labels}",
    "regression": "Read the text and answer with its score as a number.",
}
BRACES = "doubled"  # how `prompt.json` marks a template whose literal braces are doubled
NONE = "none"
NUMBER_TOKENS = 16
# Rows that begin unlike each other, so that what they share as tokens is the prefix of all prompts.
PROBES = ("a", "中", "7", "\n", " x", "😀", "-", '"', "é", "(")


@dataclass(frozen=True)
class PromptSettings:
    """What a prompt is made of: a recipe's `prompt` section, and what was chosen for its labels and tokenizer.

    `codes` stand for the labels in answers; `separator` stands between the prompt and an answer.
    """

    system: str
    template: str = "{text}"
    completion: str = "names"
    shots: tuple[Mapping[str, str], ...] = ()
    codes: tuple[str, ...] | None = None
    separator: str | None = None


@dataclass(frozen=True)
class EncodedPrompt:
    """One row as token ids.

    Attributes:
        prefix_ids: tokens that every prompt of the format begins with; empty for the rare row that tokenizes across it.
        row_ids: the rest of the prompt.
        completion_ids: the answer with its end token; empty without gold.
        truncated: whether the row's text was shortened.
    """

    prefix_ids: tuple[int, ...]
    row_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    truncated: bool = False

    @property
    def prompt_ids(self) -> tuple[int, ...]:
        """Prefix and row."""
        return self.prefix_ids + self.row_ids

    def __len__(self) -> int:
        return len(self.prefix_ids) + len(self.row_ids) + len(self.completion_ids)


def number(score: float) -> str:
    """A score as an answer: six significant digits, never an exponent, which no reader of answers expects."""
    text = f"{Decimal(f'{score:.6g}'):f}"
    return "0" if text == "-0" else text


class PromptFormat:
    """Renders and tokenizes prompts for one label set and one tokenizer.

    Args:
        settings: the parts of the prompt.
        label_set: labels that may be answered.
        tokenizer: the model's tokenizer; its chat template is used where it has one.
        max_length: longest prompt and answer together, in tokens; the row's text is shortened to fit, never the answer.

    Raises:
        UserError: the instruction alone exceeds `max_length`, there are more labels than single-token codes, or the
            template has a brace of no placeholder.
    """

    def __init__(
        self, settings: PromptSettings, label_set: LabelSet, tokenizer: PreTrainedTokenizerBase, max_length: int = 1024
    ) -> None:
        self.label_set = label_set
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.chat = ChatTemplate(tokenizer) if tokenizer.chat_template else None
        if settings.separator is None:
            settings = replace(settings, separator="" if self.chat else " ")
        if settings.completion == "codes" and settings.codes is None and not label_set.is_regression:
            settings = self._with_codes(settings, len(label_set))
        self.settings = settings
        try:
            self.template = Template.parse(settings.template)
        except ValueError as error:
            raise UserError(f"prompt.template: {error}") from None
        shortest = len(self._tokenize(self.render(dict.fromkeys(self.columns, "")))) + self.answer_room
        if shortest >= max_length:
            raise UserError(
                f"prompt: instruction and answer take {shortest} tokens, max_length is {max_length}; raise it "
                f"or shorten prompt.system"
            )

    @classmethod
    def from_section(
        cls, section: PromptSection, label_set: LabelSet, tokenizer: PreTrainedTokenizerBase, max_length: int
    ) -> PromptFormat:
        """The format that a recipe describes."""
        system = section.system if section.system is not None else SYSTEMS[label_set.task]
        settings = PromptSettings(system, section.template, section.completion, tuple(section.shots))
        return cls(settings, label_set, tokenizer, max_length)

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

    def check_answers(self) -> None:
        """For models that answer: raise UserError for labels whose answers would mean something else, or the same as
        another's."""
        if self.label_set.is_multi_label:
            for word in self.words:
                if "," in word or word.strip() == NONE:
                    raise UserError(
                        f"labels: {word!r} cannot stand in an answer of several labels, separated by commas or "
                        f"{NONE!r}; rename it or set prompt.completion: codes"
                    )
        taken: dict[tuple[int, ...], str] = {}
        for name, ids in self.completions.items():
            if ids in taken:
                raise UserError(
                    f"labels: {taken[ids]!r} and {name!r} are the same tokens to this tokenizer; rename one or set "
                    f"prompt.completion: codes"
                )
            taken[ids] = name

    @cached_property
    def end_id(self) -> int:
        """Token that ends an answer: the chat template's end of turn, else the end of text."""
        if self.chat:
            tail = self._tokenize(self.chat.tail)
            special = set(self.tokenizer.all_special_ids) | set(self.tokenizer.added_tokens_decoder)
            for token in tail:
                if token in special:
                    return int(token)
        if self.tokenizer.eos_token_id is None:
            raise UserError(
                f"{self.tokenizer.name_or_path}: the tokenizer has no end token; a model could not learn to stop"
            )
        return int(self.tokenizer.eos_token_id)

    def completion_ids(self, answer: str) -> tuple[int, ...]:
        """Token ids of an answer with its end token."""
        return (*self._tokenize(f"{self.settings.separator}{answer}"), self.end_id)

    @cached_property
    def completions(self) -> dict[str, tuple[int, ...]]:
        """Token ids of each label alone as an answer, by label name; empty for a regression."""
        if self.label_set.is_regression:
            return {}
        return {name: self.completion_ids(word) for name, word in zip(self.label_set.names, self.words, strict=True)}

    @cached_property
    def answer_room(self) -> int:
        """Tokens kept free behind every prompt, with gold or without: else a long row would be shortened to one text in
        training and to another in use. Several labels together may take a quarter of the length."""
        longest = max(map(len, self.completions.values()), default=NUMBER_TOKENS)
        if not self.label_set.is_multi_label:
            return longest
        everything = len(self.completion_ids(self.answer(self.label_set.names)))
        return max(longest, min(everything, self.max_length // 4))

    def _with_codes(self, settings: PromptSettings, count: int) -> PromptSettings:
        """Codes that are one token each where an answer stands, distinct as tokens: letters, digits, then pairs."""
        pairs = ("".join(pair) for pair in product(ascii_uppercase, repeat=2))
        words = (*ascii_uppercase, *digits, *ascii_lowercase, *pairs)
        found = 0
        for separator in dict.fromkeys((settings.separator or "", "")):  # not every vocabulary has letters with a space
            codes: dict[int, str] = {}
            for word in words:
                ids = self._tokenize(separator + word)
                if len(ids) == 1 and ids[0] != self.tokenizer.unk_token_id:
                    codes.setdefault(ids[0], word)
                if len(codes) == count:
                    return replace(settings, codes=tuple(codes.values()), separator=separator)
            found = max(found, len(codes))
        raise UserError(
            f"prompt.completion: codes: the tokenizer has {found} single-token codes for {count} labels; use names"
        )

    # ------------------------------------------------------------ prompts
    def render(self, fields: Mapping[str, str]) -> str:
        """The prompt's text, up to where the answer begins."""
        system = self.settings.system.replace("{labels}", self._label_list())
        row = self._row(fields)
        answers = [self._shot_answer(shot) for shot in self.settings.shots]
        shots = [(self._row(shot), answer) for shot, answer in zip(self.settings.shots, answers, strict=True)]
        if self.chat is None:
            worked = "".join(f"Text: {text}\nAnswer: {answer}\n\n" for text, answer in shots)
            return f"{self.tokenizer.bos_token or ''}{system}\n\n{worked}Text: {row}\nAnswer:"
        messages = [{"role": "system", "content": system}]
        for text, answer in shots:
            messages += [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]
        messages.append({"role": "user", "content": row})
        return self.chat.render(messages, generate=True) + self.chat.lead

    def encode(
        self, fields: Mapping[str, str], gold: Sequence[str] | None = None, score: float | None = None
    ) -> EncodedPrompt:
        """One row as token ids, with its answer where gold (or a regression's score) is given.

        Args:
            fields: the row's `text` and the columns that the template names.

        Raises:
            UserError: the row does not fit even when all of it is taken away.
        """
        known = score is not None if self.label_set.is_regression else gold is not None
        completion = self.completion_ids(self.answer(gold or (), score)) if known else ()
        room = self.max_length - max(len(completion), self.answer_room)
        ids = self._tokenize(self.render(fields))
        truncated = len(ids) > room
        if truncated:
            ids = self._shorten(dict(fields), room)
        prefix = self.prefix_ids
        if tuple(ids[: len(prefix)]) != prefix or len(ids) == len(prefix):
            prefix = ()
        return EncodedPrompt(prefix, tuple(ids[len(prefix) :]), completion, truncated)

    @cached_property
    def prefix_ids(self) -> tuple[int, ...]:
        """Longest common token prefix of whole prompts."""
        prompts = [self._tokenize(self.render(dict.fromkeys(self.columns, probe))) for probe in PROBES]
        shared = prompts[0]
        for ids in prompts[1:]:
            length = next(
                (i for i, (a, b) in enumerate(zip(shared, ids, strict=False)) if a != b), min(len(shared), len(ids))
            )
            shared = shared[:length]
        return tuple(shared)

    def _shorten(self, fields: dict[str, str], room: int) -> list[int]:
        """Token ids of the longest beginning of the row's text that fits; found by bisection, for tokens merge
        across cuts. Where the template has no {text}, or the row does not fit without it either, its longest other
        columns are shortened."""
        columns = sorted(self.template.columns, key=lambda name: (name != "text", -len(fields.get(name) or "")))
        for column in columns:
            text = fields.get(column) or ""
            best = self._tokenize(self.render({**fields, column: ""}))
            if len(best) > room:
                fields[column] = ""
                continue
            low, high = 0, len(text)
            while low < high:
                middle = (low + high + 1) // 2
                ids = self._tokenize(self.render({**fields, column: text[:middle]}))
                if len(ids) <= room:
                    low, best = middle, ids
                else:
                    high = middle - 1
            return best
        raise UserError(f"prompt: a row does not fit into model.max_length {self.max_length} even when it is empty")

    @property
    def columns(self) -> list[str]:
        """Fields of a row that its prompt depends on."""
        return sorted({"text", *self.template.columns})

    def _row(self, fields: Mapping[str, str]) -> str:
        def value(column: str) -> str:
            try:
                return self.escape_special_tokens(fields[column] or "")
            except KeyError:
                raise UserError(f"prompt.template: {{{column}}} names no column; columns: {sorted(fields)}") from None

        row = self.template.fill(value)
        # Fields may spell a special token together, or with the template around them.
        literal = self.template.fill(lambda _: "\0")
        own = [literal.count(token) for token in self._special]
        return row if [row.count(token) for token in self._special] == own else self.escape_special_tokens(row)

    def escape_special_tokens(self, text: str) -> str:
        """The text with any special token that it spells broken by a space: a comment cannot end its own turn."""
        for token in self._special:
            if token in text:
                text = text.replace(token, f"{token[0]} {token[1:]}")
        return text

    @cached_property
    def _special(self) -> list[str]:
        tokens = {
            *self.tokenizer.all_special_tokens,
            *(str(t) for t in self.tokenizer.added_tokens_decoder.values() if t.special),
        }
        return sorted((token for token in tokens if len(token) > 1), key=len, reverse=True)

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
            name = f"{word}: {label.name}" if word != label.name else word
            lines.append(f"- {name}" + (f" ({label.description})" if label.description else ""))
        return "\n".join(lines)

    def _tokenize(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    # ------------------------------------------------------------ saving
    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        data = asdict(self.settings)
        shots = [dict(shot) for shot in self.settings.shots]
        return {**data, "shots": shots, "max_length": self.max_length, "braces": BRACES}

    @classmethod
    def from_dict(
        cls, data: Mapping[str, Any], label_set: LabelSet, tokenizer: PreTrainedTokenizerBase
    ) -> PromptFormat:
        """The inverse of `to_dict`, for the tokenizer that was saved beside it."""
        values = dict(data)
        max_length = int(values.pop("max_length"))
        codes = values.pop("codes")
        if values.pop("braces", None) != BRACES:  # of an older run, where braces around anything but a word were text
            parts = re.split(r"(\{\w+\})", values["template"])
            values["template"] = "".join(part if i % 2 else escaped(part) for i, part in enumerate(parts))
        settings = PromptSettings(
            **{**values, "shots": tuple(values["shots"]), "codes": tuple(codes) if codes is not None else None}
        )
        return cls(settings, label_set, tokenizer, max_length)
