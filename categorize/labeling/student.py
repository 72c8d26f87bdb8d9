"""Students: trained runs, and base models that score labels, as what labels rows; and their answers as columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from categorize.data.columns import text_columns
from categorize.data.input_spec import InputSpec
from categorize.data.rows import codes
from categorize.errors import UserError
from categorize.labels import LabelSet
from categorize.loading import load_predictor
from categorize.predictions import Predictions
from categorize.recipe.labeling_sections import LocalTeacher, RunTeacher, TeacherSection
from categorize.recipe.sections import LabelRecipe

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from categorize.prediction.predictor import TrainedPredictor


def is_student(teacher: object) -> bool:
    """Whether a teacher of a recipe labels without requests: a run, or a local model that scores labels."""
    return isinstance(teacher, RunTeacher) or (isinstance(teacher, LocalTeacher) and teacher.mode == "scoring")


def identity_of(predictor: TrainedPredictor, recipe: LabelRecipe) -> dict[str, Any]:
    """Everything that shapes a student's answers to a row; batch sizes and types of the computation do not."""
    return {
        "facts": predictor.facts,
        "labels": predictor.label_set.to_dict(),
        "input": predictor.input_spec.to_dict(),
        "decision": predictor.decision_rule.to_dict(),
        "prediction": recipe.prediction.model_dump(include={"mode", "parsing", "max_new_tokens"})
        | recipe.prediction.model_dump(include={"prior", "length_normalization"}, exclude_none=True),
    }


def load_student(
    recipe: LabelRecipe, trust_remote_code: bool = False, section: TeacherSection | None = None
) -> TrainedPredictor:
    """The predictor of a recipe's teacher, for the recipe's labels where it names some.

    Args:
        section: one of several teachers; by default the only one.

    Raises:
        UserError: the model cannot be loaded, or cannot be asked about these labels or texts.
    """
    from categorize.nn.device import settle_device

    settle_device()
    teacher, labels = section or recipe.labeling.teacher, recipe.labels
    named = labels.names is not None or labels.task == "regression"
    label_set = LabelSet.from_section(labels) if named else None
    if isinstance(teacher, RunTeacher):
        predictor = load_predictor(
            teacher.run,
            base=teacher.base,
            label_set=label_set,
            section=recipe.prediction,
            prompt=recipe.prompt,
            name=teacher.name,
            trust_remote_code=trust_remote_code,
        )
    else:
        assert isinstance(teacher, LocalTeacher)
        if label_set is None:
            raise UserError("labels.names: a base model scores labels that it is told; list them")
        place = teacher.name_or_path + (f"@{teacher.revision}" if teacher.revision is not None else "")
        predictor = load_predictor(
            place,
            label_set=label_set,
            input_spec=InputSpec.from_section(recipe.data),
            section=recipe.prediction.model_copy(update={"mode": "scoring", "dtype": teacher.dtype}),
            prompt=recipe.prompt,
            name=teacher.name,
            trust_remote_code=trust_remote_code,
        )
    columns = text_columns(recipe.data.columns)
    return reading(predictor, columns[0]) if len(columns) == 1 else predictor


def reading(predictor: TrainedPredictor, column: str) -> TrainedPredictor:
    """The predictor, reading its texts from a column of another name; as it is where it reads several columns."""
    spec = predictor.input_spec
    own = text_columns(spec.columns)
    if own == [column] or len(own) > 1:
        return predictor
    template = spec.template
    if template is not None:
        template = template.replace(f"{{{own[0]}}}", f"{{{column}}}")
    columns = spec.columns.model_copy(update={"text": column})
    return replace(predictor, input_spec=replace(spec, columns=columns, template=template))


@dataclass(frozen=True)
class Answers:
    """What a student says of rows, each with the answer of its document.

    Attributes:
        text: as it was read, of each row.
        predictions: decided, one a document.
        of_row: int64 [rows]: position of the row's document in them.
    """

    text: pa.ChunkedArray
    predictions: Predictions
    of_row: npt.NDArray[np.int64]

    @property
    def valid(self) -> npt.NDArray[np.bool_]:
        """Bool [rows]."""
        return self.predictions.is_valid[self.of_row]

    @property
    def stage(self) -> list[str] | None:
        """Of a cascade the stage that answered each row."""
        found = self.predictions.stage
        return None if found is None else [found[i] for i in self.of_row.tolist()]

    @property
    def score(self) -> npt.NDArray[np.float64]:
        """Float [rows], of a regression; NaN where it is not valid."""
        import numpy as np

        assert self.predictions.score is not None
        return np.where(self.predictions.is_valid, self.predictions.score, np.nan)[self.of_row]

    @property
    def labels(self) -> list[list[str]]:
        """Labels of each row, in label-set order; none where it is not valid."""
        decided = self.predictions.decided or [()] * len(self.predictions)
        lists = [list(names) for names in decided]
        return [lists[i] for i in self.of_row.tolist()]

    @property
    def probabilities(self) -> npt.NDArray[np.float64] | None:
        """Float [rows, labels]; None where the model gives none."""
        found = self.predictions.probabilities
        return None if found is None else found[self.of_row]


def answer(predictor: TrainedPredictor, rows: pa.Table) -> Answers:
    """Label rows of whole documents, in whatever order; `text` is of use where a document's rows follow each other."""
    from categorize.prediction.predictor import together

    found = predictor.predict_segments(together(rows))
    predictions = found.decide(predictor.decision_rule)
    names, of_row = codes(rows["document_id"].to_pylist())
    if list(predictions.ids) != names:
        raise ValueError("predictions and documents differ in their ids or in their order")
    text = rows["text"] if predictor.input_spec.is_cut else found.segments["text"]
    return Answers(text, predictions, of_row)


def code_of(label_set: LabelSet) -> dict[str, str] | None:
    """Code of each label, its name where it has none; None where no label has one."""
    if not any(label.code for label in label_set.labels):
        return None
    return {label.name: label.code or label.name for label in label_set.labels}
