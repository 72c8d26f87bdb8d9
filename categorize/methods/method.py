"""What a method is: from a recipe and its rows to a run, and from the run back to a predictor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from categorize.data.load import LoadedData
    from categorize.prediction.predictor import Predictor
    from categorize.runs.folder import Run, RunWriter


@dataclass(frozen=True)
class FitOptions:
    """What the command line says about fitting."""

    resume: bool = False
    trust_remote_code: bool = False


@dataclass(frozen=True)
class FitSummary:
    """What fitting took.

    Attributes:
        parameters_trained, parameters: of the model.
        seconds: wall clock of fitting alone, over all starts of an interrupted run.
        rows: training rows (segments, where documents are cut) read, over all epochs.
        tokens: tokens read in training, padding not counted; 0 where there are none.
        details: the method's own facts (steps, precision, truncated rows, best checkpoint).
        rows_an_epoch: what an epoch draws, of the balanced rows where labels are balanced.
        seconds_before: how much of `seconds` earlier starts took.
    """

    parameters_trained: int
    parameters: int
    seconds: float
    rows: int
    tokens: int = 0
    details: dict[str, Any] = field(default_factory=dict)
    rows_an_epoch: int = 0
    seconds_before: float = 0.0


class Method(Protocol):
    """A way to learn categories. Not shaped after any trainer: a linear model on TF-IDF features is one too."""

    name: ClassVar[str]
    kind: ClassVar[str]
    together: ClassVar[bool]  # whether the processes of a launch train together; else the first of them trains alone

    def fit(self, recipe: Any, data: LoadedData, writer: RunWriter, options: FitOptions) -> FitSummary:
        """Learn from the training rows and write everything that prediction needs into the run."""
        ...

    def load(self, run: Run) -> Predictor:
        """The predictor of a run that this method wrote."""
        ...

    def preview(self, recipe: Any, data: LoadedData, options: FitOptions) -> list[str]:
        """Lines of a dry run: lengths, what would be cut, an example as the model reads it, parameters, memory and
        time."""
        ...


def get_method(name: str) -> Method:
    """A method by its name: `model.method` of a seqcls recipe, or `sft`."""
    if name == "tfidf":
        from categorize.methods.tfidf.fit import TfidfMethod

        return TfidfMethod()
    if name == "sft":
        from categorize.methods.sft.fit import SftMethod

        return SftMethod()
    if name == "head":
        from categorize.methods.head.fit import HeadMethod

        return HeadMethod()
    raise KeyError(name)
