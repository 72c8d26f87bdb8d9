"""Push a finished run to the Hugging Face Hub: a model, or the table of a labelling run as a dataset.

python -m categorize.hub push outputs/mine                            # as its recipe's hub section says
python -m categorize.hub push outputs/mine owner/name [--public] [--merged] [--predictions] [--checkpoints]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import yaml
from pydantic import ValidationError

from categorize.errors import UserError
from categorize.labeling.dataset_card import write_card
from categorize.labeling.place import KIND
from categorize.labeling.review.labelled import label_sets_of_run
from categorize.methods.registry import METHODS
from categorize.recipe.hub_sections import DatasetHubSection, HubSection, PushSection
from categorize.recipe.terminal import CommandParser, exit_status, run_command
from categorize.runs.contents import README
from categorize.runs.folder import RECIPE, Run
from categorize.runs.hub import HubId
from categorize.runs.pushing import push

_LACKS = {"merged": "adapter", "checkpoints": "checkpoints", "predictions": "predictions beside its table"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = CommandParser("python -m categorize.hub", __doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="push")
    pushing = commands.add_parser("push", help="push a finished run", description=__doc__)
    pushing.add_argument("run", metavar="RUN_FOLDER", help="a finished run, such as outputs/mine")
    pushing.add_argument(
        "repo_id",
        nargs="?",
        metavar="OWNER/NAME",
        help="where to push, made where it does not exist; else the recipe's",
    )
    pushing.add_argument("--public", action="store_true", help="everybody may see it; private otherwise")
    pushing.add_argument("--revision", metavar="BRANCH", help="the branch to push to, made where it does not exist")
    pushing.add_argument("--merged", action="store_true", help="push the merged run beside it, which stock tools load")
    pushing.add_argument("--checkpoints", action="store_true", help="push what training saved on its way too")
    pushing.add_argument("--predictions", action="store_true", help="push the predictions too, with their texts")
    pushing.add_argument(
        "--allow-personal-data", action="store_true", help="push texts that hold secrets or personal data too"
    )
    return exit_status(lambda: _push(parser.parse_args(argv)))


def _push(options: argparse.Namespace) -> None:
    run = Run.open(options.run)
    section = section_of(run, options)
    if not isinstance(section, HubSection) and not run.has(README):  # labelled before runs had cards
        write_card(run.path, run.manifest, label_sets_of_run(run.path), str(run.path))
    push(run, section, METHODS.files)


def section_of(run: Run, options: argparse.Namespace) -> PushSection:
    """The `hub` section of the run's recipe, with the flags over it; another repository has none of it.

    Raises:
        UserError: neither says where to push, or a place that the Hub cannot have.
    """
    written = (yaml.safe_load((run.path / RECIPE).read_text(encoding="utf-8")) or {}).get("hub") or {}
    if options.repo_id is not None and options.repo_id != written.get("repo_id"):
        hub_id = HubId.parse(options.repo_id)
        if hub_id is None or hub_id.revision is not None or "/" not in hub_id.repo_id:
            raise UserError(f"{options.repo_id}: not a place to push to; write owner/name")
        written = {"repo_id": options.repo_id}
    elif not written:
        raise UserError(f"{run.path}: its recipe has no hub section; name the repository: {run.path} owner/name")
    given: dict[str, Any] = {
        "private": False if options.public else None,
        "revision": options.revision,
        "personal_data": "allow" if options.allow_personal_data else None,
    }
    cls: type[PushSection] = HubSection
    if run.manifest.get("kind") == KIND:
        cls = DatasetHubSection
        if wrong := next((flag for flag in ("merged", "checkpoints", "predictions") if getattr(options, flag)), None):
            raise UserError(f"--{wrong}: {run.path} is a labelling run, which has no {_LACKS[wrong]}; leave it out")
    else:
        given |= {
            "weights": "merged" if options.merged else None,
            "checkpoints": options.checkpoints or None,
            "predictions": options.predictions or None,
        }
    try:
        return cls(**{**written, **{name: value for name, value in given.items() if value is not None}})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{run.path / RECIPE}: hub.{where}: {first['msg']}") from None


if __name__ == "__main__":
    sys.exit(run_command(main))
