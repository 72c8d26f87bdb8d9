"""Energy while a model is fitted: of the processors, by Linux's counters (RAPL), and of this process's GPUs, by NVML.

The processors' counters are of the whole machine, whoever uses it, and most systems let root alone read them.
Sources: https://docs.kernel.org/power/powercap/powercap.html; NVML API, nvmlDeviceGetTotalEnergyConsumption.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from pathlib import Path
from threading import Event, Thread

POWERCAP, NVML = Path("/sys/class/powercap"), "libnvidia-ml.so.1"
EVERY = 30.0  # seconds between two readings: a processor's counter begins again after some minutes at full power


class EnergyMeter:
    """Joules since it was made; `stop` gives them.

    Args:
        gpus: ids of GPUs, as NVML has them; by default those that torch sees.
    """

    def __init__(self, gpus: list[str] | None = None, powercap: Path = POWERCAP, nvml: str = NVML) -> None:
        self._gpus, self._nvml = _gpu_ids() if gpus is None else gpus, nvml
        zones = [zone for zone in powercap.glob("intel-rapl:*") if _named(zone).startswith(("package", "dram"))]
        self._last = {zone: read for zone in zones if (read := _number(zone / "energy_uj")) is not None}
        self._processor = 0.0
        self._gpu = self._gpus_joules()
        self._ended = Event()
        if self._last:
            Thread(target=self._watch, daemon=True).start()

    def stop(self) -> dict[str, float]:
        """Joules of `processor` and of `gpu`, those of the two that can be measured here."""
        self._ended.set()
        self._read()
        found = {"processor": self._processor} if self._last else {}
        if self._gpu is not None and (now := self._gpus_joules()) is not None:
            found["gpu"] = now - self._gpu
        return {name: round(joules, 1) for name, joules in found.items()}

    def _watch(self) -> None:
        while not self._ended.wait(EVERY):
            self._read()

    def _read(self) -> None:
        for zone, before in list(self._last.items()):
            now = _number(zone / "energy_uj")
            if now is None:
                continue
            around = _number(zone / "max_energy_range_uj") or 0 if now < before else 0  # it began again
            self._processor += (now - before + around) / 1e6
            self._last[zone] = now

    def _gpus_joules(self) -> float | None:
        """What the GPUs used since their driver was loaded; None where one does not tell."""
        try:
            library = ctypes.CDLL(self._nvml) if self._gpus else None
        except OSError:
            library = None
        if library is None or library.nvmlInit_v2() != 0:
            return None
        total, device, millijoules = 0, ctypes.c_void_p(), ctypes.c_ulonglong()
        for gpu in self._gpus:
            if library.nvmlDeviceGetHandleByUUID(gpu.encode(), ctypes.byref(device)) != 0:
                return None
            if library.nvmlDeviceGetTotalEnergyConsumption(device, ctypes.byref(millijoules)) != 0:
                return None
            total += millijoules.value
        return total / 1e3


def _gpu_ids() -> list[str]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    return [f"GPU-{torch.cuda.get_device_properties(i).uuid}" for i in range(torch.cuda.device_count())]


def _named(zone: Path) -> str:
    with contextlib.suppress(OSError):
        return (zone / "name").read_text()
    return ""


def _number(file: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        return int(file.read_text())
    return None
