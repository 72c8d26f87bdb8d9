"""Worked examples of a labelling run that are like the row, chosen from the labelled rows of its own source.

A request is about rows of one set of examples, so that its beginning is that of all requests of the set.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b

import numpy as np
import pyarrow as pa

from categorize.data.splitting.near import normalized
from categorize.errors import UserError
from categorize.features.shots import ShotSets
from categorize.labeling.exchange import Item
from categorize.labeling.rows import SpooledRows, known_gold
from categorize.labels import LabelSet
from categorize.recipe.sections import LabelRecipe
from categorize.runs.contents import EXAMPLES
from categorize.runs.folder import RunWriter

MOST = 20_000  # labelled rows that examples are chosen from
READ = ("text", "fields", "gold", "gold_score")


def examples_of(recipe: LabelRecipe, rows: SpooledRows, source: str, label_set: LabelSet, most: int = MOST) -> ShotSets:
    """The sets of examples of a job: the same whenever it starts with the same labelled rows, in whatever order.

    Args:
        source: its name, for messages.
        most: labelled rows that are looked at; of more, those whose texts have the lowest hashes.

    Raises:
        UserError: no row is labelled, or the features cannot be had.
    """
    labelled = _labelled(rows, most)
    if not labelled.num_rows:
        raise UserError(
            f"prompt.retrieval: no row of {source} has a text and a label in column "
            f"{recipe.data.columns.label_column!r}; label some, or write prompt.shots"
        )
    return ShotSets.choose(recipe.prompt, labelled, label_set)


def _labelled(rows: SpooledRows, most: int) -> pa.Table:
    kept, hashes = pa.table({}), np.empty(0, dtype="S16")
    for block in rows.blocks():
        texts = block["text"].to_pylist()
        at = np.flatnonzero(known_gold(block) & np.array([bool((text or "").strip()) for text in texts], dtype=bool))
        if not len(at) and kept.num_columns:
            continue
        new = np.array([blake2b(normalized(texts[i]).encode("utf-8", "replace"), digest_size=16).digest() for i in at])
        table = block.select(READ).take(pa.array(at))
        kept = pa.concat_tables([kept, table]) if kept.num_columns else table
        hashes = np.concatenate([hashes, new.astype("S16")])
        if len(hashes) > 2 * most:
            kept, hashes = _lowest(kept, hashes, most)
    return _lowest(kept, hashes, most)[0]


def _lowest(kept: pa.Table, hashes: np.ndarray, most: int) -> tuple[pa.Table, np.ndarray]:  # type: ignore[type-arg]
    order = np.argsort(hashes, kind="stable")[:most]
    return kept.take(pa.array(order)).combine_chunks(), hashes[order]


def groups_of(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Items in requests of one set of examples: as soon as they are full, those that are left over at last.

    >>> [[item.text for item in one] for one in groups_of([Item(b"", text, 0, int(text)) for text in "12112"], 2)]
    [['1', '1'], ['2', '2'], ['1']]
    """
    waiting: dict[int, list[Item]] = {}
    for item in items:
        group = waiting.setdefault(item.shots, [])
        group.append(item)
        if len(group) == size:
            yield waiting.pop(item.shots)
    yield from (waiting[number] for number in sorted(waiting))


def write_examples(writer: RunWriter, sets: Sequence[Sequence[object]]) -> None:
    """Keep the sets in the finished run."""
    writer.write_json(EXAMPLES, [[dict(shot) for shot in one] for one in sets])  # type: ignore[call-overload]
