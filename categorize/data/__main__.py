"""What a file holds, with a recipe to start from; what a recipe's data holds, as tables; with `--write`, as a folder of
splits with a datasheet.

python -m categorize.data my_comments.xlsx
python -m categorize.data my_comments.xlsx --recipe recipes/mine.yaml
python -m categorize.data recipes/mine.yaml
python -m categorize.data recipes/mine.yaml data.splits.test=0.3 --write outputs/mine_data
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from categorize.errors import UserError
from categorize.recipe.load import load_recipe
from categorize.recipe.overrides import data_settings
from categorize.recipe.terminal import CommandParser, exit_status, run_command
from categorize.recipe.wording import quote
from categorize.recipe.written import Methods


def main(methods: Methods, argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit status: 2 for what the user can fix."""
    return exit_status(lambda: run(_parse(argv), methods))


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser("python -m categorize.data", __doc__)
    parser.add_argument("recipe", metavar="FILE|RECIPE", help="a file, folder or pattern; or a recipe (.yaml)")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="lay a value over the recipe")
    parser.add_argument("--recipe", dest="starting", metavar="FILE", help="write the recipe to start from")
    parser.add_argument("--write", metavar="FOLDER", help="write splits, spreadsheet form, datasheet and a picture")
    parser.add_argument("--format", choices=("parquet", "csv", "xlsx"), default="parquet", help="of the written tables")
    parser.add_argument("--overwrite", action="store_true", help="replace a folder that this command wrote")
    parser.add_argument("--resplit", action="store_true", help="draw the splits anew, not the stored ones")
    parser.add_argument("--license", metavar="ID", help="for the datasheet, as the Hub spells it; unknown by default")
    parser.add_argument("--language", metavar="CODE", help="for the datasheet, such as en; told from the script for zh")
    options = parser.parse_intermixed_args(argv)
    if "=" in options.recipe and not Path(options.recipe).exists():
        recipe = quote(options.recipe)
        raise UserError(f"{recipe} stands where the file or recipe belongs; python -m categorize.data FILE ...")
    if options.starting is not None and is_recipe(options.recipe):
        raise UserError(f"--recipe is for a file; {options.recipe} is a recipe already")
    if not is_recipe(options.recipe) and (options.write is not None or options.resplit):
        raise UserError("--write and --resplit are for a recipe; make one: add --recipe recipes/mine.yaml")
    for name in ("overwrite", "license", "language", "format"):
        if options.write is None and getattr(options, name) != parser.get_default(name):
            raise UserError(f"--{name} is for a written folder; add --write FOLDER")
    return options


def is_recipe(name: str) -> bool:
    """Whether the command names a recipe; everything else is data."""
    return Path(name).suffix.lower() in (".yaml", ".yml")


def look_at_file(options: argparse.Namespace, methods: Methods) -> None:
    """Print what a file holds and a recipe to start from; write it where a name is given. Raises UserError where the
    file cannot be read."""
    from categorize.data.inspection.look import lines, look
    from categorize.data.inspection.starting_recipe import starting_recipe, write_recipe

    path = Path(options.starting or "mine.yaml")
    found = look(options.recipe, data_settings(options.overrides))
    print("\n".join(lines(found)), flush=True)
    if options.starting is None:
        print("\na recipe to start from (--recipe recipes/mine.yaml writes it):\n")
        print(textwrap.indent(starting_recipe(found, path), "  ").rstrip())
        return
    write_recipe(found, path, methods)
    print(f"\nwritten: {path}; look before you train:\n  python run_seqcls.py {path} --dry-run")


def run(options: argparse.Namespace, methods: Methods) -> None:
    """Look at a file; or load, print the tables, and write the folder where one is named. Raises UserError for what is
    at fault."""
    if not is_recipe(options.recipe):
        look_at_file(options, methods)
        return
    recipe = load_recipe(options.recipe, options.overrides, methods=methods).recipe
    from categorize.data.export.folder import check_folder, export_tables, write_folder
    from categorize.data.export.overview import duplicate_table, length_table, row_counts
    from categorize.data.splits import load_recipe_data
    from categorize.text_tables import aligned

    folder = Path(options.write) if options.write is not None else None
    if folder is not None:
        check_folder(folder, options.overwrite)
    data = load_recipe_data(recipe, resplit=options.resplit, write=folder is not None)
    lines = data.report.lines()
    lines += ["", *aligned([["rows", ""], *([name, f"{count:,}"] for name, count in row_counts(data).items())])]
    lines += ["", *aligned(length_table(data)), "", *aligned(duplicate_table(data))]
    print("\n".join(lines), flush=True)
    if folder is None:
        return
    import numpy as np

    from categorize.data.export.charts import overview_svg
    from categorize.data.export.datasheet import PICTURE, datasheet
    from categorize.data.export.overview import text_lengths
    from categorize.data.reading.raw import SPLIT_NAMES

    exported = export_tables(data, recipe, options.format)
    lengths = np.concatenate([text_lengths(data, name) for name in SPLIT_NAMES])
    texts = {
        "README.md": datasheet(data, recipe, exported, license_id=options.license, language=options.language),
        PICTURE: overview_svg(lengths, data.report.label_counts),
    }
    names = write_folder(folder, exported, data, recipe, texts, overwrite=options.overwrite)
    print(f"\nwritten: {folder}: {', '.join(names)}")


if __name__ == "__main__":
    from categorize.methods.registry import METHODS

    sys.exit(run_command(lambda: main(METHODS)))
