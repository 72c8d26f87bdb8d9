"""Whether a training fits on a card: from the recipe and the model's config alone, before any weights are read."""

from __future__ import annotations

from typing import Any, NoReturn, cast

from categorize.errors import Answered, UserError
from categorize.memory.cards import GIB, parse_card
from categorize.methods.method import Method
from categorize.nn.console import quiet_libraries
from categorize.nn.tokenizer import loading
from categorize.processes import print0
from categorize.recipe.sections import TrainedRecipe
from categorize.recipe.wording import join
from categorize.training.arguments import evaluation_rows, written_values

ESTIMATED = ("head", "two_level", "sft")


def fit_on_card(text: str, recipe: TrainedRecipe, method: Method, trust_remote_code: bool = False) -> NoReturn:
    """Print what the training takes, FITS, TIGHT, TOO LARGE or UNKNOWN, and overrides that can be pasted.

    Raises:
        Answered: with the answer's exit status: 0, 10, 11 or 12.
        UserError: the card cannot be told.
    """
    from categorize.memory.verdict import Answer, judge

    try:
        card = parse_card(text)
    except UserError as error:
        raise UserError(f"--fit {error}") from None
    quiet_libraries()
    try:
        if method.name not in ESTIMATED:
            raise UserError(f"method {method.name} is not estimated; {join(ESTIMATED, 'and')} are")
        config, source = model_config(recipe, trust_remote_code)
        plan, batch = planned(recipe, config)
        try:
            verdict = judge(plan, batch, card)
        except UserError:
            raise
        except Exception as error:  # whatever an architecture does with values, of which there are none
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"a step of {config.model_type} cannot be counted: {reason}") from error
    except UserError as error:
        print0(f"{Answer.UNKNOWN}: {error}")
        raise Answered(Answer.UNKNOWN.value) from None
    step, section = verdict.step, cast(Any, recipe.model)
    parts = (
        ("weights", step.weights),
        ("optimizer", step.optimizer),
        ("gradients and activations", max(step.activations, step.gradients)),
        ("evaluation", step.evaluation),
    )
    print0(f"{section.name_or_path} ({source}): {step.trained:,} of {step.parameters:,} parameters trained")
    print0(f"  {', '.join(f'{name} {size / GIB:.2f}' for name, size in parts)} GiB")
    print0(
        f"  {batch.rows} rows of {batch.tokens} tokens (model.max_length) a batch, accumulation {batch.accumulation}; "
        f"{verdict.needed / GIB:.1f} GiB needed of {card.usable / GIB:.1f} usable on {card.name}"
    )
    print0(f"{verdict.answer}: {_told(verdict)}")
    if verdict.proposal:
        print0("  " + " ".join(f"{key}={str(value).lower()}" for key, value in verdict.proposal.items()))
    raise Answered(verdict.answer.value)


def _told(verdict: Any) -> str:
    from categorize.memory.verdict import Answer

    fits = verdict.answer is Answer.FITS
    if verdict.proposal is None and verdict.answer is Answer.TIGHT:
        return "it may run out of memory, and nothing here makes it smaller; choose a shorter model.max_length"
    if verdict.proposal is None:
        return "not even one row a batch fits; choose a smaller model, a shorter model.max_length, or an adapter"
    if not verdict.proposal:
        return "the batch is as large as the step"
    return "larger batches of the same step fit too, and are faster:" if fits else "with the same step, this fits:"


def model_config(recipe: TrainedRecipe, trust_remote_code: bool = False) -> tuple[Any, str]:
    """The config of the recipe's model and where it is from: its own, or the project's catalogue of models where the
    Hub cannot be reached.

    Raises:
        UserError: neither has it.
    """
    from transformers import AutoConfig

    from categorize.memory.catalogue import published

    section: Any = recipe.model
    name = getattr(section, "name_or_path", None)
    if name is None:
        raise UserError(f"{recipe.name} names no model")
    try:
        with loading(name, "the model"):
            options = {"revision": section.revision, "trust_remote_code": trust_remote_code}
            return AutoConfig.from_pretrained(name, **options), "its own config"
    except UserError:
        if (known := published(name)) is None:
            raise
        return known.config(), "its config in categorize/memory/models.yaml"


def planned(recipe: TrainedRecipe, config: Any) -> tuple[Any, Any]:
    """The plan and the batch of a training on a GPU, with rows of `model.max_length` tokens.

    Raises:
        UserError: it is not known what such a training takes.
    """
    from categorize.memory.optimizers import is_known
    from categorize.memory.plans import is_countable, plan_of
    from categorize.memory.verdict import Batch

    section: Any = recipe.model
    values = written_values(recipe.training)
    if recipe.adapter is not None and recipe.adapter.type == "prefix":
        values["activation_checkpointing"] = False
    if not is_known(optimizer := str(values["optim"])):
        raise UserError(f"training.optim: it is not known here what {optimizer} keeps of a weight")
    mixed = "float16" if values.get("fp16") else None if values.get("bf16") is False else "bfloat16"
    if not is_countable(config):
        raise UserError(f"{config.model_type}: what the kernels of its linear attention keep is not known here")
    names = getattr(recipe.labels, "names", None) or ()
    plan = plan_of(recipe, config, values, gpu=True, mixed=mixed, labels=max(len(names), 2))
    longest = getattr(config.get_text_config(), "max_position_embeddings", None) or section.max_length
    tokens = min(section.max_length, longest)
    rows = int(values["per_device_train_batch_size"])
    evaluated = 0 if values["eval_strategy"] == "no" else int(
        recipe.training.upstream().get("per_device_eval_batch_size") or evaluation_rows(values, tokens)
    )  # fmt: skip
    return plan, Batch(rows, int(values["gradient_accumulation_steps"]), tokens, evaluated)
