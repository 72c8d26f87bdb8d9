"""What `speed.py` measured, as tables: sides, and ratios beside their targets."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from speed_cases import Ratio

from categorize.text_tables import markdown_table

INSTRUCTIONS = {"bf16": ("avx512_bf16", "amx_bf16"), "vnni": ("avx512_vnni", "avx_vnni")}


def has(instructions: str | None) -> bool:
    """Whether the processor has the instructions that a target needs."""
    if instructions is None:
        return True
    flags = Path("/proc/cpuinfo")
    known = flags.read_text(encoding="utf-8").split() if flags.exists() else []
    return any(flag in known for flag in INSTRUCTIONS[instructions])


def rate(found: list[dict[str, Any]], unit: str) -> float:
    """Median of the rows a second of the clock, or of CPU."""
    return median(one["rows"] / max(one[unit], 1e-9) for one in found)


def reached(found: dict[str, Any], ratio: Ratio, unit: str) -> tuple[float, str] | None:
    """The ratio by clock or CPU, and the peer that it is of; None where a side was not measured."""
    sides = found["sides"]
    peers = {peer: rate(sides[peer], unit) for peer in ratio.peers if peer in sides}
    if ratio.ours not in sides or not peers:
        return None
    fastest = max(peers, key=lambda peer: peers[peer])
    return rate(sides[ratio.ours], unit) / peers[fastest], fastest


def verdict(value: float, ratio: Ratio) -> str:
    """Of a target."""
    if ratio.target is None:
        return "-"
    if not has(ratio.needs):
        return f"{ratio.target:g}: this processor has no {ratio.needs} instructions"
    return f"{ratio.target:g}" + ("" if value >= ratio.target else " MISSED")


def tables(found: dict[str, Any]) -> tuple[str, bool]:
    """Markdown of a row: what each side did, and the ratios beside their targets; whether all were reached."""
    judged = "seconds" if found["by"] == "clock" else "cpu"
    rows = [
        [
            side,
            f"{rate(rounds, 'seconds'):,.1f}",
            f"{rate(rounds, 'cpu'):,.1f}",
            f"{median(one['memory'] for one in rounds) / 2**20:,.0f}",
            f"{rounds[0]['rows']:,}",
        ]
        for side, rounds in found["sides"].items()
    ]
    compared, good = [], True
    for given in found["ratios"]:
        ratio = Ratio(**{**given, "peers": tuple(given["peers"])})
        values = [reached(found, ratio, unit) for unit in ("seconds", "cpu", judged)]
        if any(value is None for value in values):
            continue
        (clock, _), (cpu, _), (value, fastest) = values  # type: ignore[misc]
        against = f"{ratio.text}: {fastest}" if len(ratio.peers) > 1 else ratio.text or fastest
        compared.append([ratio.ours, against, verdict(value, ratio), f"{clock:.2f}", f"{cpu:.2f}"])
        good = good and "MISSED" not in compared[-1][2]
    lines = [
        markdown_table(["side", "rows/s", "rows/CPU s", "peak MiB", "rows timed"], rows, "lrrrr"),
        "",
        markdown_table(["ours", "beside", "target", "ratio by the clock", "by CPU seconds"], compared, "llrrr"),
        *(f"\nNot measured: {side}: {why}" for side, why in found["failed"].items()),
    ]
    return "\n".join(lines), good


def ratios_of(found: dict[str, dict[str, Any]]) -> list[tuple[str, str, float, float | None]]:
    """For the picture: group, bar, ratio as it is judged, target."""
    bars = []
    for name, one in found.items():
        for given in one.get("ratios", ()):
            ratio = Ratio(**{**given, "peers": tuple(given["peers"])})
            value = reached(one, ratio, "seconds" if one["by"] == "clock" else "cpu")
            if value is not None and not ratio.peers[0].startswith(("bare", "matrix")):
                target = ratio.target if has(ratio.needs) else None
                bars.append(
                    (name, f"{ratio.ours.removeprefix('ours').strip(', ')} beside {value[1]}", value[0], target)
                )
    return bars
