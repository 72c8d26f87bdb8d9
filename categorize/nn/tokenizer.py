"""The tokenizer of a model, with a pad token, and texts as flat arrays of token ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from categorize.connection import answer_of_hub, from_cache_where_unreachable, missing_model, one_line
from categorize.errors import UserError
from categorize.predictions import BoolArray, IntArray

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

# Tokens that published decoders reserve and never write, so that padding with one hides nothing.
RESERVED_PAD_TOKENS = (
    "<|finetune_right_pad_id|>",
    "<|pad|>",
    "<pad>",
    "[PAD]",
    "<|endoftext|>",
    "<|reserved_special_token_0|>",
)
CHUNK = 2048


def load_tokenizer(
    name_or_path: str, revision: str | None = None, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """The model's own tokenizer, padding and truncating on the right.

    Raises:
        UserError: neither a folder with a tokenizer nor a Hub id that can be reached.
    """
    from transformers import AutoTokenizer

    with loading(name_or_path, "a tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(name_or_path, revision=revision, trust_remote_code=trust_remote_code)
    tokenizer.padding_side = "right"
    tokenizer.truncation_side = "right"
    return tokenizer


def check_folder(name_or_path: str) -> None:
    """Raises UserError for what can only be a folder, not an id of the Hub, and is not there."""
    looks_local = name_or_path.startswith((".", "/", "~")) or name_or_path.count("/") > 1
    if looks_local and not Path(name_or_path).is_dir():
        raise UserError(f"{name_or_path}: no such model folder; give a folder that exists or a Hub id (owner/name)")


@contextmanager
def loading(name_or_path: str, what: str) -> Iterator[None]:
    """Context in which a model that cannot be found or read becomes a one-line error that names it.

    A model of the Hub comes from the local cache where the Hub cannot be reached.
    """
    path = Path(name_or_path)
    check_folder(name_or_path)
    with nullcontext() if path.is_dir() else from_cache_where_unreachable() as trouble:
        try:
            yield
        except ImportError as error:
            raise UserError(f"{name_or_path}: cannot load {what}: {one_line(error)}") from error
        except (OSError, ValueError, KeyError) as error:
            if what == "the model" and (path / "adapter_config.json").is_file():
                raise UserError(
                    f"{name_or_path}: holds an adapter, which is not a model by itself; train on its base, or merge it "
                    f"with --merge and name the merged run"
                ) from error
            if trouble is not None and isinstance(error, OSError):
                raise missing_model(name_or_path, trouble) from error
            raise UserError(
                f"{name_or_path}: cannot load {what}: {answer_of_hub(error) or one_line(error)} (check the spelling, "
                f"the network or HF_TOKEN, or give a folder)"
            ) from error


def ensure_pad_token(tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig) -> None:
    """Give tokenizer and model config one and the same pad token.

    A reserved token is preferred; the unknown token comes next; the end token last, because a model that pools the last
    token that is not a pad would then skip an end token of the text. The vocabulary is never enlarged.

    Raises:
        UserError: the tokenizer has no token that could pad.
    """
    if tokenizer.pad_token_id is None:
        vocabulary = tokenizer.get_vocab()
        reserved = next(
            (token for token in RESERVED_PAD_TOKENS if token in vocabulary and token != tokenizer.eos_token), None
        )
        token = reserved or tokenizer.unk_token or tokenizer.eos_token
        if token is None:
            raise UserError(
                f"{tokenizer.name_or_path}: the tokenizer has no pad, unknown or end token to pad batches with; "
                f"add a pad_token to its files"
            )
        tokenizer.pad_token = token
    text_config = config.get_text_config()
    for part in {id(config): config, id(text_config): text_config}.values():
        part.pad_token_id = tokenizer.pad_token_id


@dataclass(frozen=True)
class TokenizedTexts:
    """Token ids of n texts in one flat array: text i is `flat[offsets[i]:offsets[i + 1]]`.

    Attributes:
        flat: int32 [tokens].
        offsets: int64 [n + 1].
        cut: bool [n], whether a text was cut.
    """

    flat: npt.NDArray[np.int32]
    offsets: IntArray
    cut: BoolArray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> npt.NDArray[np.int32]:
        return self.flat[self.offsets[i] : self.offsets[i + 1]]

    @property
    def lengths(self) -> IntArray:
        """Tokens of each text, int64 [n]."""
        return np.diff(self.offsets)

    @property
    def truncated(self) -> int:
        """Number of texts that were cut."""
        return int(self.cut.sum())

    def take(self, at: IntArray) -> TokenizedTexts:
        """The texts at these places."""
        return TokenizedTexts.from_lists([self[int(i)].tolist() for i in at], self.cut[at].tolist())

    @classmethod
    def from_lists(cls, lists: Sequence[Sequence[int]], cut: Sequence[bool] | None = None) -> TokenizedTexts:
        """The same texts, flat; none was cut unless `cut` says so."""
        offsets = np.zeros(len(lists) + 1, dtype=np.int64)
        np.cumsum([len(ids) for ids in lists], out=offsets[1:])
        flat = np.fromiter((token for ids in lists for token in ids), dtype=np.int32, count=int(offsets[-1]))
        return cls(flat, offsets, np.array(cut if cut is not None else [False] * len(lists), dtype=bool))


def tokenize(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int) -> TokenizedTexts:
    """Token ids with special tokens, cut to `max_length`; a text that spells a special token is read as plain
    characters. A text without any token, as an empty one is where the tokenizer adds none, is read as an end token: a
    model cannot read nothing."""
    ends = (tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.unk_token_id, tokenizer.pad_token_id)
    nothing = [next((int(token) for token in ends if token is not None), 0)]
    lists: list[list[int]] = []
    cut: list[bool] = []
    ids_alone = {"return_attention_mask": False, "return_token_type_ids": False}
    for start in range(0, len(texts), CHUNK):
        chunk = list(texts[start : start + CHUNK])
        encoding = tokenizer(chunk, truncation=True, max_length=max_length, split_special_tokens=True, **ids_alone)
        lists.extend(ids or nothing for ids in encoding["input_ids"])
        if encoding.is_fast:
            cut += [bool(one.overflowing) for one in encoding.encodings]
        else:
            whole = tokenizer(chunk, split_special_tokens=True, **ids_alone)["input_ids"]
            cut += [len(ids) > max_length for ids in whole]
    return TokenizedTexts.from_lists(lists, cut)


def pad(
    lists: Sequence[Sequence[int] | npt.NDArray[np.int32]], pad_token_id: int, multiple: int = 1, side: str = "right"
) -> dict[str, Any]:
    """`input_ids` and `attention_mask`, torch int64 [n, longest], padded on one side to a multiple."""
    import torch

    longest = max(len(ids) for ids in lists)
    width = -(-longest // multiple) * multiple
    input_ids = np.full((len(lists), width), pad_token_id, dtype=np.int64)
    mask = np.zeros((len(lists), width), dtype=np.int64)
    for i, ids in enumerate(lists):
        at = slice(width - len(ids), width) if side == "left" else slice(len(ids))
        input_ids[i, at], mask[i, at] = ids, 1
    return {"input_ids": torch.from_numpy(input_ids), "attention_mask": torch.from_numpy(mask)}


def clamp_length(max_length: int, config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> int:
    """The longest input that the model's positions allow, at most `max_length`."""
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    limits = [max_length]
    if isinstance(positions, int) and positions > 0 and not getattr(config, "relative_attention", False):
        # RoBERTa counts positions from behind the padding token's id.
        offset = (
            config.pad_token_id + 1 if config.model_type in ("roberta", "xlm-roberta", "camembert", "longformer") else 0
        )
        limits.append(positions - (offset if offset else 0))
    if tokenizer.model_max_length and tokenizer.model_max_length < 10**6:
        limits.append(int(tokenizer.model_max_length))
    return max(1, min(limits))
