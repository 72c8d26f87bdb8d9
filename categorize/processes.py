"""The processes of one launch: which of them this one is, and which of them speaks.

`accelerate launch` and `torchrun` start the same command several times and tell each process its number by `RANK`.
What is wrong with the recipe or the data is wrong in all of them, so the first to find it says it. Both end with a
traceback of their own where a process fails: `last_words` and `leave_reason` see to it that the reason ends what the
user reads.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from categorize.errors import UserError

LAUNCHED = "CATEGORIZE_LAUNCHED"  # set by categorize.launch, which prints nothing when a process fails
NUMBERS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
_SAID = "said-"


# ---------------------------------------------------------------- which process this is
def rank() -> int:
    """Number of this process among all of the launch; 0 where nothing was launched.

    Raises:
        UserError: `RANK` is not a number. The same holds for the others.
    """
    return _number("RANK") or 0


def local_rank() -> int | None:
    """Number of this process among those of this machine; None where nothing was launched."""
    return _number("LOCAL_RANK")


def world_size() -> int:
    """Number of processes of the launch."""
    return _number("WORLD_SIZE") or 1


def on_one_machine() -> bool:
    """Whether all processes of this launch are on this machine."""
    here = _number("LOCAL_WORLD_SIZE")
    return here is None or here == world_size()


def is_main_process() -> bool:
    """Whether this process writes and speaks: the first of those that a launcher started."""
    return rank() == 0


def print0(line: str) -> None:
    """Print a line, from the first process only."""
    if is_main_process():
        print(line, flush=True)


def check_launch() -> None:
    """Make what the launcher says fit to be read by torch and accelerate too, which take an empty number for an error.

    Raises:
        UserError: one of them is not a number, or the launch has fewer processes.
    """
    for name in NUMBERS:
        if _number(name) is None:
            os.environ.pop(name, None)
    if not 0 <= rank() < world_size():
        raise UserError(
            f"RANK is {rank()} and WORLD_SIZE {world_size()}: no such process; start with accelerate launch or "
            f"torchrun, which set both, or unset RANK"
        )


def _number(name: str) -> int | None:
    value = os.environ.get(name, "").strip()
    if not value:
        return None
    try:
        return int(value)
    except ValueError:
        raise UserError(
            f"{name}: {value!r} is not a number; start with accelerate launch or torchrun, which set it, or unset it"
        ) from None


# ---------------------------------------------------------------- who speaks
def is_first_to_say(text: str) -> bool:
    """Whether no other process of this machine has said the same; each text is said once a launch and machine."""
    shared = _shared_folder()
    if shared is None:
        return True
    try:
        (shared / (_SAID + hashlib.sha256(text.encode()).hexdigest()[:16])).touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:  # said twice is better than not at all
        return True
    return True


def another_failed() -> bool:
    """Whether a process of this machine has said why it ends: what fails in the others now only follows from it."""
    shared = _shared_folder()
    return shared is not None and any(shared.glob(f"{_SAID}*"))


def _shared_folder() -> Path | None:
    """The folder that torchrun (and accelerate by it) makes for each attempt of a launch, one subfolder a process.

    None without torchrun, and where its logs are off: the file is /dev/null then.
    """
    own = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if not own:
        return None
    folder = Path(own).parent.parent
    return folder if folder.name.startswith("attempt_") and folder.is_dir() else None


# ---------------------------------------------------------------- what comes last
def last_words(text: str) -> None:
    """Print on stderr why this process ends, so that it is what the user reads last.

    `accelerate launch` of one process answers every status but 0 with a traceback, which nothing in the process can
    prevent. There the text is printed by a shell that outlives this process for as long as that takes; the launcher
    itself lives longer, since it has torch to take down.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if _has_chatty_launcher():
        # It reads until this process is gone, then gives the launcher time for its traceback, but does not outlive it.
        script = """cat > /dev/null
            for step in 1 2 3 4 5 6 7 8; do sleep 0.05; kill -0 "$1" 2> /dev/null || break; done
            printf '%s\\n' "$0" >&2"""
        shell = ["sh", "-c", script, text, str(os.getppid())]
        try:
            subprocess.Popen(shell, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
            return
        except OSError:  # no shell, or a text too long for a command line
            pass
    print(text, file=sys.stderr, flush=True)


def _has_chatty_launcher() -> bool:
    return "ACCELERATE_MIXED_PRECISION" in os.environ and not {"RANK", LAUNCHED} & os.environ.keys()


def leave_reason(text: str) -> None:
    """Tell torchrun's agent why this process ends: its report shows it as the root cause.

    The file's form is that of `torch.distributed.elastic.multiprocessing.errors.ErrorHandler`.
    """
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if not file:
        return
    # A second early: the first failure is the cause, in whole seconds, and what follows from it comes within one.
    details = {"py_callstack": text, "timestamp": str(int(time.time()) - 1)}
    with suppress(OSError):
        Path(file).write_text(json.dumps({"message": {"message": text, "extraInfo": details}}), encoding="utf-8")


def leave(status: int) -> int:
    """The exit status; where processes are joined in a group, the process ends here and now.

    After an error an orderly end would wait for the others, which wait for this one: the launcher ends them once this
    one is gone.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status
