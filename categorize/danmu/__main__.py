"""Raw danmu to Parquet files: `python -m categorize.danmu SOURCE --write FOLDER`.

SOURCE is a file, a folder or a pattern: collections (json, jsonl, csv, parquet), XML files, tables of comments; gzipped
or not. FOLDER gets `comments/` and `apart/` (Parquet), `collections.parquet`, `rejects.jsonl` and `danmu.json`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from categorize.danmu import Settings, ingest
from categorize.recipe.data_sections import DEFAULT_CLEANING
from categorize.recipe.terminal import CommandParser, exit_status, run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit status: 2 for what the user can fix, 130 where it was interrupted."""
    return exit_status(lambda: run(argv), "interrupted; the same command goes on from there")


def run(argv: Sequence[str] | None) -> None:
    """Ingest and print the count table."""
    parser = CommandParser("python -m categorize.danmu", __doc__)
    parser.add_argument("source", help="file, folder or pattern of raw danmu")
    parser.add_argument("--write", required=True, metavar="FOLDER", help="folder that gets the Parquet files")
    parser.add_argument("--joint", help="what stands between two tuples of a danmu_list; learned by default")
    parser.add_argument("--scripted", choices=("apart", "keep"), default="apart", help="what becomes of modes 7 to 9")
    parser.add_argument(
        "--utc-offset", type=float, default=8.0, metavar="HOURS", help="zone of collect_YMDH, ahead of UTC (8)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace rows of other files or settings")
    options = parser.parse_args(argv)
    settings = Settings(options.joint, options.utc_offset, options.scripted == "keep", DEFAULT_CLEANING)
    done = ingest(options.source, options.write, settings, overwrite=options.overwrite)
    print("\n".join(done.counts.lines()))
    how = "was there already" if done.reused else f"written in {done.seconds:.1f} s"
    if done.resumed:
        how += f", {done.resumed} parts kept from an interrupted start"
    print(f"{done.folder}: {how}")


if __name__ == "__main__":
    sys.exit(run_command(main))
