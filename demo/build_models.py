"""Build the demo's two tiny models from the sample's text, on the CPU and without a network.

    python -m demo.build_models [--output demo/models] [--force]

Writes `encoder/` (BERT, pretrained by masked language modelling) and `decoder/` (Qwen2, pretrained by next-token
prediction), each with a tokenizer trained on the same text, loadable by the `Auto*` classes of transformers. They stand
in for the checkpoints that a real recipe names: everything after "load the pretrained model" is the real thing.

Only the `message` column is read. Neither the class nor the division into splits is seen here, so that a head trained
on these models learns the task from its training rows alone. (The test rows' texts, without their classes, are part of
the pretraining text, as the text of a published benchmark is of many a published checkpoint.)

A build is skipped if one from the same text and the same code is there; a new one replaces it only when it is complete.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from demo.pretraining import PretrainingResult, PretrainingSettings, masked_objective, next_token_objective, pretrain

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DEMO = Path(__file__).parent
DEFAULT_OUTPUT = DEMO / "models"
SAMPLE = DEMO / "comments.xlsx"
MARK = "build.json"  # written last: a folder without it is no build of ours
SEED = 13
LABEL_NAMES = ("Positive", "Mild", "Negative", "Irrelevant")

ENCODER_SIZE = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 384}
ENCODER_VOCABULARY = 2000
ENCODER_PRETRAINING = PretrainingSettings(epochs=7, learning_rate=2e-3, batch_tokens=1024)

DECODER_SIZE = {
    "hidden_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 384,
}
DECODER_VOCABULARY = 2500
DECODER_PRETRAINING = PretrainingSettings(epochs=6, learning_rate=3e-3, batch_tokens=1024)
INSTRUCTION_TEXTS = 160

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def read_messages(path: Path) -> list[str]:
    """The distinct messages of the sheet at `path`, in its order. Reads no other column."""
    from python_calamine import CalamineWorkbook

    header, *rows = CalamineWorkbook.from_path(path).get_sheet_by_index(0).to_python()
    column = header.index("message")
    return list(dict.fromkeys(str(row[column]).strip() for row in rows))


def instruction_texts(messages: Sequence[str], rng: random.Random) -> list[list[dict[str, str]]]:
    """Conversations that show a prompt's shape and the label names, but no answer to the task.

    In one kind the user names the word to say and the assistant says it; in the other a comment is quoted and stays
    without an answer. No text holds both a comment and a label said of it.
    """
    names = ", ".join(LABEL_NAMES)
    conversations: list[list[dict[str, str]]] = []
    for index in range(INSTRUCTION_TEXTS):
        message, name = rng.choice(messages), rng.choice(LABEL_NAMES)
        if index % 2:
            question = rng.choice(
                (f"Answer with the label {name}.", f"The label is {name}. Repeat the label.", f"请回答：{name}")
            )
            conversations.append([{"role": "user", "content": question}, {"role": "assistant", "content": name}])
        else:
            system = rng.choice(
                (
                    f"Classify the comment. Answer with one label: {names}.",
                    f"Sort the text into one of these categories: {names}. Answer with the label only.",
                    f"判断评论对视频中女性的态度，只回答标签：{names}",
                )
            )
            content = rng.choice(("{}", "Comment: {}", "Text: {}\nLabel:", "评论：{}")).format(message)
            conversations.append([{"role": "system", "content": system}, {"role": "user", "content": content}])
    return conversations


def build_encoder(
    messages: Sequence[str],
    output: Path,
    size: dict[str, int] = ENCODER_SIZE,
    settings: PretrainingSettings = ENCODER_PRETRAINING,
) -> PretrainingResult:
    """Train a WordPiece tokenizer (a Chinese character is a token) and a BERT; save both in `output`."""
    import torch
    from transformers import BertConfig, BertForMaskedLM

    tokenizer = _encoder_tokenizer(messages)
    torch.manual_seed(SEED)
    model = BertForMaskedLM(
        BertConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=128,
            pad_token_id=tokenizer.pad_token_id,
            # Models this small, trained this briefly, underfit: with the usual 0.1 a head learns far more slowly.
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            **size,
        )
    )
    result = pretrain(
        model,
        tokenizer(list(messages), truncation=True, max_length=128)["input_ids"],
        masked_objective(tokenizer.mask_token_id, tokenizer.all_special_ids, len(tokenizer)),
        settings,
        pad_id=tokenizer.pad_token_id,
        seed=SEED,
        progress=lambda line: print(f"encoder  {line}", flush=True),
    )
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    return result


def build_decoder(
    messages: Sequence[str],
    output: Path,
    size: dict[str, int] = DECODER_SIZE,
    settings: PretrainingSettings = DECODER_PRETRAINING,
) -> PretrainingResult:
    """Train a byte-level BPE tokenizer with a chat template and a Qwen2; save both in `output`. Pad and end differ."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    conversations = instruction_texts(messages, random.Random(SEED))
    plain = [turn["content"] for conversation in conversations for turn in conversation]
    tokenizer = _decoder_tokenizer([*messages, *plain])
    rendered = [tokenizer.apply_chat_template(conversation, tokenize=False) for conversation in conversations]
    texts = [f"{message}{tokenizer.eos_token}" for message in messages] + rendered
    torch.manual_seed(SEED)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            **size,
        )
    )
    result = pretrain(
        model,
        tokenizer(texts)["input_ids"],
        next_token_objective(),
        settings,
        pad_id=tokenizer.pad_token_id,
        seed=SEED,
        progress=lambda line: print(f"decoder  {line}", flush=True),
    )
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    return result


def _encoder_tokenizer(texts: Sequence[str]) -> PreTrainedTokenizerBase:
    from tokenizers import Tokenizer, models, trainers
    from transformers import BertTokenizer

    # The class's own normalizer and splitter, so that what `AutoTokenizer` rebuilds cuts texts as this one does.
    untrained = BertTokenizer().backend_tokenizer
    core = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    core.normalizer, core.pre_tokenizer = untrained.normalizer, untrained.pre_tokenizer
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    # The trainer numbers inner characters in an order of chance, which decides between equally frequent merges: named
    # beforehand they get the same numbers each time, and the demo the same vocabulary.
    words = (
        word for text in texts for word, _ in core.pre_tokenizer.pre_tokenize_str(core.normalizer.normalize_str(text))
    )
    inner = sorted({f"##{character}" for word in words for character in word[1:]})
    core.train_from_iterator(
        texts,
        trainers.WordPieceTrainer(
            vocab_size=ENCODER_VOCABULARY, special_tokens=[*special, *inner], show_progress=False
        ),
    )
    return BertTokenizer(vocab=core.get_vocab(), model_max_length=128)


def _decoder_tokenizer(texts: Sequence[str]) -> PreTrainedTokenizerBase:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
    from transformers import Qwen2Tokenizer

    untrained = Qwen2Tokenizer().backend_tokenizer
    core = Tokenizer(models.BPE())
    core.normalizer = untrained.normalizer
    # Merges are learned within one Chinese character: a comment has no spaces, and whole phrases as tokens would be too
    # rare to learn. UTF-8 keeps these merges from joining two characters where the class's splitter cuts no further.
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"\p{Han}"), behavior="isolated"), untrained.pre_tokenizer]
    )
    core.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=DECODER_VOCABULARY,
            special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    trained = json.loads(core.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=trained["vocab"],
        merges=[tuple(pair) for pair in trained["merges"]],
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=["<|im_start|>"],
        model_max_length=1024,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def fingerprint(messages: Sequence[str]) -> str:
    """A hash of the text and of this code with its settings: equal means that a build is current."""
    digest = hashlib.sha256()
    for source in ("build_models.py", "pretraining.py"):
        digest.update((DEMO / source).read_bytes())
    digest.update("\n".join(messages).encode())
    return digest.hexdigest()


def is_current(output: Path, expected: str) -> bool:
    """Whether `output` holds a complete build with the fingerprint `expected`."""
    try:
        mark = json.loads((output / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(mark, dict) and mark.get("fingerprint") == expected


def build(output: Path, force: bool = False) -> None:
    """Build both models into `output`, or say that they are there.

    Raises:
        SystemExit: `output` holds something that is not a build of this script, or the sample is missing.
    """
    if not SAMPLE.is_file():
        raise SystemExit(f"{SAMPLE}: no such file; write it with: python -m demo.generate")
    if output.is_file() or (output.is_dir() and any(output.iterdir()) and not (output / MARK).is_file()):
        raise SystemExit(f"{output}: holds something else than the demo's models; name another folder with --output")
    messages = read_messages(SAMPLE)
    expected = fingerprint(messages)
    if not force and is_current(output, expected):
        print(f"{output}: up to date (--force rebuilds)")
        return
    started = time.perf_counter()
    print(f"building two tiny models from {len(messages)} texts", flush=True)
    incomplete = output.with_name(f"{output.name}.incomplete")
    shutil.rmtree(incomplete, ignore_errors=True)
    # Side by side: matrices this small gain little from a second thread, two processes use two cores in full.
    with ProcessPoolExecutor(max_workers=2, mp_context=get_context("spawn")) as pool:
        jobs = {name: pool.submit(_build_one, name, messages, incomplete / name) for name in ("encoder", "decoder")}
        results = {name: job.result() for name, job in jobs.items()}
    mark = {"fingerprint": expected, "models": {name: asdict(result) for name, result in results.items()}}
    (incomplete / MARK).write_text(json.dumps(mark, indent=2) + "\n", encoding="utf-8")
    if output.exists():
        shutil.rmtree(output)
    incomplete.rename(output)
    for name, result in results.items():
        print(
            f"{output / name}: {result.parameters / 1e6:.2f} M parameters, {result.steps} steps, "
            f"loss {result.loss_before:.2f} -> {result.loss_after:.2f}, {result.seconds:.0f} s"
        )
    print(f"built in {time.perf_counter() - started:.0f} s")


def _build_one(name: str, messages: Sequence[str], output: Path) -> PretrainingResult:
    """One model, in a process of its own with its share of the cores."""
    # DeepSpeed, which transformers imports on saving where it is installed, would otherwise look for a GPU and say so.
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    import torch
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))
    return build_encoder(messages, output) if name == "encoder" else build_decoder(messages, output)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Build the demo's tiny encoder and decoder from the sample's text.")
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, help="the folder to write")
    parser.add_argument("--force", action="store_true", help="rebuild even if an up-to-date build is there")
    arguments = parser.parse_args()
    build(arguments.output, arguments.force)


if __name__ == "__main__":
    sys.exit(main())
