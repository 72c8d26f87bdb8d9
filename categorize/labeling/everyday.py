"""The everyday case, without a recipe: a file in, the same file with labels behind its columns out.

python run_label.py --run outputs/mine new_comments.xlsx --output labelled.xlsx
python run_label.py --run outputs/mine new_comments.csv data.delimiter=";" --output labelled.xlsx
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from categorize.errors import UserError
from categorize.processes import check_launch, is_main_process
from categorize.recipe.overrides import data_settings
from categorize.recipe.terminal import CommandParser, exit_status, run_command

OPTION, OUTPUT = "--run", "--output"


def is_everyday(argv: Sequence[str]) -> bool:
    """Whether a command line names a run, or an output file, instead of a recipe."""
    return any(argument.partition("=")[0] in (OPTION, OUTPUT) for argument in argv)


def main(argv: Sequence[str]) -> int:
    """Run the command; the exit status: 2 for what the user can fix."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # see `recipe.command.main`
    return run_command(lambda: exit_status(lambda: _run(argv)))


def _run(argv: Sequence[str]) -> None:
    check_launch()
    options = parse(argv)
    from categorize.labeling.label_file import label_file

    if not is_main_process():
        return  # one process labels a file
    for line in label_file(
        options.run,
        options.file,
        options.output,
        text=options.text,
        sheet=options.sheet,
        encoding=options.encoding,
        settings=data_settings(options.settings),
        base=options.base,
        overwrite=options.overwrite,
        trust_remote_code=options.trust_remote_code,
    ):
        print(line, flush=True)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line. Raises UserError where something is missing or unknown."""
    parser = CommandParser(
        prog="run_label.py",
        description=__doc__,
        usage="python run_label.py --run RUN FILE --output FILE [options]",
    )
    parser.add_argument(
        "file",
        nargs="*",
        metavar="FILE",
        help="csv, tsv, jsonl, json, parquet, a spreadsheet or texts; and keys of data that say how it is read: "
        "data.header=false",
    )
    parser.add_argument(OPTION, metavar="RUN", help="a finished run folder, or owner/name on the Hub")
    parser.add_argument(OUTPUT, metavar="FILE", help="csv, tsv or jsonl (or .gz of it), parquet or xlsx")
    parser.add_argument("--text", metavar="COLUMN", help="the column with the texts; by default that of the training")
    parser.add_argument("--sheet", help="sheet of a spreadsheet, by name or by number from 0; the first by default")
    parser.add_argument("--encoding", help="of a csv, tsv, json or jsonl file, such as gb18030; UTF-8 by default")
    parser.add_argument("--base", metavar="MODEL", help="where the base model of an adapter is now")
    parser.add_argument("--overwrite", action="store_true", help="replace an output file that is there")
    parser.add_argument("--trust-remote-code", action="store_true", help="run Python code that comes with a Hub model")
    options = parser.parse_intermixed_args(list(argv))
    if options.run is None:
        raise UserError(
            "--run is missing; name the run that labels: python run_label.py --run outputs/mine FILE --output FILE; a "
            "recipe names its output by output_dir"
        )
    options.settings = [one for one in options.file if one.startswith("data.") and "=" in one]
    options.file = [one for one in options.file if one not in options.settings]
    if len(options.file) != 1:
        given = f"{len(options.file)} files" if options.file else "no file"
        raise UserError(f"{given} to label; name one: python run_label.py --run {options.run} FILE --output FILE")
    if options.output is None:
        raise UserError(f"--output is missing; name the file to write: --output labelled{Path(options.file[0]).suffix}")
    options.file = options.file[0]
    return options
