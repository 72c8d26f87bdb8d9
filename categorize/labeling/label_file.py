"""A file labelled by a run, without a recipe: what is checked first, what is read, and what is written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from categorize.data.columns import text_columns
from categorize.data.reading.files import open_file
from categorize.data.reading.opening import ReadOptions
from categorize.data.stream import RowStream
from categorize.errors import UserError
from categorize.labeling.file_output import check_output, write_output
from categorize.labeling.labelled import Labelled
from categorize.labeling.student import reading
from categorize.loading import load_predictor
from categorize.nn.device import settle_device
from categorize.prediction.predictor import TrainedPredictor
from categorize.recipe.data_sections import Columns, DataSection

# Keys of `data` that say how a file is read; what is done with its rows stands in the run.
READING = {"format", *ReadOptions.__dataclass_fields__}


def label_file(
    run: str,
    source: str | Path,
    output: str | Path,
    *,
    text: str | None = None,
    sheet: str | None = None,
    encoding: str | None = None,
    settings: Mapping[str, Any] | None = None,
    base: str | None = None,
    overwrite: bool = False,
    trust_remote_code: bool = False,
) -> list[str]:
    """Label a file by a run, in the memory of a block of its rows; gives what to say at the end.

    The output has the columns of the input, in their order, and behind them `label` (several labels between
    semicolons), `code` where the label set has codes, `probability` (one for each label that is given) and `valid`; for
    a regression `score` and `valid`. A column of the input that has such a name keeps it, and ours is called
    `predicted_label`. Blank rows stay where they are. Where the run joins the rows of a document, the file is read
    whole.

    Args:
        text: column with the texts, where it is not the one of the training.
        sheet: of a spreadsheet, by name or number.
        settings: more keys of `data` that say how the file is read, such as `header`.
        overwrite: replace an output file that is there; never the input.

    Raises:
        UserError: a file or the run is at fault; nothing is written then.
    """
    source, output = Path(source), Path(output)
    check_output(output, source, overwrite)
    page: str | int | None = int(sheet) if sheet is not None and sheet.isdigit() else sheet
    named = {"sheet": page, "encoding": encoding}
    given = {**(settings or {}), **{key: value for key, value in named.items() if value is not None}}
    if unread := sorted(set(given) - READING):
        raise UserError(f"data.{unread[0]}: does not say how a file is read; known: {', '.join(sorted(READING))}")
    data = DataSection.model_validate({"source": str(source), **given})
    open_file(source, data, "FILE")  # says what is wrong with the name
    settle_device()
    predictor = load_predictor(run, base=base, trust_remote_code=trust_remote_code)
    if text is not None:
        predictor = _reading(predictor, text)
    data = data.model_copy(update={"columns": _columns(predictor)})
    stream = RowStream(data, input_spec=predictor.input_spec, texts=predictor.input_spec.is_cut)
    labelled = Labelled(stream, predictor)
    labelled.check_text(text)
    write_output(output, labelled)
    return labelled.lines(output, run)


def _reading(predictor: TrainedPredictor, column: str) -> TrainedPredictor:
    own = text_columns(predictor.input_spec.columns)
    if len(own) > 1:
        raise UserError(f"--text: the run reads the columns {', '.join(own)}; name the columns of the file so")
    return reading(predictor, column)


def _columns(predictor: TrainedPredictor) -> Columns:
    """The columns that are read: texts, and documents. Ids only where a part of a document is drawn by its id: those of
    a new file may be missing, or come twice, and nobody needs them."""
    spec = predictor.input_spec
    drawn = spec.segments.by == "random_sentences"
    return Columns(
        text=spec.columns.text, label=None, id=spec.columns.id if drawn else None, document=spec.columns.document
    )
