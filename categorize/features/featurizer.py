"""What every way to make features of texts offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from categorize.recipe.decision_sections import PredictionSection
from categorize.runs.folder import Run, RunWriter

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Vectors = npt.NDArray[np.float32]
Matrix = Any  # Vectors or csr_matrix [texts, features]; numpy's and scipy's types share no protocol


class Featurizer(Protocol):
    """Turns texts into rows of features, the same for a text whatever stands beside it."""

    @property
    def name(self) -> str:
        """What a summary calls it."""
        ...

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that shapes a vector, as JSON; of a model its weights, by a fingerprint."""
        ...

    def fit(self, texts: list[str]) -> csr_matrix | Vectors:
        """Learn what is learned from training texts, and give their features [texts, features]."""
        ...

    def transform(self, texts: list[str]) -> csr_matrix | Vectors:
        """Features [texts, features], a sparse matrix or float32."""
        ...

    def save(self, writer: RunWriter, prefix: str) -> None:
        """Write what `load` needs into the run, in files whose names begin with the prefix."""
        ...

    @classmethod
    def load(
        cls, run: Run, prefix: str, prediction: PredictionSection | None, base: str | None, trust_remote_code: bool
    ) -> Self:
        """What was saved. A model is read again from where it was, or from the run's folder where the run came with it.

        Args:
            prediction: batch bounds and the type of the computation.
            base: where the model is now, if not where it was in training.

        Raises:
            UserError: (when it is first used) the model cannot be found, or its weights are others than in training.
        """
        ...
