"""Which rows stay in their split: training rows with a text, without duplicates, and a sample of the rest.

Nothing leaves silently: every row that goes has a reason, which the report counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from categorize.data.rows import answer_codes, coded, grouped
from categorize.data.splitting.near import NearTexts
from categorize.data.splitting.shares import seeded_hash
from categorize.errors import UserError
from categorize.predictions import IntArray
from categorize.recipe.data_sections import DataSection, Sample

Reasons = npt.NDArray[np.object_]  # strings and None

EMPTY = "empty text"
SAME = "text and gold of an earlier row"
SAME_DOCUMENT = "all texts and golds of an earlier document"
NEAR = "nearly the text, and the gold, of an earlier row"
SILVER = "silver label, and the text, document or group is held out"
NEAR_SILVER = "silver label, and nearly a held-out text"
NOT_SAMPLED = "not in the sample"
HELD_OUT = "a label that is held out of training"


def reasons_to_leave(
    rows: pa.Table, data: DataSection, near: NearTexts | None, held_out: Sequence[str] = ()
) -> Reasons:
    """Why each row is left out, [rows]; None where it stays. The rows have `split`, and `node` for `dedupe: near`.

    Args:
        held_out: labels whose rows leave train and validation.

    Raises UserError for a sample too small for any document.
    """
    # An evaluation keeps empty texts; training on them teaches nothing.
    in_train = pa.compute.equal(rows["split"], "train").to_numpy()
    reasons: Reasons = np.full(rows.num_rows, None, dtype=object)
    reasons[in_train & pa.compute.equal(rows["text"], "").to_numpy()] = EMPTY
    _mark_held_out(reasons, rows, set(held_out))
    _mark_silver(reasons, rows, near)
    by_document = data.columns.document is not None
    if data.dedupe != "none":
        at = np.flatnonzero(in_train & pa.array(reasons, pa.string()).is_null().to_numpy(zero_copy_only=False))
        if by_document:
            _mark_documents(reasons, rows, at.tolist())
        else:
            _mark_duplicates(reasons, rows, at, near if data.dedupe == "near" else None)
    if data.sample is not None:
        _mark_sample(reasons, rows, data.sample, by_document)
    return reasons


def _mark_held_out(reasons: Reasons, rows: pa.Table, labels: set[str]) -> None:
    """Rows of training and validation with any of these labels."""
    if not labels:
        return
    golds, code = coded(rows["gold"])
    has = np.array([not labels.isdisjoint(names or ()) for names in golds.to_pylist()], dtype=bool)[code]
    reasons[has & np.isin(rows["split"].to_numpy(), ("train", "validation"))] = HELD_OUT


def _mark_silver(reasons: Reasons, rows: pa.Table, near: NearTexts | None) -> None:
    """Rows with a machine's label that stand in validation or test, or whose text does, or nearly."""
    silver, node = rows["silver"].to_numpy(), rows["node"].to_numpy()
    if not silver.any():
        return
    held_out = np.isin(rows["split"].to_numpy(), ("validation", "test"))
    gold = held_out & ~silver
    keys = rows["content_hash"].cast(pa.string())
    same = pa.compute.is_in(keys, value_set=keys.filter(pa.array(gold)).combine_chunks()).to_numpy()
    close = np.zeros(len(silver), dtype=bool)
    if near is not None:
        inside = np.zeros(near.nodes, dtype=bool)
        inside[node[gold & (node >= 0)]] = True
        close[node >= 0] = near.reached(inside)[node[node >= 0]]
    in_train = rows["split"].to_numpy() == "train"
    leaves = silver & (held_out | (in_train & (same | close)))
    reasons[leaves] = np.where(held_out | same, SILVER, NEAR_SILVER).astype(object)[leaves]


def _mark_duplicates(reasons: Reasons, rows: pa.Table, train: IntArray, near: NearTexts | None) -> None:
    """Training rows whose text and gold an earlier one has. Rows of one text with another gold stay: they disagree."""
    golds = answer_codes(rows)
    _, keys = coded(rows["content_hash"])
    _, first = np.unique(keys[train] * (golds.max(initial=0) + 2) + golds[train], return_index=True)
    stays = np.zeros(len(train), dtype=bool)
    stays[first] = True
    reasons[train[~stays]] = SAME
    if near is None:
        return
    neighbours, nodes = near.neighbours(), rows["node"].to_numpy()
    kept: set[tuple[int, int]] = set()
    at = train[stays & (nodes[train] >= 0)]
    for row, node, answer in zip(at.tolist(), nodes[at].tolist(), golds[at].tolist(), strict=True):
        if any((other, answer) in kept for other in (node, *neighbours.get(node, ()))):
            reasons[row] = NEAR
        else:
            kept.add((node, answer))


def _mark_documents(reasons: Reasons, rows: pa.Table, train: Sequence[int]) -> None:
    """Rows of training documents of which all rows are those of an earlier one: a turn such as "Yes." stays."""
    documents, keys, golds = rows["document_id"].to_pylist(), rows["content_hash"].to_pylist(), answer_codes(rows)
    seen: set[tuple[object, ...]] = set()
    for at in grouped((documents[row], row) for row in train).values():
        whole = tuple((keys[row], int(golds[row])) for row in at)
        if whole in seen:
            for row in at:
                reasons[row] = SAME_DOCUMENT
        seen.add(whole)


def _mark_sample(reasons: Reasons, rows: pa.Table, sample: Sample, by_document: bool) -> None:
    """Rows beyond the sample. Documents stay whole; a larger sample of the same rows holds the smaller one."""
    column = "document_id" if by_document else "content_hash"
    splits, keys, gold, scores = (rows[name].to_pylist() for name in ("split", column, "gold", "gold_score"))
    for split in dict.fromkeys(sample.splits):
        rows_of = [row for row, where in enumerate(splits) if where == split and reasons[row] is None]
        members = grouped((keys[row], row) for row in rows_of)
        if not by_document:  # each row of a text that stands several times is drawn by itself
            members = {f"{key}\x1f{n}": [row] for key, at in members.items() for n, row in enumerate(at, 1)}
        units = list(members.values())
        strata = ["" for _ in units]
        if sample.stratified:
            strata = _strata([gold[at[0]] if scores[at[0]] is None else [] for at in units])
        if sample.per_label is not None:
            for unit in _beyond(list(members), strata, sample.per_label, sample.seed):
                for row in units[unit]:
                    reasons[row] = NOT_SAMPLED
            continue
        assert sample.rows is not None
        order = _order(list(members), strata, sample.seed)
        # The first that does not fit ends the sample: skipping it would make a larger sample lose rows.
        fit = sum(total <= sample.rows for total in accumulate(len(units[i]) for i in order))
        for row in (row for i in order[fit:] for row in units[i]):
            reasons[row] = NOT_SAMPLED
        if units and not fit:
            largest = max(map(len, units))
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


def _beyond(names: Sequence[str], strata: Sequence[str], most: int, seed: int) -> list[int]:
    """Units that come after the first so many of their stratum, in hashed order."""
    order = sorted(range(len(names)), key=lambda unit: (strata[unit], seeded_hash(seed, names[unit])))
    places = Counter[str]()
    beyond = []
    for unit in order:
        places[strata[unit]] += 1
        if places[strata[unit]] > most:
            beyond.append(unit)
    return beyond


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
