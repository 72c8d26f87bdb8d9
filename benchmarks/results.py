"""`RESULTS.md`: one section a benchmark, each replaced by itself."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from categorize.runs.environment import processor_name

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "RESULTS.md"
TITLE = "# Results\n\nWhat was measured, with command, versions and hardware. `benchmarks/README.md` says how.\n"
DATA = "CATEGORIZE_DATA"


def write_section(heading: str, text: str) -> None:
    """Put a section in the place of the one with its heading, or behind all others; the rest of the file stays."""
    old = RESULTS.read_text(encoding="utf-8") if RESULTS.is_file() else TITLE
    parts = re.split(r"(?m)^(?=## )", old)
    kept = [part.rstrip("\n") for part in parts]
    places = [i for i, part in enumerate(kept) if part.splitlines()[:1] == [heading]]
    if places:
        kept[places[0]] = text.rstrip("\n")
    else:
        kept.append(text.rstrip("\n"))
    RESULTS.write_text("\n\n".join(kept) + "\n", encoding="utf-8")


def how_measured(command: str, manifest: dict[str, Any], packages: tuple[str, ...], data: bool = True) -> list[str]:
    """Lines that say how runs came about: the command, the machine, the versions and the date, from the manifest of
    one of them; `data`: the command needs the data folder."""
    threads = os.environ.get("OMP_NUM_THREADS")
    hardware, versions = manifest["hardware"], manifest["versions"]
    processor = ", ".join(hardware.get("gpus", ())) or hardware.get("processor", processor_name())
    named = ", ".join(f"{name} {versions[name]}" for name in ("python", "categorize", *packages) if name in versions)
    return [
        f"- command: `{f'{DATA}=... ' if data else ''}{f'OMP_NUM_THREADS={threads} ' if threads else ''}{command}`",
        f"- hardware: {processor}, {hardware['cpus']} cores",
        f"- versions: {named}; commit {manifest['git_commit'] or 'unknown'}",
        f"- date: {manifest['finished'][:10]}",
    ]
