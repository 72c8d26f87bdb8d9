"""Combinations of keys that cannot work, or would silently do nothing, refused before any weight is loaded.

Each check names the guilty key by file and line. Checks look at nodes, not at the typed recipe, so that they speak up
beside type errors, all at once.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Callable
from collections.abc import Mapping as AbstractMapping
from pathlib import Path

from categorize.recipe.adapter_checks import check_adapter_keys, check_quantization_keys
from categorize.recipe.decision_sections import ENGINES
from categorize.recipe.label_checks import (
    check_balance,
    check_completion,
    check_decision,
    check_descriptions,
    check_labels,
    check_loss,
    check_raters,
)
from categorize.recipe.labeling_checks import check_labeling
from categorize.recipe.nodes import Mapping, nearest_position
from categorize.recipe.problems import Problems
from categorize.recipe.segment_checks import check_segments
from categorize.recipe.template import check_templates
from categorize.recipe.wording import join, quote
from categorize.recipe.written import RecipeMethod, WrittenRecipe

PROMPT_LEARNING = ("prefix", "prompt", "p_tuning")


def check_compatibility(
    root: Mapping,
    problems: Problems,
    method: RecipeMethod | None = None,
    environment: AbstractMapping[str, str] | None = None,
) -> None:
    """Adds what cannot work to `problems`: in any recipe, and in one of its method.

    Args:
        method: of the recipe, None where it has none or names one that there is not.
        environment: tells of DeepSpeed's ZeRO stage; by default the process's.
    """
    recipe = WrittenRecipe(root, os.environ if environment is None else environment, problems, method)
    for check in (*CHECKS, *(method.checks if method is not None else ())):
        check(recipe)


# ---------------------------------------------------------------- quantization and adapters
def _quantization(recipe: WrittenRecipe) -> None:
    if recipe.true("quantization.load_in_4bit") and recipe.true("quantization.load_in_8bit"):
        recipe.refuse("quantization.load_in_8bit", "cannot go with load_in_4bit; keep one of them")
    if isinstance(recipe.value("quantization"), dict) and recipe.quantized is None:
        recipe.refuse(
            "quantization", "quantizes nothing; set load_in_4bit or load_in_8bit to true, or remove the section"
        )
    if recipe.quantized is None:
        return
    if not recipe.holds("adapter"):
        recipe.refuse(
            recipe.quantized,
            "quantized weights cannot be trained by themselves; add an adapter, such as adapter.type: lora",
        )
    if zero_stage(recipe.environment) == 3:
        message = "quantized weights do not work with DeepSpeed ZeRO-3; launch with deepspeed_zero2.yaml instead"
        recipe.refuse(recipe.quantized, message)


def _adapter(recipe: WrittenRecipe) -> None:
    if not recipe.holds("adapter"):
        return
    kind = recipe.value("adapter.type")
    if recipe.true("model.freeze"):
        recipe.refuse(
            "model.freeze", "cannot go with an adapter: a linear probe trains the head alone; remove one of them"
        )
    if kind in PROMPT_LEARNING and not recipe.holds("adapter.num_virtual_tokens"):
        recipe.refuse(
            "adapter.type", f"{kind} needs adapter.num_virtual_tokens, the length of what is learned, such as 20"
        )
    if kind == "prefix" and recipe.true("training.activation_checkpointing"):
        recipe.refuse(
            "training.activation_checkpointing",
            "crashes with adapter.type: prefix, whose cached keys it drops; set it to false, or use lora",
        )


def _retrieval(recipe: WrittenRecipe) -> None:
    retrieval, kind = "prompt.retrieval", recipe.value("kind")
    if not recipe.holds(retrieval):
        return
    if kind == "seqcls":
        recipe.refuse(retrieval, "chooses examples for models that are asked; remove it: a head learns from its rows")
    if recipe.value("prompt.shots"):
        recipe.refuse(retrieval, "chooses the examples, but prompt.shots names them; keep one")
    if recipe.holds("prediction.candidates"):
        recipe.refuse(retrieval, "shows examples of all labels, but prediction.candidates narrows them; keep one")
    if recipe.value("prompt.completion") == "yes_no":
        recipe.refuse(retrieval, "shows whole answers, but prompt.completion is yes_no; remove it")
    if recipe.value("data.segments.by", "document") != "document":
        recipe.refuse(retrieval, "would show whole documents as examples of segments; write prompt.shots")


def _attention(recipe: WrittenRecipe) -> None:
    implementation = recipe.value("model.attn_implementation")
    if isinstance(implementation, str) and "/" in implementation:
        recipe.refuse(
            "model.attn_implementation",
            f"{quote(implementation)} is code from the Hub; name a built-in one: eager, sdpa, flash_attention_2",
        )


# ---------------------------------------------------------------- training
def _precision(recipe: WrittenRecipe) -> None:
    if recipe.true("training.bf16") and recipe.true("training.fp16"):
        recipe.refuse("training.fp16", "cannot go with bf16; keep one of them")
    if recipe.true("training.fp16") and recipe.value("model.dtype") == "float16" and not recipe.holds("adapter"):
        recipe.refuse(
            "training.fp16", "scales the gradients of float32 weights, but model.dtype is float16; remove model.dtype"
        )


def _epochs(recipe: WrittenRecipe) -> None:
    epochs, steps = recipe.value("training.num_train_epochs"), recipe.value("training.max_steps")
    if isinstance(epochs, int | float) and epochs <= 0 and not (isinstance(steps, int) and steps > 0):
        recipe.refuse("training.num_train_epochs", f"expected a number above 0, found {epochs}")


def _without_effect(recipe: WrittenRecipe) -> None:
    """Keys that do nothing, or stop upstream, unless another is set."""
    workers = recipe.value("training.dataloader_num_workers", 0)
    for key in ("persistent_workers", "prefetch_factor", "multiprocessing_context"):
        if recipe.value(f"training.dataloader_{key}") and not workers:
            recipe.refuse(
                f"training.dataloader_{key}",
                "is for workers; set training.dataloader_num_workers above 0, or remove it",
            )
    evaluating = recipe.value("training.eval_strategy", "epoch")
    strategies = {"eval": evaluating, "save": recipe.value("training.save_strategy", evaluating)}
    for kind, strategy in strategies.items():
        if recipe.holds(f"training.{kind}_steps") and strategy != "steps":
            recipe.refuse(
                f"training.{kind}_steps",
                f"does nothing while training.{kind}_strategy is {strategy}; set that to steps, or remove it",
            )
    optimizer = str(recipe.value("training.optim", ""))
    if recipe.holds("training.optim_target_modules") and not optimizer.startswith(("galore", "apollo")):
        recipe.refuse("training.optim_target_modules", "is for the galore and apollo optimizers; remove it")
    recomputed = recipe.value("training.activation_checkpointing", recipe.value("kind") == "sft")
    for key, needed in (("liger_kernel_config", "use_liger_kernel"), ("activation_checkpointing_kwargs", None)):
        if recipe.holds(f"training.{key}") and not (recipe.true(f"training.{needed}") if needed else recomputed):
            other = needed or "activation_checkpointing"
            recipe.refuse(f"training.{key}", f"does nothing without training.{other}: true")


def _early_stopping(recipe: WrittenRecipe) -> None:
    never = recipe.value("training.eval_strategy") == "no"
    if recipe.holds("training.early_stopping"):
        if never:
            recipe.refuse(
                "training.early_stopping", "needs evaluations, but training.eval_strategy is no; write epoch or steps"
            )
        if recipe.lacks_validation:
            recipe.refuse("training.early_stopping", "needs validation rows, but data.splits.validation is 0")
    if recipe.true("training.load_best_model_at_end"):
        saving, evaluating = recipe.value("training.save_strategy"), recipe.value("training.eval_strategy")
        if never:
            recipe.refuse(
                "training.load_best_model_at_end",
                "needs evaluations, but training.eval_strategy is no; write epoch or steps",
            )
        elif saving not in (None, "best") and evaluating is not None and saving != evaluating:
            recipe.refuse(
                "training.save_strategy",
                f"{saving} and eval_strategy {evaluating} do not fit load_best_model_at_end; use one for both, or best",
            )


def _seeds(recipe: WrittenRecipe) -> None:
    seeds = recipe.value("seeds")
    if not isinstance(seeds, list) or not seeds:
        return
    if len(set(map(str, seeds))) < len(seeds):
        recipe.refuse("seeds", "names a seed twice, which would give the same run; keep it once")
    if recipe.holds("hub"):
        recipe.refuse("hub", "cannot go with seeds, whose runs would be pushed over each other; push one of them later")


def _hub(recipe: WrittenRecipe) -> None:
    if recipe.value("hub.weights") == "merged" and not recipe.holds("adapter"):
        recipe.refuse("hub.weights", "merged, but the recipe has no adapter that could be; remove it")
    if recipe.value("hub.checkpoints") is True and recipe.value("training.keep_checkpoints") is not True:
        recipe.refuse(
            "hub.checkpoints",
            "they are deleted when the run is finished, unless training.keep_checkpoints: true keeps them",
        )


def _unused(recipe: WrittenRecipe) -> None:
    """Sections and keys that the recipe's method does not read."""
    method = recipe.method
    if method is None:
        return
    wants = f"is not read by model.method {method.name}; remove it (write null where it is inherited)"
    for section in ("adapter", "quantization", "prompt", "training"):
        if section in method.uses or not recipe.holds(section):
            continue
        keys = [key.removeprefix(f"{section}.") for key in method.uses if key.startswith(f"{section}.")]
        if not keys:
            recipe.refuse(section, wants)
        elif isinstance(held := recipe.value(section), dict) and (others := [key for key in held if key not in keys]):
            recipe.refuse(section, f"{wants}: {', '.join(others)}")


def _engine(recipe: WrittenRecipe) -> None:
    """What does not compute what the recipe's method predicts."""
    engine, method = recipe.value("prediction.engine"), recipe.method
    if engine not in ENGINES or method is None:
        return
    if engine not in method.engines:
        way_out = f"write {join(method.engines, 'or')}, or remove it"
        recipe.refuse("prediction.engine", f"{engine} does not compute model.method {method.name}; {way_out}")
    elif engine != "torch" and recipe.quantized:
        recipe.refuse("prediction.engine", f"{engine} takes no quantized base; write torch, or remove it")


# ---------------------------------------------------------------- data
def _cleaning(recipe: WrittenRecipe) -> None:
    steps = recipe.value("data.cleaning")
    for i, item in enumerate(steps if isinstance(steps, list) else ()):
        key = ("data", "cleaning", i)
        if not isinstance(item, dict):
            continue
        if len(item) != 1:
            message = f"one step with its options an item, found {join(list(item), 'and') if item else 'none'}"
            recipe.problems.add(nearest_position(recipe.root, key), key, message)


# Formats that have a use for a key of `data`.
USERS = {
    "sheet": ("xlsx",),
    **dict.fromkeys(("encoding", "encoding_errors"), ("csv", "tsv", "json", "jsonl", "fasttext", "text")),
    "header": ("csv", "tsv", "xlsx"),
    **dict.fromkeys(("delimiter", "quoting"), ("csv", "tsv")),
    "records": ("json",),
    "label_prefix": ("fasttext",),
    "subset": ("hub",),
    "revision": ("hub",),
}


def _source(recipe: WrittenRecipe) -> None:
    """Keys that the source's format has no use for."""
    formats = recipe.formats
    for key, users in USERS.items():
        if recipe.holds(f"data.{key}") and formats and not formats.intersection(users):
            found = join(sorted(formats), "and")
            recipe.refuse(f"data.{key}", f"is for {join(users)}, but the source is {found}; remove it, or write null")
    if recipe.holds("data.danmu") and formats != {"danmu"}:
        recipe.refuse("data.danmu", "does nothing without data.format: danmu")


def _splits(recipe: WrittenRecipe) -> None:
    splits = "data.splits"
    folds, fold = recipe.value(f"{splits}.folds"), recipe.value(f"{splits}.fold")
    if isinstance(fold, int) and folds is None and fold != 0:
        recipe.refuse(f"{splits}.fold", "chooses one of data.splits.folds, which is not set; add folds: 5")
    if isinstance(fold, int) and isinstance(folds, int) and fold >= folds:
        recipe.refuse(f"{splits}.fold", f"folds count from 0: the last of {folds} is {folds - 1}")
    if folds is not None and recipe.holds(f"{splits}.by_time"):
        recipe.refuse(f"{splits}.by_time", "cannot go with folds, which take rows of every time; keep one of them")
    if recipe.holds("data.silver") and recipe.holds(f"{splits}.by_time"):
        recipe.refuse("data.silver", "cannot go with splits.by_time: such rows may be later than those of test")
    if recipe.value("data.dedupe") == "near" and recipe.holds("data.columns.document"):
        recipe.refuse("data.dedupe", "near compares single rows, which are parts of documents here; write exact")
    if recipe.value(f"{splits}.near_duplicates") == "group":
        for key in ("group", "document"):
            if recipe.holds(f"data.columns.{key}"):
                recipe.refuse(
                    f"{splits}.near_duplicates",
                    f"group joins texts, but data.columns.{key} says already what stays together; write warn",
                )
        if recipe.holds(f"{splits}.by_time"):
            recipe.refuse(
                f"{splits}.near_duplicates", "group would date a text by one that is nearly the same; write warn"
            )


# ---------------------------------------------------------------- labels
def _labelling(recipe: WrittenRecipe) -> None:
    """A labelling job labels every row: what would seem to leave rows out must not cost the user millions of them."""
    if recipe.value("kind") != "label":
        return
    for key in ("sample", "dedupe", "silver"):
        if recipe.holds(f"data.{key}") and recipe.value(f"data.{key}") != "none":
            way_out = (
                "equal texts are asked about once" if key == "dedupe" else "name a file of fewer rows in data.source"
            )
            way_out = "it is for the recipe that trains on the labels" if key == "silver" else way_out
            recipe.refuse(f"data.{key}", f"a labelling job labels every row; remove it: {way_out}")


CHECKS: tuple[Callable[[WrittenRecipe], None], ...] = (
    _quantization,
    check_quantization_keys,
    _adapter,
    check_adapter_keys,
    _retrieval,
    _attention,
    _precision,
    _epochs,
    _without_effect,
    _early_stopping,
    _seeds,
    _hub,
    _unused,
    _engine,
    _cleaning,
    _source,
    _splits,
    _labelling,
    check_segments,
    check_templates,
    check_labels,
    check_raters,
    check_completion,
    check_descriptions,
    check_balance,
    check_loss,
    check_decision,
    check_labeling,
)


# ---------------------------------------------------------------- what accelerate launch tells its processes
def zero_stage(environment: AbstractMapping[str, str]) -> int:
    """The ZeRO stage that `accelerate launch` passes on in environment variables; 0 where DeepSpeed is off.

    A DeepSpeed configuration file (a path, or JSON in base64) decides over the plain stage, as in accelerate's plugin.
    """
    if environment.get("ACCELERATE_USE_DEEPSPEED", "false").lower() != "true":
        return 0
    file = environment.get("ACCELERATE_DEEPSPEED_CONFIG_FILE", "none")
    if file != "none":
        stage = _stage_of_file(file)
        if stage is not None:
            return stage
    stage_text = environment.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2")
    return int(stage_text) if stage_text.isdigit() else 0


def _stage_of_file(file: str) -> int | None:
    try:
        text = (
            Path(file).read_text(encoding="utf-8") if Path(file).is_file() else base64.urlsafe_b64decode(file).decode()
        )
        stage = json.loads(text)["zero_optimization"]["stage"]
    except (OSError, ValueError, binascii.Error, KeyError, TypeError):
        return None  # accelerate itself refuses a broken file, and says why
    return stage if isinstance(stage, int) else None
