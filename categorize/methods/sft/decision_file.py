"""A run's prompt as `decision.json`, by which `pipeline("decision")` and `transformers serve` answer as the run does.

They ask a question of options about a state: here the state is the row's text, the options are the labels, and the
logits of the labels' tokens behind the prompt are read, as label scoring reads them.
https://huggingface.co/docs/transformers, `DecisionConfig`.
"""

from __future__ import annotations

import json
from typing import Any

from categorize.prompts.tokens import PROBES, PromptFormat

DECISION = "decision.json"
KIND = "choice"  # the type of their question that has named options
BLANKS = ("  x", "x \n", "\n\tx  ")


def decision_settings(prompt: PromptFormat, temperature: float) -> dict[str, Any] | str:
    """What `decision.json` holds, or why the prompt cannot be asked so.

    Args:
        temperature: of the run's calibration, which divides the logits.
    """
    if prompt.label_set.task not in ("single_label", "ordinal") or prompt.yes_no:
        return "it answers with one label of several, as one token"
    if prompt.template.columns != ["text"]:
        return "its prompt holds more columns than the text"
    tokens = [prompt.completions[name][:-1] for name in prompt.label_set.names]
    words = [f"{prompt.settings.separator}{word}" for word in prompt.words]
    if any(len(ids) != 1 for ids in tokens):
        return "its labels are not one token each (prompt.completion: codes makes them so)"
    around = _around(prompt)
    if around is None:
        return "its chat template changes texts"
    before, state, behind = around
    options = json.dumps(prompt.label_set.names, ensure_ascii=False)
    template = (
        "{%- if question.type != '" + KIND + "' or question.options != " + options + " -%}"
        "{{- raise_exception('ask a "
        + KIND
        + " with these criteria, in this order: ' ~ "
        + options
        + " | join(', ')) -}}"
        "{%- endif -%}"
        "{{- "
        + json.dumps(before, ensure_ascii=False)
        + " ~ "
        + state
        + " ~ "
        + json.dumps(behind, ensure_ascii=False)
        + " -}}"
    )
    return {"labels": {KIND: words}, "temperature": {KIND: temperature}, "chat_template": template}


def _around(prompt: PromptFormat) -> tuple[str, str, str] | None:
    """The prompt's text before a row, the row as an expression of Jinja, and the text behind it; None where rows are
    not put into it as they are."""
    mark = "\x00row\x00"
    parts = prompt.render({"text": mark}).split(mark)
    if len(parts) != 2:
        return None
    before, behind = parts
    for state, shown in (("state", str), ("state | trim", str.strip)):
        if all(prompt.render({"text": text}) == before + shown(text) + behind for text in (*PROBES, *BLANKS)):
            return before, state, behind
    return None
