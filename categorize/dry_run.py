"""The dry run: everything but the run itself."""

from __future__ import annotations

from categorize.beforehand import check_beforehand
from categorize.data.splits import load_recipe_data
from categorize.merge import only_merges
from categorize.methods.method import Method
from categorize.processes import print0
from categorize.recipe.command import Command
from categorize.recipe.sections import TrainedRecipe
from categorize.runs.folder import RunWriter
from categorize.training.beginning import check_labelled
from categorize.training.checkpoints import has_checkpoints
from categorize.training.fit_summary import FitOptions


def dry_run(command: Command, recipe: TrainedRecipe, method: Method) -> None:
    """Check and load as a run would, and print what it would read and take.

    Raises:
        UserError: as the run itself would.
    """
    check_beforehand(command, recipe, method)
    resume = command.resumes(recipe)
    if not only_merges(command, recipe):
        RunWriter(
            recipe.output_path,
            command.recipe.text,
            resume=resume,
            overwrite=command.overwrite,
            probe=True,
            holds_work=has_checkpoints,
        )
    data = load_recipe_data(recipe, resplit=command.resplit, write=False)
    if method.trains:
        check_labelled(data)
    options = FitOptions(resume, command.trust_remote_code)
    for line in [*data.report.lines(), *data.report.cleaning.lines(), *method.preview(recipe, data, options)]:
        print0(line)
    print0("dry run: nothing was trained or written")
