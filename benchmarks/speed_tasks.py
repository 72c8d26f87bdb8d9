"""What `speed.py` measures on: generated texts, models of one size for both sides, runs, and prompts as token ids."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from results import ROOT
from trainings import RECIPES, model_folder, override

from categorize.errors import UserError
from categorize.runs.folder import is_run

WORK = ROOT / "outputs" / "benchmarks" / "speed"
LABELS, INTENTS = 22, 77
TELLING = 30  # words that belong to a label
SHORT = (2.12, 0.72, 60)  # mean and deviation of the logarithm of a text's words, and most words: comments
QUESTIONS = (2.51, 0.49, 96)  # the same as Banking77's training rows have them
PREFIX, ROW_WORDS = 300, 7  # tokens of the instruction; words of a row, which is 15 tokens with its chat template
DECODER = {
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "intermediate_size": 1536,
    "max_position_embeddings": 4096,
    "vocab_size": 32_000,
}
SYLLABLES = [first + vowel + last for first in "bdfgklmnprst" for vowel in "aeiou" for last in ("", "n", "r", "s")]


# ---------------------------------------------------------------- texts
@lru_cache
def encoder_words() -> list[str]:
    """Words that are one token each to the encoder."""
    from transformers import AutoTokenizer

    vocabulary = AutoTokenizer.from_pretrained(model_folder()).get_vocab()
    return sorted(word for word in vocabulary if word.isascii() and word.isalpha() and word.islower() and len(word) > 2)


def texts(count: int, shape: tuple[float, float, int], seed: int, words: Sequence[str] | None = None) -> list[str]:
    """Distinct texts whose numbers of words have a logarithm of this mean and deviation, up to the most words.

    Without words of their own, the first word and every second one belongs to the text's label, which goes round: a
    head that learned nothing has ties everywhere, and any rounding would change its labels.
    """
    generator = np.random.default_rng(seed)
    telling = encoder_words()[:: len(encoder_words()) // (LABELS * TELLING)] if words is None else []
    words = words or encoder_words()
    mean, deviation, most = shape
    found: dict[str, None] = {}
    while len(found) < count:
        length = int(np.clip(round(float(np.exp(generator.normal(mean, deviation)))), 1, most))
        text = [words[i] for i in generator.integers(len(words), size=length)]
        if telling:
            own = telling[len(found) % LABELS :: LABELS]
            text[::2] = [own[i] for i in generator.integers(len(own), size=len(text[::2]))]
        found[" ".join(text)] = None
    return list(found)


def with_repeats(distinct: Sequence[str], seed: int = 3) -> list[str]:
    """As many rows, half of them repeats of the other half, a few texts most often, as under a popular video."""
    half = len(distinct) // 2
    generator = np.random.default_rng(seed)
    repeated = np.minimum(generator.zipf(1.3, size=len(distinct) - half) - 1, half - 1)
    rows = [*distinct[:half], *(distinct[i] for i in repeated)]
    return [rows[i] for i in generator.permutation(len(rows))]


def write_rows(name: str, rows: Sequence[str], labels: int) -> Path:
    """A file with the rows, each with a label."""
    path = WORK / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "label"])
        writer.writerows([f"r{i}", text, f"label {i % labels}"] for i, text in enumerate(rows))
    return path


def head_run() -> Path:
    """A run of MiniLM's size with a head of 22 labels, which stock transformers reads; trained until it tells them."""
    rows = write_rows("head_train", texts(120 * LABELS, SHORT, seed=1), LABELS)
    test = write_rows("head_test", texts(10 * LABELS, SHORT, seed=2), LABELS)
    learns = ["training.num_train_epochs=3", "training.learning_rate=2e-4"]
    return trained("run_seqcls.py", "speed_head", "head_trained", source(rows, test), training_model(), learns)


def training_model() -> list[str]:
    """Override that names the encoder."""
    return [override("model.name_or_path", str(model_folder()))]


def source(train: Path, test: Path) -> list[str]:
    """Override that names the rows."""
    return [override("data.source", {"train": str(train), "test": str(test)})]


def trained(script: str, recipe: str, name: str, *overrides: Sequence[str]) -> Path:
    """A run of this recipe, trained unless it is there.

    Raises:
        UserError: the script failed.
    """
    folder = WORK / name
    if not is_run(folder):
        words = [word for part in overrides for word in part]
        words += [f"output_dir={folder}", "--overwrite"]
        command = [sys.executable, script, str(RECIPES / f"{recipe}.yaml"), *words]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment(1))
        if done.returncode:
            raise UserError(f"{script} {recipe}: {(done.stderr or done.stdout)[-1500:]}")
    return folder


def environment(threads: int) -> dict[str, str]:
    """Of every child: the same threads for both sides, nothing from the network."""
    several = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")}
    tokenizers = {"TOKENIZERS_PARALLELISM": "true" if threads > 1 else "false"}
    mine = {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return {**os.environ, **several, **tokenizers, **mine}


# ---------------------------------------------------------------- a decoder and its prompts
def decoder_words(count: int = 2000) -> list[str]:
    """Generated words of three syllables."""
    generator = np.random.default_rng(5)
    return ["".join(SYLLABLES[i] for i in generator.integers(len(SYLLABLES), size=3)) for _ in range(count)]


def decoder() -> Path:
    """A random Qwen2 of 6 x 384 with a vocabulary of 32,000, and its byte-level tokenizer with pairs of letters."""
    import transformers

    from tests.tiny_models import build_byte_level

    folder = WORK / "decoder"
    if not (folder / "model.safetensors").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
        pairs = [f"{a}{b}" for a in letters for b in letters]
        build_byte_level(
            folder, chat=True, corpus=[*(" ".join(decoder_words()) for _ in range(3)), *pairs * 20], vocabulary=8000
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
        transformers.set_seed(1)
        config = transformers.Qwen2Config(**DECODER, **ends)
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


def asked(prefix: int, labels: int) -> list[str]:
    """Overrides that give the decoder an instruction of so many tokens, and so many labels."""
    names = [f"label {i}" for i in range(labels)]
    section = {"completion": "codes", "system": system_text(prefix, labels)}
    return [
        override("model.name_or_path", str(decoder())),
        override("labels.names", names),
        override("prompt", section),
    ]


@lru_cache
def system_text(prefix: int, labels: int) -> str:
    """An instruction that makes the prompt's shared part so many tokens, or as few as there can be."""
    words, low, high = decoder_words(), 1, 2 * max(prefix, 1)
    while low < high:  # the most words that stay within the number
        middle = (low + high + 1) // 2
        many = (words * (1 + middle // len(words)))[:middle]
        low, high = (middle, high) if prompt_length(" ".join(many), labels) <= prefix else (low, middle - 1)
    return " ".join((words * (1 + low // len(words)))[:low])


def prompt_length(system: str, labels: int) -> int:
    """Tokens of the shared part."""
    return len(prompt_format(system, labels).prefix_ids)


def prompt_format(system: str, labels: int) -> Any:
    """The prompt as a run would have it."""
    from categorize.labels import LabelSet
    from categorize.prompts.tokens import PromptFormat
    from categorize.recipe.label_sections import LabelsSection
    from categorize.recipe.sections import PromptSection

    label_set = LabelSet.from_section(LabelsSection(names=[f"label {i}" for i in range(labels)]))
    section = PromptSection(completion="codes", system=system)
    return PromptFormat.from_section(section, label_set, _tokenizer(), 4096)


@lru_cache
def _tokenizer() -> Any:
    from categorize.nn.tokenizer import load_tokenizer

    return load_tokenizer(str(decoder()))


def decoder_rows(count: int, seed: int) -> list[str]:
    """Texts of which a row's own part of the prompt is about 15 tokens."""
    return texts(count, (float(np.log(ROW_WORDS)), 0.25, 3 * ROW_WORDS), seed, decoder_words())


def prompts(rows: Sequence[str], prefix: int, labels: int) -> dict[str, Any]:
    """The same prompts for peers: token ids of each row, of what shows each label, and the shared part's length."""
    asked_by = prompt_format(system_text(prefix, labels), labels)
    encoded = asked_by.encode_all(
        [{"text": text} for text in rows], gold=[[f"label {i % labels}"] for i in range(len(rows))]
    )
    codes = [asked_by.completions[name][0] for name in asked_by.label_set.names]
    return {
        "prompts": [list(one.prompt_ids) for one in encoded],
        "completions": [list(one.completion_ids) for one in encoded],
        "codes": [int(code) for code in codes],
        "prefix": len(asked_by.prefix_ids),
        "names": asked_by.label_set.names,
    }


def scorer_run(prefix: int = PREFIX, labels: int = LABELS) -> Path:
    """A run of the decoder that scores labels behind an instruction, with all weights trained for one step."""
    rows = write_rows(f"asked_{labels}", decoder_rows(2 * labels, seed=1), labels)
    name = f"scorer_{prefix}_{labels}"
    whole = ["adapter=null", "training.max_steps=1"]
    return trained("run_sft.py", "speed_sft", name, source(rows, rows), asked(prefix, labels), whole)


def write_job(name: str, job: dict[str, Any]) -> Path:
    """What a child is told."""
    path = WORK / "jobs" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(job), encoding="utf-8")
    return path
