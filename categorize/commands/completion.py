"""A script that completes `categorize` in a shell: commands, options, recipes and files.

categorize completion bash > ~/.local/share/bash-completion/completions/categorize
categorize completion zsh > ~/.zfunc/_categorize
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from categorize.commands.registry import COMMANDS
from categorize.errors import UserError
from categorize.recipe.command import FLAGS, VALUES
from categorize.recipe.terminal import CommandParser, exit_status, run_command

SHELLS = ("bash", "zsh", "tcsh")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the script."""
    return exit_status(lambda: _print(argv))


def _print(argv: Sequence[str] | None) -> None:
    parser = CommandParser("python -m categorize completion", __doc__)
    parser.add_argument("shell", choices=SHELLS)
    print(script(parser.parse_args(argv).shell))


def script(shell: str) -> str:
    """The completions of a shell.

    Raises:
        UserError: shtab, which writes them, is not installed.
    """
    try:
        import shtab
    except ImportError:
        raise UserError("completion: shtab is not installed; pip install 'categorize[shells]'") from None
    parser = CommandParser("categorize", None)
    rooms = parser.add_subparsers(dest="command")
    for name, (_, told) in COMMANDS.items():
        room = rooms.add_parser(name, prog=f"categorize {name}", description=told, help=told)
        if name == "completion":
            room.add_argument("shell", choices=SHELLS)
            continue
        for flag, meaning in (FLAGS if name == "run" else {}).items():
            room.add_argument(flag, action="store_true", help=meaning)
        for flag, (called, _, meaning) in (VALUES if name == "run" else {}).items():
            room.add_argument(flag, metavar=called, help=meaning)
        room.add_argument("files", nargs="*", help="files").complete = shtab.FILE  # type: ignore[attr-defined]
    written: Callable[..., str] = shtab.complete
    return written(parser, shell=shell)


if __name__ == "__main__":
    sys.exit(run_command(main))
