"""Predicts with a causal model: by scoring the label set, or by generating an answer and reading it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from categorize.data.segments.tokens import TokenCounter
from categorize.engines.label_scoring import LabelScorer, to_distribution
from categorize.errors import UserError
from categorize.labels import LabelSet
from categorize.methods.head.predictor import compute_dtype, distinct_inputs, length_sorted_batches, model_inputs
from categorize.methods.sft.model import CAUSAL, Causal, CausalSettings, load_trained_causal
from categorize.nn.text_tokens import PromptTokens
from categorize.prediction.predictor import Capabilities
from categorize.predictions import Predictions, Usage
from categorize.prompts.format import EncodedPrompt, PromptFormat
from categorize.prompts.parsing import Answer, parse_strict, parse_tolerant
from categorize.recipe.sections import CausalPredictionSection
from categorize.runs.folder import LABEL_SET, PROMPT, Run

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa
    import torch

SPARE_TOKENS = 8


def prediction_mode(section: CausalPredictionSection, label_set: LabelSet) -> str:
    """`scoring` or `generation`. Raises UserError where scoring was asked for several labels a row, or for a number."""
    scorable = label_set.task in ("single_label", "ordinal")
    if section.mode == "scoring" and not scorable:
        raise UserError(f"prediction.mode: scoring chooses one label, the task is {label_set.task}; use generation")
    return section.mode or ("scoring" if scorable else "generation")


class CausalPredictor:
    """A causal model that answers with labels.

    Args:
        causal: model, tokenizer, settings.
        prompt: renders rows and names the labels' tokens; its label set is the predictor's.
        section: mode, batch bounds, computation type.
        device: where the model is, or goes; a GPU where there is one by default.
    """

    def __init__(
        self,
        causal: Causal,
        prompt: PromptFormat,
        section: CausalPredictionSection | None = None,
        device: torch.device | None = None,
    ) -> None:
        import torch

        prompt.check_answers()
        self.causal, self.prompt = causal, prompt
        self.label_set = prompt.label_set
        self.tokens: TokenCounter = PromptTokens(prompt)
        self.section = section or CausalPredictionSection()
        self.mode = prediction_mode(self.section, self.label_set)
        self.capabilities = Capabilities(
            probabilities=self.mode == "scoring", score=self.label_set.is_regression, raw=self.mode == "generation"
        )
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if causal.settings.quantization is None:
            causal.model.to(self.device)
        causal.model.eval()

    @classmethod
    def load(
        cls,
        run: Run,
        section: CausalPredictionSection | None = None,
        base: str | None = None,
        trust_remote_code: bool = False,
    ) -> CausalPredictor:
        """The predictor of a finished run."""
        settings = CausalSettings(**run.read_json(CAUSAL))
        causal = load_trained_causal(str(run.weights), settings, base, trust_remote_code)
        prompt = PromptFormat.from_dict(run.read_json(PROMPT), LabelSet.load(run.path / LABEL_SET), causal.tokenizer)
        return cls(causal, prompt, section)

    def predict(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Predictions]:
        """Predictions of each record batch; equal rows are computed once."""
        for batch in batches:
            start = time.perf_counter()
            inputs, inverse = distinct_inputs(model_inputs(batch, self.prompt), self.prompt)
            rows = [self.prompt.encode(fields) for fields in inputs]
            ids = batch.column("id").to_pylist()
            truncated = sum(rows[i].truncated for i in inverse)
            tokens = sum(len(row.prompt_ids) for row in rows)
            if self.mode == "scoring":
                probabilities = to_distribution(self.log_probabilities(rows))[inverse]
                usage = Usage(len(ids), tokens, 0, truncated, time.perf_counter() - start)
                yield Predictions(ids, probabilities=probabilities, usage=usage)
                continue
            answers, generated = self.generate(rows)
            usage = Usage(len(ids), tokens, generated, truncated, time.perf_counter() - start)
            yield self.read_answers(ids, [answers[i] for i in inverse], self.section.parsing, usage)

    def log_probabilities(self, rows: Sequence[EncodedPrompt]) -> npt.NDArray[np.float64]:
        """Summed log-probabilities of every label, float64 [rows, labels]."""
        import torch

        scorer = LabelScorer(self.causal.model, self.prompt, self.device, share_prefix(self.causal.model))
        with torch.inference_mode(), self._autocast():
            return scorer.in_batches(rows, self.section.batch_size, self.section.batch_tokens)

    def generate(self, rows: Sequence[EncodedPrompt], in_step: bool = False) -> tuple[list[str], int]:
        """Greedy answers, and how many tokens were generated.

        Args:
            in_step: one batch, written on until every process's answers have ended: those that share a model must make
                the same passes.
        """
        import numpy as np
        import torch
        from transformers import GenerationConfig

        tokenizer, model = self.causal.tokenizer, self.causal.model
        longest = max(map(len, self.prompt.completions.values()), default=8)
        if self.label_set.is_multi_label:
            longest = sum(len(ids) + 1 for ids in self.prompt.completions.values())
        limit = self.section.max_new_tokens or longest + SPARE_TOKENS
        answers: list[str] = [""] * len(rows)
        generated = 0
        lengths = np.array([len(row.prompt_ids) for row in rows])
        own = model.generation_config.eos_token_id  # chat models have several
        ends = [tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])]
        stop = sorted({self.prompt.end_id, *(int(end) for end in ends if end is not None)})
        # A base's own settings stay out: a repetition penalty punishes the labels that the instruction lists.
        config = GenerationConfig(
            max_new_tokens=limit,
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,
            no_repeat_ngram_size=0,
            eos_token_id=stop,
            pad_token_id=int(tokenizer.pad_token_id),
        )
        batches = (
            [np.arange(len(rows))]
            if in_step
            else length_sorted_batches(lengths, self.section.batch_size, self.section.batch_tokens)
        )
        # Sharded weights cannot be gathered in inference mode.
        with torch.no_grad() if in_step else torch.inference_mode(), self._autocast():
            for at in batches:
                width = int(lengths[at].max())
                ids = torch.full((len(at), width), int(tokenizer.pad_token_id), dtype=torch.int64)
                mask = torch.zeros_like(ids)
                for line, i in enumerate(at):
                    ids[line, width - lengths[i] :] = torch.tensor(rows[i].prompt_ids)
                    mask[line, width - lengths[i] :] = 1
                output = model.generate(
                    input_ids=ids.to(self.device),
                    attention_mask=mask.to(self.device),
                    generation_config=config,
                    **({"synced_gpus": True} if in_step else {}),
                )
                # Prompt-learning adapters give back the answer alone.
                new = output[:, width:] if output.shape[1] > width or not is_prompt_learning(model) else output
                for line, i in enumerate(at):
                    tokens = new[line].tolist()
                    end = next((k for k, token in enumerate(tokens) if token in stop), len(tokens))
                    generated += min(end + 1, len(tokens))
                    answers[i] = tokenizer.decode(
                        tokens[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False
                    )
        return answers, generated

    def read_answers(
        self, ids: Sequence[str], raw: Sequence[str], parsing: str, usage: Usage | None = None
    ) -> Predictions:
        """Generated texts as decided predictions; what cannot be read is not valid and has no label."""
        import numpy as np

        parse = parse_strict if parsing == "strict" else parse_tolerant
        read: list[Answer] = [parse(text, self.label_set, self.prompt.words) for text in raw]
        score = None
        if self.label_set.is_regression:
            score = np.array([np.nan if one.score is None else one.score for one in read])
        valid = np.array([one.valid for one in read], dtype=bool)
        decided = None if self.label_set.is_regression else [list(one.labels) for one in read]
        return Predictions(ids, score=score, decided=decided, valid=valid, raw=list(raw), usage=usage or Usage())

    def _autocast(self) -> Any:
        import torch

        dtype = compute_dtype(self.section.dtype, self.causal.model, self.device)
        return torch.autocast(self.device.type, dtype=dtype) if dtype is not None else nullcontext()


def is_prompt_learning(model: Any) -> bool:
    """Whether the model has an adapter that learns a prompt or prefix."""
    config = getattr(model, "peft_config", None)
    return any(getattr(one, "is_prompt_learning", False) for one in (config or {}).values())


def share_prefix(model: Any) -> bool:
    """Whether the shared prefix may be cached: not with adapters that bring a cache or tokens of their own."""
    return not is_prompt_learning(model)
