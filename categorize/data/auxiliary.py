"""Further scores of rows, which a regression learns beside its own: numbers in raw columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from categorize.data.columns import to_number
from categorize.data.rows import fields_of
from categorize.errors import UserError
from categorize.labels import LabelSet, spell
from categorize.predictions import FloatArray
from categorize.recipe.wording import did_you_mean, quote

_EXAMPLES = 3  # rows that a message shows


def auxiliary_scores(rows: pa.Table, names: Sequence[str], label_set: LabelSet) -> FloatArray:
    """Read the numbers of raw columns, [rows, names]. A cell that is empty or one of `labels.missing` becomes NaN.

    Raises:
        UserError: a column does not exist, or a cell holds something that is not a number.
    """
    fields = fields_of(rows)
    known = [field.name for field in fields.type]
    missing = {"", *map(spell, label_set.rules.missing)}
    columns = []
    if other := [name for name in names if name not in known]:
        raise UserError(
            f"training.auxiliary: the data has no column {other[0]!r}{did_you_mean(other[0], known)}; "
            f"columns: {', '.join(known)}"
        )
    for name in names:
        cells = [(cell or "").strip() for cell in fields.field(name).to_pylist()]
        values = [np.nan if spell(cell) in missing else to_number(cell) for cell in cells]
        if wrong := [row for row, value in enumerate(values) if value is None]:
            shown = ", ".join(f"{rows['id'][row]}: {quote(cells[row] or '')}" for row in wrong[:_EXAMPLES])
            raise UserError(
                f"training.auxiliary: {len(wrong)} rows hold no number in column {name!r}: {shown}; fix them or list "
                "what they hold under labels.missing"
            )
        columns.append(np.array(values, dtype=np.float64))
    return np.column_stack(columns) if columns else np.zeros((rows.num_rows, 0))
