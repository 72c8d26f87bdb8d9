"""What the site's builder is told beside mkdocs.yml: pages that lie outside of docs/, and links to them."""

from __future__ import annotations

import posixpath
import re
from typing import Any

from mkdocs.structure.files import File, Files

OUTSIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "project/changes.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "benchmarks/README.md": "project/benchmarks.md",
    "benchmarks/RESULTS.md": "project/results.md",
    "demo/README.md": "project/demo.md",
}
SOURCES = {page: source for source, page in OUTSIDE.items()}
LINK = re.compile(r'(?P<open>\[(?P<text>[^\]\[]*)\]\(|src=")(?P<path>[^)#:"\s]+)(?P<close>(?:#[^)"\s]*)?[)"])')


def on_files(files: Files, config: Any) -> Files:
    """Put the pages of the repository beside those of docs/."""
    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, abs_src_path=source))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Turn links, which are right in the repository, into links between pages of the site."""
    here = page.file.src_uri
    folder = posixpath.dirname(SOURCES.get(here, f"docs/{here}"))

    def linked(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, match["path"]))
        name = OUTSIDE.get(target, target.removeprefix("docs/"))
        if name == target:  # a file of the repository that is no page: its name is enough
            return match["text"] or match[0]
        return match["open"] + posixpath.relpath(name, posixpath.dirname(here) or ".") + match["close"]

    return LINK.sub(linked, markdown)
