"""The most telling rows as data of a page's script."""

from __future__ import annotations

import json
import math
from typing import Any

import pyarrow as pa

PREDICTED, CONFIDENCE, WRONG = "predicted:", "confidence:", "wrong:"  # before the name of a run
MOST_ROWS = 5000
MOST_CHARACTERS = 600  # of a text; rows.parquet has all of it
NEIGHBOURS = 5
NONE, INVALID = "(none)", "(invalid)"


def browser_data(rows: pa.Table, *, most: int = MOST_ROWS) -> dict[str, Any]:
    """What the browser of rows shows, compactly: `names` are labels and sets of labels, which rows have by position.

    Args:
        rows: of `analysis.rows.rows_table`, the most telling ones first.
    """
    first, runs = rows.slice(0, most), [one[len(PREDICTED) :] for one in rows.column_names if one.startswith(PREDICTED)]
    names: dict[str, int] = {}
    tags: dict[str, int] = {}
    answers = [first[PREDICTED + run].to_pylist() for run in runs]
    confidences = [_column(first, CONFIDENCE + run) for run in runs]
    wrong = [_column(first, WRONG + run) for run in runs]
    tagged, near = _column(first, "tag"), _column(first, "neighbours")
    lines = []
    ids, texts, golds = (first[name].to_pylist() for name in ("id", "text", "gold"))
    for at, (one, text, gold) in enumerate(zip(ids, texts, golds, strict=True)):
        lines.append(
            [
                one,
                _cut(text or ""),
                _position(names, _shown(gold)),
                [_position(names, INVALID if of_run[at] is None else _shown(of_run[at])) for of_run in answers],
                [_percent(of_run[at]) for of_run in confidences],
                "".join("1" if of_run[at] else "0" for of_run in wrong),
                [_position(tags, tag) for tag in _as_list(tagged[at])],
                [
                    [_cut(other["text"] or ""), other["label"], round(other["similarity"] or 0.0, 2)]
                    for other in (near[at] or ())[:NEIGHBOURS]
                ],
            ]
        )
    return {
        "runs": runs,
        "names": list(names),
        "tags": list(tags),
        "rows": lines,
        "total": rows.num_rows,
        "scores": pa.types.is_floating(rows["gold"].type),
    }


def script_json(data: Any) -> str:
    """JSON to stand inside a `script` element: nothing in it can close the element or open a comment.

    >>> script_json({"a": "</script><!--"})
    '{"a":"\\\\u003c/script\\\\u003e\\\\u003c!--"}'
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _column(rows: pa.Table, name: str) -> list[Any]:
    return rows[name].to_pylist() if name in rows.column_names else [None] * rows.num_rows


def _as_list(value: Any) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def _position(known: dict[str, int], name: str) -> int:
    return known.setdefault(name, len(known))


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return "; ".join(sorted(_as_list(value))) or NONE


def _percent(confidence: float | None) -> int | None:
    """Whole hundredths, as the filter has them."""
    return None if confidence is None or math.isnan(confidence) else round(100 * confidence)


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + "…"
