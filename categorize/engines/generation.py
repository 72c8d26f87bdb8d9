"""Answers that a causal model writes: greedy, batched by length, cut at whatever ends an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from categorize.engines.batching import autocast, length_sorted_batches
from categorize.nn.adapters import is_prompt_learning
from categorize.nn.tokenizer import pad
from categorize.prompts.tokens import EncodedPrompt, PromptFormat
from categorize.recipe.decision_sections import CausalPredictionSection

if TYPE_CHECKING:
    import torch

SPARE_TOKENS = 8


def generate_answers(
    model: Any,
    prompt: PromptFormat,
    rows: Sequence[EncodedPrompt],
    section: CausalPredictionSection,
    device: torch.device,
    *,
    in_step: bool = False,
) -> tuple[list[str], int]:
    """Greedy answers, and how many tokens were generated.

    Args:
        in_step: one batch, written on until every process's answers have ended: those that share a model must make the
            same passes.
    """
    import torch

    pad_token_id = int(prompt.tokenizer.pad_token_id)
    config = _config(model, prompt, section, pad_token_id)
    answers: list[str] = [""] * len(rows)
    generated = 0
    lengths = np.array([len(row.prompt_ids) for row in rows])
    sorted_batches = length_sorted_batches(lengths, section.most_rows, section.most_tokens)
    # Sharded weights cannot be gathered in inference mode.
    with torch.no_grad() if in_step else torch.inference_mode(), autocast(section.dtype, model, device):
        for at in [np.arange(len(rows))] if in_step else sorted_batches:
            more = {"synced_gpus": True} if in_step else {}
            found = generate_tokens(model, [rows[i].prompt_ids for i in at], config, device, **more)
            for i, (tokens, ended) in zip(at, found, strict=True):
                generated += len(tokens) + ended
                answers[i] = prompt.tokenizer.decode(
                    tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
                )
    return answers, generated


def generate_tokens(
    model: Any, prompts: Sequence[Sequence[int]], config: Any, device: torch.device, **more: Any
) -> list[tuple[list[int], bool]]:
    """What a model writes behind each prompt of a batch, and whether it came to an end by itself.

    Args:
        config: `GenerationConfig` with a list of end tokens and a pad token.
        more: arguments of `generate`.
    """
    padded = pad(prompts, config.pad_token_id, side="left")
    width = padded["input_ids"].shape[1]
    output = model.generate(
        **{name: values.to(device) for name, values in padded.items()}, generation_config=config, **more
    )
    # Prompt-learning adapters give back the answer alone.
    new = output[:, width:] if output.shape[1] > width or not is_prompt_learning(model) else output
    ends = set(config.eos_token_id)
    found: list[tuple[list[int], bool]] = []
    for tokens in new.tolist():
        end = next((k for k, token in enumerate(tokens) if token in ends), None)
        found.append((tokens[:end], end is not None))
    return found


def _config(model: Any, prompt: PromptFormat, section: CausalPredictionSection, pad_token_id: int) -> Any:
    """Greedy search up to the longest answer. A base's own settings stay out: a repetition penalty punishes the labels
    that the instruction lists."""
    from transformers import GenerationConfig

    longest = max(map(len, prompt.completions.values()), default=8)
    if prompt.label_set.is_multi_label:
        longest = sum(len(ids) + 1 for ids in prompt.completions.values())
    own = model.generation_config.eos_token_id  # chat models have several
    ends = [prompt.tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])]
    return GenerationConfig(
        max_new_tokens=section.max_new_tokens or longest + SPARE_TOKENS,
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        eos_token_id=sorted({prompt.end_id, *(int(end) for end in ends if end is not None)}),
        pad_token_id=pad_token_id,
    )
