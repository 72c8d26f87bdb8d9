"""The command line: flags, help, and errors without a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from categorize.errors import UserError
from categorize.methods.registry import METHODS
from categorize.recipe.command import Command, main, parse_command
from categorize.recipe.terminal import run_command

from .conftest import MINIMAL, Write

ROOT = Path(__file__).resolve().parents[2]


def parse(*arguments: str, kind: str = "seqcls") -> Command:
    return parse_command("run_seqcls.py", kind, METHODS, arguments)


def refusal(*arguments: str, kind: str = "seqcls") -> str:
    with pytest.raises(UserError) as caught:
        parse(*arguments, kind=kind)
    return str(caught.value)


def test_flags_and_overrides_may_stand_in_any_order(write: Write) -> None:
    path = str(write("r.yaml", MINIMAL))
    command = parse("--dry-run", path, "seed=7", "--resume", "training.max_steps=-1", "--trust-remote-code")
    assert (command.dry_run, command.resume, command.overwrite, command.resplit) == (True, True, False, False)
    assert command.trust_remote_code
    assert command.recipe.recipe.seed == 7
    assert command.recipe.resolved["training"] == {"max_steps": -1}
    plain = parse(path)
    assert not (plain.dry_run or plain.resume or plain.overwrite or plain.resplit or plain.trust_remote_code)
    assert parse("--merge", path).merge and not plain.merge


def test_a_mistake_on_the_command_line_names_the_way_out(write: Write) -> None:
    path = str(write("r.yaml", MINIMAL))
    assert refusal().startswith("no recipe given; run: python run_seqcls.py RECIPE")
    assert refusal(path, "--overwite").startswith("unknown option --overwite; did you mean --overwrite?")
    assert refusal(path, "other.yaml") == (
        "command line: 'other.yaml' is not an override; write key=value, such as training.learning_rate=1e-4"
    )
    assert "stands where the recipe belongs" in refusal("seed=7")
    assert "--dry" in refusal(path, "--dry")  # no abbreviations: they break when a flag is added
    assert "-x" in refusal(path, "-x")


def test_an_evaluation_has_no_flags_of_training(write: Write) -> None:
    path = write("e.yaml", "kind: eval\nname: e\ndata: {source: x.csv}\nevaluation: {runs: [a]}\n")
    assert parse(str(path), "--dry-run", kind="eval").dry_run
    for flag in ("--resume", "--merge"):
        assert f"{flag} is for training" in refusal(str(path), flag, kind="eval")


def test_main_prints_errors_as_lines_and_returns_2(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(write("r.yaml", MINIMAL + "sed: 1\ntraning: {}\n"))
    assert main("run_seqcls.py", "seqcls", lambda command: None, METHODS, [path]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: r.yaml:7: sed: unknown key; did you mean seed?",
        "error: r.yaml:8: traning: unknown key; did you mean training?",
    ]


def test_main_turns_the_run_s_user_errors_and_interrupts_into_one_line(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(write("r.yaml", MINIMAL))

    def wrong(command: Command) -> None:
        raise UserError("comments.csv: no such file")

    def interrupted(command: Command) -> None:
        raise KeyboardInterrupt

    assert main("run_seqcls.py", "seqcls", wrong, METHODS, [path]) == 2
    assert capsys.readouterr().err == "error: comments.csv: no such file\n"
    assert main("run_seqcls.py", "seqcls", interrupted, METHODS, [path]) == 130
    assert capsys.readouterr().err == "interrupted; --resume continues it\n"
    assert main("run_seqcls.py", "seqcls", lambda command: None, METHODS, [path]) == 0


def test_help_shows_examples_flags_and_sections(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        parse("--help")
    assert left.value.code == 0
    out = capsys.readouterr().out
    for words in ("accelerate launch", "--dry-run", "--resplit", "training.learning_rate=1e-4", "docs/recipes.md"):
        assert words in out
    for section in ("data", "labels", "model", "adapter", "quantization", "training", "decision"):
        assert f"\n  {section} " in out


HEAVY = ("torch", "transformers", "numpy", "pyarrow", "pandas", "datasets", "sklearn", "trl", "peft")


@pytest.mark.parametrize(
    ("script", "argument"), [("run_seqcls.py", "--help"), ("run_seqcls.py", "r.yaml"), ("run_eval.py", "r.yaml")]
)
def test_help_and_recipe_errors_import_nothing_heavy(write: Write, script: str, argument: str) -> None:
    write("r.yaml", MINIMAL + "sed: 1\n")
    program = (
        "import runpy, sys\n"
        f"sys.argv = [{script!r}, {argument!r}]\n"
        "try:\n"
        f"    runpy.run_path({str(ROOT / script)!r}, run_name='__main__')\n"
        "except SystemExit as left:\n"
        "    print('status', left.code)\n"
        f"print('heavy', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )
    assert done.stdout.splitlines()[-1] == "heavy []", done.stderr
    assert done.stdout.splitlines()[-2] == ("status 0" if argument == "--help" else "status 2")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "categorize.recipe.check", "recipes"],
        [
            "-c",
            "import sys; from categorize.recipe.terminal import exit_status, run_command\n"
            "work = lambda: [print(i, flush=True) for i in range(10_000)]\n"
            "sys.exit(run_command(lambda: exit_status(work)))",
        ],
    ],
    ids=["flushed at the end", "in the middle"],
)
def test_a_reader_that_leaves_ends_the_command_without_a_word(command: list[str]) -> None:
    done = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.stdout is not None
    done.stdout.close()
    _, said = done.communicate(timeout=60)
    assert (done.returncode, said) == (141, b"")


def test_a_pipe_to_another_process_that_breaks_is_not_hushed() -> None:
    def work() -> int:
        raise BrokenPipeError("a worker died")

    with pytest.raises(BrokenPipeError):
        run_command(work)
