"""Export a finished run for other tools.

python -m categorize.export outputs/mine --to merged [--dtype bfloat16]   # the adapter in whole weights
python -m categorize.export outputs/mine --to onnx                        # a head for ONNX Runtime

Both say how many held-out rows are decided otherwise than by the run. `merged` leaves a run beside the run
(`outputs/mine_merged`), `onnx` a folder with the graph, the tokenizer and the run's settings (`outputs/mine_onnx`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from categorize.errors import UserError
from categorize.merge import check_merge, merge_finished
from categorize.methods.registry import METHODS
from categorize.recipe.command import Command
from categorize.recipe.load import load_recipe
from categorize.recipe.sections import TrainedRecipe
from categorize.recipe.terminal import CommandParser, exit_status, run_command
from categorize.runs.folder import RECIPE, Run


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = CommandParser("python -m categorize.export", __doc__)
    parser.add_argument("run", metavar="RUN", help="folder of a finished training run")
    parser.add_argument("--to", required=True, choices=("merged", "onnx"), help="what it becomes")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), help="of merged weights")
    parser.add_argument("--base", metavar="MODEL", help="the base of an adapter, where it is not found any more")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export")
    parser.add_argument("--trust-remote-code", action="store_true", help="let a model bring its own code")
    return exit_status(lambda: _export(parser.parse_args(argv)), "interrupted; nothing was exported")


def _export(options: argparse.Namespace) -> None:
    run = Run.open(options.run)
    method = METHODS.of_run(run)
    if options.to == "onnx":
        if options.dtype is not None:
            raise UserError("--dtype: a graph for ONNX Runtime is float32; leave it out")
        method.onnx(run, options.base, options.trust_remote_code, options.overwrite)
        return
    moved = [f"model.name_or_path={options.base}"] if options.base is not None else []
    loaded = load_recipe(run.path / RECIPE, [f"output_dir={run.path}", *moved], methods=METHODS)
    recipe = loaded.recipe
    assert isinstance(recipe, TrainedRecipe)
    command = Command(loaded, merge=True, overwrite=options.overwrite, trust_remote_code=options.trust_remote_code)
    check_merge(command, recipe, method)
    merge_finished(command, recipe, method, options.dtype)


if __name__ == "__main__":
    sys.exit(run_command(main))
