"""`accelerate launch` that ends with the status of what it started, and prints nothing beside it.

python -m categorize.launch [options of accelerate launch] run_sft.py recipes/qwen3b_qlora.yaml

`accelerate launch` itself ends with 1 and a traceback, whatever became of the processes that it started: a scheduler
cannot tell a run to continue (75) from one to correct (2). SIGTERM and SIGUSR1 are passed on to those processes, and
what they do about it is waited for.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from subprocess import CalledProcessError
from typing import Any

from categorize.processes import LAUNCHED

PASSED_ON = (signal.SIGTERM, signal.SIGUSR1) if hasattr(signal, "SIGUSR1") else (signal.SIGTERM,)


def main(argv: Sequence[str] | None = None) -> int:
    """Launch, wait and return the exit status: of the process that failed first, 128 + n where signal n ended it."""
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    options = launch_command_parser().parse_args(argv)  # before anything is changed: --help leaves here
    for number in PASSED_ON:
        signal.signal(number, _pass_on)
    os.environ[LAUNCHED] = "1"
    os.environ.setdefault("PET_SIGNALS_TO_HANDLE", "SIGINT,SIGHUP,SIGQUIT")  # torchrun's options; those below are ours
    for name in ("accelerate.commands.launch", "torch.distributed.elastic.multiprocessing.api"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        launch_command(options)
    except CalledProcessError as error:
        return _status(error.returncode)
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        return _status(failure.exitcode)
    except KeyboardInterrupt:  # said by the processes themselves, which get it too
        return 128 + signal.SIGINT
    return 0


def _pass_on(number: int, _: Any) -> None:
    import psutil

    started = psutil.Process().children()
    if not started:
        sys.exit(128 + number)
    for process in started:
        process.send_signal(number)


def _status(code: int) -> int:
    if code >= 0:
        return code
    print(f"error: a process of the launch was ended by {signal.Signals(-code).name}", file=sys.stderr)
    return 128 - code


if __name__ == "__main__":
    sys.exit(main())
