"""Energy is read from the counters that the system has; what cannot be read is not said to be nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from categorize.nn.energy import EnergyMeter

NVML = """
static unsigned long long used[2] = {1000, 5000};
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetHandleByUUID(const char *id, void **device) { *device = used + (id[4] - '0'); return id[4] > '1'; }
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *out) {
    *out = *(unsigned long long *)device += 1500; return 0;
}
"""


def zone(folder: Path, name: str, used: int, most: int = 10_000_000) -> Path:
    folder.mkdir(parents=True)
    for file, value in (("name", name), ("energy_uj", used), ("max_energy_range_uj", most)):
        (folder / file).write_text(f"{value}\n")
    return folder


def test_processors_and_their_memory_count_once_and_over_the_end_of_a_counter(tmp_path: Path) -> None:
    first = zone(tmp_path / "intel-rapl:0", "package-0", 9_000_000)
    core = zone(tmp_path / "intel-rapl:0:0", "core", 1_000)  # a part of the package
    memory = zone(tmp_path / "intel-rapl:0:1", "dram", 0)
    zone(tmp_path / "intel-rapl-mmio:0", "package-0", 9_000_000)  # the same package by another way
    meter = EnergyMeter(gpus=[], powercap=tmp_path)
    for folder, used in ((first, 2_000_000), (core, 900_000), (memory, 500_000)):
        (folder / "energy_uj").write_text(f"{used}\n")
    assert meter.stop() == {"processor": 3.5}


def test_gpus_are_summed_by_their_ids_and_one_that_does_not_tell_leaves_them_unsaid(tmp_path: Path) -> None:
    source, library = tmp_path / "nvml.c", tmp_path / "nvml.so"
    source.write_text(NVML)
    try:
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no C compiler")
    meter = EnergyMeter(gpus=["GPU-0", "GPU-1"], powercap=tmp_path, nvml=str(library))
    assert meter.stop() == {"gpu": 3.0}
    assert EnergyMeter(gpus=["GPU-0", "GPU-7"], powercap=tmp_path, nvml=str(library)).stop() == {}


def test_a_machine_without_counters_tells_nothing(tmp_path: Path) -> None:
    assert EnergyMeter(gpus=["GPU-0"], powercap=tmp_path, nvml="no-such-library.so").stop() == {}
