"""What the parts of a labelling job share: rows, prompt, ledger, budget, votes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from categorize.data.columns import text_columns
from categorize.features.shots import ShotSets
from categorize.labeling.budget import Budget, Spent
from categorize.labeling.examples import examples_of
from categorize.labeling.exchange import Item, Teacher
from categorize.labeling.label_sets import gold_label_set, label_sets_of
from categorize.labeling.ledger import Ledger
from categorize.labeling.place import spool_of
from categorize.labeling.progress import Progress
from categorize.labeling.prompt import LabelingPrompt
from categorize.labeling.rows import SpooledRows, Survey, items_at, job_rows, survey
from categorize.labeling.student import identity_of, is_student, load_student
from categorize.labeling.student_vote import StudentTeacher
from categorize.labeling.teachers.registry import MakesTeacher
from categorize.labeling.votes import Vote, votes_of
from categorize.labels import LabelSet
from categorize.processes import print0, rank, world_size
from categorize.recipe.labeling_sections import AskedTeacher, LocalTeacher
from categorize.recipe.labeling_sections import Budget as BudgetSection
from categorize.recipe.sections import LabelRecipe
from categorize.runs.contents import STATUS


@dataclass(frozen=True)
class Job:
    """One start of a job in one process.

    Attributes:
        looked: the survey of `rows`.
        examples: chosen for each row by `prompt.retrieval`, where the recipe says so.
        votes: what is asked of whom.
        before: what the ledger's requests have cost before this start.
    """

    recipe: LabelRecipe
    label_sets: Mapping[str, LabelSet]
    prompt: LabelingPrompt
    ledger: Ledger
    rows: SpooledRows
    looked: Survey
    budget: Budget
    progress: Progress
    votes: Sequence[Vote]
    before: Spent
    examples: ShotSets | None = None

    def items(self, at: npt.NDArray[np.int64]) -> Iterator[Item]:
        """The items of these rows, which are in order; of like examples, they follow each other for a while."""
        return items_at(self.rows, self.looked, at, None if self.examples is None else self.examples.of)


def prepare(recipe: LabelRecipe, ledger: Ledger, make: MakesTeacher, trust_remote_code: bool = False) -> Job:
    """Read the rows once and make the teachers ready.

    Raises:
        UserError: the prompt, the data or a teacher is at fault.
    """
    section = recipe.labeling
    label_sets = label_sets_of(recipe)
    prompt = LabelingPrompt(recipe.prompt, label_sets, section)
    before = ledger.spent()
    budget = Budget(share_of(section.budget, before, world_size()), spent=before, lost=ledger.lost)

    def teacher_of(one: AskedTeacher) -> Teacher:
        if isinstance(one, LocalTeacher) and not is_student(one):
            from categorize.labeling.teachers.local import check_room

            check_room(one, prompt.shortest(), trust_remote_code)
        if not is_student(one):
            return make(one, budget, print0, trust_remote_code)
        shown = [name for name in prompt.columns if name != "text"] + text_columns(recipe.data.columns)
        predictor = load_student(recipe, trust_remote_code, one)
        return StudentTeacher(predictor, shown, identity_of(predictor, recipe))

    votes, examples = [], None
    if recipe.prompt.retrieval is None:  # before the rows are read: a missing model should not cost an hour
        votes = votes_of(section, prompt.identity, ledger, teacher_of)
    rows = job_rows(recipe, gold_label_set(recipe, label_sets))
    looked, kept = survey(rows, prompt, spool_of(ledger), keep_gold=section.rows == "unlabeled")
    for line in (*rows.notes, looked.line()):
        print0(line)
    if recipe.prompt.retrieval is not None:
        (label_set,) = label_sets.values()
        examples = examples_of(recipe, kept, rows.name, label_set)
        print0(examples.line())
        prompt = prompt.with_examples(examples.sets)
        votes = votes_of(section, prompt.identity, ledger, teacher_of)
    currencies = [one.prices.currency for one in section.all_teachers if isinstance(one, AskedTeacher)]
    name = STATUS if rank() == 0 else f"status-{rank()}.json"
    progress = Progress(
        currency=next(iter(currencies), "USD"),
        spent=lambda: budget.spent,
        file=ledger.folder / name,
        say=print0,
        facts={"name": recipe.name, "output": recipe.output_path, "rows": looked.rows, "distinct": looked.distinct}
        | ({"processes": world_size()} if world_size() > 1 else {}),
    )
    return Job(recipe, label_sets, prompt, ledger, kept, looked, budget, progress, votes, before, examples)


def share_of(section: BudgetSection, spent: Spent, processes: int) -> BudgetSection:
    """The budget of one process of a launch: what is left is shared out evenly."""
    if processes == 1:
        return section
    used = {"requests": spent.requests, "tokens": spent.tokens.input + spent.tokens.output}
    shares: dict[str, float] = {}
    for name, so_far in used.items():
        if (limit := getattr(section, name)) is not None:
            shares[name] = so_far + max(limit - so_far, 0) // processes
    if section.money is not None:
        shares["money"] = spent.money + max(section.money - spent.money, 0.0) / processes
    return section.model_copy(update=shares)
