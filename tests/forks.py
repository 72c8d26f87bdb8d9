"""Scripts in processes of their own that start at once: forks of one process that imported what training imports.

That import takes 7 s of processor time, and tests that kill a run, fill its disk or train in several processes start
one script after the other.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import resource
import runpy
import sys
from collections.abc import Mapping
from contextlib import chdir
from multiprocessing import forkserver
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.imported_once"])
_NUMBERS = itertools.count()


class Script:
    """A script of the checkout that runs. What it prints goes to files: a pipe that nobody reads would stop it."""

    def __init__(
        self,
        script: str,
        *arguments: str,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        file_limit: int | None = None,
    ) -> None:
        """Start it.

        Args:
            folder: where it runs.
            file_limit: bytes that a file may have, as if the disk were full then.
        """
        with chdir(ROOT):  # the server finds the tests by the folder in which it was started
            forkserver.ensure_running()
        self._printed = folder / f".printed-{next(_NUMBERS)}"
        self.process = _CONTEXT.Process(
            target=_run, args=(script, arguments, folder, dict(environment or {}), self._printed, file_limit)
        )
        self.process.start()

    def is_running(self) -> bool:
        return self.process.is_alive()

    def kill(self, how: int) -> None:
        """Send a signal."""
        assert self.process.pid is not None
        os.kill(self.process.pid, how)

    def end(self) -> tuple[int | None, str, str]:
        """Wait for its end; gives exit status (minus the signal that ended it), stdout and stderr."""
        self.process.join(300)
        out, err = (self._printed.with_suffix(name).read_text(encoding="utf-8") for name in (".out", ".err"))
        return self.process.exitcode, out, err


def _run(
    script: str,
    arguments: tuple[str, ...],
    folder: Path,
    environment: dict[str, str],
    printed: Path,
    file_limit: int | None,
) -> None:
    os.chdir(folder)
    os.environ |= environment
    for descriptor, name in ((1, ".out"), (2, ".err")):
        os.dup2(os.open(printed.with_suffix(name), os.O_WRONLY | os.O_CREAT, 0o644), descriptor)
    if file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    sys.argv = [str(ROOT / script), *arguments]
    runpy.run_path(sys.argv[0], run_name="__main__")
