"""`python -m categorize COMMAND`: one way in to all commands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from categorize.__main__ import main
from categorize.commands import completion, doctor, recipes
from categorize.commands.registry import COMMANDS
from tests.session.collections import write_collection, write_recipe


def test_every_command_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, (module, told) in COMMANDS.items():
        assert told in shown
        assert not module or find_spec(module) is not None, name
    assert main(["recipe"]) == 2
    assert "error: unknown command recipe; did you mean recipes" in capsys.readouterr().err


def test_run_takes_the_script_of_the_recipes_kind(
    tiny: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_collection(tmp_path / "rows.csv")
    recipe = write_recipe(tmp_path / "one.yaml", model={"method": "tfidf"}, training=None)
    assert main(["run", recipe.name, "--dry-run"]) == 0
    assert "nothing was trained" in capsys.readouterr().out
    assert main(["run", "--dry-run"]) == 2
    (tmp_path / "part.yaml").write_text("labels: {names: [a, b]}\n", encoding="utf-8")
    assert main(["run", "part.yaml"]) == 2
    assert "error: part.yaml: kind is missing" in capsys.readouterr().err


def test_each_shipped_recipe_is_listed_with_its_needs(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    assert recipes.main([]) == 0
    shown = capsys.readouterr().out
    files = [path for path in (root / "recipes").glob("*.yaml") if "\nkind:" in path.read_text(encoding="utf-8")]
    assert {line.split()[0] for line in shown.splitlines()[1:] if line.strip()} >= {path.stem for path in files}
    assert all(one.needs for one in recipes.shipped())
    assert recipes.main(["--kind", "sft", "--word", "qlora"]) == 0
    few = capsys.readouterr().out
    assert re.search(r"qwen3b_qlora +sft +Qwen/Qwen2.5-3B-Instruct +one GPU with 8 GB", few)
    assert "bert_base_chinese" not in few
    assert recipes.main(["--word", "unheard-of"]) == 2


def test_doctor_tells_what_is_there_and_shows_no_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_TOKEN", "hf_verysecret")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-verysecret")
    assert doctor.main([]) == 0
    shown = capsys.readouterr().out
    assert "verysecret" not in shown
    for line in (
        "ok    Hub token: present, in HF_TOKEN",
        "OPENAI_API_KEY",
        "4-bit weights (QLoRA)",
        "offline mode: HF_HUB",
    ):
        assert line in shown
    assert re.search(r"ok    transformers: \d", shown) and "nothing is in the way" in shown


def test_doctor_finds_what_is_missing_and_says_a_way_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor.metadata, "requires", lambda _: ["torch>=99", "unheard-of>=1", "other; extra == 'x'"])
    monkeypatch.setattr(doctor, "_devices", lambda: [])
    assert doctor.main([]) == 1
    shown = capsys.readouterr().out
    assert re.search(r"fault torch: \S+ is not >=99\n +-> pip install 'torch>=99'", shown)
    assert "fault unheard-of: is not installed" in shown and "note  extra x: not installed: other" in shown


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert doctor._folder("outputs", tmp_path / "outputs", "", "elsewhere").state == "fault"


def test_a_shell_completes_commands_and_options() -> None:
    script = completion.script("bash")
    assert all(name in script for name in COMMANDS) and "--dry-run" in script and "--fit" in script
    asked = "COMP_WORDS=(categorize re); COMP_CWORD=1; _shtab_categorize; echo ${COMPREPLY[@]}"
    done = subprocess.run(["bash", "-c", f"{script}\n{asked}"], capture_output=True, text=True)
    assert done.stdout.split() == ["recipes"], done.stderr


def test_the_way_in_starts_at_once(root: Path) -> None:
    code = (
        "import sys; sys.argv = ['categorize', '--help']\n"
        "from categorize.__main__ import main\nmain()\n"
        "print('HEAVY', sorted({'numpy', 'pyarrow', 'torch', 'transformers', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "HEAVY []", done.stdout + done.stderr
