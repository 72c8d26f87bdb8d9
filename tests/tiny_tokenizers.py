"""A small trained byte-level BPE, which merges across the edges of texts as real ones do, and four kinds of chat
templates."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' "
    "%}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
TEMPLATES: dict[str, str | None] = {"chatml": CHATML, "llama3": LLAMA3, "gemma": GEMMA, "plain": None}
ENDS = {"chatml": "<|im_end|>", "llama3": "<|eot_id|>", "gemma": "<end_of_turn>", "plain": "<eos>"}
SPECIAL = [
    "<bos>", "<eos>", "<pad>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
    "<start_of_turn>", "<end_of_turn>",
]  # fmt: skip
CORPUS = [
    "Read the text and answer with the one label that fits it best.\nLabels:\n- positive\n- negative\n- neutral",
    "Text: good movie\nAnswer: positive", "Text: bad movie\nAnswer: negative", "Text: :) fine\nAnswer: neutral",
    "system user assistant model", "好看 喜欢 讨厌 这个视频 真的太好了 好评 差评", "social social presence, none",
] * 4  # fmt: skip


@lru_cache(maxsize=1)
def _trained() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    # Marks merge with what stands before them, so that a text may merge with the words of the prompt.
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=SPECIAL,
        show_progress=False,
    )
    tokenizer.train_from_iterator([part for text in CORPUS for part in text.split("\n")], trainer)
    return tokenizer.to_str()


def build_tokenizer(template: str = "plain") -> Any:
    """The tokenizer with the chat template of this name, `plain` for none."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_trained()),
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        extra_special_tokens=SPECIAL[3:],
    )
    tokenizer.chat_template = TEMPLATES[template]
    return tokenizer
