"""The SFT method: tune a causal language model to answer with labels, whole, by adapter, or on quantized weights
(QLoRA)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from categorize.methods.method import Merged, RoomMethod
from categorize.methods.sft.section import CausalModel, check_answers
from categorize.recipe.decision_sections import CausalPredictionSection
from categorize.runs.card import CardFacts
from categorize.runs.folder import LABEL_SET, PROMPT

if TYPE_CHECKING:
    from categorize.data.splits import LoadedData
    from categorize.labels import LabelSet
    from categorize.prediction.external import External, ExternalModel
    from categorize.prediction.predictor import Predictor
    from categorize.recipe.decision_sections import PredictionSection
    from categorize.recipe.sections import TrainedRecipe
    from categorize.runs.elsewhere import Elsewhere
    from categorize.runs.folder import Run, RunWriter


class SftMethod(RoomMethod):
    """A causal model that answers with labels."""

    name = "sft"
    kind = "sft"
    section = CausalModel
    uses = ("adapter", "prompt", "quantization", "training")
    checks = (check_answers,)
    files = (
        "causal.json", "prompt.json", "decision.json", "shots.json", "shots_features.json",
        "shots_features.vocabulary.json",
    )  # fmt: skip
    card = CardFacts("transformers", ("text-generation",))

    def predictor(
        self,
        run: Run,
        section: PredictionSection | None = None,
        base: str | None = None,
        trust_remote_code: bool = False,
    ) -> Predictor:
        """The predictor of a run that this method wrote; labels are scored or answers generated as `section` says."""
        from categorize.features.shots import SHOTS, ShotSets
        from categorize.labels import LabelSet
        from categorize.methods.sft.model import CAUSAL, CausalSettings, load_trained_causal
        from categorize.methods.sft.narrowing import asked
        from categorize.methods.sft.scoring import as_trained
        from categorize.prompts.tokens import PromptFormat

        settings = CausalSettings(**run.read_json(CAUSAL))
        causal_section = as_trained(section, settings, run)
        causal = load_trained_causal(str(run.weights), settings, base, trust_remote_code)
        label_set = LabelSet.load(run.path / LABEL_SET)
        prompt = PromptFormat.from_dict(run.read_json(PROMPT), label_set, causal.tokenizer)
        shots = ShotSets.load(run) if run.has(SHOTS) else None
        return asked(causal, prompt.settings, prompt.max_length, label_set, causal_section, shots)

    def settle(self, predictor: Predictor, recipe: TrainedRecipe, data: LoadedData, writer: RunWriter) -> Predictor:
        """With the way to scores that the recipe leaves to validation, which the run keeps."""
        from categorize.methods.sft.predictor import CausalPredictor
        from categorize.methods.sft.scoring import settled

        return settled(predictor, recipe, data, writer) if isinstance(predictor, CausalPredictor) else predictor

    def elsewhere(self, run: Run, label_set: LabelSet, section: PredictionSection) -> Elsewhere:
        """The decision or the text-generation pipeline of transformers, with peft for an adapter."""
        from categorize.methods.sft.elsewhere import elsewhere

        assert isinstance(section, CausalPredictionSection)
        return elsewhere(run, label_set, section)

    def check_labels(
        self,
        run: Run,
        label_set: LabelSet,
        section: PredictionSection | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        """Raises UserError where the labels do not fit into the run's prompt, or there are more of them than codes."""
        from categorize.labels import LabelSet
        from categorize.methods.sft.narrowing import check_fits, narrows
        from categorize.nn.tokenizer import load_tokenizer
        from categorize.prompts.tokens import PromptFormat

        own = LabelSet.load(run.path / LABEL_SET)
        tokenizer = load_tokenizer(str(run.weights), trust_remote_code=trust_remote_code)
        prompt = PromptFormat.from_dict(run.read_json(PROMPT), own, tokenizer)
        narrowing = section if isinstance(section, CausalPredictionSection) and narrows(section, own) else None
        check_fits(tokenizer, prompt.max_length, replace(prompt.settings, codes=None), label_set, narrowing)

    def reads(self, model: ExternalModel) -> bool:
        """Causal language models: they are asked by a prompt."""
        return model.is_causal

    def external(self, model: ExternalModel) -> External:
        """The predictor of a causal model, as it was published or with an adapter."""
        from categorize.methods.sft.external import external

        return external(model)

    def check_external(self, model: ExternalModel) -> None:
        """Raises UserError where the labels do not fit into the prompt, or there are more of them than codes."""
        from categorize.methods.sft.external import check_external

        check_external(model)

    def check_merge(self, recipe: TrainedRecipe, trust_remote_code: bool = False) -> None:
        """Raises UserError where the adapter cannot become part of the weights."""
        from transformers import AutoModelForCausalLM

        from categorize.nn.merging import refuse_unmergeable

        refuse_unmergeable(recipe, AutoModelForCausalLM, "CAUSAL_LM", (), trust_remote_code)

    def merge(
        self, run: Run, label_set: LabelSet, dtype: str, base: str | None = None, trust_remote_code: bool = False
    ) -> Merged:
        """The run's model on its base, with the adapter in its weights."""
        from categorize.methods.sft.model import CAUSAL, CausalSettings, align_end, load_trained_causal
        from categorize.nn.merging import merge_or_refuse
        from categorize.prompts.tokens import PromptFormat

        settings = replace(CausalSettings(**run.read_json(CAUSAL)), quantization=None, dtype=dtype)
        causal = load_trained_causal(str(run.path), settings, base, trust_remote_code)
        causal.model = merge_or_refuse(causal.model, run.path)
        align_end(causal, PromptFormat.from_dict(run.read_json(PROMPT), label_set, causal.tokenizer))
        whole = replace(settings, base=None, base_revision=None)
        return Merged(causal.model, causal.tokenizer, {CAUSAL: whole.to_dict()})
