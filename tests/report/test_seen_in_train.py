"""Rows whose text training has seen: flagged in the predictions, and both scores told."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from categorize.metrics.measures import measure_unseen_texts
from categorize.prediction.tables import likeness_of_documents
from tests.session.collections import write_recipe
from tests.session.test_training_run import compare, run

GOOD = "这部电影真的非常好看，演员的表演也很出色，推荐大家都去电影院看一看"
BAD = "剧情无聊透顶，浪费了两个小时的时间，再也不会看这个导演的任何作品了"


def rows() -> list[dict[str, object]]:
    """Long texts, each with some variants that are nearly the same."""
    own = ["".join(chr(0x4E00 + 91 * i + 2 * k) for k in range(30)) for i in range(80)]
    texts = [(f"{(GOOD if i % 2 else BAD)[:9]}{own[i]}", "good" if i % 2 else "bad") for i in range(80)]
    result = []
    for i, (text, label) in enumerate(texts):
        for k in range(3 if i < 40 else 1):
            result.append({"id": f"{i}-{k}", "text": text + ["", "呀", ""][k], "mood": label, "video": f"v{i}-{k}"})
    return result


def test_both_scores_are_told_and_seen_rows_are_flagged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows())
    Path("rows.jsonl").write_text(lines, encoding="utf-8")
    data = {"source": "rows.jsonl", "columns": {"id": "id", "text": "text", "label": "mood", "group": "video"}}
    tfidf = {"method": "tfidf"}
    assert run(str(write_recipe(tmp_path / "seen.yaml", data=data, model=tfidf, training=None))) == 0
    assert "whose text is not in train" in capsys.readouterr().out
    flags = pq.read_table("outputs/seen/predictions/test.parquet")["seen_in_train"].to_pylist()
    assert {"exact", "near"} < set(flags)
    unseen = json.loads(Path("outputs/seen/metrics.json").read_text())["test"]["unseen"]
    assert unseen["exact"] == flags.count("exact") and unseen["near"] == flags.count("near")
    assert unseen["rows"] == flags.count(None)
    evaluation = {"kind": "eval", "name": "eval", "evaluation": {"runs": ["outputs/seen"], "bootstrap": 0}}
    assert compare(str(write_recipe(tmp_path / "e.yaml", data=data, training=None, **evaluation))) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"the text of {unseen['exact']} rows stands in train, nearly that of {unseen['near']}" in shown
    held = pq.read_table("outputs/eval/predictions/seen.parquet")["seen_in_train"].to_pylist()
    assert held == flags


def test_a_document_is_seen_where_all_its_rows_are() -> None:
    rows = pa.table({"document_id": ["a", "a", "b", "b", "c", "c", "d"]})
    likeness = ["exact", None, "exact", "near", "exact", "exact", None]
    assert likeness_of_documents(rows, likeness) == [None, "near", "exact", None]


def test_without_such_rows_there_is_one_score_alone() -> None:
    assert measure_unseen_texts(None, None, None, [None, None]) is None  # type: ignore[arg-type]
