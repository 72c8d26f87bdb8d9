#!/usr/bin/env python
"""The labelling job of `labeling_peer.py` done by ondine; runs in the environment that ondine is installed in.

    python labeling_ondine.py JOB.json

Prints as JSON, last: seconds of the job without its imports, CPU seconds, and how its database is synchronised. Without
a checkpoint that `resume_from` accepts it says so, and the job begins anew, as its user would have it begin.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any
from uuid import UUID

from ondine import PipelineBuilder
from ondine.adapters import response_cache, unified_litellm_client

assert unified_litellm_client  # LiteLLM is imported before the clock starts


def use_full_synchronisation() -> None:
    """Each commit of the answers' database reaches the disk. ondine has no setting for it."""
    opened = response_cache.SqliteResponseCache.__init__

    def open_full(self: Any, path: Any) -> None:
        opened(self, path)
        self._conn.execute("PRAGMA synchronous=FULL")

    response_cache.SqliteResponseCache.__init__ = open_full


def last_session(folder: Path) -> UUID | None:
    """The session whose answers lie in the folder; a process that was killed told nobody."""
    if not (folder / "responses.db").exists():
        return None
    with sqlite3.connect(folder / "responses.db") as answers:
        found = answers.execute("SELECT session_id FROM responses ORDER BY rowid DESC LIMIT 1").fetchone()
    return UUID(found[0]) if found else None


def main(path: str) -> None:
    """One job."""
    job = json.loads(Path(path).read_text(encoding="utf-8"))
    if job["full"]:
        use_full_synchronisation()
    start = time.perf_counter()
    builder = (
        PipelineBuilder.create()
        .from_csv(job["source"], input_columns=["id", "text"], output_columns=["label"])
        .with_prompt("{text}", system_message=job["system"])
        .with_llm("instant", provider="openai_compatible", base_url=job["url"], api_key="none", max_tokens=1800)
        .with_batch_size(job["items"])
        .with_concurrency(job["concurrency"])
        .with_checkpoint_dir(job["checkpoints"])
        .with_checkpoint_interval(job["items"])
        .with_progress_mode("none")
        .to_csv(job["output"])
    )
    session, refused = last_session(Path(job["checkpoints"])), ""
    pipeline = builder.build()
    try:
        pipeline.execute(resume_from=session)
    except ValueError as error:
        if session is None:
            raise
        refused = str(error)
        pipeline.execute()
    print(json.dumps({"seconds": time.perf_counter() - start, "cpu": time.process_time(), "refused": refused}))


if __name__ == "__main__":
    main(sys.argv[1])
