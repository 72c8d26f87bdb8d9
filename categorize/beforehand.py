"""What is refused before the data is read and the heavy libraries are loaded."""

from __future__ import annotations

from categorize.connection import check_model
from categorize.merge import check_merge, merges, only_merges, only_pushes
from categorize.methods.method import Method
from categorize.nn.console import quiet_loggers
from categorize.nn.device import settle_device
from categorize.nn.tokenizer import check_folder
from categorize.processes import is_main_process, print0
from categorize.recipe.command import Command
from categorize.recipe.sections import TrainedRecipe
from categorize.runs.before_push import check_push
from categorize.runs.hub import is_hub_model
from categorize.training.machine import check_machine


def check_beforehand(command: Command, recipe: TrainedRecipe, method: Method) -> None:
    """Settle the device, say what is about to happen, and refuse what this machine, the Hub or a merge would refuse
    later.

    Raises:
        UserError: the model or the repository of the Hub cannot be had, a package or a GPU is missing, or the adapter
            cannot be merged.
    """
    quiet_loggers()
    settle_device(recipe.training.upstream().get("use_cpu") is True)
    print0(f"{recipe.name}: {method.name} -> {recipe.output_path}")
    check_model_is_within_reach(recipe)
    method.check_sources(recipe)
    if recipe.hub is not None and is_main_process():
        for line in check_push(recipe):
            print0(line)
    if command.merge or (merges(command, recipe) and not only_pushes(command, recipe)):
        check_merge(command, recipe, method)
    if "training" in method.uses and not (only_merges(command, recipe) or only_pushes(command, recipe)):
        check_machine(recipe)


def check_model_is_within_reach(recipe: TrainedRecipe) -> None:
    """Raises UserError for a model of the Hub that cannot be had, or a folder that is not there."""
    name = getattr(recipe.model, "name_or_path", None)
    if name is None:
        return
    check_folder(name)
    if is_hub_model(name):
        check_model(name, getattr(recipe.model, "revision", None))
