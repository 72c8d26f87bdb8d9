"""Students that are trained once a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.labeling.students import train_student


@pytest.fixture(scope="session")
def student(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`student("single")` is a run: `single` (three labels, two with codes), `multi` or `score`."""
    folder = tmp_path_factory.mktemp("students")
    made: dict[str, Path] = {}

    def get(kind: str) -> Path:
        if kind not in made:
            made[kind] = train_student(folder, kind)
        return made[kind]

    return get
