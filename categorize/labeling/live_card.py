"""How far a labelling job is, in the card of its dataset on the Hub, every few minutes.

An update is a commit of the card alone, made beside the job: a Hub that fails or is slow stops nothing, and is said in
a line and counted. The push of the finished table replaces the card.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any

from categorize.connection import reason
from categorize.labeling.dataset_card import front_matter
from categorize.labeling.progress import duration
from categorize.recipe.hub_sections import DatasetHubSection
from categorize.runs.contents import README
from categorize.runs.pushing import made
from categorize.text_tables import markdown_table

BEGIN, END = "<!-- progress of the labelling job -->", "<!-- end of progress -->"
PATIENCE = 15.0  # seconds that the end of a job waits for an update
STATES = {
    "asking": "asking", "asked": "asking", "labelling": "labelling", "waiting": "waiting for a provider's results",
    "stopped": "stopped; the same command goes on", "out_of_budget": "stopped: a budget is used up",
    "failed": "stopped by an error",
}  # fmt: skip
ENDS = ("waiting", "stopped", "out_of_budget", "failed")


class LiveCard:
    """Takes each status of a job, and now and then puts it into the card.

    Args:
        section: where, and how often.
        name: of the job.
        tasks: of its label sets.
        say: shows a line to the user.
    """

    def __init__(
        self, section: DatasetHubSection, name: str, tasks: list[str], say: Callable[[str], None] = print
    ) -> None:
        assert section.progress_minutes is not None
        self.faults = 0
        self._section, self._name, self._tasks, self._say = section, name, tasks, say
        self._every = 60 * section.progress_minutes
        self._due = 0.0
        self._trouble: str | None = None
        self._thread: Thread | None = None

    def __call__(self, status: Mapping[str, Any]) -> None:
        """Update the card where that is due, or where the job ends before it is finished."""
        state, now = status["state"], time.monotonic()
        if state not in STATES:
            return  # it is pushed now
        ends = state in ENDS
        if self._thread is not None and self._thread.is_alive():
            if not ends:
                return
            self._thread.join(PATIENCE)
        self._tell()
        if now < self._due and not ends:
            return
        self._due = now + self._every
        self._thread = Thread(target=self._update, args=(dict(status),), daemon=True)
        self._thread.start()
        if ends:
            self.close()

    def close(self) -> None:
        """Wait for an update that is under way, for a while."""
        if self._thread is not None:
            self._thread.join(PATIENCE)
        self._tell()

    def _tell(self) -> None:
        if self._trouble is not None:
            times = f", fault {self.faults}" if self.faults > 1 else ""
            place = self._section.repo_id
            self._say(f"hub: the card of {place} was not updated ({self._trouble}{times}); the job goes on")
            self._trouble = None

    def _update(self, status: Mapping[str, Any]) -> None:
        try:
            self._commit(status)
        except Exception as error:  # of any HTTP client: whatever it is, the job goes on
            self.faults += 1
            self._trouble = reason(error)

    def _commit(self, status: Mapping[str, Any]) -> None:
        from huggingface_hub import CommitOperationAdd, HfApi

        api, section = HfApi(library_name="categorize"), self._section
        _, there = made(api, section, "dataset")
        card = self._first(status)
        if any(one.rfilename == README for one in there.siblings or ()):
            file = api.hf_hub_download(section.repo_id, README, repo_type="dataset", revision=there.sha)
            card = Path(file).read_text(encoding="utf-8")
        operations = [CommitOperationAdd(README, with_progress(card, progress_text(status)).encode())]
        api.create_commit(
            section.repo_id,
            operations,
            commit_message=f"{self._name}: {done_of(status)}",
            repo_type="dataset",
            revision=section.revision,
            parent_commit=there.sha,
        )

    def _first(self, status: Mapping[str, Any]) -> str:
        """The card of a repository that has none yet."""
        hub = {"license": self._section.license, "language": self._section.language}
        metadata = front_matter(self._name, hub, self._tasks, status["rows"])
        text = "A table of texts that is being labelled; it is pushed when the job is finished."
        return f"---\n{metadata}\n---\n\n# {self._name}\n\n{text}\n"


def done_of(status: Mapping[str, Any]) -> str:
    """How much is done, in a few words."""
    if "to_ask" in status:
        return f"{status['labelled'] + status['failed']:,} of {status['to_ask']:,} texts"
    return f"{status['rows']:,} rows, {status['share']:.1%}"


def progress_text(status: Mapping[str, Any]) -> str:
    """The part of a card that tells how far the job is."""
    left = status.get("seconds_left")
    found = {
        "state": STATES[status["state"]],
        "done": done_of(status),
        "without a valid answer": f"{status['failed']:,}" if "failed" in status else None,
        "rate": f"{status['rows_per_second']:,.1f} rows/s",
        "time left": duration(left) if left is not None and status["state"] not in ENDS else None,
        "cost so far": f"{status['cost']:.4f} {status['currency']}" if status.get("cost") else None,
        "counted": f"by the first of {status['processes']} processes" if "processes" in status else None,
        "updated": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return markdown_table(["progress", ""], [[name, value] for name, value in found.items() if value is not None], "ll")


def with_progress(card: str, text: str) -> str:
    """A card with the progress in it, below its first heading; an earlier one is replaced, all else stays.

    >>> card = with_progress("# mine\\n\\nrows\\n", "10 of 20")
    >>> card == "# mine\\n\\n" + BEGIN + "\\n10 of 20\\n" + END + "\\n\\nrows\\n"
    True
    >>> with_progress(card, "20 of 20") == card.replace("10 of", "20 of")
    True
    """
    block = f"{BEGIN}\n{text}\n{END}"
    if BEGIN in card and END in card:
        return card[: card.index(BEGIN)] + block + card[card.index(END) + len(END) :]
    heading = re.search(r"^# .*\n", card, re.MULTILINE)
    at = heading.end() if heading else len(card)
    return f"{card[:at]}\n{block}\n{card[at:]}"
