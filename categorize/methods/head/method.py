"""The head method: fine-tune an encoder or decoder with a classification or regression head, whole, by adapter, or
head alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from categorize.methods.head.section import HeadModel, check_head_init
from categorize.methods.method import Merged, Method
from categorize.recipe.decision_sections import ENGINES
from categorize.recipe.section import Section
from categorize.runs.card import CardFacts
from categorize.runs.contents import ADAPTER_CONFIG
from categorize.runs.folder import LABEL_SET, MANIFEST, PROMPT

if TYPE_CHECKING:
    from categorize.data.splits import LoadedData
    from categorize.labels import LabelSet
    from categorize.methods.head.model import HeadKind
    from categorize.methods.head.section import HeadKeys
    from categorize.prediction.external import External, ExternalModel
    from categorize.prediction.predictor import Predictor
    from categorize.recipe.decision_sections import PredictionSection
    from categorize.recipe.sections import SeqclsRecipe, TrainedRecipe
    from categorize.runs.elsewhere import Elsewhere
    from categorize.runs.folder import Run, RunWriter
    from categorize.training.fit_summary import FitOptions, FitSummary


class HeadMethod(Method):
    """A head on an encoder or decoder, trained by gradient descent."""

    name = "head"
    kind = "seqcls"
    section: ClassVar[type[Section]] = HeadModel
    uses = ("adapter", "prompt", "quantization", "training")
    own_outputs = True
    engines = ENGINES
    files = ("head.json", "prompt.json")
    checks = (check_head_init,)
    card = CardFacts("transformers")

    def check_sources(self, recipe: SeqclsRecipe) -> None:
        """Raises UserError where packages of the engine that will predict are missing."""
        from categorize.methods.head.runtime import check_engine

        check_engine(recipe.prediction.engine)

    def kind_of_head(self, section: HeadKeys | None = None) -> HeadKind:
        """What its heads give, as a recipe's section has it; None: as it is predicted with, whatever was learned."""
        from categorize.methods.head.model import HeadKind

        return HeadKind(self.files[0])

    def fit(self, recipe: SeqclsRecipe, data: LoadedData, writer: RunWriter, options: FitOptions) -> FitSummary:
        """Train, and write model or adapter, tokenizer, settings and prompt into the run."""
        from categorize.methods.head.fit import fit

        return fit(recipe, data, writer, options, self._kind_of(recipe))

    def _kind_of(self, recipe: SeqclsRecipe) -> HeadKind:
        from categorize.methods.head.section import HeadKeys

        assert isinstance(recipe.model, HeadKeys)
        return self.kind_of_head(recipe.model)

    def preview(self, recipe: SeqclsRecipe, data: LoadedData, options: FitOptions) -> list[str]:
        """Lengths in tokens, rows that would be cut, one example, parameters, memory and time."""
        from categorize.methods.head.fit import preview

        return preview(recipe, data, options, self._kind_of(recipe))

    def predictor(
        self,
        run: Run,
        section: PredictionSection | None = None,
        base: str | None = None,
        trust_remote_code: bool = False,
    ) -> Predictor:
        """The predictor of a run that this method wrote."""
        from categorize.labels import LabelSet
        from categorize.methods.head.model import HeadSettings, load_trained_head
        from categorize.methods.head.predictor import HeadPredictor
        from categorize.nn.merging import merge_or_refuse
        from categorize.prompts.tokens import PromptFormat
        from categorize.recipe.decision_sections import PredictionSection

        label_set = LabelSet.load(run.path / LABEL_SET)
        kind = self.kind_of_head()
        settings = HeadSettings(**run.read_json(kind.file))
        head = load_trained_head(str(run.weights), label_set, settings, base, trust_remote_code, kind)
        if run.has(PROMPT):
            head.prompt = PromptFormat.from_dict(run.read_json(PROMPT), label_set, head.tokenizer)
        measured = run.manifest.get("prediction", {}) if run.has(MANIFEST) else {}
        section = section or PredictionSection()
        if "dtype" in measured and measured.get("agreement", {}).get("changed_beyond_margin"):
            section = section.settled("float32")  # bfloat16 was refused on the held-out rows
        if section.engine != "torch" and run.has(ADAPTER_CONFIG):
            head.model = merge_or_refuse(head.model, run.path)
        return HeadPredictor(head, label_set, section)

    def elsewhere(self, run: Run, label_set: LabelSet, section: PredictionSection) -> Elsewhere:
        """Stock transformers, and peft for an adapter."""
        from categorize.methods.head.elsewhere import elsewhere

        return elsewhere(run, label_set, self.kind_of_head())

    def onnx(self, run: Run, base: str | None, trust_remote_code: bool, overwrite: bool) -> Path:
        """Model, adapter and pooling in one graph, compared with the run."""
        from categorize.methods.head.onnx import export_onnx

        return export_onnx(run, self.kind_of_head(), base, trust_remote_code, overwrite)

    def reads(self, model: ExternalModel) -> bool:
        """Any model but a causal one, which is asked instead."""
        return not model.is_causal

    def external(self, model: ExternalModel) -> External:
        """The predictor of a sequence classifier, or of a base with a new head."""
        from categorize.methods.head.external import external

        return external(model)

    def check_merge(self, recipe: TrainedRecipe, trust_remote_code: bool = False) -> None:
        """Raises UserError where the adapter cannot become part of the weights."""
        from transformers import AutoModelForSequenceClassification

        from categorize.methods.head.model import OUTPUT_MODULES
        from categorize.nn.merging import refuse_unmergeable

        refuse_unmergeable(recipe, AutoModelForSequenceClassification, "SEQ_CLS", OUTPUT_MODULES, trust_remote_code)

    def merge(
        self, run: Run, label_set: LabelSet, dtype: str, base: str | None = None, trust_remote_code: bool = False
    ) -> Merged:
        """The run's model on its base, with the adapter in its weights."""
        from categorize.methods.head.model import HeadSettings, load_trained_head
        from categorize.nn.merging import merge_or_refuse

        kind = self.kind_of_head()
        settings = replace(HeadSettings(**run.read_json(kind.file)), quantization=None, dtype=dtype)
        head = load_trained_head(str(run.path), label_set, settings, base, trust_remote_code, kind)
        whole = replace(settings, base=None, base_revision=None)
        return Merged(merge_or_refuse(head.model, run.path), head.tokenizer, {kind.file: whole.to_dict()})
