"""A prompt as token ids: the only place where rows and labels are tokenized for a causal model or a head that reads
prompts.

Training, label scoring and generation all read `PromptFormat.encode`, so that a tuned model always sees in use what it
saw in training. The format is saved with the run as `prompt.json`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import takewhile
from os.path import commonprefix
from typing import TYPE_CHECKING, Any

from categorize.errors import UserError
from categorize.labels import LabelSet
from categorize.prompts.chat_template import ChatTemplate
from categorize.prompts.messages import YES_NO, Prompt, PromptSettings, code_words
from categorize.recipe.sections import PromptSection
from categorize.recipe.template import escaped

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BRACES = "doubled"  # how `prompt.json` marks a template whose literal braces are doubled
NUMBER_TOKENS = 16
BREAK = "\n\n"  # between a row and the question about a label
# Rows that begin unlike each other, so that what they share as tokens is the prefix of all prompts.
PROBES = ("a", "中", "7", "\n", " x", "😀", "-", '"', "é", "(")


@dataclass(frozen=True)
class EncodedPrompt:
    """One row as token ids.

    Attributes:
        prefix_ids: tokens that every prompt of the format begins with; empty for the rare row that tokenizes across it.
        row_ids: the rest of the prompt.
        completion_ids: the answer with its end token; empty without gold, and where each label is asked about.
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


class PromptFormat(Prompt):
    """A prompt for one label set and one tokenizer, rendered and tokenized.

    Args:
        settings: the parts of the prompt. Codes are those that are one token each where an answer stands, unless it
            names them.
        label_set: labels that may be answered.
        tokenizer: the model's tokenizer; its chat template is used where it has one.
        max_length: longest prompt and answer together, in tokens; the row's text is shortened to fit, never the answer.

    Raises:
        UserError: as `Prompt`; the instruction alone exceeds `max_length`, or there are more labels than single-token
            codes.
    """

    def __init__(
        self, settings: PromptSettings, label_set: LabelSet, tokenizer: PreTrainedTokenizerBase, max_length: int = 1024
    ) -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.chat = ChatTemplate(tokenizer) if tokenizer.chat_template else None
        if settings.separator is None:
            settings = replace(settings, separator="" if self.chat else " ")
        if settings.completion == "codes" and settings.codes is None and not label_set.is_regression:
            settings = self._with_codes(settings, len(label_set))
        super().__init__(settings, label_set, special_tokens(tokenizer))
        shortest = len(self._tokenize(self.render(dict.fromkeys(self.columns, "")))) + self.answer_room
        if shortest >= max_length:
            raise UserError(
                f"prompt: instruction and answer take {shortest} tokens, max_length is {max_length}; raise it "
                "or shorten prompt.system; many labels are narrowed for each row by prediction.candidates"
            )

    @classmethod
    def from_section(
        cls, section: PromptSection, label_set: LabelSet, tokenizer: PreTrainedTokenizerBase, max_length: int
    ) -> PromptFormat:
        """The format that a recipe describes."""
        return cls(PromptSettings.from_section(section, label_set), label_set, tokenizer, max_length)

    def for_labels(self, label_set: LabelSet) -> PromptFormat:
        """The same questions about other labels of the same task; codes are chosen anew.

        Raises:
            UserError: the examples have labels that are not among them, or the labels do not fit into the length.
        """
        return PromptFormat(replace(self.settings, codes=None), label_set, self.tokenizer, self.max_length)

    # ------------------------------------------------------------ answers
    def check_answers(self) -> None:
        """For models that answer: raise UserError for labels whose answers would mean something else, or the same as
        another's."""
        super().check_answers()
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
        """Token ids of each label alone as an answer, by label name; empty where no label is one."""
        if self.label_set.is_regression or self.yes_no:
            return {}
        return {name: self.completion_ids(word) for name, word in zip(self.label_set.names, self.words, strict=True)}

    @cached_property
    def answer_room(self) -> int:
        """Tokens kept free behind every prompt, with gold or without: else a long row would be shortened to one text in
        training and to another in use. Several labels together may take a quarter of the length."""
        if self.yes_no:
            return max(map(len, self.question_ids)) + max(map(len, self.yes_no_ids))
        longest = max(map(len, self.completions.values()), default=NUMBER_TOKENS)
        if not self.label_set.is_multi_label:
            return longest
        everything = len(self.completion_ids(self.answer(self.label_set.names)))
        return max(longest, min(everything, self.max_length // 4))

    @cached_property
    def yes_no_ids(self) -> tuple[tuple[int, ...], ...]:
        """Token ids of yes and of no, without an end token.

        Raises:
            UserError: the tokenizer does not tell them apart.
        """
        yes, no = (tuple(self._tokenize(f"{self.settings.separator}{word}")) for word in YES_NO)
        if yes == no:
            raise UserError("prompt.completion: yes_no: yes and no are the same tokens to this tokenizer; use names")
        return yes, no

    @cached_property
    def question_ids(self) -> list[tuple[int, ...]]:
        """Token ids behind a row up to where yes or no stands, for each label. They are tokenized by themselves, so
        that all labels have the same tokens before them."""
        _, tail = self._around(dict.fromkeys(self.columns, ""))
        return [tuple(self._tokenize(f"{BREAK}{question}{tail}")) for question in self.questions]

    def _with_codes(self, settings: PromptSettings, count: int) -> PromptSettings:
        """Codes that are one token each where an answer stands, distinct as tokens: letters, digits, then pairs."""
        found = 0
        for separator in dict.fromkeys((settings.separator or "", "")):  # not every vocabulary has letters with a space
            codes: dict[int, str] = {}
            for word in code_words():
                ids = self._tokenize(separator + word)
                if len(ids) == 1 and ids[0] != self.tokenizer.unk_token_id:
                    codes.setdefault(ids[0], word)
                if len(codes) == count:
                    return replace(settings, codes=tuple(codes.values()), separator=separator)
            found = max(found, len(codes))
        raise UserError(
            f"prompt.completion: codes: the tokenizer has {found} single-token codes for {count} labels; use names, "
            "or narrow the labels of each row by prediction.candidates"
        )

    # ------------------------------------------------------------ prompts
    def render(self, fields: Mapping[str, str]) -> str:
        """The prompt's text, up to where the answer begins, or the questions about each label."""
        return self._around(fields)[0] if self.yes_no else self._render(fields)

    def _render(self, fields: Mapping[str, str], question: str = "") -> str:
        if self.chat is None:
            return f"{self.tokenizer.bos_token or ''}{self.plain(fields, question)}"
        return self.chat.render(self.messages(fields, question), generate=True) + self.chat.lead

    def _around(self, fields: Mapping[str, str]) -> tuple[str, str]:
        """The prompt's text before the question about a label, and behind it."""
        question = f"{BREAK}{self.questions[0]}"
        before, found, behind = self._render(fields, question).rpartition(question)
        if not found:
            raise UserError("prompt.question: the chat template changes it; write it without blanks at its ends")
        return before, behind

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
        completion = self.completion_ids(self.answer(gold or (), score)) if known and not self.yes_no else ()
        room = self.max_length - max(len(completion), self.answer_room)
        ids = self._prompt(fields)
        truncated = len(ids) > room
        if truncated:
            ids = self._shorten(dict(fields), room)
        prefix = self.prefix_ids
        if tuple(ids[: len(prefix)]) != prefix or len(ids) == len(prefix):
            prefix = ()
        return EncodedPrompt(prefix, tuple(ids[len(prefix) :]), completion, truncated)

    def encode_all(self, rows: Sequence[Mapping[str, str]], **given: Sequence[Any]) -> list[EncodedPrompt]:
        """Many rows at once, as `encode`; `gold` and `score` have one entry a row where they are given."""
        answers = [dict(zip(given, values, strict=True)) for values in zip(*given.values(), strict=True)]
        return [self.encode(fields, **one) for fields, one in zip(rows, answers or [{}] * len(rows), strict=True)]

    @cached_property
    def prefix_ids(self) -> tuple[int, ...]:
        """Longest common token prefix of whole prompts."""
        prompts = [self._prompt(dict.fromkeys(self.columns, probe)) for probe in PROBES]
        shared = takewhile(lambda ids: len(set(ids)) == 1, zip(*prompts, strict=False))
        return tuple(ids[0] for ids in shared)

    def _shorten(self, fields: dict[str, str], room: int) -> list[int]:
        """Token ids of the longest beginning of the row's text that fits; found by bisection, for tokens merge
        across cuts. Where the template has no {text}, or the row does not fit without it either, its longest other
        columns are shortened."""
        columns = sorted(self.template.columns, key=lambda name: (name != "text", -len(fields.get(name) or "")))
        for column in columns:
            text = fields.get(column) or ""
            best = self._prompt({**fields, column: ""})
            if len(best) > room:
                fields[column] = ""
                continue
            low, high = 0, len(text)
            while low < high:
                middle = (low + high + 1) // 2
                ids = self._prompt({**fields, column: text[:middle]})
                if len(ids) <= room:
                    low, best = middle, ids
                else:
                    high = middle - 1
            return best
        raise UserError(f"prompt: a row does not fit into model.max_length {self.max_length} even when it is empty")

    def _prompt(self, fields: Mapping[str, str]) -> list[int]:
        """Token ids of a row's prompt; what all of them begin with was tokenized once."""
        text, (head, ids) = self.render(fields), self._head
        return [*ids, *self._tokenize(text[len(head) :])] if text.startswith(head) else self._tokenize(text)

    @cached_property
    def _head(self) -> tuple[str, list[int]]:
        """Text that all prompts begin with, up to the last special token in it, and its token ids; none where the
        tokenizer does not split texts at special tokens first, as most do."""
        texts = [self.render(dict.fromkeys(self.columns, probe)) for probe in PROBES]
        common = commonprefix(texts)  # noqa: RUF071  of texts, not of paths
        head = common[: max([0, *(common.rfind(token) for token in self.special_tokens)])]
        ids = self._tokenize(head)
        same = all(self._tokenize(text) == ids + self._tokenize(text[len(head) :]) for text in texts)
        return (head, ids) if same else ("", [])

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


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Every special token of more than one character, the longest first."""
    added = (str(token) for token in tokenizer.added_tokens_decoder.values() if token.special)
    tokens = {*tokenizer.all_special_tokens, *added}
    return sorted((token for token in tokens if len(token) > 1), key=len, reverse=True)
