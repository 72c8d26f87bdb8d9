"""How much memory a stretch of work takes at most."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

_PROCESS = Path("/proc/self")


def reset_peak() -> None:
    """Count from what is held now. Where a system other than Linux has no such thing, the peak stays that of the whole
    process."""
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        (_PROCESS / "clear_refs").write_text("5")  # see proc(5)


def peak() -> int:
    """Most bytes held since: by torch on the GPU; without one by this process, data and libraries counted."""
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_available():
        return int(torch.cuda.max_memory_reserved())
    with contextlib.suppress(OSError, StopIteration):
        line = next(line for line in (_PROCESS / "status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import psutil  # accelerate brings it

    return int(psutil.Process().memory_info().rss)  # not Linux: what is held now, for want of a peak
