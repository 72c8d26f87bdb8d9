"""The chunks method: an encoder reads a document in chunks, an aggregator joins their vectors, end to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from categorize.methods.chunks.checks import check_chunks
from categorize.methods.chunks.section import ChunksModel
from categorize.methods.method import Method
from categorize.runs.folder import LABEL_SET

if TYPE_CHECKING:
    from categorize.data.splits import LoadedData
    from categorize.prediction.predictor import Predictor
    from categorize.recipe.decision_sections import PredictionSection
    from categorize.recipe.sections import SeqclsRecipe
    from categorize.runs.folder import Run, RunWriter
    from categorize.training.fit_summary import FitOptions, FitSummary


class ChunksMethod(Method):
    """A chunk encoder with attention, LSTM or another aggregator."""

    name = "chunks"
    kind = "seqcls"
    section = ChunksModel
    uses = ("adapter", "training")
    unit = "document"
    joins_segments = True
    checks = (check_chunks,)
    files = ("chunks.json",)

    def check_sources(self, recipe: SeqclsRecipe) -> None:
        """Raises UserError where a model or a package of the features is missing."""
        from categorize.features.build import build_featurizer

        assert isinstance(recipe.model, ChunksModel)
        if recipe.model.features is not None:
            build_featurizer(recipe.model.features, recipe.prediction)  # type: ignore[arg-type]

    def fit(self, recipe: SeqclsRecipe, data: LoadedData, writer: RunWriter, options: FitOptions) -> FitSummary:
        """Train, and write the network or its adapter, tokenizer and settings into the run."""
        from categorize.methods.chunks.fit import fit

        return fit(recipe, data, writer, options)

    def preview(self, recipe: SeqclsRecipe, data: LoadedData, options: FitOptions) -> list[str]:
        """Chunks and tokens of documents, what would be left out, parameters, memory and time."""
        from categorize.methods.chunks.fit import preview

        return preview(recipe, data, options)

    def predictor(
        self,
        run: Run,
        section: PredictionSection | None = None,
        base: str | None = None,
        trust_remote_code: bool = False,
    ) -> Predictor:
        """The predictor of a run that this method wrote."""
        from categorize.labels import LabelSet
        from categorize.methods.chunks.features import ChunkFeatures
        from categorize.methods.chunks.model import CHUNKS, ChunkSettings, load_trained_chunks
        from categorize.methods.chunks.predictor import ChunksPredictor

        label_set = LabelSet.load(run.path / LABEL_SET)
        settings = ChunkSettings(**run.read_json(CHUNKS))
        chunks = load_trained_chunks(str(run.weights), label_set, settings, base, trust_remote_code)
        features = ChunkFeatures.load(run, section, base, trust_remote_code) if settings.features else None
        return ChunksPredictor(chunks, label_set, section, features)
