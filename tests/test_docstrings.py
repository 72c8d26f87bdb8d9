"""The examples of docstrings run and give what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "categorize").rglob("*.py")
    if ">>>" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # what an example writes
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert found.attempted and not found.failed


def test_what_users_call_has_an_example() -> None:
    from categorize.data.input_spec import InputSpec
    from categorize.data.splits import load_data
    from categorize.labels import LabelSet
    from categorize.metrics import baselines, intervals, measures, modules
    from categorize.metrics.decision import DecisionRule

    functions = (load_data, measures.measure, intervals.measure_with_intervals, intervals.paired_differences)
    called = (LabelSet, InputSpec, DecisionRule, *functions, baselines.baseline, modules.load_metric)
    assert not [one.__name__ for one in called if ">>>" not in (one.__doc__ or "")]
