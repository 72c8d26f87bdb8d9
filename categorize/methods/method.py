"""What a method is: a declaration of all that the rest of the house would have to ask for by name, and the way from a
recipe and its rows to a run, and from the run back to a predictor.

A declaration imports nothing heavy: recipes are checked by it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from categorize.errors import UserError
from categorize.recipe.wording import join
from categorize.recipe.written import RecipeMethod
from categorize.runs.card import CardFacts
from categorize.runs.elsewhere import Elsewhere

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from categorize.data.splits import LoadedData
    from categorize.labels import LabelSet
    from categorize.prediction.external import External, ExternalModel
    from categorize.prediction.predictor import Predictor
    from categorize.recipe.decision_sections import PredictionSection
    from categorize.recipe.sections import TrainedRecipe
    from categorize.runs.folder import Run, RunWriter
    from categorize.training.fit_summary import FitOptions, FitSummary


@dataclass(frozen=True)
class Merged:
    """A run whose adapter became part of its weights: model, tokenizer, and the JSON files of the method by name."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    files: dict[str, Any]


def refuse_engine(section: PredictionSection | None, engines: Sequence[str], what: str) -> None:
    """Raise UserError where `prediction.engine` is not one of those that compute a model."""
    if section is not None and section.engine not in engines:
        way_out = f"write {join(engines, 'or')}, or leave it out"
        raise UserError(f"prediction.engine: {section.engine} does not compute {what}; {way_out}")


class Method(RecipeMethod, ABC):
    """A way to learn categories. Not shaped after any trainer: a linear model on TF-IDF features is one too.

    Attributes:
        files: what it leaves in a run beside weights; the first is there as soon as training begins.
        trains: whether it needs labelled training rows.
        together: whether the processes of a launch train together; else the first of them trains alone.
        card: what a model card says of its runs.
    """

    files: ClassVar[tuple[str, ...]]
    trains: ClassVar[bool] = True
    together: ClassVar[bool] = True
    card: ClassVar[CardFacts] = CardFacts()

    @abstractmethod
    def fit(self, recipe: Any, data: LoadedData, writer: RunWriter, options: FitOptions) -> FitSummary:
        """Learn from the training rows and write everything that prediction needs into the run."""

    def check_sources(self, recipe: Any) -> None:
        """Raises UserError, before any data is read, where something cannot be used that the recipe names beside its
        data and base model, such as other runs."""

    @abstractmethod
    def preview(self, recipe: Any, data: LoadedData, options: FitOptions) -> list[str]:
        """Lines of a dry run: lengths, what would be cut, an example as the model reads it, parameters, memory and
        time."""

    @abstractmethod
    def predictor(
        self,
        run: Run,
        section: PredictionSection | None = None,
        base: str | None = None,
        trust_remote_code: bool = False,
    ) -> Predictor:
        """The predictor of a run that this method wrote; the run may still lack its manifest.

        Args:
            base: where the base of an adapter is now, if not where it was in training.
        """

    def engines_of(self, run: Run) -> tuple[str, ...]:
        """Values of `prediction.engine` that compute what a run predicts."""
        return self.engines

    def check_engine(self, run: Run, section: PredictionSection | None) -> None:
        """Raises UserError, before the run's model is loaded, where `prediction.engine` is not one of `engines_of`."""
        refuse_engine(section, self.engines_of(run), f"{run.path} ({self.name})")

    def check_labels(
        self,
        run: Run,
        label_set: LabelSet,
        section: PredictionSection | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        """Raises UserError, before the run's model is loaded, where it is to be asked about other labels than those of
        its training, and they are more than its prompt holds."""

    def settle(self, predictor: Predictor, recipe: TrainedRecipe, data: LoadedData, writer: RunWriter) -> Predictor:
        """The predictor of a run that was just trained, with what it finds on validation before any rule is fitted;
        the run holds it from then on."""
        return predictor

    def gives_margins(self, recipe: TrainedRecipe, label_set: LabelSet) -> bool:
        """Whether its probabilities are made of margins that no probability stands behind: these are calibrated unless
        the recipe says otherwise."""
        return False

    def elsewhere(self, run: Run, label_set: LabelSet, section: PredictionSection) -> Elsewhere:
        """How other tools use a run, whose decision rule is there already; its manifest may still lack."""
        return Elsewhere()

    def onnx(self, run: Run, base: str | None, trust_remote_code: bool, overwrite: bool) -> Path:
        """Write the run as a graph for ONNX Runtime into a folder beside it. Raises UserError where it cannot be."""
        raise UserError(f"{run.path}: method {self.name} is not exported to ONNX; heads on encoders and decoders are")

    # ------------------------------------------------------------ models that are not runs of this project
    def reads(self, model: ExternalModel) -> bool:
        """Whether it is the method that predicts with such a model."""
        return False

    def external(self, model: ExternalModel) -> External:
        """The predictor of a model that it reads; asked only where `reads` says so, which here it never does."""
        raise NotImplementedError

    def check_external(self, model: ExternalModel) -> None:
        """Raises UserError, before such a model is loaded, where it cannot be asked about so many labels."""

    # ------------------------------------------------------------ merging; asked only where the method uses adapters
    def check_merge(self, recipe: TrainedRecipe, trust_remote_code: bool = False) -> None:
        """Raises UserError, before anything is trained, where the adapter cannot become part of the weights: always,
        unless the method says how to `merge`."""
        raise UserError(f"--merge: method {self.name} does not merge adapters into weights; leave the flag out")

    def merge(
        self, run: Run, label_set: LabelSet, dtype: str, base: str | None = None, trust_remote_code: bool = False
    ) -> Merged:
        """The run's model on its base, loaded whole in `dtype`, with the adapter in its weights; asked only where
        `check_merge` let it pass, which here it never does."""
        raise NotImplementedError


class RoomMethod(Method):
    """A method whose folder holds the rest, imported when it is asked for: `fit.py` with the functions `fit` and
    `preview`, and `predictor.py` with `load` for `predictor`. They take what the methods here take, and a test holds
    their signatures to these."""

    def fit(self, recipe: Any, data: LoadedData, writer: RunWriter, options: FitOptions) -> FitSummary:
        """`fit.fit` of the folder."""
        return self.room("fit").fit(recipe, data, writer, options)  # type: ignore[no-any-return]

    def preview(self, recipe: Any, data: LoadedData, options: FitOptions) -> list[str]:
        """`fit.preview` of the folder."""
        return self.room("fit").preview(recipe, data, options)  # type: ignore[no-any-return]

    def predictor(
        self,
        run: Run,
        section: PredictionSection | None = None,
        base: str | None = None,
        trust_remote_code: bool = False,
    ) -> Predictor:
        """`predictor.load` of the folder."""
        return self.room("predictor").load(run, section, base, trust_remote_code)  # type: ignore[no-any-return]

    @classmethod
    def room(cls, name: str) -> Any:
        """A module of the folder that the class stands in."""
        return import_module(f"{cls.__module__.rpartition('.')[0]}.{name}")
