"""What an ingestion counted: nothing that a file holds is missing here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

_SHOWN = 8


@dataclass
class Counts:
    """Counts of files, records and comments. `parsed + set_apart + rejected == elements`, always."""

    files: int = 0
    records: int = 0  # collections of comments; an XML file or a table of comments is one
    broken_records: int = 0  # of which nothing could be had; each is in the rejects file
    cut_collections: int = 0  # that reached their `maxlimit`
    elements: int = 0  # comments found, whole or not, each time they come
    parsed: int = 0  # whole, and language
    set_apart: Counter[str] = field(default_factory=Counter)  # whole, and positioned or scripted, by mode
    rejected: Counter[str] = field(default_factory=Counter)  # not whole, by reason; each is in the rejects file
    merged: int = 0  # that came again, and are one row with their first appearance; in `rows_apart`: `merged_apart`
    merged_apart: int = 0
    conflicts: int = 0  # of these, that came again with another text; each is in the rejects file
    repeated: int = 0  # of these, that came twice in one collection
    rows: int = 0  # distinct comments written
    rows_apart: int = 0
    changed: int = 0  # of `rows`, texts that cleaning changed
    emptied: int = 0  # of `rows`, texts that cleaning left empty
    notes: Counter[str] = field(default_factory=Counter)  # what was odd, by kind
    remarks: list[str] = field(default_factory=list)  # what is worth saying about single files

    def add(self, more: dict[str, Any]) -> None:
        """Add the counts of other files or rows, as `to_dict` gave them."""
        for name, value in more.items():
            mine = getattr(self, name)
            if isinstance(mine, Counter):
                mine.update(value)
            else:
                setattr(self, name, mine + value)

    def check(self) -> None:
        """Raises AssertionError where a comment got lost between files and tables."""
        apart = self.set_apart.total()
        assert self.parsed + apart + self.rejected.total() == self.elements, self
        assert self.rows + self.merged == self.parsed, self
        assert self.rows_apart + self.merged_apart == apart, self

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()}

    @classmethod
    def of(cls, *parts: dict[str, Any]) -> Counts:
        """The sum of what `to_dict` gave."""
        whole = cls()
        for part in parts:
            whole.add(part)
        return whole

    def lines(self) -> list[str]:
        """The count table (what, how many, and more in words) and what was odd, one line each."""
        broken = "nothing could be had of them; see the rejects" if self.broken_records else ""
        again = f"came again; {self.conflicts} of all that did with another text" if self.merged else ""
        table = [
            ("files", self.files, ""),
            ("collections", self.records, f"{self.cut_collections} reached their maxlimit: possibly cut"),
            ("  broken", self.broken_records, broken),
            ("comments found", self.elements, ""),
            ("  set apart", self.set_apart.total(), _listed(self.set_apart)),
            ("  rejected", self.rejected.total(), _listed(self.rejected)),
            ("  parsed", self.parsed, ""),
            ("    merged", self.merged, again),
            ("rows", self.rows, f"cleaning changed {self.changed} texts and left {self.emptied} empty"),
            ("rows set apart", self.rows_apart, ""),
        ]
        width = max(len(f"{n:,}") for _, n, _ in table)
        lines = [f"{what:<16}{n:>{width},}  {more}".rstrip() for what, n, more in table]
        lines += [f"note: {n:,} times: {what}" for what, n in self.notes.most_common()]
        lines += [f"note: {remark}" for remark in self.remarks[:_SHOWN]]
        if len(self.remarks) > _SHOWN:
            lines.append(f"note: and {len(self.remarks) - _SHOWN} remarks more, in danmu.json")
        return lines


def _listed(counts: Counter[str]) -> str:
    shown = ", ".join(f"{what} {n:,}" for what, n in counts.most_common(_SHOWN))
    return shown + (f", and {len(counts) - _SHOWN} more reasons" if len(counts) > _SHOWN else "")
