"""What tells the weights of a model apart from those that stand under the same name another day."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

BLOCK = 1 << 20
SHAPING = {".safetensors", ".bin", ".json", ".txt", ".model", ".tiktoken"}
BLOCKS = 64  # of a file that is larger: every weight changes in a training, so that a part shows it


def weights_fingerprint(name_or_path: str, config: Any) -> str | None:
    """The commit of a model of the Hub; of a folder a SHA-256 of its weight files (large ones: of 64 MiB evenly).

    Args:
        config: the loaded model's, which knows the commit.
    """
    folder = Path(name_or_path)
    if not folder.is_dir():
        commit = getattr(config, "_commit_hash", None)
        return None if commit is None else str(commit)
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    return _hash_of({path.name: path for path in files}) if files else None


def folder_fingerprint(folder: Path) -> str:
    """The same of every file that may shape what a model makes of a text: weights, tokenizer, settings, and those of
    modules in folders of their own."""
    files = (
        path for path in folder.rglob("*") if path.suffix in SHAPING and "/." not in f"/{path.relative_to(folder)}"
    )
    return _hash_of({path.relative_to(folder).as_posix(): path for path in sorted(files)})


def _hash_of(files: dict[str, Path]) -> str:
    total = hashlib.sha256()
    for name, path in files.items():
        size = path.stat().st_size
        total.update(f"{name} {size}\n".encode())
        with path.open("rb") as file:
            for i in range(min(BLOCKS, -(-size // BLOCK))):
                if size > BLOCKS * BLOCK:
                    file.seek(i * (size - BLOCK) // (BLOCKS - 1))
                total.update(file.read(BLOCK))
    return total.hexdigest()
