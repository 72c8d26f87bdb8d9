from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return ["good movie", "好看 喜欢 a b c d e f g", "", "bad text", "good movie", "x " * 40, "不 喜欢"]
