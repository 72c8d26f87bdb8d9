"""The site is built without a warning, and its pages ask no network for anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
# What a browser fetches by itself, unlike a link that is clicked.
FETCHED = re.compile(r'<(?:script|img|iframe|source)\b[^>]*\bsrc="([^"]+)"|<link\b[^>]*\bhref="([^"]+)"')


def test_the_site_builds_without_a_warning_and_fetches_nothing_from_elsewhere(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("material", reason="make docs installs what builds the site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    built = {path.relative_to(tmp_path / "site").as_posix(): path for path in (tmp_path / "site").rglob("*.html")}
    assert {"index.html", "tutorial.html", "quickstart.zh.html", "project/results.html"} <= set(built)
    for name, path in built.items():
        fetched = ["".join(found) for found in FETCHED.findall(path.read_text(encoding="utf-8"))]
        assert len(fetched) > 3 and not [one for one in fetched if "//" in one], name
    styles = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "site").rglob("*.css"))
    assert not re.search(r"(@import|url\()\s*[\"']?https?:", styles)
