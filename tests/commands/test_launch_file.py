"""A launch file has the recipe, the hardware and a time."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from categorize.__main__ import main
from categorize.commands.launch_file import FLAVORS
from categorize.memory.cards import KNOWN
from tests.memory.test_fit import config_alone
from tests.session.collections import write_collection, write_recipe


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_collection(tmp_path / "rows.csv")
    write_recipe(tmp_path / "one.yaml", model={"name_or_path": config_alone(tmp_path)})
    return tmp_path


def launch(*arguments: str) -> int:
    return main(["launch", *arguments])


def test_a_slurm_file_is_the_projects_script_filled_in(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["one.yaml", "training.learning_rate=1e-4", "--for", "slurm", "--card", "h100", "--gpus", "2"]
    assert launch(*given) == 0
    shown = capsys.readouterr()
    text = shown.out
    (folder / "job.sbatch").write_text(text, encoding="utf-8")
    assert subprocess.run(["bash", "-n", "job.sbatch"], capture_output=True).returncode == 0
    for line in (
        "#SBATCH --job-name=one",
        "#SBATCH --nodes=1",
        "#SBATCH --gpus-per-node=2",
        "#SBATCH --time=01:00:00",
        "set -- run_seqcls.py one.yaml training.learning_rate=1e-4 --resume",
    ):
        assert f"\n{line}\n" in text, text
    assert "at most for 2 x" in shown.err and "on 2 H100 at 35%" in shown.err


def test_twice_the_rows_take_twice_the_time_and_a_run_tells_its_own_speed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from categorize.commands.launch_file import estimate
    from categorize.memory.cards import parse_card
    from tests.recipes import load_recipe

    recipe = load_recipe("one.yaml").recipe
    card = parse_card("t4")
    once, twice = (estimate(recipe, card, 1, rows).seconds for rows in (10_000, 20_000))
    shared = estimate(recipe, card, 2, 20_000).seconds
    assert once is not None and twice == pytest.approx(2 * once) and shared == pytest.approx(once)
    run = folder / "earlier"
    run.mkdir()
    (run / "run.json").write_text(json.dumps({"training": {"rows_per_second": 50.0}}), encoding="utf-8")
    like = estimate(recipe, None, 1, 20_000, "earlier")
    assert like.seconds == 2 * 20_000 / 50 and like.asked == 1
    assert estimate(recipe, None, 1, 20_000).seconds is None


def test_a_rented_gpu_keeps_nothing_that_is_not_pushed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["one.yaml", "--for", "hf-jobs", "--card", "l4", "--git", "https://example.org/project.git"]
    assert launch(*given) == 2
    assert "set hub={repo_id: owner/name}" in capsys.readouterr().err
    assert launch(*given, "hub={repo_id: me/one}", "--rows", "1000") == 0
    text = capsys.readouterr().out
    (folder / "job.sh").write_text(text, encoding="utf-8")
    assert subprocess.run(["bash", "-n", "job.sh"], capture_output=True).returncode == 0
    assert "hf jobs run --flavor l4x1 --timeout 1h --secrets HF_TOKEN" in text
    assert launch(*given[:3], "--card", "rtx4090", "hub={repo_id: me/one}") == 2
    assert "one GPU of these: t4, l4" in capsys.readouterr().err


def test_flavors_are_hugging_faces_own() -> None:
    from huggingface_hub import SpaceHardware

    assert set(FLAVORS.values()) <= {one.value for one in SpaceHardware}
    assert set(FLAVORS) <= set(KNOWN)


def test_without_a_place_it_is_the_launcher(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        raise SystemExit(launch("--help"))
    assert end.value.code == 0 and "--num_processes" in capsys.readouterr().out
