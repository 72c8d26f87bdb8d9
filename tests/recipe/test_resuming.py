"""What an interrupted training may find changed in its recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from categorize.recipe.resuming import changes
from categorize.runs.fingerprint import weights_fingerprint

RECIPE = """\
# Resolved from: one.yaml
kind: sft
name: one
data: {source: rows.csv, columns: {text: text, label: "no"}}
training: {learning_rate: 1e-4, report_to: none}
prediction: {batch_size: 8, mode: scoring}
"""


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("# Resolved from: one.yaml", "# Resolved from: two.yaml, command line"),
        ("name: one", "output_dir: /other/disk\nname: two"),
        ("source: rows.csv", "source: {train: a.csv, test: b.csv}"),
        ("report_to: none", "resume: auto"),
        ("1e-4", "0.0001"),
        ("batch_size: 8, ", ""),
        ("kind: sft", "decision: {calibration: temperature}\nhub: {repo_id: a/b}\nkind: sft"),
    ],
)
def test_what_no_training_reads_may_change(before: str, now: str) -> None:
    assert before in RECIPE
    assert changes(RECIPE, RECIPE.replace(before, now)) == []


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ("1e-4", "2e-4", "training.learning_rate: 0.0002, was 0.0001"),
        ("learning_rate: 1e-4, ", "", "training.learning_rate: not set, was 0.0001"),
        ("text: text", "text: [title, text]", "data.columns.text: [title, text], was text"),
        ('label: "no"', "label: off", "data.columns.label: 'off', was 'no'"),
        (
            "mode: scoring",
            "mode: generation",
            "prediction.mode: generation, was scoring",
        ),  # chooses the best checkpoint
    ],
)
def test_what_training_reads_is_told_where_it_changed(before: str, now: str, said: str) -> None:
    assert changes(RECIPE, RECIPE.replace(before, now)) == [said]


def test_the_head_of_a_classifier_reads_nothing_of_its_prediction() -> None:
    seqcls = RECIPE.replace("kind: sft", "kind: seqcls")
    assert changes(seqcls, seqcls.replace("mode: scoring", "mode: generation")) == []


def test_weights_of_any_size_have_a_fingerprint(tmp_path: Path) -> None:
    def fingerprint(size: int, last: bytes) -> str | None:
        with (tmp_path / "model.safetensors").open("wb") as file:
            file.seek(size)
            file.write(last)
        return weights_fingerprint(str(tmp_path), None)

    assert weights_fingerprint(str(tmp_path), None) is None
    sizes = (10, 2**20 - 1, 2**26 - 1, 2**26 + 5)
    assert len({fingerprint(size, last) for size in sizes for last in (b"a", b"b")}) == 2 * len(sizes)
    assert fingerprint(10, b"a") == fingerprint(10, b"a")
