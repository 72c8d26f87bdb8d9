"""Keys of a labelling recipe: combinations that cannot work, or would silently do nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from categorize.recipe.nodes import nearest_position
from categorize.recipe.wording import quote
from categorize.recipe.written import WrittenRecipe

# What a student alone has no use for: it answers no requests, always the same, and costs nothing.
OF_REQUESTS = ("rationale", "repeats", "flip_sample", "budget", "ledger", "spreadsheet")


def check_labeling(recipe: WrittenRecipe) -> None:
    """Notes what is wrong with the keys of `labeling` and of what it labels."""
    if recipe.value("kind") != "label" or not isinstance(recipe.value("labeling"), dict):
        return
    sets = recipe.value("label_sets")
    _answers(recipe)
    _students(recipe)
    _votes(recipe)
    _ledger(recipe)
    if recipe.holds("prompt.retrieval"):
        _retrieval(recipe)
    if isinstance(sets, dict):
        _several_sets(recipe, sets)


def teachers_of(recipe: WrittenRecipe) -> list[tuple[tuple[str | int, ...], dict[str, Any]]]:
    """The teachers as they are written, each with its key."""
    one, several = recipe.value("labeling.teacher"), recipe.value("labeling.teachers")
    found: list[tuple[tuple[str | int, ...], Any]] = [(("labeling", "teacher"), one)]
    found += [
        (("labeling", "teachers", i), each) for i, each in enumerate(several if isinstance(several, list) else ())
    ]
    return [(key, teacher) for key, teacher in found if isinstance(teacher, dict)]


def is_student(teacher: dict[str, Any]) -> bool:
    """Whether a teacher as it is written labels without requests."""
    return teacher.get("type") == "run" or (teacher.get("type") == "local" and teacher.get("mode") == "scoring")


def _refuse(recipe: WrittenRecipe, key: tuple[str | int, ...], message: str) -> None:
    recipe.problems.add(nearest_position(recipe.root, key), key, message)


def _answers(recipe: WrittenRecipe) -> None:
    if recipe.value("labeling.answer") != "code":
        return
    items = recipe.value("labeling.items")
    if isinstance(items, int) and items > 1:
        recipe.refuse("labeling.items", f"{items} rows a request cannot be answered by one code; write 1, or json")
    if recipe.holds("labeling.rationale"):
        recipe.refuse("labeling.rationale", "a bare code has no reasons beside it; remove it, or write answer: json")


def _students(recipe: WrittenRecipe) -> None:
    teachers = teachers_of(recipe)
    for key, teacher in teachers:
        if not is_student(teacher):
            continue
        if isinstance(recipe.value("label_sets"), dict):
            _refuse(recipe, key, "a student answers with one label set; write labels instead of label_sets")
        if teacher.get("grammar") is True:
            _refuse(recipe, (*key, "grammar"), "is for mode: generation; scoring writes nothing; remove it")
    if len(teachers) == 1 and is_student(teachers[0][1]):
        for name in OF_REQUESTS:
            if recipe.value(f"labeling.{name}") not in (None, {}, 0, 1):
                recipe.refuse(f"labeling.{name}", "is for teachers that are asked by requests; a student labels here")


def _votes(recipe: WrittenRecipe) -> None:
    teachers, repeats = teachers_of(recipe), recipe.value("labeling.repeats", 1)
    if recipe.value("labeling.agreement") and len(teachers) == 1 and repeats == 1:
        recipe.refuse("labeling.agreement", "joins several votes; name teachers, or set labeling.repeats above 1")
    names: dict[str, int] = {}
    for i, (key, teacher) in enumerate(teachers):
        name = teacher.get("name") or teacher.get("model") or teacher.get("name_or_path") or teacher.get("run")
        if isinstance(name, str) and names.setdefault(name, i) != i:
            message = f"{quote(name)} is the name of teacher {names[name] + 1} too; give each a name of its own"
            _refuse(recipe, (*key, "name"), f"{message}, or ask one several times by labeling.repeats")
    currencies: dict[str, None] = {}
    for key, teacher in teachers:
        prices = teacher.get("prices")
        if not isinstance(prices, dict) or not (prices.get("input") or prices.get("output")):
            continue
        currency = str(prices.get("currency", "USD"))
        if currencies and currency not in currencies:
            message = (
                f"{currency}, but another teacher has {next(iter(currencies))}: costs are added; write one currency"
            )
            _refuse(recipe, (*key, "prices", "currency"), message)
        currencies.setdefault(currency)


def _retrieval(recipe: WrittenRecipe) -> None:
    """Examples are rows of the source that have a label."""
    key = "prompt.retrieval"
    if recipe.holds("label_sets"):
        recipe.refuse(key, "chooses from rows that have a label, and label_sets read none; write prompt.shots")
    elif recipe.value("data.columns.label", "label") is None:
        recipe.refuse(key, "chooses from rows that have a label; name their column as data.columns.label")
    if recipe.holds("labeling.rationale"):
        recipe.refuse("labeling.rationale", "is in no example that prompt.retrieval chooses; remove one of them")
    for name, teacher in teachers_of(recipe):
        if is_student(teacher) and teacher.get("type") == "local":
            _refuse(recipe, (*name, "mode"), "scoring is without prompt.retrieval; remove that, or write generation")
    if all(is_student(teacher) for _, teacher in teachers_of(recipe)):
        recipe.refuse(key, "chooses examples for teachers that write answers; a student has its own prompt; remove it")


def _ledger(recipe: WrittenRecipe) -> None:
    """The folder of a run is replaced by the next one."""
    name = recipe.value("name")
    output, ledger = recipe.value("output_dir") or f"outputs/{name}", recipe.value("labeling.ledger")
    if not isinstance(output, str) or not isinstance(ledger, str):
        return
    folder, place = Path(output).resolve(), Path(ledger).resolve()
    for taken in (folder, folder.with_name(f"{folder.name}.incomplete")):
        if place == taken or taken in place.parents:
            recipe.refuse(
                "labeling.ledger", f"{ledger} lies in {output}, which a next run replaces; name a folder beside it"
            )


def _several_sets(recipe: WrittenRecipe, sets: dict[str, Any]) -> None:
    if recipe.holds("labels.names"):
        recipe.refuse("labels.names", "is not read beside label_sets; describe it there, or remove one of them")
    if recipe.holds("data.columns.label"):
        recipe.refuse(
            "data.columns.label",
            "is not read beside label_sets: every row is asked about; write null, and it stays in the table as it is",
        )
    if len(sets) < 2:
        return
    if recipe.value("labeling.answer") == "code":
        recipe.refuse("labeling.answer", "code answers with one label set; write json for several label_sets")
    if recipe.holds("labeling.spreadsheet"):
        recipe.refuse("labeling.spreadsheet", "has one column for a class; leave it out, or keep one of label_sets")
