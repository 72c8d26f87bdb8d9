"""The prompt of a labelling run: items become requests whose first messages are the same, answers become outcomes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import copy
from functools import lru_cache
from hashlib import blake2b
from itertools import islice
from statistics import fmean
from typing import Any

from categorize.errors import UserError
from categorize.label_rules import RuleBroken
from categorize.labeling.answers import Entry, answer_value, entry_id, read_entries, says_anything
from categorize.labeling.exchange import Item, Labels, Outcome, Reply, Request
from categorize.labeling.rationale import bounded
from categorize.labeling.schema_text import (
    PLACEHOLDER,
    answer_form,
    code_form,
    instruction,
    label_list,
    rotated,
    shown_order,
)
from categorize.labeling.values import LabelReader, Unreadable
from categorize.labeling.wire import (
    COMMENTS,
    EXAMPLE_ID,
    ID,
    LABELS,
    RATIONALE,
    TEXT,
    answer_keys,
    answer_schema,
    estimated_tokens,
    question,
    wire_text,
)
from categorize.labels import LabelSet
from categorize.prompts.messages import Prompt, PromptSettings, code_words
from categorize.prompts.parsing import parse_tolerant
from categorize.recipe.labeling_sections import LabelingSection, RunTeacher
from categorize.recipe.sections import PromptSection

WIRE = 1  # of the form of questions and answers; another one asks all rows anew
WHOLE = frozenset({"stop", "eos", "eos_token", "end_turn", "stop_sequence"})
CUT = frozenset({"length", "max_tokens"})


class LabelingPrompt:
    """Asks a teacher about items, and reads what it answers.

    Args:
        section: the recipe's prompt.
        label_sets: by name; what is asked of each item.
        labeling: how items are asked about.
        max_tokens: most tokens of an answer; by default the most that a teacher of the recipe may write.

    Raises:
        UserError: the template, an example or a label set cannot be used in a request.
    """

    def __init__(
        self,
        section: PromptSection,
        label_sets: Mapping[str, LabelSet],
        labeling: LabelingSection,
        max_tokens: int | None = None,
    ) -> None:
        self.section, self.label_sets, self.labeling = section, dict(label_sets), labeling
        self.sets = tuple(self.label_sets.values())
        self.keys = answer_keys(self.label_sets)
        asked = [one.max_tokens for one in labeling.all_teachers if not isinstance(one, RunTeacher)]
        self.max_tokens = max_tokens or max(asked, default=1800)
        self.by_code = labeling.answer == "code"
        if clash := sorted({ID, TEXT, RATIONALE} & set(self.keys.values())):
            raise UserError(f"label_sets: {clash[0]} is a key of every answer; rename the label set")
        if self.by_code and len(self.sets) > 1:
            raise UserError("labeling.answer: code answers with one label set; write json for several label sets")
        # Renders the rows, as students' prompts do.
        self._rows = Prompt(PromptSettings.from_section(section, self.sets[0]), self.sets[0])
        self._readers = [LabelReader(one) for one in self.sets]
        self._sets: Sequence[Sequence[Mapping[str, str]]] = (section.shots,)
        self._shared = lru_cache(maxsize=64)(self._shared_messages)
        self._shared(0)

    # ------------------------------------------------------------ asking
    @property
    def columns(self) -> list[str]:
        """Fields of a row that its item depends on."""
        return self._rows.template.columns

    def item(self, fields: Mapping[str, str]) -> Item:
        """One row as an item; equal items have equal keys.

        Raises:
            UserError: the template names a column that the row does not have.
        """
        text = self._rows.row(fields).encode("utf-8", "replace").decode()  # lone surrogates cannot be sent
        return Item(blake2b(text.encode(), digest_size=16).digest(), text)

    def request(self, id: str, items: Sequence[Item], rotation: int = 0) -> Request:
        """A question about items.

        Args:
            id: that no other request of the job has.
            items: all with the same set of examples.
            rotation: 0: labels and items as they are; any other number: both in an order of its own.
        """
        shown = tuple(rotated(items, rotation))
        (shots,) = {item.shots for item in shown}
        request = Request(id, shown, (), self.max_tokens)
        if self.by_code:
            if len(shown) != 1:
                raise ValueError(f"an answer by code is about one item, not {len(shown)}")
            last, schema = wire_text({TEXT: shown[0].text}), None
        else:
            last = question(request.item_ids, (item.text for item in shown))
            schema = answer_schema(self.label_sets, request.item_ids, self.labeling.rationale is not None)
        messages = (*self._shared(rotation, shots), {"role": "user", "content": last})
        return Request(id, shown, messages, self.max_tokens, self._codes(rotation), schema)

    def with_examples(self, sets: Sequence[Sequence[Mapping[str, str]]]) -> LabelingPrompt:
        """The same prompt with several sets of examples, of which each item names one."""
        other = copy(self)
        other._sets = sets
        other._shared = lru_cache(maxsize=64)(other._shared_messages)
        return other

    def shortest(self) -> Request:
        """The request that takes the least room: about one empty text; with the longest of the examples."""
        requests = (self.request("u1", [Item(bytes(16), "", shots=i)]) for i in range(len(self._sets)))
        return max(requests, key=lambda one: sum(len(message["content"]) for message in one.messages))

    def limited(self, max_tokens: int) -> LabelingPrompt:
        """The same prompt, for a teacher that may write so many tokens an answer."""
        other = copy(self)
        other.max_tokens = max_tokens
        return other

    @property
    def identity(self) -> dict[str, Any]:
        """All of the prompt and the label sets that shapes an answer, as JSON."""
        chosen = [[dict(shot) for shot in one] for one in self._sets]
        retrieval = self.section.retrieval
        examples = {} if retrieval is None else {"retrieval": retrieval.model_dump(mode="json"), "sets": chosen}
        digest = blake2b(json.dumps(examples, sort_keys=True).encode(), digest_size=16).hexdigest()
        return {
            "wire": WIRE,
            "answer": self.labeling.answer,
            "messages": [dict(message) for message in self._shared(0)],
            **({"examples": digest} if examples else {}),
            "template": self.section.template,
            "rationale": self.labeling.rationale.model_dump() if self.labeling.rationale else None,
            "label_sets": {name: one.fingerprint for name, one in self.label_sets.items()},
        }

    def expected_tokens(self, n: int) -> int:
        """About how many tokens the answer to n items has, without a tokenizer."""
        if self.by_code:
            return 4 * n
        item: dict[str, Any] = {ID: f"u123-k{10 ** len(str(3 * n * n))}"}
        lengths = 0.0
        for label_set, key in zip(self.sets, self.keys.values(), strict=True):
            item[key] = 0.25 if label_set.is_regression else []
            if not label_set.is_regression:
                labels = 1.5 if label_set.is_multi_label else 1.0
                lengths += labels * (1 + fmean(map(estimated_tokens, label_set.names)))
        if bound := self.labeling.rationale:
            item[RATIONALE] = ""
            lengths += 0.75 * max(bound.words * 1.2, bound.characters * 0.9)  # few use all of it
        return round(n * (estimated_tokens(wire_text(item)) + lengths)) + 8

    def _shared_messages(self, rotation: int, shots: int = 0) -> tuple[dict[str, str], ...]:
        """Instruction and examples: the same bytes for all requests of a rotation and a set of examples."""
        words = self._words(rotation) if self.by_code else None
        lists = {name: label_list(one, rotation, words) for name, one in self.label_sets.items()}
        listed = self.section.system is None or PLACEHOLDER in self.section.system
        form = (
            code_form(self.sets[0], words or (), listed)
            if self.by_code
            else answer_form(self.label_sets, self.labeling.rationale, listed)
        )
        system = f"{instruction(self.section, self.label_sets, lists)}\n\n{form}"
        return ({"role": "system", "content": system}, *self._shots(words, self._sets[shots]))

    def _shots(self, words: Sequence[str] | None, shots: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
        """The examples in the form of questions and answers."""
        if not shots:
            return []
        texts = [self._rows.row(shot) for shot in shots]
        answers = [self._shot_answer(shot) for shot in shots]
        if words is not None:
            word_of = dict(zip(self.sets[0].names, words, strict=True))
            turns = []
            for text, answer in zip(texts, answers, strict=True):
                value = next(iter(answer.values()))
                said = ", ".join(word_of[one] for one in value) or "none" if isinstance(value, list) else f"{value:g}"
                turns += [{"role": "user", "content": wire_text({TEXT: text})}, {"role": "assistant", "content": said}]
            return turns
        ids = [EXAMPLE_ID.format(i) for i in range(1, len(shots) + 1)]
        entries = [{ID: id, **answer} for id, answer in zip(ids, answers, strict=True)]
        return [
            {"role": "user", "content": question(ids, texts)},
            {"role": "assistant", "content": wire_text({COMMENTS: entries})},
        ]

    def _shot_answer(self, shot: Mapping[str, str]) -> dict[str, Any]:
        answer: dict[str, Any] = {}
        for (name, label_set), key, reader in zip(
            self.label_sets.items(), self.keys.values(), self._readers, strict=True
        ):
            column = name if len(self.sets) > 1 else "label"
            if column not in shot:
                raise UserError(f"prompt.shots: {dict(shot)!r} has no {column}; give every example its label")
            value: Any = shot[column]
            if label_set.is_multi_label and value.strip() in ("", "none"):
                value = []
            try:
                read = reader(value)
            except Unreadable as error:
                raise UserError(f"prompt.shots: {column} {value!r}: {error}; labels: {label_set.names}") from None
            answer[key] = float(read[0]) if label_set.is_regression else list(read)
        if self.labeling.rationale:
            answer[RATIONALE] = bounded(shot.get(RATIONALE, ""), self.labeling.rationale)
        return answer

    def _words(self, rotation: int) -> list[str]:
        """What is answered for each label, in label-set order: the codes of the task, else letters by the order in
        which the labels are shown; names where the recipe asks for them."""
        label_set = self.sets[0]
        own = [label.code for label in label_set.labels]
        written = "completion" in self.section.model_fields_set
        if label_set.is_regression or (written and self.section.completion == "names"):
            return label_set.names
        if all(own):
            return [code for code in own if code]
        # Several letters are not chosen by their probability: they keep their labels, so that they can be read.
        order = shown_order(label_set, 0 if label_set.is_multi_label else rotation)
        shown = [label.name for _, labels in order for label in labels]
        letter = dict(zip(shown, islice(code_words(), len(shown)), strict=False))
        if len(letter) < len(shown):
            raise UserError(f"labeling.answer: code: there are not enough codes for {len(shown)} labels; write json")
        return [letter[name] for name in label_set.names]

    def _codes(self, rotation: int) -> tuple[str, ...] | None:
        one_of = self.by_code and self.sets[0].task in ("single_label", "ordinal")
        return tuple(self._words(rotation)) if one_of else None

    # ------------------------------------------------------------ reading
    def outcomes(self, request: Request, reply: Reply) -> list[Outcome]:
        """What a reply says of each item, in the order of the request; whatever is not certain has a reason."""
        cut = reply.finish_reason in CUT
        if not cut and reply.finish_reason not in WHOLE:
            reason = f"finish_reason {reply.finish_reason}"
            return [Outcome(item, None, reason, position=i) for i, item in enumerate(request.items)]
        if self.by_code:
            return [self._by_code(request, reply, cut)]
        entries, any_json = read_entries(reply.text)
        keys = list(self.keys.values())
        said: dict[str, list[Entry]] = {}
        for entry in entries:
            if says_anything(entry, keys) and (id := entry_id(entry)) is not None:
                said.setdefault(id, []).append(entry)
        absent = "truncated" if cut else "missing" if any_json else "not JSON"
        outcomes = []
        for position, (id, item) in enumerate(zip(request.item_ids, request.items, strict=True)):
            found = said.get(id.casefold(), [])
            labels: Labels | None = None
            reason = rationale = ""
            try:
                if len(found) != 1:
                    raise Unreadable("repeated id" if found else absent)
                labels = tuple(read(answer_value(found[0], key)) for read, key in zip(self._readers, keys, strict=True))
                rationale = self._rationale(found[0].get(RATIONALE))
            except KeyError as error:
                reason = "no label" if error.args == (LABELS,) else f"no {error.args[0]}"
            except Unreadable as error:
                reason = str(error)
            outcomes.append(Outcome(item, labels, reason, rationale, position))
        return outcomes

    def _rationale(self, value: Any) -> str:
        bound = self.labeling.rationale
        return bounded(value, bound) if bound is not None and isinstance(value, str) else ""

    def _by_code(self, request: Request, reply: Reply, cut: bool) -> Outcome:
        label_set, item = self.sets[0], request.items[0]
        probabilities = reply.probabilities
        if request.codes is not None and probabilities is not None:
            best = max(range(len(label_set)), key=probabilities.__getitem__)
            return Outcome(item, ((label_set.names[best],),), confidence=probabilities[best])
        if cut:
            return Outcome(item, None, "truncated")
        read = parse_tolerant(reply.text, label_set, request.codes or self._words(0))
        if not read.valid:
            return Outcome(item, None, "not a label" if not label_set.is_regression else "no score")
        if label_set.is_regression:
            return Outcome(item, ((repr(read.score),),))
        try:
            return Outcome(item, (tuple(label_set.settle(read.labels)),))
        except RuleBroken as error:
            return Outcome(item, None, str(error))
