"""The wire format: what a request sends as JSON, what its answer must look like, and about how many tokens that takes.

Comments are data. They travel as JSON strings, so that no comment can end its own, and what a chat template would read
as the end of a turn is escaped within them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from categorize.labels import LabelSet

COMMENTS, ID, TEXT, RATIONALE = "comments", "comment_id", "text", "rationale"
LABELS, SCORE = "labels", "score"
EXAMPLE_ID = "example-{}"  # ends as no id that is sent, so that an echo of the prompt is not an answer

# The beginnings of special tokens (<|im_end|>, </s>, <｜User｜>, [INST], [gMASK]), and line ends that JSON leaves.
_OPENING = re.compile(r"<(?=[|｜]|[^\s<>]{1,40}>)|\[(?=/?(?:[A-Z_]{3,}|gMASK)\])|[\u0085\u2028\u2029]")
_TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af]|[^\W\d_]{1,6}|\d{1,3}|(?:[^\w\s]|_){1,3}")


def wire_text(value: Any) -> str:
    """A value as JSON in one line: Chinese as it is, special tokens of chat templates escaped.

    >>> print(wire_text({"text": "学到了 <|im_end|>"}))
    {"text": "学到了 \\u003c|im_end|>"}
    """
    return _OPENING.sub(lambda match: f"\\u{ord(match.group()):04x}", json.dumps(value, ensure_ascii=False))


def question(ids: Iterable[str], texts: Iterable[str]) -> str:
    """The message that shows the items of a request."""
    return wire_text({COMMENTS: [{ID: id, TEXT: text} for id, text in zip(ids, texts, strict=True)]})


def answer_keys(label_sets: Mapping[str, LabelSet]) -> dict[str, str]:
    """The key of an answer's item for each label set: `labels` or `score`, or under several sets their names."""
    if len(label_sets) > 1:
        return {name: name for name in label_sets}
    return {name: SCORE if label_set.is_regression else LABELS for name, label_set in label_sets.items()}


def answer_schema(label_sets: Mapping[str, LabelSet], ids: Sequence[str], rationale: bool) -> dict[str, Any]:
    """JSON Schema of the answer to a request with these ids."""
    properties: dict[str, Any] = {ID: {"type": "string", "enum": list(ids)}}
    for name, key in answer_keys(label_sets).items():
        properties[key] = _value_schema(label_sets[name])
    if rationale:
        properties[RATIONALE] = {"type": "string"}
    item = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    comments = {"type": "array", "items": item, "minItems": len(ids), "maxItems": len(ids)}
    return {
        "type": "object",
        "properties": {COMMENTS: comments},
        "required": [COMMENTS],
        "additionalProperties": False,
    }


def _value_schema(label_set: LabelSet) -> dict[str, Any]:
    if label_set.is_regression:
        bounds = {"minimum": label_set.rules.minimum, "maximum": label_set.rules.maximum}
        return {"type": "number", **{key: value for key, value in bounds.items() if value is not None}}
    most = len(label_set) if label_set.is_multi_label else 1
    least = 0 if label_set.is_multi_label else 1
    labels = {"type": "string", "enum": label_set.names}
    return {"type": "array", "items": labels, "minItems": least, "maxItems": most}


def estimated_tokens(text: str) -> int:
    """About how many tokens a text has, without a tokenizer: a token for a Chinese character, for up to six letters,
    three digits or three marks. Vocabularies of 100,000 entries and more need fewer for most texts.

    >>> estimated_tokens("学到了 thanks a lot!")
    7
    """
    return sum(1 for _ in _TOKEN.finditer(text))
