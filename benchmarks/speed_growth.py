"""How cost grows: rows of head inference, tokens of the instruction, labels that are scored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import speed_tasks as tasks
from speed_cases import FEW, Sizes, labelling
from speed_tasks import LABELS, PREFIX, SHORT

from categorize.text_tables import markdown_table

RunSide = Callable[[str, dict[str, Any], int], dict[str, Any]]
ROWS, MOST = (1_000, 10_000, 100_000), 1_000_000
PREFIXES, LABEL_COUNTS = (0, 100, 300, 1_000, 2_000), (2, 22, 100, 500)
GROWTH = {
    "growth-rows": "rows of head inference",
    "growth-prefix": "tokens of the instruction",
    "growth-labels": "labels scored",
}
PEER_ROWS = 64


def grow(name: str, sizes: Sizes, run_side: RunSide, *, long: bool) -> dict[str, Any]:
    """One measurement of each size, ours and where it makes sense the naive way's."""
    found = []
    if name == "growth-rows":
        for count in (*ROWS, MOST) if long else ROWS:
            count = sizes.rows(count, 2 * FEW)
            rows = tasks.texts(count, SHORT, seed=17)
            job = labelling(f"grown_{count}", tasks.head_run(), rows, "prediction.dtype=float32")
            found.append({"size": count, "ours": run_side(f"{count} rows", job, sizes.threads)})
    else:
        for prefix, labels in _shapes(name):
            rows = tasks.decoder_rows(sizes.rows(2_000, 2 * FEW), seed=19)
            run = tasks.scorer_run(prefix, labels)
            given = tasks.prompts(rows[: sizes.rows(PEER_ROWS)], prefix, labels)
            job = labelling(f"grown_{prefix}_{labels}", run, rows, "prediction.dtype=float32")
            peer = {"side": "naive", "model": str(run), "dtype": "float32", **given}
            size = given["prefix"] if name == "growth-prefix" else labels
            one = {"size": size, "ours": run_side(f"{size} ours", job, sizes.threads)}
            found.append({**one, "naive": run_side(f"{size} naive", peer, sizes.threads)})
        for one in found:
            ratio = one["naive"]["cpu"] / one["naive"]["rows"] / (one["ours"]["cpu"] / one["ours"]["rows"])
            print(f"  {one['size']}: {ratio:.1f} times naive scoring", flush=True)
    return {"grown": found, "threads": sizes.threads}


def _shapes(name: str) -> list[tuple[int, int]]:
    if name == "growth-prefix":
        return [(prefix, LABELS) for prefix in PREFIXES]
    return [(PREFIX, labels) for labels in LABEL_COUNTS]


def growth_lines(found: dict[str, dict[str, Any]]) -> list[str]:
    """A table for each kind of growth."""
    lines = []
    for name, one in found.items():
        naive = any("naive" in size for size in one["grown"])
        header = [GROWTH[name], "rows timed", "ms a row, CPU", "peak MiB"]
        header += ["naive, ms a row, CPU", "naive, peak MiB", "ratio"] if naive else []
        rows = []
        for size in one["grown"]:
            ours = size["ours"]
            cells = [f"{size['size']:,}", f"{ours['rows']:,}", f"{_cost(ours):.3g}", f"{ours['memory'] / 2**20:,.0f}"]
            if naive:
                other = size["naive"]
                cells += [f"{_cost(other):.3g}", f"{other['memory'] / 2**20:,.0f}", f"{_cost(other) / _cost(ours):.1f}"]
            rows.append(cells)
        lines += ["", f"### How cost grows: {GROWTH[name]}", "", markdown_table(header, rows, "r" * len(header))]
    return lines


def _cost(found: dict[str, Any]) -> float:
    return 1000 * float(found["cpu"]) / int(found["rows"])
