"""A head in `pipeline("text-classification")`: its adapter or weights with stock transformers and peft, or why not."""

from __future__ import annotations

import json

from categorize.labels import LabelSet
from categorize.methods.head.model import HeadKind, HeadSettings
from categorize.nn.head_output import OUTPUTS, Output
from categorize.runs.contents import ADAPTER_CONFIG
from categorize.runs.elsewhere import PLACE, Elsewhere, limits_of_rule, limits_of_texts
from categorize.runs.folder import PROMPT, Run

STOCK_ADAPTERS = ("LORA", "IA3")  # peft's types that transformers puts on a model by itself


def elsewhere(run: Run, label_set: LabelSet, kind: HeadKind) -> Elsewhere:
    """The code that loads the head, with the names of its outputs.

    An adapter's folder has no config of a model: peft and transformers build the head by the base's, which knows
    neither how many labels there are nor their names, so that the code says both.
    """
    settings = HeadSettings(**run.read_json(kind.file))
    output = settings.output(label_set, kind.output)
    if (reason := obstacle(run, settings, output)) is not None:
        return Elsewhere(limits=(f"Only this project reads it: {reason}.",))
    limits = [
        f"Texts are cut to {settings.max_length} tokens, as in training.",
        *limits_of_texts(run),
        *limits_of_rule(run),
    ]
    if settings.base is not None:
        limits.append(
            "An adapter has no model config: a bare `pipeline` or `AutoPeftModelForSequenceClassification` takes the "
            "base's, with its number of labels and without their names, so say them as above. Merged weights "
            "(`hub.weights: merged`) need none of it."
        )
    if settings.quantization is not None:
        limits.append("The base was quantized in training; here it is whole, which moves probabilities a little.")
    if settings.base_revision is not None:
        limits.append(f"The base is revision {settings.base_revision} of `{settings.base}`; here it is the newest one.")
    return Elsewhere(_code(run, settings, output), limits=tuple(limits))


def obstacle(run: Run, settings: HeadSettings, output: Output) -> str | None:
    """Why `AutoModelForSequenceClassification` would not give what the run predicts; None where it does."""
    if run.has(PROMPT):
        return "its head reads texts in a prompt (`prompt.json`)"
    if settings.pooling != "default":
        return f"its head reads the {settings.pooling} pooling of all tokens, which the stock model does not have"
    if settings.is_causal is False:
        return "its decoder reads in both directions"
    if type(output) not in OUTPUTS.values():
        return "its outputs are not the labels, but what their probabilities are computed from"
    if run.has(ADAPTER_CONFIG) and (kind := run.read_json(ADAPTER_CONFIG)["peft_type"]) not in STOCK_ADAPTERS:
        return f"its adapter ({kind.lower().replace('_', ' ')}) is not one that transformers loads"
    return None


def _code(run: Run, settings: HeadSettings, output: Output) -> str:
    """Python with stock transformers, `PLACE` for the run."""
    lines = ["from transformers import pipeline", ""]
    arguments = [json.dumps("text-classification"), json.dumps(PLACE)]
    if settings.base is not None:
        lines.append(f"names = {json.dumps(output.names, ensure_ascii=False)}")
        told = {
            "num_labels": "len(names)",
            "id2label": "dict(enumerate(names))",
            "label2id": "{name: i for i, name in enumerate(names)}",
            "problem_type": json.dumps(output.problem_type),
        }
        if (pad := _pad_token_id(run)) is not None:
            told["pad_token_id"] = str(pad)
        lines.append("config = {")
        lines += [f"    {json.dumps(name)}: {value}," for name, value in told.items()]
        lines.append("}")
        arguments += [f"tokenizer={json.dumps(PLACE)}", f"dtype={json.dumps(settings.dtype)}", "model_kwargs=config"]
    call = f'classify(["..."], top_k=None, truncation=True, max_length={settings.max_length})'
    lines.append(f"classify = pipeline({', '.join(arguments)})")
    if not output.label_set.is_regression:
        return "\n".join([*lines, call])
    means = [settings.target_mean, *(one["mean"] for one in settings.auxiliary)]
    deviations = [settings.target_std, *(one["std"] for one in settings.auxiliary)]
    scales = {name: [mean, std] for name, mean, std in zip(output.names, means, deviations, strict=True)}
    return "\n".join(
        [
            *lines,
            f"scales = {json.dumps(scales, ensure_ascii=False)}  # mean and deviation of the scores in training",
            '[{one["label"]: scales[one["label"]][0] + scales[one["label"]][1] * one["score"] for one in row}',
            f" for row in {call}]",
        ]
    )


def _pad_token_id(run: Run) -> int | None:
    from categorize.nn.tokenizer import load_tokenizer

    pad = load_tokenizer(str(run.weights)).pad_token_id
    return None if pad is None else int(pad)
