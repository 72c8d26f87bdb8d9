"""Which rows stay in their split: training rows with a text, without duplicates, and a sample of the rest.

Nothing leaves silently: every row that goes has a reason, which the report counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from categorize.data.rows import answers
from categorize.data.splitting.near import NearTexts
from categorize.data.splitting.shares import seeded_hash
from categorize.errors import UserError
from categorize.recipe.data_sections import DataSection, Sample

EMPTY = "empty text"
SAME = "text and gold of an earlier row"
SAME_DOCUMENT = "all texts and golds of an earlier document"
NEAR = "nearly the text, and the gold, of an earlier row"
NOT_SAMPLED = "not in the sample"


def reasons_to_leave(rows: pa.Table, data: DataSection, near: NearTexts | None) -> list[str | None]:
    """Why each row is left out; None where it stays.

    Args:
        rows: with `split`, and `node` for `dedupe: near`, see `columns`.

    Raises:
        UserError: a sample too small for any document.
    """
    reasons: list[str | None] = [None] * rows.num_rows
    train = np.flatnonzero(rows["split"].to_numpy() == "train").tolist()
    texts = rows["text"].to_pylist()
    # An evaluation keeps empty texts; training on them teaches nothing.
    for row in train:
        if not texts[row]:
            reasons[row] = EMPTY
    by_document = data.columns.document is not None
    if data.dedupe != "none":
        at = [row for row in train if reasons[row] is None]
        if by_document:
            _mark_documents(reasons, rows, at)
        else:
            _mark_duplicates(reasons, rows, at, near if data.dedupe == "near" else None)
    if data.sample is not None:
        _mark_sample(reasons, rows, data.sample, by_document)
    return reasons


def _mark_duplicates(reasons: list[str | None], rows: pa.Table, train: Sequence[int], near: NearTexts | None) -> None:
    """Training rows whose text and gold an earlier one has. Rows of one text with another gold stay: they disagree."""
    neighbours = near.neighbours() if near is not None else {}
    keys, nodes, golds = rows["content_hash"].to_pylist(), rows["node"].to_pylist(), answers(rows)
    seen: set[tuple[str, object]] = set()
    kept: set[tuple[int, object]] = set()
    for row in train:
        answer, node = golds[row], nodes[row]
        if (keys[row], answer) in seen:
            reasons[row] = SAME
            continue
        seen.add((keys[row], answer))
        if near is None or node < 0:
            continue
        if any((other, answer) in kept for other in (node, *neighbours.get(node, ()))):
            reasons[row] = NEAR
        else:
            kept.add((node, answer))


def _mark_documents(reasons: list[str | None], rows: pa.Table, train: Sequence[int]) -> None:
    """Rows of training documents of which all rows are those of an earlier one: a turn such as "Yes." stays."""
    documents, keys, golds = rows["document_id"].to_pylist(), rows["content_hash"].to_pylist(), answers(rows)
    members: dict[str, list[int]] = {}
    for row in train:
        members.setdefault(documents[row], []).append(row)
    seen: set[tuple[object, ...]] = set()
    for at in members.values():
        whole = tuple((keys[row], golds[row]) for row in at)
        if whole in seen:
            for row in at:
                reasons[row] = SAME_DOCUMENT
        seen.add(whole)


def _mark_sample(reasons: list[str | None], rows: pa.Table, sample: Sample, by_document: bool) -> None:
    """Rows beyond the sample. Documents stay whole; a larger sample of the same rows holds the smaller one."""
    column = "document_id" if by_document else "content_hash"
    splits, keys, gold, scores = (rows[name].to_pylist() for name in ("split", column, "gold", "gold_score"))
    for split in dict.fromkeys(sample.splits):
        members: dict[str, list[int]] = {}
        times: Counter[str] = Counter()
        for row, where in enumerate(splits):
            if where != split or reasons[row] is not None:
                continue
            key = keys[row]
            if not by_document:  # each row of a text that stands several times is drawn by itself
                times[key] += 1
                key = f"{key}\x1f{times[key]}"
            members.setdefault(key, []).append(row)
        names = list(members)
        strata = ["" for _ in names]
        if sample.stratified:
            first = [members[name][0] for name in names]
            strata = _strata([gold[i] if scores[i] is None else [] for i in first])
        taken = 0
        full = False
        for position in _order(names, strata, sample.seed):
            at = members[names[position]]
            # The first that does not fit ends the sample: skipping it would make a larger sample lose rows.
            full = full or taken + len(at) > sample.rows
            if full:
                for row in at:
                    reasons[row] = NOT_SAMPLED
            else:
                taken += len(at)
        if names and not taken:
            largest = max(len(at) for at in members.values())
            raise UserError(
                f"data.sample.rows: {sample.rows} is less than the first document that is drawn for {split} has; "
                f"documents stay whole, and the longest has {largest} rows: raise the number"
            )


def _strata(gold: Sequence[Sequence[str] | None]) -> list[str]:
    """The rarest label of each unit; one stratum for those without a label, and one for those not labelled."""
    counts = Counter(name for names in gold for name in names or ())
    return [
        "\x00unlabelled" if names is None else min(names, key=lambda n: (counts[n], n)) if names else "\x00none"
        for names in gold
    ]


def _order(names: Sequence[str], strata: Sequence[str], seed: int) -> list[int]:
    """Units in the order in which they are taken: every beginning has the strata in their shares.

    Each unit has its place in the hashed order of its stratum, as a share of the stratum; the shares are merged.
    """
    hashes = np.fromiter((seeded_hash(seed, name) for name in names), dtype=np.uint64, count=len(names))
    distinct, stratum = np.unique(np.array(strata, dtype=object), return_inverse=True)
    order = np.lexsort((hashes, stratum))
    sizes = np.bincount(stratum, minlength=len(distinct))
    starts = np.cumsum(sizes) - sizes
    place = np.empty(len(names))
    # A hashed offset: without it, every stratum would be rounded up at the same moment.
    offset = np.array([seeded_hash(seed, f"stratum\x1f{name}") / 2**64 for name in distinct])
    place[order] = (np.arange(len(names)) - starts[stratum[order]] + offset[stratum[order]]) / sizes[stratum[order]]
    return [int(i) for i in np.lexsort((hashes, place))]
