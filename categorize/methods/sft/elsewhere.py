"""A tuned causal model in stock transformers: asked by `decision.json`, or with the messages of its prompt."""

from __future__ import annotations

import json
import shlex
from typing import Any

from categorize.features.shots import SHOTS
from categorize.labels import LabelSet
from categorize.methods.sft.decision_file import DECISION, KIND, decision_settings
from categorize.methods.sft.model import CAUSAL, CausalSettings
from categorize.methods.sft.narrowing import narrows
from categorize.methods.sft.predictor import prediction_mode
from categorize.methods.sft.scoring import as_trained
from categorize.metrics.decision import DecisionRule
from categorize.nn.tokenizer import load_tokenizer
from categorize.prompts.tokens import PromptFormat
from categorize.recipe.decision_sections import CausalPredictionSection
from categorize.runs.contents import ADAPTER_CONFIG
from categorize.runs.elsewhere import PLACE, Elsewhere, limits_of_rule, limits_of_texts
from categorize.runs.folder import DECISION_RULE, PROMPT, Run

TEXT = "..."
NEW_TOKENS = 32
STOCK_ADAPTERS = ("LORA", "IA3")


def elsewhere(run: Run, label_set: LabelSet, section: CausalPredictionSection) -> Elsewhere:
    """`pipeline("decision")` and `transformers serve` where labels are single tokens; where answers are written,
    `pipeline("text-generation")`."""
    settings = CausalSettings(**run.read_json(CAUSAL))
    only = "Only this project reads it:"
    if run.has(SHOTS) or narrows(section, label_set):
        return Elsewhere(limits=(f"{only} its prompt is another for each row.",))
    if run.has(ADAPTER_CONFIG) and (kind := run.read_json(ADAPTER_CONFIG)["peft_type"]) not in STOCK_ADAPTERS:
        return Elsewhere(limits=(f"{only} its adapter ({kind.lower()}) is not one that transformers loads.",))
    prompt = PromptFormat.from_dict(run.read_json(PROMPT), label_set, load_tokenizer(str(run.weights)))
    limits = [
        f"Texts are not shortened: prompt and answer had at most {settings.max_length} tokens in training.",
        *limits_of_texts(run),
    ]
    if settings.quantization is not None:
        limits.append("The base was quantized in training; here it is whole, which moves probabilities a little.")
    if prediction_mode(section, label_set, prompt.settings.completion) == "generation":
        code = _generation(prompt, settings.base is not None)
        return Elsewhere(code, limits=tuple(limits)) if code else Elsewhere(limits=(f"{only} its prompt is its own.",))
    scored = as_trained(section, settings, run)
    if scored.prior not in (None, "none") or scored.length_normalization:
        return Elsewhere(limits=(f"{only} its labels are not scored by the sum of their log-probabilities alone.",))
    decision = decision_settings(prompt, DecisionRule.load(run.path / DECISION_RULE).temperature)
    if isinstance(decision, str):
        return Elsewhere(limits=(f"{only} {decision}.",))
    limits += limits_of_rule(run, calibrated=True)
    question: dict[str, Any] = {"type": KIND, "criteria": dict.fromkeys(label_set.names)}
    return Elsewhere(
        _decision(question, settings.dtype),
        _server(question, settings.base is not None),
        tuple(limits),
        {DECISION: json.dumps(decision, ensure_ascii=False, indent=2) + "\n"},
    )


def _decision(question: dict[str, Any], dtype: str) -> str:
    """The model is loaded by its class: by its name, the pipeline takes some architectures for a decision model, which
    this is not, and begins a head of several billion random weights."""
    criteria = json.dumps(question["criteria"], ensure_ascii=False).replace(": null", ": None")
    place = json.dumps(PLACE)
    return (
        "from transformers import AutoModelForCausalLM, pipeline\n\n"
        f"model = AutoModelForCausalLM.from_pretrained({place}, dtype={json.dumps(dtype)})\n"
        f"decide = pipeline({json.dumps('decision')}, model, tokenizer={place}, decision_config={place})\n"
        f"question = {{{json.dumps('type')}: {json.dumps(KIND)}, {json.dumps('criteria')}: {criteria}}}\n"
        f'decide({{"state": "{TEXT}", "questions": {{"label": question}}}})["label"]'
    )


def _server(question: dict[str, Any], adapter: bool) -> str:
    body = {"state": TEXT, "questions": {"label": question}}
    settings = f' --decision-config "{PLACE}/{DECISION}"' if adapter else ""
    return (
        f'transformers serve "{PLACE}"{settings}\n'
        "curl http://localhost:8000/v1/systemone -H 'Content-Type: application/json' -d "
        f"{shlex.quote(json.dumps(body, ensure_ascii=False))}"
    )


def _generation(prompt: PromptFormat, adapter: bool) -> str | None:
    """Messages for the text-generation pipeline; None where that would render them otherwise."""
    if prompt.chat is None or prompt.template.columns != ["text"]:
        return None
    messages = prompt.messages({"text": TEXT})
    stock = prompt.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    if stock != prompt.render({"text": TEXT}):
        return None
    tokenizer = f", tokenizer={json.dumps(PLACE)}" if adapter else ""
    return (
        "from transformers import pipeline\n\n"
        f"answer = pipeline({json.dumps('text-generation')}, {json.dumps(PLACE)}{tokenizer})\n"
        f"messages = {json.dumps(messages, ensure_ascii=False)}\n"
        f"answer(messages, max_new_tokens={NEW_TOKENS}, do_sample=False, eos_token_id={prompt.end_id})"
        '[0]["generated_text"][-1]["content"]'
    )
