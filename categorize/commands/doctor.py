"""What this machine has for the project, and a way out where something is missing.

python -m categorize doctor
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryFile
from typing import Literal

from categorize.recipe.terminal import CommandParser, exit_status, run_command

GIB = 2**30
KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "DEEPSEEK_API_KEY", "SILICONFLOW_API_KEY")
LEAST_DISK = 5 * GIB


@dataclass(frozen=True)
class Finding:
    """A line of what was found.

    Attributes:
        state: `ok`; `note`: may be as it should be; `fault`: something will not work.
        subject, told: of what, and what.
        way_out: what to do about it.
    """

    state: Literal["ok", "note", "fault"]
    subject: str
    told: str
    way_out: str = ""


def examine() -> list[Finding]:
    """Everything that is looked at, in order. No network is asked, and of secrets alone whether they are there."""
    return [*_versions(), *_devices(), *_hub(), *_folders()]


def _versions() -> Iterator[Finding]:
    from packaging.requirements import Requirement

    yield Finding("ok", "python", f"{platform.python_version()} ({sys.executable})")
    try:
        needed = [Requirement(one) for one in metadata.requires("categorize") or ()]
    except metadata.PackageNotFoundError:
        yield Finding("fault", "categorize", "is not installed", "make setup, or pip install -e . in the checkout")
        return
    extras: dict[str, list[str]] = {}
    for one in needed:
        try:
            version = metadata.version(one.name)
        except metadata.PackageNotFoundError:
            version = None
        extra = str(one.marker).rpartition("extra == ")[2].strip("\"'") if one.marker else ""
        if extra:
            if version is None or not one.specifier.contains(version, prereleases=True):
                extras.setdefault(extra, []).append(one.name)
            continue
        if version is None:
            yield Finding("fault", one.name, "is not installed", f"pip install '{one.name}{one.specifier}'")
        elif not one.specifier.contains(version, prereleases=True):
            way_out = f"pip install '{one.name}{one.specifier}'"
            yield Finding("fault", one.name, f"{version} is not {one.specifier}", way_out)
        else:
            yield Finding("ok", one.name, version)
    for extra, missing in extras.items():
        if extra not in ("dev", "docs"):
            told = f"not installed: {', '.join(missing)}"
            yield Finding(
                "note", f"extra {extra}", told, f"pip install 'categorize[{extra}]' where a recipe asks for it"
            )


def _devices() -> Iterator[Finding]:
    import psutil  # accelerate brings it
    import torch

    from categorize.nn.precision import cpu_computes_bfloat16
    from categorize.runs.environment import processor_name

    free, total = psutil.virtual_memory().available / GIB, psutil.virtual_memory().total / GIB
    yield Finding("ok", "processor", f"{processor_name()}, {os.cpu_count()} cores, {free:.0f} of {total:.0f} GiB free")
    if not cpu_computes_bfloat16():
        told = "no instructions for bfloat16: float32 is computed instead"
        yield Finding("note", "bfloat16 on the CPU", told)
    else:
        yield Finding("ok", "bfloat16 on the CPU", "yes")
    if not torch.cuda.is_available():
        built = (
            f"torch {torch.__version__} is built for {'CUDA ' + torch.version.cuda if torch.version.cuda else 'CPUs'}"
        )
        way_out = (
            "small encoders, TF-IDF and embeddings train on a CPU; for a GPU install torch for CUDA, and its driver"
        )
        yield Finding("note", "GPU", f"none that torch sees; {built}", way_out)
    for number in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(number)
        bf16 = facts.major >= 8
        told = f"{facts.name}, {facts.total_memory / GIB:.1f} GiB, bfloat16: {'yes' if bf16 else 'no, float16'}"
        yield Finding("ok", f"GPU {number}", told)
    yield _four_bit()


def _four_bit() -> Finding:
    """Whether 4-bit weights can be made and multiplied here, tried out on one small layer."""
    try:
        import bitsandbytes
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
        layer = bitsandbytes.nn.Linear4bit(64, 64, bias=False, compute_dtype=torch.float32, quant_type="nf4").to(device)
        with torch.no_grad():
            finite = bool(layer(torch.ones(1, 64, device=device)).isfinite().all())
        if finite:
            return Finding("ok", "4-bit weights (QLoRA)", f"yes, on the {device.upper().replace('CUDA', 'GPU')}")
        reason = "a layer gives values that are not finite"
    except Exception as error:  # of a package with compiled parts
        reason = " ".join(str(error).split())[:150]
    way_out = "pip install --upgrade bitsandbytes, or leave quantization out"
    return Finding("fault", "4-bit weights (QLoRA)", reason, way_out)


def _hub() -> Iterator[Finding]:
    from huggingface_hub import constants, get_token

    offline = constants.is_offline_mode()
    told = "HF_HUB_OFFLINE is set: models come from the cache alone" if offline else "no: the Hub is asked"
    yield Finding("ok", "offline mode", told)
    where = "HF_TOKEN" if os.environ.get("HF_TOKEN") else "the token file"
    if get_token():
        yield Finding("ok", "Hub token", f"present, in {where}")
    else:
        yield Finding("note", "Hub token", "none", "hf auth login, for gated models (Llama, Gemma) and for pushing")
    present = [name for name in KEYS if os.environ.get(name)]
    yield Finding("ok", "keys of providers", f"present: {', '.join(present)}" if present else "none in the environment")
    cache = Path(constants.HF_HUB_CACHE)
    count = len(list(cache.glob("models--*"))) if cache.is_dir() else 0
    yield _folder("Hub cache", cache, f"{count} models", "set HF_HOME to a folder that you may write")


def _folders() -> Iterator[Finding]:
    yield _folder("working folder", Path.cwd(), "", "start in a folder that you may write, or set output_dir")
    yield _folder("outputs", Path.cwd() / "outputs", "", "set output_dir in the recipe to a folder that you may write")


def _folder(subject: str, path: Path, about: str, way_out: str) -> Finding:
    """Whether files can be written there, or into the folder in which it would be made, and how much room is left."""
    there = next(one for one in (path, *path.parents) if one.is_dir())
    try:
        with TemporaryFile(dir=there):
            pass
    except OSError as error:
        return Finding("fault", subject, f"{path} cannot be written: {error.strerror}", way_out)
    free = shutil.disk_usage(there).free
    told = ", ".join(part for part in (str(path), about, f"{free / GIB:.0f} GiB free") if part)
    if free < LEAST_DISK:
        return Finding("note", subject, told, "a model of 7B has 15 GB: make room, or choose another disk")
    return Finding("ok", subject, told)


def main(argv: Sequence[str] | None = None) -> int:
    """Print what was found; 1 where something will not work."""
    CommandParser("python -m categorize doctor", __doc__).parse_args(argv)
    faults: list[Finding] = []

    def say() -> None:
        from categorize.nn.console import quiet_libraries

        quiet_libraries()
        for one in examine():
            print(f"{one.state:<6}{one.subject}: {one.told}")
            if one.way_out:
                print(f"      -> {one.way_out}")
            if one.state == "fault":
                faults.append(one)
        print(f"{len(faults)} faults" if faults else "nothing is in the way")

    return exit_status(say) or (1 if faults else 0)


if __name__ == "__main__":
    sys.exit(run_command(main))
