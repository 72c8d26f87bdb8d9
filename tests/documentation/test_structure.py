"""What the documents say of the project is so: every page is linked, the order of imports is the tested one."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from tests.test_imports import LEVELS


def test_every_page_is_linked_from_the_readme_and_every_link_leads_somewhere(root: Path) -> None:
    links = set(re.findall(r"\]\(([^)#:]+)", (root / "README.md").read_text(encoding="utf-8")))
    assert {path.relative_to(root).as_posix() for path in (root / "docs").glob("*.md")} <= links
    assert all((root / link).exists() for link in links)


def test_the_written_order_of_imports_is_the_tested_one(root: Path) -> None:
    text = " ".join((root / "docs/architecture.md").read_text(encoding="utf-8").split())
    order = re.search(r"`(errors < [^`]*) < run_\*\.py`", text)
    assert order is not None
    steps = [set(re.findall(r"\w+", step)) for step in order[1].split("<")]
    written = {module: i for i, step in enumerate(steps) for module in step}
    assert {"runs", "metrics", "recipe", "data"} <= set(written) <= set(LEVELS)
    for below, here in itertools.pairwise(steps):
        assert max(LEVELS[module] for module in below) < min(LEVELS[module] for module in here)


def test_every_message_of_the_troubleshooting_page_is_one_of_the_code(root: Path) -> None:
    texts = "\n".join(path.read_text(encoding="utf-8") for path in (root / "categorize").rglob("*.py"))
    code = re.sub(r'"\s*\n\s*f?"', "", texts)  # as the lines of a message are put together
    headings = re.findall(r"^### `(.*)`$", (root / "docs/troubleshooting.md").read_text(encoding="utf-8"), re.M)
    pieces = {piece.strip(" :?") for heading in headings for piece in heading.split("…")}
    assert len(headings) > 25
    assert not sorted(piece for piece in pieces if len(piece) > 3 and piece not in code)
