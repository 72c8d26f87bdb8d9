"""Where and with what a run was made: versions, commit and hardware, for its manifest."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from categorize.processes import world_size

REPORTED_PACKAGES = (
    "torch", "transformers", "peft", "trl", "accelerate", "datasets", "scikit-learn", "bitsandbytes", "deepspeed",
)  # fmt: skip


def environment() -> dict[str, Any]:
    """What the manifest says of it: `versions` of Python and of the packages that shape results, `git_commit` and
    `hardware`."""
    from categorize import __version__

    versions = {"python": platform.python_version(), "categorize": __version__}
    for name in REPORTED_PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {"versions": versions, "git_commit": git_commit(), "hardware": hardware()}


def git_commit() -> str | None:
    """Commit of the checkout that holds the package, marked `+changes` where the tree differs; None outside git."""
    command = ["git", "describe", "--always", "--exclude=*", "--abbrev=40", "--dirty=+changes"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def processor_name() -> str:
    """The processor's name as the system gives it."""
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        info = ""
    named = re.search(r"^model name\s*:\s*(.+)$", info, re.MULTILINE)
    return named.group(1).strip() if named else platform.processor() or platform.machine()


def hardware() -> dict[str, Any]:
    """Processor and cores of this machine, number of processes of this launch; where torch was used, its threads and
    accelerators."""
    facts: dict[str, Any] = {
        "machine": platform.machine(),
        "processor": processor_name(),
        "cpus": os.cpu_count(),
        "processes": world_size(),
    }
    torch = sys.modules.get("torch")  # a linear model does not need it, and loading it takes longer than that to fit
    if torch is not None:
        facts["threads"] = torch.get_num_threads()
        if torch.cuda.is_available():
            facts["gpus"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return facts
