"""The label sets of a labelling run, by the names of their columns in the table of labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from categorize.errors import UserError
from categorize.labeling.exchange import Labels
from categorize.labeling.table import ABOUT, ROW_COLUMNS
from categorize.labeling.values import LabelReader, Unreadable
from categorize.labels import LabelSet
from categorize.recipe.sections import LabelRecipe

LABEL = "label"  # the column of the only label set


def label_sets_of(recipe: LabelRecipe) -> dict[str, LabelSet]:
    """What is asked of each row.

    Raises:
        UserError: a label set has no names, or the name of another column of the table.
    """
    named = {LABEL: recipe.labels} if recipe.label_sets is None else recipe.label_sets
    if not named:
        raise UserError("label_sets: names no label set; describe one, or write labels instead")
    for name, section in named.items():
        where = "labels" if recipe.label_sets is None else f"label_sets.{name}"
        if section.names is None and section.task != "regression":
            raise UserError(f"{where}.names: a teacher chooses among labels that it is told; list them")
        if name in (*ROW_COLUMNS, *ABOUT.names):
            raise UserError(f"{where}: {name} is another column of the table of labels; rename the label set")
    return {name: LabelSet.from_section(section) for name, section in named.items()}


def gold_label_set(recipe: LabelRecipe, label_sets: Mapping[str, LabelSet]) -> LabelSet | None:
    """The set that the data's label column is read with; None where there are several sets, or no column."""
    if recipe.label_sets is not None or recipe.data.columns.label is None:
        return None
    return label_sets[LABEL]


def validity(label_sets: Mapping[str, LabelSet]) -> Callable[[Labels], bool]:
    """Whether labels, one tuple a label set, are what these sets allow.

    >>> from categorize.labels import Label
    >>> moods = LabelSet("single_label", (Label("good"), Label("bad")))
    >>> valid = validity({"label": moods})
    >>> valid((("good",),)), valid((("fine",),)), valid((("good", "bad"),)), valid((("good",), ("x",)))
    (True, False, False, False)
    """
    readers = [LabelReader(one) for one in label_sets.values()]

    def valid(labels: Labels) -> bool:
        if len(labels) != len(readers):
            return False
        try:
            return all(
                set(read(float(names[0]) if read.label_set.is_regression else list(names))) == set(names)
                for read, names in zip(readers, labels, strict=True)
            )
        except (Unreadable, ValueError, IndexError):
            return False

    return valid
