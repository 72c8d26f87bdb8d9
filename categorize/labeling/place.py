"""Where a labelling run goes, and where its ledger lies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from categorize.errors import UserError
from categorize.labeling.ledger import Ledger, set_aside
from categorize.processes import is_main_process, print0, rank
from categorize.recipe.nodes import compose, to_plain
from categorize.recipe.problems import Problems
from categorize.recipe.sections import LabelRecipe
from categorize.runs.folder import RECIPE, Run, RunWriter, is_run

KIND = "label"


def ledger_folder(recipe: LabelRecipe) -> Path:
    """The folder of the answers that were paid for."""
    return Path(recipe.labeling.ledger or f"{recipe.output_path}.ledger")


@contextmanager
def open_ledger(recipe: LabelRecipe, restart: bool = False, look_only: bool = False) -> Iterator[Ledger]:
    """The ledger of a job, closed at the end.

    Args:
        restart: set the one that is there aside, and begin another.
        look_only: leave nothing where nothing is, and set nothing aside.

    Raises:
        UserError: as `Ledger.open`.
    """
    folder = ledger_folder(recipe)
    if look_only and (restart or not folder.exists()):
        with TemporaryDirectory() as empty, closing(Ledger.open(Path(empty) / folder.name)) as ledger:
            yield ledger
        return
    if restart and is_main_process() and (old := set_aside(folder)) is not None:
        print0(f"beginning anew; the earlier answers are kept in {old}")
    with closing(Ledger.open(folder, rank())) as ledger:
        try:
            yield ledger
        finally:
            spool_of(ledger).unlink(missing_ok=True)


def spool_of(ledger: Ledger) -> Path:
    """Where a process keeps the rows while a job runs; a kill leaves it, and the next start writes it anew."""
    return ledger.folder / f"rows-{ledger.process}.arrow"


def run_writer(recipe: LabelRecipe, text: str, overwrite: bool = False, probe: bool = False) -> RunWriter | None:
    """A place for the finished run; None in processes that do not write.

    An earlier labelling run there, whole or interrupted, is replaced: its answers lie in the ledger.

    Raises:
        UserError: as RunWriter, also where the place holds a run of another kind.
    """
    if not is_main_process():
        return None
    final = Path(recipe.output_path)
    ours = is_run(final) and Run(final).manifest.get("kind") == KIND
    return RunWriter(final, text, overwrite=overwrite or ours, probe=probe, holds_work=is_another_kind)


def is_another_kind(folder: Path) -> bool:
    """Whether an interrupted run's folder is not a labelling run's."""
    stored = folder / RECIPE
    if not stored.exists():
        return any(folder.iterdir())
    try:
        node = compose(stored.read_text(encoding="utf-8"), str(stored), Problems())
    except UserError:
        return True
    plain = None if node is None else to_plain(node)
    return not (isinstance(plain, dict) and plain.get("kind") == KIND)
