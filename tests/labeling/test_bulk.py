"""Labels by a student: those of `predict_rows`, each row once, whatever was killed and however many processes."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from categorize import load_predictor
from categorize.data.stream import stream_rows
from categorize.label import label
from categorize.methods.registry import METHODS
from categorize.recipe.command import main
from categorize.recipe.data_sections import DataSection
from tests.labeling.students import WORDS, comment, write_label_recipe, write_rows

Student = Callable[[str], Path]
OUTPUT = Path("outputs/mine")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(recipe: Path, *arguments: str) -> int:
    return main("run_label.py", "label", label, METHODS, [str(recipe), *arguments])


def write_source(rows: int = 230) -> str:
    source = random.Random(5)
    texts = [comment(source) for _ in range(rows)]
    texts[7] = texts[3]
    write_rows(
        Path("new.csv"),
        ["id", "text", "label", "class"],
        [[f"{i:04}", text, f"was {i}", i] for i, text in enumerate(texts)],
    )
    return "new.csv"


def table() -> pa.Table:
    return pq.read_table(OUTPUT / "labels")


def parts() -> list[Path]:
    return sorted((OUTPUT / "labels").iterdir())


# ---------------------------------------------------------------- what is written
@pytest.mark.parametrize("kind", ["single", "multi", "score"])
def test_every_row_gets_what_predict_rows_gives_in_input_order(folder: Path, student: Student, kind: str) -> None:
    source, path = write_source(), student(kind)
    recipe = write_label_recipe(folder / "mine.yaml", path, source, data={"columns": {"id": "id", "label": None}})
    assert run(recipe) == 0
    found = table()
    assert [one.name for one in parts()] == [f"part-{i:05}.parquet" for i in range(5)]
    assert [pq.read_metadata(one).num_rows for one in parts()] == [50, 50, 50, 50, 30]
    predictor = load_predictor(str(path))
    rows = pa.concat_tables(list(stream_rows(DataSection.model_validate({"source": source, "columns": {"id": "id"}}))))
    expected = predictor.predict_rows(rows)
    assert found["id"].to_pylist() == list(expected.ids) == [f"{i:04}" for i in range(230)]
    assert found["text"].to_pylist() == rows["text"].to_pylist()
    assert found["data.label"].to_pylist() == [f"was {i}" for i in range(230)]
    assert found["class"].to_pylist() == [str(i) for i in range(230)]
    decided = expected.decided or []
    if kind == "score":
        assert found["label"].type == pa.float64()
        np.testing.assert_array_equal(found["label"].to_numpy(), expected.score)
        assert found["probabilities"].null_count == 230
    else:
        labels = [list(names) if kind == "multi" else names[0] for names in decided]
        assert found["label"].to_pylist() == labels
        np.testing.assert_array_equal(np.array(found["probabilities"].to_pylist()), expected.probabilities)
    if kind == "single":
        assert expected.probabilities is not None
        np.testing.assert_array_equal(found["confidence"].to_numpy(), expected.probabilities.max(axis=1))
        manifest = json.loads((OUTPUT / "run.json").read_text())
        counts = {name: [names[0] for names in decided].count(name) for name in WORDS}
        assert manifest["labels"]["label"] == {name: n for name, n in counts.items() if n}
        assert manifest["rows"] == 230 and manifest["kind"] == "label"
        card = (OUTPUT / "README.md").read_text()
        assert "with labels by `mine`" in card and "| `student` | 230 |" in card
        assert all(f"| {name} |  | {n} | {n / 230:.1%} |" in card for name, n in counts.items())
    assert set(found["source"].to_pylist()) == {"student"} and set(found["teacher"].to_pylist()) == {"mine"}
    assert found["valid"].to_pylist() == [True] * 230


def test_reviewed_rows_stay_when_a_student_labels_anew(folder: Path, student: Student) -> None:
    recipe = write_label_recipe(folder / "mine.yaml", student("single"), write_source())
    assert run(recipe) == 0 and run(recipe, "--review", "20") == 0
    sheet = folder / "outputs/mine.review/review.csv"
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    with sheet.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows([{**row, "reviewed": "odd"} for row in rows])
    assert run(recipe, "--reviewed", str(sheet)) == 0
    for again in ([], ["--restart"]):
        assert run(recipe, *again) == 0
        said = table().filter(pa.compute.equal(table()["source"], "reviewed"))
        assert set(said["id"].to_pylist()) == {row["id"] for row in rows}
        assert said["label"].to_pylist() == ["odd"] * 20


def test_rows_with_a_gold_label_keep_it_unless_all_are_asked_for(folder: Path, student: Student) -> None:
    write_rows(folder / "new.csv", ["text", "mood"], [["好看 great", "1"], ["难看 awful", ""], ["奇怪 strange", "odd"]])
    data = {"columns": {"text": "text", "label": "mood"}}
    recipe = write_label_recipe(folder / "mine.yaml", student("single"), "new.csv", data=data)
    assert run(recipe) == 0
    assert table().select(["label", "source"]).to_pylist() == [
        {"label": "bad", "source": "gold"}, {"label": "bad", "source": "student"}, {"label": "odd", "source": "gold"},
    ]  # fmt: skip
    assert table()["valid"].to_pylist() == [None, True, None]
    assert run(recipe, "labeling.rows=all", "--overwrite") == 0
    assert table()["label"].to_pylist() == ["good", "bad", "odd"]
    assert set(table()["source"].to_pylist()) == {"student"}


def test_rows_of_a_document_share_its_label_and_its_shard(folder: Path, student: Student) -> None:
    rows = [[f"t{i // 3}", "好看 喜欢" if i // 3 % 2 else "难看 讨厌"] for i in range(30)]
    write_rows(folder / "new.csv", ["talk", "words"], rows)
    data = {"columns": {"text": "words", "label": None, "document": "talk"}}
    recipe = write_label_recipe(
        folder / "mine.yaml", student("single"), "new.csv", data=data, labeling={"shard_rows": 10}
    )
    assert run(recipe) == 0, "the text column may have another name than in training"
    assert [pq.read_metadata(one).num_rows for one in parts()] == [12, 12, 6]
    assert table()["label"].to_pylist() == ["good" if i // 3 % 2 else "bad" for i in range(30)]
    assert table()["document_id"].to_pylist() == [f"t{i // 3}" for i in range(30)]


def test_the_labels_are_read_back_as_a_source_by_their_folder(folder: Path, student: Student) -> None:
    recipe = write_label_recipe(folder / "mine.yaml", student("multi"), write_source())
    assert run(recipe) == 0
    from categorize.data.splits import load_data
    from categorize.recipe.label_sections import LabelsSection

    data = DataSection.model_validate({"source": str(OUTPUT / "labels"), "columns": {"id": "id"}})
    labels = LabelsSection.model_validate({"task": "multi_label", "names": list(WORDS)})
    splits = load_data(data, labels, write=False).splits
    rows = pa.concat_tables([splits.train, splits.validation, splits.test, splits.unlabeled]).sort_by("id")
    known = dict(zip(table()["id"].to_pylist(), table()["label"].to_pylist(), strict=True))
    assert rows["gold"].to_pylist() == [known[row_id] for row_id in rows["id"].to_pylist()]


def test_a_dry_run_shows_labels_and_writes_nothing(
    folder: Path, student: Student, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_label_recipe(folder / "mine.yaml", student("single"), write_source())
    assert run(recipe, "--dry-run") == 0
    shown = capsys.readouterr().out
    assert "rows/s in one process" in shown and "source='student'" in shown
    assert not Path("outputs").exists()


@pytest.mark.parametrize("mode", ["scoring", "generation"])
def test_a_local_model_labels_by_its_probabilities_or_by_what_it_writes(
    folder: Path, tiny: Callable[..., Path], mode: str
) -> None:
    model = tiny("qwen2", chat=True, width=64)
    write_rows(folder / "new.csv", ["text"], [["good movie"], ["bad text"], ["good movie"], ["fine"]])
    recipe = write_label_recipe(
        folder / "mine.yaml", model, "new.csv", labels={"names": ["good", "bad"]}, prompt={"system": "Say the mood."},
        labeling={"teacher": {"type": "local", "name_or_path": str(model), "mode": mode, "max_tokens": 6},
                  "answer": "code", "attempts": 1},
    )  # fmt: skip
    assert run(recipe) == 0
    found = table()
    assert found["text"].to_pylist() == ["good movie", "bad text", "good movie", "fine"]
    if mode == "scoring":
        assert set(found["label"].to_pylist()) <= {"good", "bad"} and found["valid"].to_pylist() == [True] * 4
        np.testing.assert_allclose(np.array(found["probabilities"].to_pylist()).sum(axis=1), 1.0)
        assert found["label"][0] == found["label"][2]
    else:
        assert set(found["source"].to_pylist()) <= {"teacher", "failed", "duplicate"}
        assert not Path("outputs/mine/student.json").exists()


# ---------------------------------------------------------------- going on
def interrupt(shards: list[int]) -> dict[str, int]:
    """Make a finished run one that was interrupted, with these shards; gives when they were written."""
    staged = OUTPUT.with_name("mine.incomplete")
    shutil.copytree(OUTPUT, staged)  # a folder of its own: this process has locked the other
    shutil.rmtree(OUTPUT)
    identity = json.loads((staged / "run.json").read_text())["identity"]
    (staged / "run.json").unlink()
    (staged / "student.json").write_text(json.dumps(identity))
    for path in (staged / "labels").iterdir():
        if int(path.stem.split("-")[1]) not in shards:
            path.unlink()
    (staged / "labels" / ".part-00001.parquet.77.tmp").write_bytes(b"cut off")
    return {path.name: path.stat().st_mtime_ns for path in (staged / "labels").glob("part*")}


def test_shards_that_are_there_stay_and_the_others_are_made(
    folder: Path, student: Student, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_label_recipe(folder / "mine.yaml", student("single"), write_source())
    assert run(recipe) == 0
    whole = table()
    kept = interrupt([0, 3])
    assert len(kept) == 2
    assert run(recipe, "name=other", "output_dir=outputs/mine") == 0
    assert table().equals(whole)
    assert {one.name: one.stat().st_mtime_ns for one in parts() if one.name in kept} == kept
    assert len(list((OUTPUT / "labels").iterdir())) == 5, "what was cut off is gone"
    assert "100 rows were labelled by an earlier start" in capsys.readouterr().out
    before = (OUTPUT / "run.json").stat().st_mtime_ns
    assert run(recipe) == 0
    assert "labelled before: 230 rows" in capsys.readouterr().out
    assert (OUTPUT / "run.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("changed", ["student", "source", "settings"])
def test_shards_of_another_student_or_other_rows_are_not_mixed_in(
    folder: Path, student: Student, capsys: pytest.CaptureFixture[str], changed: str
) -> None:
    recipe = write_label_recipe(folder / "mine.yaml", student("single"), write_source())
    assert run(recipe) == 0
    interrupt([0, 3])
    more = []
    if changed == "source":
        path = Path("new.csv")
        path.write_text(path.read_text().replace("was 7", "was 8"))
    elif changed == "student":
        more = [f"labeling.teacher.run={student('multi')}"]
    else:
        more = ["labeling.shard_rows=40"]
    capsys.readouterr()
    assert run(recipe, *more) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "an interrupted run is here, and" in line and line.endswith("--restart begins anew")
    assert len(list(Path("outputs/mine.incomplete/labels").glob("part*"))) == 2
    assert run(recipe, *more, "--restart") == 0
    assert table().num_rows == 230


@pytest.mark.parametrize("changed", ["labeling.shard_rows=40", "labeling.teacher.run"])
def test_a_start_that_finished_no_shard_is_not_in_the_way_of_another_recipe(
    folder: Path, student: Student, changed: str
) -> None:
    recipe = write_label_recipe(folder / "mine.yaml", student("single"), write_source())
    assert run(recipe) == 0
    assert interrupt([]) == {}
    assert run(recipe, changed if "=" in changed else f"{changed}={student('multi')}") == 0
    assert table().num_rows == 230
    assert not OUTPUT.with_name("mine.incomplete").exists()


def test_a_folder_that_holds_another_run_is_left_alone(
    folder: Path, student: Student, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_label_recipe(folder / "mine.yaml", student("single"), write_source())
    assert run(recipe) == 0
    assert run(recipe, "labeling.shard_rows=40") == 2
    assert "holds a finished run" in capsys.readouterr().err
    OUTPUT.rename("outputs/mine.incomplete")
    Path("outputs/mine.incomplete/recipe.yaml").write_text("kind: seqcls\n")
    assert run(recipe) == 2
    assert "an interrupted run is here" in capsys.readouterr().err


LABEL = "import sys; from categorize.methods.registry import METHODS; from categorize.recipe.command import main; "
LABEL += "from categorize.label import label; sys.exit(main('run_label.py', 'label', label, METHODS, sys.argv[1:]))"


def environment(root: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_a_job_that_is_killed_again_and_again_labels_every_row_once(folder: Path, student: Student, root: Path) -> None:
    recipe = write_label_recipe(
        folder / "mine.yaml", student("single"), write_source(60_000), labeling={"shard_rows": 2_000}
    )
    staged = Path("outputs/mine.incomplete/labels")
    source = random.Random(1)
    kept: dict[str, int] = {}
    for _ in range(6):
        process = subprocess.Popen([sys.executable, "-c", LABEL, str(recipe)], cwd=folder, env=environment(root))
        deadline = time.monotonic() + 120
        while process.poll() is None and len(list(staged.glob("part*"))) <= len(kept) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(source.random() / 4)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if not staged.exists():
            break
        there = {path.name: path.stat().st_mtime_ns for path in staged.glob("part*")}
        assert kept.items() <= there.items(), "finished shards stay as they are"
        assert all(pq.read_metadata(staged / name).num_rows == 2_000 for name in there)
        kept = there
    assert len(kept) >= 6
    assert run(recipe) == 0
    assert {one.name: one.stat().st_mtime_ns for one in parts()}.items() >= kept.items()
    assert table()["data.label"].to_pylist() == [f"was {i}" for i in range(60_000)]


@pytest.mark.slow
def test_two_processes_label_what_one_does(folder: Path, student: Student, root: Path) -> None:
    recipe = write_label_recipe(folder / "mine.yaml", student("single"), write_source())
    assert run(recipe) == 0
    whole = table()
    interrupt([2])
    launch = ["-m", "accelerate.commands.launch", "--config_file", str(root / "accelerate_configs/multi_gpu.yaml")]
    done = subprocess.run(
        [sys.executable, *launch, "--num_processes", "2", str(root / "run_label.py"), str(recipe)],
        cwd=folder, env=environment(root), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert table().equals(whole)
    assert done.stdout.count("230 rows: student 230") == 1
    hardware: dict[str, Any] = json.loads((OUTPUT / "run.json").read_text())["hardware"]
    assert hardware["processes"] == 2
