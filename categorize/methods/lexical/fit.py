"""From a recipe and its rows to a lexical matcher: terms of the labels, and where rows are labelled, which finds are
right."""

from __future__ import annotations

import time

from categorize.data.segments.tokens import PlainTokens
from categorize.data.splits import LoadedData
from categorize.methods.lexical.candidates import Frequencies
from categorize.methods.lexical.judge import Judge
from categorize.methods.lexical.predictor import Finding, Learned, LexicalPredictor
from categorize.methods.lexical.section import LexicalModel
from categorize.methods.lexical.terms import UNSPACED_TEXT
from categorize.processes import print0
from categorize.recipe.sections import SeqclsRecipe
from categorize.runs.folder import RunWriter
from categorize.training.fit_summary import FitOptions, FitSummary
from categorize.training.inputs import training_inputs

FEWEST = 20  # right candidates, and wrong ones, from which anything is learned


def fit(recipe: SeqclsRecipe, data: LoadedData, writer: RunWriter, options: FitOptions) -> FitSummary:
    """Find the labels in the training rows, learn which finds are right, and write the matcher into the run."""
    start = time.perf_counter()
    predictor, lines, rows, details = build(recipe, data)
    for line in lines:
        print0(f"  {line}")
    predictor.save(writer)
    count = 0 if predictor.learned is None else int(predictor.learned.judge.coefficients.size) + 1
    return FitSummary(count, count, time.perf_counter() - start, rows, details=details, rows_an_epoch=rows)


def preview(recipe: SeqclsRecipe, data: LoadedData, options: FitOptions) -> list[str]:
    """What would be found in the training rows, and with which terms."""
    predictor, lines, _, _ = build(recipe, data)
    shown = [" ".join(tokens) for tokens in predictor.terms.spelled[:8]]
    return [*lines, f"terms as they are looked for: {'; '.join(shown)}"]


def build(
    recipe: SeqclsRecipe, data: LoadedData
) -> tuple[LexicalPredictor, list[str], int, dict[str, float | int | str]]:
    """The matcher, lines for the terminal, the training rows that were read, and facts for the manifest."""
    section, label_set = recipe.model, data.label_set
    assert isinstance(section, LexicalModel)
    inputs = training_inputs(recipe, data, PlainTokens())
    texts = inputs.train.column("text").to_pylist()
    matcher = LexicalPredictor(label_set, Finding(section.segmentation, section.stemming, section.coverage))
    names = "".join(label.name for label in label_set.labels)
    lines = [*inputs.lines(), f"terms: {len(matcher.terms.terms):,} of {len(label_set):,} labels"]
    if section.segmentation is None and matcher.segmenter.segmentation == "characters" and UNSPACED_TEXT.search(names):
        lines.append(
            "warning: jieba is not installed: Chinese terms are matched by their characters; pip install "
            "'categorize[chinese]', or write model.segmentation: characters"
        )
    if unnamed := matcher.terms.unnamed:
        lines.append(f"warning: {len(unnamed)} labels have no letter to find: {', '.join(unnamed[:12])}")
    documents = [matcher.segmenter.sentences(text) for text in texts]
    frequencies = Frequencies.of(documents)
    matcher = LexicalPredictor(label_set, matcher.settings, frequencies)
    if not texts:
        return matcher, [*lines, "no training rows: candidates are scored by rarity and length"], 0, {"learned": "no"}
    candidates = matcher.finder.find(documents)
    right = inputs.targets[candidates.rows, candidates.labels] > 0
    found = float(right.sum()) / max(int((inputs.targets > 0).sum()), 1)
    details: dict[str, float | int | str] = {
        "segmentation": matcher.segmenter.segmentation,
        "candidates_a_row": round(len(candidates) / len(texts), 3),
        "gold_found": round(found, 4),
        "learned": "no",
    }
    lines.append(
        f"found in {len(texts):,} training rows: {len(candidates) / len(texts):.2f} labels a row; {found:.1%} of the "
        f"gold stands in the text, {right.sum() / max(len(right), 1):.1%} of what is found is gold"
    )
    counted = right[inputs.weights[candidates.rows] > 0]
    if not section.learn or min(int(counted.sum()), int((~counted).sum())) < FEWEST:
        reason = "model.learn is false" if not section.learn else f"fewer than {FEWEST} right or wrong finds"
        return matcher, [*lines, f"{reason}: candidates are scored by rarity and length"], len(texts), details
    judge, counts = Judge.fit(candidates, inputs.targets, inputs.weights, recipe.seed)
    details["learned"] = "yes"
    learned = Learned(judge, counts, label_set.names)
    return LexicalPredictor(label_set, matcher.settings, frequencies, learned), lines, len(texts), details
