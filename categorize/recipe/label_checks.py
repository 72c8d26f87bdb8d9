"""Combinations of keys about labels that cannot work, or would silently do nothing: their names and rules, how they are
learned, and how they are decided."""

from __future__ import annotations

from categorize.recipe.loss_sections import LOSSES
from categorize.recipe.section import names_type
from categorize.recipe.wording import did_you_mean, first_few, join, quote
from categorize.recipe.written import WrittenRecipe

TASKS = ("single_label", "multi_label", "ordinal", "regression")


def check_balance(recipe: WrittenRecipe) -> None:
    """Balanced rows and weighed labels at once."""
    if recipe.holds("training.balance") and recipe.holds("training.class_weights"):
        recipe.refuse("training.balance", "cannot go with class_weights, which even the labels out again; keep one")


def check_loss(recipe: WrittenRecipe) -> None:
    """A loss that is for other tasks, or beside what it cannot go with; outputs that the method has no place for."""
    own_outputs = recipe.method is None or recipe.method.own_outputs
    without = f"which model.method {getattr(recipe.method, 'name', None)} does not have; use head"
    if recipe.holds("training.auxiliary"):
        if recipe.value("labels.task") != "regression":
            recipe.refuse("training.auxiliary", "is for scores; remove it, or set labels.task: regression")
        elif not own_outputs:
            recipe.refuse("training.auxiliary", f"needs outputs for further scores, {without}")
    choice = recipe.value("training.loss")
    name = choice.get("type") if isinstance(choice, dict) else choice
    task = recipe.value("labels.task", "single_label")
    if not isinstance(name, str) or name not in LOSSES or task not in TASKS:
        return
    loss = LOSSES[name]
    if task not in loss.tasks:
        fitting = join([other for other, one in LOSSES.items() if task in one.tasks])
        recipe.refuse("training.loss", f"{name} is for {join(loss.tasks)}, but labels.task is {task}; write {fitting}")
        return
    if name in ("corn", "cumulative_link") and not own_outputs:
        recipe.refuse("training.loss", f"{name} needs outputs that are not the labels, {without}")
    if recipe.value("training.label_smoothing_factor") and not loss.smooths:
        fitting = join([other for other, one in LOSSES.items() if one.smooths and task in one.tasks])
        recipe.refuse("training.label_smoothing_factor", f"does nothing with loss {name}; remove it, or use {fitting}")
    for key in ("balance", "class_weights"):
        if loss.corrects_prior and recipe.holds(f"training.{key}"):
            recipe.refuse(f"training.{key}", f"cannot go with loss {name}, which evens the labels out itself; keep one")


def check_raters(recipe: WrittenRecipe) -> None:
    """Raters that cannot be compared."""
    raters = recipe.value("data.columns.raters")
    if not isinstance(raters, list) or not raters:
        return
    if recipe.value("labels.task") == "multi_label":
        recipe.refuse("data.columns.raters", "is for one label or score a row, but labels.task is multi_label")
    if len(raters) == 1:
        recipe.refuse("data.columns.raters", "needs two raters at least, whose agreement is the ceiling; add a column")
    elif len(set(map(str, raters))) < len(raters):
        recipe.refuse("data.columns.raters", "names a column twice, which agrees with itself; keep it once")


def check_labels(recipe: WrittenRecipe) -> None:
    """Names, rules and held-out labels that cannot stand together, or not with the task."""
    task, names = recipe.value("labels.task", "single_label"), recipe.label_names
    if task == "regression":
        for path in ("labels.codes", "training.class_weights", "training.balance", "training.label_smoothing_factor"):
            if recipe.value(path):
                recipe.refuse(path, "is for labels, but labels.task is regression; remove it")
        if recipe.value("prompt.completion") == "codes":
            recipe.refuse("prompt.completion", "codes stand for labels, but labels.task is regression; remove it")
    else:
        for path in ("labels.minimum", "labels.maximum"):
            if recipe.holds(path):
                recipe.refuse(
                    path, f"bounds a score, but labels.task is {task}; remove it, or set labels.task: regression"
                )
    _rules(recipe, task, names)
    _held_out(recipe, task, names)
    if task == "ordinal" and names is None and recipe.holds("labels.task"):
        recipe.refuse("labels.task", "ordinal needs labels.names, in rising order")
    if names is None or task == "regression":
        return
    declared = f"not one of labels.names: {', '.join(names)}"
    weights = recipe.value("training.class_weights")
    for name in weights if isinstance(weights, dict) and not names_type(weights) else ():
        if name not in names:
            recipe.refuse("training.class_weights", f"{quote(name)} is {declared}{did_you_mean(name, names)}", name)
    codes = recipe.value("labels.codes")
    for code, name in codes.items() if isinstance(codes, dict) else ():
        if isinstance(name, str) and name not in names:
            recipe.refuse("labels.codes", f"{quote(name)} is {declared}{did_you_mean(name, names)}", code)


def _held_out(recipe: WrittenRecipe, task: object, names: list[str] | None) -> None:
    held_out = recipe.value("labels.held_out")
    if not held_out:
        return
    if recipe.value("kind") not in ("seqcls", "sft"):
        other = "; an evaluation of all labels says evaluation.unseen_labels: measure"
        recipe.refuse("labels.held_out", f"keeps labels from a training, and nothing is trained here; remove it{other}")
    if task in ("regression", "ordinal"):
        recipe.refuse("labels.held_out", f"is for labels without an order, but labels.task is {task}; remove it")
    for name in held_out if isinstance(held_out, list) and names is not None else ():
        if isinstance(name, str) and names is not None and name not in names:
            shown = f"not one of labels.names: {', '.join(names)}"
            recipe.refuse("labels.held_out", f"{quote(name)} is {shown}{did_you_mean(name, names)}")


def check_completion(recipe: WrittenRecipe) -> None:
    """Questions with yes or no about each label, where they are not asked."""
    task, kind = recipe.value("labels.task", "single_label"), recipe.value("kind")
    if recipe.value("prompt.completion") == "yes_no":
        if kind in ("seqcls", "label"):
            what = "a head answers nothing" if kind == "seqcls" else "a labelling job reads whole answers"
            recipe.refuse("prompt.completion", f"yes_no is for run_sft.py and run_eval.py: {what}; write names")
        elif task != "multi_label":
            recipe.refuse(
                "prompt.completion", f"yes_no asks about each of several labels, but labels.task is {task}; write codes"
            )
    elif recipe.holds("prompt.question"):
        recipe.refuse("prompt.question", "is asked about each label with prompt.completion: yes_no alone; remove it")


def check_descriptions(recipe: WrittenRecipe) -> None:
    """Descriptions that a prompt is to show, or to leave out, where labels have none or are not listed."""
    key = "prompt.descriptions"
    if not recipe.holds(key):
        return
    system, completion = recipe.value("prompt.system"), recipe.value("prompt.completion")
    asked = "prompt.question" if completion == "yes_no" else "prompt.system"
    text, listed = recipe.value(asked), "{label}" if completion == "yes_no" else "{labels}"
    if recipe.value("kind") == "label":
        recipe.refuse(key, "a labelling job shows the descriptions that there are; remove it")
    elif recipe.value("labels.task") == "regression":
        recipe.refuse(key, "is for labels, but labels.task is regression; remove it")
    elif isinstance(text, str) and listed not in text and not (isinstance(system, str) and "{labels}" in system):
        recipe.refuse(key, f"{asked} does not show the labels; write {listed} in it, or remove it")
    elif recipe.true(key):
        lacking = recipe.undescribed
        if lacking is None:
            recipe.refuse(key, "labels are those of the data; write labels.names, with a description each")
        elif lacking:
            recipe.refuse(key, f"{first_few(lacking)} have none; write {{name: ..., description: ...}} in labels.names")


def _rules(recipe: WrittenRecipe, task: object, names: list[str] | None) -> None:
    """Rules of rows that the task or the labels have no use for."""
    rules = "labels.rules"
    for key in ("brings_parent", "stands_alone"):
        if recipe.value(f"{rules}.{key}") and task != "multi_label":
            recipe.refuse(f"{rules}.{key}", f"is for rows of several labels, but labels.task is {task}; remove it")
    if recipe.value(f"{rules}.parent_alone") and task not in ("multi_label", "single_label"):
        recipe.refuse(f"{rules}.parent_alone", f"is for labels in groups, but labels.task is {task}; remove it")
    if names is None:
        return
    of_rule = {"brings_parent": ("group", recipe.group_names), "parent_alone": ("group", recipe.group_names)}
    for key, (what, known) in {**of_rule, "stands_alone": ("label", names)}.items():
        chosen = recipe.value(f"{rules}.{key}")
        for name in chosen if isinstance(chosen, list) else ():
            if isinstance(name, str) and name not in known:
                shown = f"not a {what} of labels.names: {', '.join(known) or 'none'}"
                recipe.refuse(f"{rules}.{key}", f"{quote(name)} is {shown}{did_you_mean(name, known)}")


def check_decision(recipe: WrittenRecipe) -> None:
    """Decision keys that the task has no use for."""
    task = recipe.value("labels.task", "single_label")
    for key in ("thresholds", "precision", "fallback", "hierarchy"):
        if recipe.holds(f"decision.{key}") and task != "multi_label":
            recipe.refuse(
                f"decision.{key}",
                f"decides among several labels a row, but labels.task is {task}; remove it, or set multi_label",
            )
    if recipe.holds("decision.ordinal") and task != "ordinal":
        recipe.refuse("decision.ordinal", f"decides among ordered labels, but labels.task is {task}; remove it")
    if recipe.holds("decision.precision") and task == "multi_label":
        if recipe.value("decision.thresholds") not in ("global", "per_label"):
            recipe.refuse("decision.precision", "is for tuned thresholds; write thresholds: per_label or global")
        if recipe.value("decision.fallback") == "top":
            recipe.refuse("decision.fallback", "top gives labels below their thresholds, against decision.precision")
    _reject(recipe, task)
    names = recipe.label_names
    if recipe.holds("decision.hierarchy") and task == "multi_label" and names is not None:
        if not recipe.group_names:
            recipe.refuse("decision.hierarchy", "is for labels in groups, but labels.names has none; remove it")
        elif not {*recipe.group_names} & {*names}:
            recipe.refuse(
                "decision.hierarchy",
                "is for groups that are labels too, but none of labels.names is; remove it, or name groups in "
                "labels.rules.brings_parent",
            )
    if recipe.lacks_validation:
        for key, fitted in (
            ("calibration", ("temperature", "isotonic", "platt")),
            ("thresholds", ("global", "per_label")),
        ):
            if recipe.value(f"decision.{key}") in fitted:
                recipe.refuse(f"decision.{key}", "is fitted on validation rows, but data.splits.validation is 0")


def _reject(recipe: WrittenRecipe, task: object) -> None:
    reject = "decision.reject"
    if not recipe.holds(reject):
        return
    if task != "single_label":
        recipe.refuse(reject, f"rejects rows of one label, but labels.task is {task}; remove it")
    names, label = recipe.label_names, recipe.value(f"{reject}.label")
    if names is not None and isinstance(label, str) and label not in names:
        recipe.refuse(f"{reject}.label", f"{quote(label)} is not one of labels.names; add it, training rows or not")
    by, by_text = recipe.value(f"{reject}.by", "softmax"), recipe.value(f"{reject}.by") in ("similarity", "mahalanobis")
    if by_text and not recipe.holds(f"{reject}.encoder"):
        recipe.refuse(f"{reject}.by", f"{by} reads embeddings; name an encoder in decision.reject.encoder")
    if by == "softmax" and recipe.holds(f"{reject}.encoder"):
        recipe.refuse(f"{reject}.encoder", "is for by: similarity and mahalanobis; remove it")
    if recipe.holds(f"{reject}.accuracy"):
        for key in ("threshold", "keep"):
            if recipe.holds(f"{reject}.{key}"):
                recipe.refuse(f"{reject}.accuracy", f"says what is kept, and so does {reject}.{key}; keep one")
    if by_text and recipe.value("data.segments.aggregation") == "vote":
        recipe.refuse(f"{reject}.by", f"{by} judges documents, but segments vote one by one; write softmax, or mean")
    if recipe.lacks_validation and recipe.value(f"{reject}.threshold", "fitted") == "fitted":
        recipe.refuse(f"{reject}.threshold", "is fitted on validation rows, but data.splits.validation is 0")
