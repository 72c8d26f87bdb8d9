"""How documents are cut into segments: combinations that cannot work, or would silently do nothing."""

from __future__ import annotations

from typing import Any, TypeGuard

from categorize.recipe.nodes import nearest_position
from categorize.recipe.written import WrittenRecipe

ONE_PART = ("head", "tail", "head_tail", "random_sentences", "textrank")


def check_segments(recipe: WrittenRecipe) -> None:
    """Notes what is wrong with `data.segments`, and with speakers that it would have to cut by."""
    by = recipe.value("data.segments.by", "document")
    for key, homes in (
        ("stride", ("tokens",)),
        ("minutes", ("minutes",)),
        ("seed", ("random_sentences",)),
    ):
        if recipe.value(f"data.segments.{key}") and by not in homes:
            recipe.refuse(f"data.segments.{key}", f"is for by: {homes[0]}, but by is {by}; remove it")
    most, stride = recipe.value("data.segments.max_tokens"), recipe.value("data.segments.stride")
    if most is not None and by == "document":
        recipe.refuse(
            "data.segments.max_tokens",
            "cuts nothing with by: document; write by: tokens, packed, head, ..., or see model.max_length",
        )
    if by == "minutes" and not recipe.holds("data.segments.minutes"):
        recipe.refuse("data.segments.by", "minutes needs data.segments.minutes, the length of a segment, such as 5")
    if _is_count(most) and _is_count(stride) and stride >= most:
        recipe.refuse("data.segments.stride", f"{stride} tokens shared of {most} never end; write a smaller number")
    method = recipe.method
    if method is not None and method.joins_segments:
        for key in ("aggregation", "weighting"):
            if recipe.holds(f"data.segments.{key}"):
                message = f"does nothing with model.method {method.name}, which learns to join segments; remove it"
                recipe.refuse(f"data.segments.{key}", message)
    if method is not None and method.unit == "document" and not method.joins_segments and by != "document":
        recipe.refuse("data.segments.by", f"model.method {method.name} reads whole documents; write document")
    elif method is not None and "max_length" not in method.section.model_fields:
        if by in ("tokens", "packed", *ONE_PART) and most is None:
            recipe.refuse(
                "data.segments.by",
                f"{by} needs data.segments.max_tokens: model.method {method.name} reads texts of any length",
            )
    elif _is_count(most) and _is_count(length := recipe.value("model.max_length")) and most > length:
        recipe.refuse(
            "data.segments.max_tokens",
            f"{most} tokens are more than the {length} that the model reads; lower it, or raise model.max_length",
        )
    task, how = recipe.value("labels.task", "single_label"), recipe.value("data.segments.aggregation", "mean")
    if task == "regression" and how in ("max", "vote", "confidence_weighted"):
        message = f"{how} is for labels, but labels.task is regression; write mean, median or length_weighted"
        recipe.refuse("data.segments.aggregation", message)
    if task != "regression" and how == "median":
        recipe.refuse(
            "data.segments.aggregation", f"median is for scores, but labels.task is {task}; write mean or vote"
        )
    steps = recipe.value("data.cleaning")
    for i, step in enumerate(steps if isinstance(steps, list) else ()):
        options = step.get("speakers") if isinstance(step, dict) else None
        if isinstance(options, dict) and options.get("style") == "field" and by != "turns":
            place = ("data", "cleaning", i, "speakers", "style")
            message = f"field is for segments that are turns, but data.segments.by is {by}; write prefix, or by: turns"
            recipe.problems.add(nearest_position(recipe.root, place), place, message)


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
