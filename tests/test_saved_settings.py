"""Settings in run folders as they were saved before pydantic wrote them: read as they were meant, written alike."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from categorize.data.input_spec import InputSpec
from categorize.errors import UserError
from categorize.labels import Group, Label, LabelRules, LabelSet
from categorize.metrics.decision import DecisionRule
from categorize.recipe.data_sections import CleaningOptions, Columns
from categorize.settings import Settings

RUNS = Path(__file__).parent / "saved_runs"
CLASSES = (LabelSet, InputSpec, DecisionRule)


@pytest.mark.parametrize("run", sorted(path.name for path in RUNS.iterdir()))
@pytest.mark.parametrize("kind", CLASSES)
def test_a_file_of_an_older_run_is_read_and_written_as_it_was(kind: type[Settings], run: str, tmp_path: Path) -> None:
    loaded = kind.load(RUNS / run)
    loaded.save(tmp_path)
    assert (tmp_path / kind.file_name).read_bytes() == (RUNS / run / kind.file_name).read_bytes()
    assert kind.from_dict(json.loads(json.dumps(loaded.to_dict()))) == loaded


def test_what_an_older_run_says_is_understood() -> None:
    labels = LabelSet.load(RUNS / "multi_label")
    assert labels.labels[0] == Label("joy", "Laughs.", ("happiness", "开心"), "positive")
    assert labels.groups == (Group("positive", "Pleasant."),) and labels.rules == LabelRules()
    assert labels.fingerprint == "ac80d7966f1fbc274467f24b80bdac88de1f773f14b0caecdf643fc461d3f313"
    assert LabelSet.load(RUNS / "regression").rules.maximum == 5.0
    spec = InputSpec.load(RUNS / "multi_label" / "input.json")
    assert spec.columns == Columns(text=["title", "body"], label="labels", id="nr", keep=["title"])
    steps = [step if isinstance(step, str) else step.to_dict() for step in spec.cleaning]
    assert steps[:2] == ["nfkc", {"speakers": {"style": "numbered", "names": ["CEO"]}}]
    assert isinstance(spec.cleaning[2], CleaningOptions)
    assert spec.text({"title": "T", "body": "CEO: see https://x.org/z"}) == ("T: Speaker 1: see <url>")
    rule = DecisionRule.load(RUNS / "multi_label")
    assert rule.labels == tuple(labels.names) and rule.thresholds == (0.5,) * 4 and rule.fallback == "top"


@pytest.mark.parametrize("kind", CLASSES)
def test_a_file_that_holds_something_else_is_refused_in_one_line(kind: type[Settings], tmp_path: Path) -> None:
    file = tmp_path / kind.file_name
    with pytest.raises(UserError, match="cannot read"):
        kind.load(file)
    for content, why in (
        ("{", "JSON"),
        ("[1]", "object"),
        ('{"colour": 1}', "colour|task"),
    ):
        file.write_text(content, encoding="utf-8")
        with pytest.raises(UserError, match=f"{kind.title}.*{why}") as caught:
            kind.load(tmp_path)
        assert "\n" not in str(caught.value)
