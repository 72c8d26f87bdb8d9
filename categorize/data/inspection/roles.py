"""What columns seem to be: text, id, label. Told from names and contents; a person decides."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from categorize.data.inspection.profile import Profile
from categorize.data.label_hints import NOTHING, find_separator, split
from categorize.data.reading.header import ID_NAMES, LABEL_NAMES, TEXT_NAMES, folded
from categorize.labels import spell

_LABEL_LENGTH = 60  # characters of a label, at most
_REPEATS = 3.0  # rows of a label, on average
_MOST = 1000  # labels
_SCORES = 20  # distinct numbers above which they are scores, not labels
_TEXT_LENGTH = 4.0


@dataclass(frozen=True)
class Roles:
    """What columns seem to be; None where none is.

    Attributes:
        labels: a column each for labels, of 0 and 1.
        task: `single_label`, `multi_label` or `regression`.
        names: labels that were found, the commonest first.
        nothing: values that may mean that nobody has labelled the row.
        separator: between several labels of a cell.
        others: columns that might be the label too.
    """

    text: str | None = None
    id: str | None = None
    label: str | None = None
    labels: tuple[str, ...] = ()
    task: str = "single_label"
    names: dict[str, int] = field(default_factory=dict)
    nothing: dict[str, int] = field(default_factory=dict)
    separator: str | None = None
    others: tuple[str, ...] = ()

    def of(self, name: str) -> str:
        """The role of a column, or nothing."""
        if name in self.labels:
            return "label"
        return next((role for role in ("text", "label", "id") if getattr(self, role) == name), "")


def roles_of(profiles: Mapping[str, Profile], given: Mapping[str, object] | None = None) -> Roles:
    """What the columns of a file seem to be; `given` are those that are known (`text`, `id`, `label`)."""
    known = {role: profiles[name] for role, name in (given or {}).items() if isinstance(name, str) and name in profiles}
    there = [one for one in profiles.values() if one.filled and not (one.is_nested and not one.is_list)]
    text = known.get("text") or max(filter(_may_be_text, there), key=_text_score, default=None)
    others = [one for one in there if one is not text]
    ids = [one for one in others if one.is_unique and one.longest <= 80 and not _named(one, LABEL_NAMES)]
    ids = [one for one in ids if not any(" " in value for value in one.examples)]
    row_id = known.get("id") or max(ids, key=lambda one: (_named(one, ID_NAMES), -one.mean), default=None)
    if row_id is not None and row_id.is_number and not _named(row_id, ID_NAMES) and "." in row_id.examples[0]:
        row_id = None  # numbers that differ by chance
    others = [one for one in others if one is not row_id]
    named = Roles(text.name if text else None, row_id.name if row_id else None)
    labels = sorted(filter(_may_be_label, others), key=_label_score, reverse=True)
    if "label" in known:
        return _with_labels(named, known["label"], ())
    hot = tuple(one.name for one in others if set(map(spell, one.counts)) == {"0", "1"})
    if labels and _named(labels[0], LABEL_NAMES):
        return _with_labels(named, labels[0], tuple(one.name for one in labels[1:]))
    if len(hot) > 1:
        counts = {name: profiles[name].counts["1"] for name in hot}
        return replace(named, labels=hot, task="multi_label", names=counts)
    if labels:
        return _with_labels(named, labels[0], tuple(one.name for one in labels[1:]))
    scores = [one for one in others if one.is_number and _named(one, LABEL_NAMES | {"score", "rating", "stars"})]
    if scores:
        return replace(named, label=scores[0].name, task="regression")
    return named


def _with_labels(named: Roles, label: Profile, others: tuple[str, ...]) -> Roles:
    counts = Counter({value: n for value, n in label.counts.items() if spell(value) not in ("", "-1")})
    nothing = {value: n for value, n in counts.items() if spell(value).casefold() in NOTHING}
    several = label.is_list and max(label.counts.total(), 0) != label.filled
    task = "multi_label" if several else "single_label"
    separator = None
    if not label.is_list and not label.more and (found := find_separator(counts)) is not None:
        separator, task = found[0], "multi_label"
        parts: Counter[str] = Counter()
        for value, n in counts.items():
            for part in split(value, separator):
                parts[part] += n
        counts = parts
    names = {spell(value): n for value, n in counts.most_common() if value not in nothing}
    return Roles(named.text, named.id, label.name, (), task, names, nothing, separator, others)


def _named(profile: Profile, names: frozenset[str] | set[str]) -> bool:
    last = folded(profile.name.rpartition(".")[2])
    parts = last.replace("-", "_").split("_")
    return last in names or parts[-1] in names or parts[0] in names


def _may_be_text(profile: Profile) -> bool:
    is_plain = not (profile.is_list or profile.is_number or profile.is_time or profile.is_nested)
    return is_plain and (profile.mean >= _TEXT_LENGTH or _named(profile, TEXT_NAMES))


def _text_score(profile: Profile) -> float:
    """Long, different, and called so."""
    length = math.sqrt(min(profile.mean, 400.0))
    words = 1.0 if any(" " in one or not one.isascii() for one in profile.examples) else 0.4
    called = 3.0 if _named(profile, TEXT_NAMES) else 0.5 if _named(profile, ID_NAMES | LABEL_NAMES) else 1.0
    return length * words * called * (profile.distinct / max(profile.filled, 1) + 0.1)


def _may_be_label(profile: Profile) -> bool:
    if profile.is_time or profile.more or profile.is_nested or not 2 <= profile.distinct <= _MOST:
        return False
    is_score = profile.is_number and profile.distinct > _SCORES
    repeats = profile.counts.total() >= _REPEATS * profile.distinct or _named(profile, LABEL_NAMES)
    return not is_score and repeats and profile.longest <= _LABEL_LENGTH


def _label_score(profile: Profile) -> tuple[bool, bool, int]:
    return _named(profile, LABEL_NAMES), not profile.is_number, -profile.distinct
