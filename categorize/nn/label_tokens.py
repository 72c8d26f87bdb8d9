"""A new head on a decoder that begins as what the language model would say: each label's row is the mean of the output
layer's rows of the tokens that answer with it.

Behind a prompt that ends where the answer begins, labels of one token then have, before any training, the logits that
the causal model gives those tokens: the head begins as zero-shot scoring, and learns from there.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from categorize.errors import UserError
from categorize.nn.pretrained import stored_weights
from categorize.prompts.tokens import PromptFormat

if TYPE_CHECKING:
    import torch

OUTPUT_LAYERS = ("lm_head.weight", "embed_out.weight")  # as checkpoints call it where it is not the embedding matrix
SHOWN = 8


def begin_as_scoring(
    model: Any, prompt: PromptFormat, name_or_path: str, keys: Collection[str], revision: str | None = None
) -> str:
    """Fill the rows of a decoder's head, `score`, and say of which tokens they are made.

    Of several labels a row, the mean over all labels is taken off each: logits of a language model lie far from 0, and
    a sigmoid would begin where it has no slope.

    Args:
        keys: of the checkpoint's weights that the classifier has no place for, the output layer among them unless it
            is the embedding matrix.

    Raises:
        UserError: the model is not a decoder with an output layer, or a label has no token of its own.
    """
    tokens = label_tokens(prompt)
    rows = output_layer(model, name_or_path, keys, revision)
    means = [rows[list(ids)].float().mean(0) for ids in tokens.values()]
    weight = model.score.weight
    weight.data = _stacked(means, prompt.label_set.is_multi_label).to(weight)
    pieces = [
        f"{name} from {' '.join(map(repr, prompt.tokenizer.convert_ids_to_tokens(list(ids))))}"
        for name, ids in list(tokens.items())[:SHOWN]
    ]
    more = f", ... ({len(tokens)})" if len(tokens) > SHOWN else ""
    return f"the head begins as the output layer's rows of label tokens: {', '.join(pieces)}{more}"


def label_tokens(prompt: PromptFormat) -> dict[str, tuple[int, ...]]:
    """The tokens that answer with each label, by its name, without the end of the answer.

    Raises:
        UserError: a label that this tokenizer has no token of its own for, or the same as for another.
    """
    separator = prompt.tokenizer(prompt.settings.separator or "", add_special_tokens=False)["input_ids"]
    nothing = {*prompt.tokenizer.all_special_ids, prompt.tokenizer.unk_token_id, *separator}
    found: dict[str, tuple[int, ...]] = {}
    of_tokens: dict[tuple[int, ...], str] = {}
    for name, ids in prompt.completions.items():
        answer = ids[:-1]
        if nothing.issuperset(answer):
            raise UserError(
                f"model.head_init: label_tokens: label {name!r} has no token of its own in this tokenizer; rename it, "
                "set prompt.completion: codes, or remove the key"
            )
        if answer in of_tokens:
            raise UserError(
                f"model.head_init: label_tokens: {of_tokens[answer]!r} and {name!r} are the same tokens to this "
                "tokenizer; rename one, set prompt.completion: codes, or remove the key"
            )
        found[name], of_tokens[answer] = answer, name
    return found


def output_layer(model: Any, name_or_path: str, keys: Collection[str], revision: str | None = None) -> torch.Tensor:
    """The weight of the language model's output layer, [vocabulary, hidden size].

    Raises:
        UserError: see `begin_as_scoring`.
    """
    config = model.config.get_text_config()
    read = getattr(getattr(model, "score", None), "weight", None)  # of the last token, in decoders alone
    stored = [key for key in keys if key.endswith(OUTPUT_LAYERS)]
    weight: torch.Tensor | None = None
    if read is not None and not config.is_encoder_decoder:
        if getattr(config, "tie_word_embeddings", False):
            weight = model.get_input_embeddings().weight.data
        elif stored:
            weight = stored_weights(name_or_path, stored[:1], revision)[stored[0]]
    if weight is None or read is None or weight.ndim != 2 or weight.shape[1] != read.shape[1]:
        raise UserError(
            f"model.head_init: label_tokens: {name_or_path} ({config.model_type}) is not a decoder with the output "
            "layer of a language model; remove the key"
        )
    return weight


def _stacked(rows: list[torch.Tensor], centred: bool) -> torch.Tensor:
    import torch

    stacked = torch.stack(rows)
    return stacked - stacked.mean(0) if centred else stacked
