"""Tiny random models of real architectures, saved as checkpoints that the real loading code reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

WORDS = [
    *"abcdefghijklmnopqrstuvwxyz0123456789",
    *"好不看喜欢讨厌这个视频真的太了我你他她是吗啊哈",
    "good",
    "bad",
    "fine",
    "movie",
    "text",
    "label",
]
ENCODERS = ("bert", "roberta", "distilbert", "deberta", "modernbert", "longformer", "bigbird", "t5", "bart")
DECODERS = ("qwen2", "qwen3", "llama", "mistral", "gemma")
ARCHITECTURES = ENCODERS + DECODERS
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build_wordpiece(folder: Path, pad: str | None = "[PAD]") -> None:
    """A word-level tokenizer with BERT's special tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: i for i, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        bos_token="[CLS]",
        eos_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=128,
    ).save_pretrained(folder)


def build_byte_level(
    folder: Path,
    pad: str | None = "<|pad|>",
    chat: bool = False,
    corpus: Sequence[str] = (),
    vocabulary: int = 1000,
) -> None:
    """A byte-level tokenizer as decoders have: every text is representable, and there is an end token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *([pad] if pad else [])]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({symbol: i for i, symbol in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if corpus:
        trainer = trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=alphabet, show_progress=False)
        tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.add_special_tokens(special)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|endoftext|>",
        pad_token=pad,
        model_max_length=512 if not corpus else 8192,
    )
    wrapped.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    if chat:
        wrapped.chat_template = CHATML
    wrapped.save_pretrained(folder)


def tiny_config(architecture: str, vocabulary: int, pad: int | None, eos: int, width: int = 32) -> Any:
    """A config of the architecture: two layers, 32 wide, no dropout, so that outputs can be compared exactly.

    Blocks of 4-bit weights are 64 wide: `width` 64 can be quantized.
    """
    import transformers as t

    inner = 48 if width == 32 else 2 * width

    narrow = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": inner,
    }
    calm = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "pad_token_id": pad}
    decoder = {
        **narrow,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "pad_token_id": pad,
        "eos_token_id": eos,
        "bos_token_id": eos,
    }
    if architecture == "bert":
        return t.BertConfig(**narrow, **calm, max_position_embeddings=128)
    if architecture == "roberta":
        return t.RobertaConfig(**narrow, **calm, max_position_embeddings=132, type_vocab_size=1)
    if architecture == "longformer":
        return t.LongformerConfig(
            **narrow, **calm, max_position_embeddings=132, type_vocab_size=1, attention_window=8, sep_token_id=3
        )
    if architecture == "bigbird":
        return t.BigBirdConfig(
            **narrow,
            **calm,
            max_position_embeddings=128,
            attention_type="block_sparse",
            block_size=4,
            num_random_blocks=1,
            classifier_dropout=0.0,
        )
    if architecture == "distilbert":
        return t.DistilBertConfig(
            vocab_size=vocabulary,
            dim=width,
            n_layers=2,
            n_heads=4,
            hidden_dim=inner,
            dropout=0.0,
            attention_dropout=0.0,
            seq_classif_dropout=0.0,
            pad_token_id=pad,
            max_position_embeddings=128,
        )
    if architecture == "deberta":
        return t.DebertaV2Config(
            **narrow,
            **calm,
            max_position_embeddings=128,
            relative_attention=True,
            pos_att_type=["p2c", "c2p"],
            position_buckets=16,
            norm_rel_ebd="layer_norm",
            share_att_key=True,
            pooler_hidden_size=width,
            pooler_dropout=0.0,
        )
    if architecture == "modernbert":
        return t.ModernBertConfig(
            **narrow,
            pad_token_id=pad,
            eos_token_id=eos,
            bos_token_id=2,
            cls_token_id=2,
            sep_token_id=3,
            local_attention=16,
            max_position_embeddings=128,
            attention_dropout=0.0,
            mlp_dropout=0.0,
            embedding_dropout=0.0,
            classifier_dropout=0.0,
        )
    if architecture == "t5":
        return t.T5Config(
            vocab_size=vocabulary,
            d_model=width,
            d_kv=width // 4,
            d_ff=inner,
            num_layers=2,
            num_heads=4,
            dropout_rate=0.0,
            classifier_dropout=0.0,
            pad_token_id=pad,
            eos_token_id=eos,
            decoder_start_token_id=pad,
        )
    if architecture == "bart":
        return t.BartConfig(
            vocab_size=vocabulary,
            d_model=width,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=inner,
            decoder_ffn_dim=inner,
            dropout=0.0,
            max_position_embeddings=128,
            pad_token_id=pad,
            eos_token_id=eos,
            bos_token_id=2,
            decoder_start_token_id=eos,
            forced_eos_token_id=eos,
        )
    kinds = {
        "qwen2": t.Qwen2Config,
        "qwen3": t.Qwen3Config,
        "llama": t.LlamaConfig,
        "mistral": t.MistralConfig,
        "gemma": t.GemmaConfig,
    }
    extra = {"head_dim": width // 4} if architecture in ("qwen3", "gemma") else {}
    return kinds[architecture](**decoder, **extra, attention_dropout=0.0)


def build_tiny(
    folder: Path,
    architecture: str,
    *,
    pad: bool = True,
    seed: int = 0,
    chat: bool = False,
    width: int = 32,
    window: int | None = None,
    scale: int = 1,
    corpus: Sequence[str] = (),
) -> Path:
    """Save a checkpoint as a hub holds it: a language model (or bare encoder) without any classification head.

    Args:
        width: of the hidden states; 64 for a model that is to be quantized.
        window: of sliding attention, for architectures that have it.
        corpus: texts that a decoder's tokenizer learns merges from; prompts are then as short as real ones.
        scale: of the matrices; behind a frozen random output layer only large ones can be sure of an answer.
    """
    import torch
    import transformers as t

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    if architecture in DECODERS:
        build_byte_level(folder, "<|pad|>" if pad else None, chat, corpus)
    else:
        build_wordpiece(folder, "[PAD]" if pad else None)
    tokenizer = t.AutoTokenizer.from_pretrained(folder)
    config = tiny_config(architecture, len(tokenizer), tokenizer.pad_token_id, tokenizer.eos_token_id, width)
    if corpus and architecture in DECODERS:
        config.max_position_embeddings = 8192
    if window is not None:
        config.sliding_window = window
    if architecture in DECODERS:
        model = t.AutoModelForCausalLM.from_config(config)
    elif architecture in ("t5", "bart"):
        model = t.AutoModelForSeq2SeqLM.from_config(config)
    else:
        model = t.AutoModelForMaskedLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if scale != 1 and parameter.ndim > 1:
                parameter *= scale
    model.save_pretrained(folder)
    return folder
