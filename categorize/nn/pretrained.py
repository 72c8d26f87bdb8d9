"""A model and its tokenizer as transformers loads them, and what is always done to them."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from categorize.errors import UserError
from categorize.nn.adapters import changes_base, load_adapter
from categorize.nn.console import quiet_libraries
from categorize.nn.quantization import build_quantization, keep_layout
from categorize.nn.sharding import prepare_for_fsdp
from categorize.nn.shared_bases import let_unused_bases_go, load_base
from categorize.nn.tokenizer import ensure_pad_token, load_tokenizer, loading
from categorize.recipe.adapter_sections import QuantizationSection

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ModelSettings:
    """What a trained model needs beside weights; a JSON file of its run.

    Attributes:
        max_length: longest input in tokens.
        base, base_revision: the model that an adapter belongs to, None for full weights.
        dtype: type in which the base was loaded.
        quantization: keys of `BitsAndBytesConfig`, None where the weights are whole.
    """

    max_length: int
    base: str | None = None
    base_revision: str | None = None
    dtype: str = "float32"
    quantization: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def load_pretrained(
    auto: Any,
    name_or_path: str,
    *,
    revision: str | None = None,
    dtype: torch.dtype | str = "auto",
    attn_implementation: str | None = None,
    quantization: QuantizationSection | None = None,
    skip: Sequence[str] = (),
    trust_remote_code: bool = False,
    configure: Callable[[Any], None] = lambda config: None,
    check: Callable[[Any, Any], object] = lambda tokenizer, config: None,
    **options: Any,
) -> tuple[Any, Any, dict[str, Any]]:
    """Model, tokenizer, with a pad token that both know, and what transformers tells of the loading.

    Args:
        auto: the class that loads the model.
        skip: modules that are not quantized.
        configure: changes the config before the model is made of it.
        check: raises UserError for a tokenizer and a config that cannot be used; weights are read after it.
        options: of `from_pretrained`.

    Raises:
        UserError: the model cannot be found or read.
    """
    from transformers import AutoConfig

    quiet_libraries()
    if quantization is not None:
        options["quantization_config"] = build_quantization(quantization, skip)
    if attn_implementation is not None:
        options["attn_implementation"] = attn_implementation
    with loading(name_or_path, "the model"):
        tokenizer = load_tokenizer(name_or_path, revision, trust_remote_code)
        of_hub = {"revision": revision, "trust_remote_code": trust_remote_code}
        config = AutoConfig.from_pretrained(name_or_path, **of_hub)
        configure(config)
        ensure_pad_token(tokenizer, config)
        check(tokenizer, config)
        let_unused_bases_go()
        model, told = auto.from_pretrained(
            name_or_path, config=config, dtype=dtype, output_loading_info=True, **of_hub, **options
        )
    keep_layout(model)
    keep_sparse_attention(model)
    prepare_for_fsdp(model)
    return model, tokenizer, told


def restore(model: Any, name: str, name_or_path: str, keys: Collection[str], revision: str | None = None) -> bool:
    """Fill a module that transformers does not know from the weights of a checkpoint; whether they hold it.

    Args:
        keys: of the weights that found no place when the model was loaded.
    """
    held = [key for key in keys if key.startswith(f"{name}.")]
    if not held:
        return False
    stored = stored_weights(name_or_path, held, revision)
    model.get_submodule(name).load_state_dict({key.removeprefix(f"{name}."): stored[key] for key in held})
    return True


def stored_weights(name_or_path: str, keys: Collection[str], revision: str | None = None) -> dict[str, torch.Tensor]:
    """Single weights of a checkpoint, in a folder or on the Hub, by their keys.

    Raises:
        UserError: they are not in the format of safetensors.
    """
    from safetensors import safe_open
    from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file

    def find(name: str) -> str | None:
        found: str | None = cached_file(
            name_or_path, name, revision=revision, _raise_exceptions_for_missing_entries=False
        )
        return found

    with loading(name_or_path, "the weights"):
        index = find(SAFE_WEIGHTS_INDEX_NAME)
        place = json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"] if index else {}
        stored = {}
        for key in keys:
            file = find(place.get(key, SAFE_WEIGHTS_NAME))
            if file is None:
                raise UserError(
                    f"{name_or_path}: {key} is not in a safetensors file; load the model with transformers and save it "
                    "with save_pretrained"
                )
            with safe_open(file, "pt") as weights:
                stored[key] = weights.get_tensor(key)
    return stored


def keep_sparse_attention(model: Any) -> None:
    """Let every batch of a BigBird model choose its attention anew.

    A batch that is too short for block-sparse attention switches the model to full attention for good: what a text is
    given then depends on the batches before it, and long batches take the memory that they were to save. Before each
    pass the model goes back to the attention of its configuration. Other models are left alone.
    """
    if model.config.model_type != "big_bird" or model.config.attention_type != "block_sparse":
        return

    def restore(module: Any, _: Any) -> None:
        module.set_attention_type("block_sparse")

    model.base_model.register_forward_pre_hook(restore)


def load_trained(
    load: Callable[..., Any],
    folder: str,
    settings: ModelSettings,
    base: str | None,
    trust_remote_code: bool,
    *,
    shares: bool = True,
    **reading: Any,
) -> Any:
    """What `load` makes of the weights that a run left in `folder`: full ones, or its adapter on its base, which
    several runs may share (see `nn.shared_bases`).

    Args:
        load: takes a name, `reading` and options of `load_pretrained`, and gives something with `model` and
            `tokenizer`.
        base: where the base of an adapter is now, if not where it was in training.
        shares: whether a copy of the model's modules computes with their own parts alone, as those of transformers do.
    """
    import torch

    dtype = getattr(torch, settings.dtype) if settings.dtype != "auto" else "auto"
    options: dict[str, Any] = {"dtype": dtype, "trust_remote_code": trust_remote_code}
    if settings.base is None:
        return load(folder, **reading, **options)
    if settings.quantization is not None:
        options["quantization"] = QuantizationSection(**settings.quantization)
    options["revision"] = None if base else settings.base_revision
    name = base or settings.base
    if shares and not trust_remote_code and not changes_base(folder):
        loaded = load_base(load, reading, name, options)
    else:
        loaded = load(name, **reading, **options)
    with loading(folder, "the adapter"):
        loaded.tokenizer = load_tokenizer(folder, trust_remote_code=trust_remote_code)
        loaded.model = load_adapter(loaded.model, folder)
    return loaded
