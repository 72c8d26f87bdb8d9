"""Which commands there are, and where: modules are named, and imported when they are run."""

from __future__ import annotations

# Command -> (its module, what it does); `run` and `launch` choose theirs by what they are given.
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("", "run a recipe by the script of its kind: training, evaluation or labelling"),
    "recipes": ("categorize.commands.recipes", "list the shipped recipes with the hardware that they need"),
    "doctor": ("categorize.commands.doctor", "look at versions, devices, caches, tokens and folders of this machine"),
    "launch": ("", "with --for slurm or hf-jobs, print a launch file; else accelerate launch with its exit statuses"),
    "data": ("categorize.data", "show what the data of a recipe holds, and write it as a dataset"),
    "danmu": ("categorize.danmu", "read raw danmu into Parquet"),
    "compare": ("categorize.compare", "climb a ladder of recipes and recommend one"),
    "folds": ("categorize.folds", "train every fold and average them"),
    "decide": ("categorize.decide", "fit the decision rule of a finished run anew"),
    "export": ("categorize.export", "export a finished run: merged weights, or a graph for ONNX Runtime"),
    "hub": ("categorize.hub", "push a finished run to the Hugging Face Hub"),
    "curves": ("categorize.training_curves", "draw the curves of trainings"),
    "check": ("categorize.recipe.check", "check all recipes under a folder"),
    "completion": ("categorize.commands.completion", "print a script that completes these commands in a shell"),
}
