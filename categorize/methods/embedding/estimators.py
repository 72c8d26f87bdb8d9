"""Estimators that were fitted on features: what they give for a text, and how they are kept, as safetensors or in
xgboost's own format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np

from categorize.errors import UserError
from categorize.features.featurizer import Matrix
from categorize.predictions import FloatArray
from categorize.runs.folder import Run, RunWriter
from categorize.training.linear import LinearModel, linked, probabilities_of
from categorize.writing import disk_errors

TENSORS = "estimator.safetensors"
TREES = "estimator.ubj"


class Estimator(Protocol):
    """Gives probabilities (or scores) for rows of features."""

    def predict(self, matrix: Matrix) -> FloatArray:
        """Probabilities [rows, labels]; of a regression, scores [rows, 1]."""
        ...

    @property
    def parameters(self) -> int:
        """How many numbers were learned."""
        ...

    def save(self, writer: RunWriter) -> None:
        """Write it into the run."""
        ...


@dataclass(frozen=True)
class LinearEstimator:
    """A linear model.

    Attributes:
        link: of `training.linear.link_of`.
        sigmoids: of each label, [labels, 2], where margins became probabilities by `training.linear.fit_sigmoids`.
    """

    model: LinearModel
    link: str
    sigmoids: FloatArray | None = None

    def predict(self, matrix: Matrix) -> FloatArray:
        """Probabilities [rows, labels]; of a regression, scores [rows, 1]."""
        margins = self.model.margins(matrix)
        if self.sigmoids is not None:
            return probabilities_of(margins, self.sigmoids, self.link == "sigmoid")
        return linked(margins, self.link)

    @property
    def parameters(self) -> int:
        """How many numbers were learned."""
        return self.model.parameters + (0 if self.sigmoids is None else self.sigmoids.size)

    def save(self, writer: RunWriter) -> None:
        """Write coefficients, intercepts and sigmoids."""
        from safetensors.numpy import save_file

        tensors = {"coefficients": self.model.coefficients, "intercepts": self.model.intercepts}
        tensors |= {} if self.sigmoids is None else {"sigmoids": self.sigmoids}
        with disk_errors(writer.path):
            save_file(
                {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()},
                writer.stage(TENSORS),
                {"link": self.link},
            )

    @classmethod
    def load(cls, run: Run) -> Self:
        """What was saved."""
        from safetensors import safe_open

        with safe_open(run.path / TENSORS, "np") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            link = file.metadata()["link"]
        return cls(LinearModel(tensors["coefficients"], tensors["intercepts"]), link, tensors.get("sigmoids"))


@dataclass(frozen=True)
class BoostedTrees:
    """Gradient-boosted trees of xgboost (Chen and Guestrin, 2016)."""

    booster: Any
    link: str

    def predict(self, matrix: Matrix) -> FloatArray:
        """Probabilities [rows, labels]; of a regression, scores [rows, 1]."""
        margins = self.booster.predict(xgboost().DMatrix(matrix), output_margin=True).astype(np.float64)
        return linked(margins.reshape(matrix.shape[0], -1), self.link)

    @property
    def parameters(self) -> int:
        """Splits and leaves."""
        return sum(len(tree.splitlines()) for tree in self.booster.get_dump())

    def save(self, writer: RunWriter) -> None:
        """Write the trees as UBJSON."""
        self.booster.set_attr(link=self.link)
        with disk_errors(writer.path):
            writer.stage(TREES).write_bytes(self.booster.save_raw("ubj"))

    @classmethod
    def load(cls, run: Run) -> Self:
        """What was saved."""
        booster = xgboost().Booster()
        booster.load_model(run.path / TREES)
        return cls(booster, str(booster.attr("link")))


def load_estimator(run: Run) -> Estimator:
    """The estimator of a run."""
    return BoostedTrees.load(run) if run.has(TREES) else LinearEstimator.load(run)


def xgboost() -> Any:
    """The library. Raises UserError where it is not installed."""
    try:
        import xgboost as library
    except ImportError:
        raise UserError(
            "model.estimator: xgboost is not installed: pip install 'categorize[boosting]', or name another estimator"
        ) from None
    return library
