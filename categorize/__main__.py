"""One way in to all commands: `python -m categorize COMMAND ...`.

python -m categorize --help
python -m categorize run recipes/bert_base_chinese.yaml --dry-run
python -m categorize COMMAND --help
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence

from categorize.commands.registry import COMMANDS
from categorize.errors import UserError
from categorize.recipe.terminal import USER_ERROR, print_error, run_command
from categorize.recipe.wording import did_you_mean


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        width = max(map(len, COMMANDS)) + 2
        print("usage: python -m categorize COMMAND [...]\n\ncommands:")
        print("\n".join(f"  {name:<{width}}{told}" for name, (_, told) in COMMANDS.items()))
        print("\npython -m categorize COMMAND --help says more of each.")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        print_error(
            UserError(f"unknown command {name}{did_you_mean(name, list(COMMANDS))}; python -m categorize --help")
        )
        return USER_ERROR
    if name == "run":
        return _run(rest)
    module = COMMANDS[name][0]
    if name == "launch":
        place = any(one == "--for" or one.startswith("--for=") for one in rest)
        module = "categorize.commands.launch_file" if place else "categorize.launch"
    sys.argv = [f"python -m categorize {name}", *rest]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=False)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0


def _run(arguments: Sequence[str]) -> int:
    """The script of a recipe's kind, from anywhere: the scripts themselves stand in the root of a checkout."""
    from importlib import import_module

    from categorize.methods.registry import METHODS
    from categorize.recipe import command
    from categorize.recipe.load import peek_kind
    from categorize.recipe.sections import SCRIPT_OF_KIND

    recipe = next((one for one in arguments if not one.startswith("-") and "=" not in one), None)
    try:
        if recipe is None:
            raise UserError("run: no recipe given; python -m categorize run RECIPE [key=value ...] [options]")
        kind = peek_kind(recipe)
        if kind not in SCRIPT_OF_KIND:
            raise UserError(
                f"{recipe}: kind {kind or 'is missing'}; a recipe's kind is one of {', '.join(SCRIPT_OF_KIND)}"
            )
    except UserError as error:
        print_error(error)
        return USER_ERROR
    module, function = {"eval": ("evaluate", "evaluate"), "label": ("label", "label")}.get(kind, ("train", "train"))

    def run(given: command.Command) -> None:
        getattr(import_module(f"categorize.{module}"), function)(given)

    return command.main(SCRIPT_OF_KIND[kind], kind, run, METHODS, arguments)


if __name__ == "__main__":
    sys.exit(run_command(main))
