"""Merged export: an adapter becomes part of its base's weights, and the result is a run of its own.

Merging into quantized weights rounds the adapter away (peft's own warning), so the base is loaded anew and whole. What
the merged run predicts is compared with what the run predicted, for a base that was quantized in training and is whole
now is another base to its adapter.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from categorize.data.splits import LoadedData
from categorize.description import describe
from categorize.errors import UserError
from categorize.methods.method import Method
from categorize.nn.parameters import parameter_counts
from categorize.prediction.scope import SCOPE_FILES
from categorize.predictions import FloatArray
from categorize.processes import is_main_process, print0
from categorize.recipe.command import Command
from categorize.recipe.compatibility import PROMPT_LEARNING
from categorize.recipe.resuming import changes
from categorize.recipe.sections import TrainedRecipe
from categorize.runs.contents import merged_folder
from categorize.runs.folder import DECISION_RULE, INPUT, LABEL_SET, METRICS, PROMPT, RECIPE, Run, RunWriter, is_run
from categorize.training.manifest import prediction_facts
from categorize.writing import disk_errors

ENOUGH = 0.99  # share of rows decided alike below which a merged run is not the run any more
DIVERGED = 0.01  # nats a row, from where on merged probabilities are others
SCORE_TOLERANCE = 0.01  # of the spread of the scores: what counts as the same score
COPIED = (LABEL_SET, INPUT, DECISION_RULE, PROMPT, "splits.parquet", *SCOPE_FILES)
OF_THE_WRITING = ("started", "finished", "versions", "git_commit", "hardware", "members")


@dataclass(frozen=True)
class MergeComparison:
    """What a merged run predicts against what its run predicted; `details.merge` of `run.json`.

    Attributes:
        split, rows: which rows were compared, and how many; None and 0 where nothing is held out.
        agreement: share of rows that are decided alike; of a regression, whose score moved by at most a hundredth of
            the spread of the scores.
        largest_difference: of any label's probability (of any score), None where answers were generated.
        dtype: type of the merged weights.
        divergence: Kullback-Leibler divergence of the merged run's probabilities from the run's, in nats, mean over
            rows; of several labels, of all of them together. By so much the log loss grows where the run was right
            about its own doubts. None where answers were generated.
        log_loss: of the run and of the merged run, where `metrics.json` has it.
    """

    split: str | None
    rows: int
    agreement: float | None
    largest_difference: float | None
    dtype: str
    divergence: float | None = None
    log_loss: tuple[float, float] | None = None

    def lines(self) -> list[str]:
        """For the terminal; with a warning where the runs differ."""
        if self.agreement is None:
            return [f"merged into {self.dtype} weights; no rows are held out to compare predictions on"]
        difference = "" if self.largest_difference is None else f", largest difference {self.largest_difference:.2g}"
        lines = [
            f"merged into {self.dtype} weights: {self.agreement:.1%} of {self.rows:,} {self.split} rows decided as "
            f"before{difference}"
        ]
        grown = (self.log_loss[1] - self.log_loss[0]) if self.log_loss else 0.0
        if self.log_loss:
            lines[0] += f", log loss {self.log_loss[0]:.3f} -> {self.log_loss[1]:.3f}"
        if self.agreement >= ENOUGH and ((self.divergence or 0.0) > DIVERGED or abs(grown) > DIVERGED):
            lines.append(
                "warning: the merged run decides alike, but is sure of other things: compare both with run_eval.py "
                "before you use its probabilities, or keep the adapter"
            )
        if self.agreement < ENOUGH:
            lines.append(
                f"warning: the merged run decides {1 - self.agreement:.1%} of the rows otherwise; compare both with "
                f"run_eval.py before you use it, or keep the adapter"
            )
        return lines


def merged_path(recipe: TrainedRecipe) -> Path:
    """Folder of the merged run, beside the run."""
    return merged_folder(Path(recipe.output_path))


def merges(command: Command, recipe: TrainedRecipe) -> bool:
    """Whether a merged run is wanted, beside the run or on the Hub."""
    return command.merge or (recipe.hub is not None and recipe.hub.weights == "merged")


def only_merges(command: Command, recipe: TrainedRecipe) -> bool:
    """Whether a finished run is there already that is merged as it is."""
    return command.merge and is_finished(command, recipe)


def only_pushes(command: Command, recipe: TrainedRecipe) -> bool:
    """Whether a finished run is there already that is pushed as it is."""
    return command.push and is_finished(command, recipe)


def is_finished(command: Command, recipe: TrainedRecipe) -> bool:
    """Whether a finished run is there, which stays."""
    return is_run(Path(recipe.output_path)) and not command.overwrite


def check_merge(command: Command, recipe: TrainedRecipe, method: Method) -> None:
    """Refuse, before anything is trained, what cannot be merged.

    Raises:
        UserError: no adapter, an adapter that cannot become part of weights, or a merged run that is there already.
    """
    if recipe.adapter is None:
        raise UserError("--merge: the recipe has no adapter, so that there is nothing to merge; remove the flag")
    if recipe.adapter.type in PROMPT_LEARNING:
        raise UserError(
            f"--merge: adapter.type {recipe.adapter.type} learns tokens before the text, which cannot become part of "
            f"weights; use lora, dora, rslora or ia3"
        )
    path = merged_path(recipe)
    if is_run(path) and not command.overwrite:
        raise UserError(f"{path}: a merged run is here already; remove the folder, or replace both with --overwrite")
    method.check_merge(recipe, command.trust_remote_code)
    RunWriter(path, command.recipe.text, overwrite=command.overwrite, probe=True, holds_work=_begins_anew)


def _begins_anew(interrupted: Path) -> bool:
    """A merge that was interrupted holds nothing that takes long to make."""
    return False


def merge_finished(command: Command, recipe: TrainedRecipe, method: Method, dtype: str | None = None) -> None:
    """Merge the finished run that is in the output folder. Its base may have moved: the recipe's `model.name_or_path`
    says where it is now. `dtype`: see `merge_run`.

    Raises:
        UserError: that run came from another recipe, or from other data.
    """
    from categorize.data.splits import load_recipe_data

    if not is_main_process():
        return
    run = Run.open(recipe.output_path)
    # The base may be elsewhere by now.
    moved = ("model.name_or_path: ", "model.revision: ")
    found = changes((run.path / RECIPE).read_text(encoding="utf-8"), command.recipe.text)
    if changed := [one for one in found if not one.startswith(moved)]:
        raise UserError(
            f"{run.path / RECIPE}: the finished run had another recipe ({'; '.join(changed[:3])}); merge with that "
            f"one, or train anew with --overwrite"
        )
    print0("the run is finished: merging its adapter, nothing is trained")
    merge_run(command, recipe, method, run, load_recipe_data(recipe, write=False), dtype)


def merge_run(
    command: Command, recipe: TrainedRecipe, method: Method, run: Run, data: LoadedData, dtype: str | None = None
) -> Run:
    """Write the merged run beside the run, compare what both predict, and say so.

    The weights are in `dtype`; by default in `model.dtype`, where it is `auto` bfloat16, and float32 on a machine
    without a GPU.
    """
    fingerprints = data.splits.fingerprints
    if run.manifest["split_fingerprints"] != fingerprints:
        raise UserError(f"{run.path}: its splits are not those of the data now; train it anew with --overwrite")
    path = merged_path(recipe)
    writer = RunWriter(path, command.recipe.text, overwrite=command.overwrite, holds_work=_begins_anew)
    dtype = dtype or merged_dtype(recipe)
    with disk_errors(writer.path):
        given = method.merge(run, data.label_set, dtype, base_of(recipe, run), command.trust_remote_code)
        given.model.save_pretrained(str(writer.path))
        given.tokenizer.save_pretrained(str(writer.path))
        for name, content in given.files.items():
            writer.write_json(name, content)
        parameters = parameter_counts(given.model)[1]
        del given  # else the merged run is loaded beside it
        for name in (*COPIED, *(file.name for file in run.path.glob("shots*"))):
            if run.has(name):
                shutil.copy(run.path / name, writer.stage(name))
    manifest, metrics = _predict(recipe, method, run, writer, data)
    comparison = compare(run.path, writer.path, dtype, data.label_set.is_regression)
    manifest |= {
        "name": f"{recipe.name}_merged",
        "parameters": parameters,
        "notes": [*run.manifest.get("notes", []), f"merged into {dtype} weights"],
        "details": {**run.manifest.get("details", {}), "merge": asdict(comparison)},
    }
    whole = {"name": manifest["name"], "output_dir": str(path), "adapter": None, "quantization": None}
    whole_recipe = recipe.model_copy(update=whole)
    describe(whole_recipe, data, method, manifest, metrics, writer)
    merged = writer.commit(manifest)
    for line in comparison.lines():
        print0(line)
    print0(f"merged run folder: {merged.path}")
    return merged


def merged_dtype(recipe: TrainedRecipe) -> str:
    """Type of the merged weights: the recipe's, where it is `auto` bfloat16, and float32 on a machine without a GPU."""
    import torch

    named = getattr(recipe.model, "dtype", "auto")
    if named != "auto":
        return str(named)
    return "bfloat16" if torch.cuda.is_available() else "float32"


def base_of(recipe: TrainedRecipe, run: Run) -> str | None:
    """Where the base of the run's adapter is now, if not where it was in training."""
    section: Any = recipe.model  # with an adapter it names a model
    named: str = section.name_or_path
    return named if named != run.manifest.get("model") else None


def _predict(
    recipe: TrainedRecipe, method: Method, run: Run, writer: RunWriter, data: LoadedData
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Predict the held-out splits with what was written, by the run's own decision rule; gives manifest and
    measures."""
    from categorize.metrics.decision import DecisionRule
    from categorize.prediction.held_out import predict_held_out, write_predicted
    from categorize.prediction.predictor import TrainedPredictor

    rule = DecisionRule.load(writer.path / DECISION_RULE)
    inner = method.predictor(Run(writer.path), recipe.prediction)
    predictor = TrainedPredictor(inner, data.input_spec, rule, recipe.name)
    undecided = predict_held_out(predictor, data)
    metrics = write_predicted(recipe, data, rule, undecided, writer)
    manifest = {key: value for key, value in run.manifest.items() if key not in OF_THE_WRITING}
    manifest["prediction"] = prediction_facts(undecided) | getattr(inner, "computed", {})
    return manifest, metrics


def compare(before: Path, after: Path, dtype: str, is_regression: bool) -> MergeComparison:
    """Compare the predictions that two run folders hold of the validation rows, or of the test rows where there are no
    others."""
    split = next((name for name in ("validation", "test") if (after / f"predictions/{name}.parquet").is_file()), None)
    if split is None:
        return MergeComparison(None, 0, None, None, dtype)
    old, new = (pq.read_table(folder / f"predictions/{split}.parquet") for folder in (before, after))
    largest = divergence = None
    if is_regression:
        scores = [table["score"].to_numpy().astype("float64") for table in (old, new)]
        moved = np.abs(scores[0] - scores[1])
        alike = (moved <= SCORE_TOLERANCE * np.ptp(scores[0][np.isfinite(scores[0])])) | np.isnan(scores).all(axis=0)
        largest = float(np.nanmax(moved)) if np.isfinite(moved).any() else None
    else:
        pairs = (zip(table["predicted"].to_pylist(), table["valid"].to_pylist(), strict=True) for table in (old, new))
        decided = ([(set(names), valid) for names, valid in of_run] for of_run in pairs)
        alike = np.array([one == other for one, other in zip(*decided, strict=True)])
        if not old["probabilities"].null_count:
            probabilities = [np.array(table["probabilities"].to_pylist()) for table in (old, new)]
            largest = float(np.nanmax(np.abs(probabilities[0] - probabilities[1])))
            divergence = _divergence(*probabilities)
    runs = [run for run in (Run(before), Run(after)) if run.has(METRICS)]
    losses = [run.read_json(METRICS).get(split, {}).get("log_loss") for run in runs]
    log_loss = (losses[0], losses[1]) if len(losses) == 2 and None not in losses else None
    return MergeComparison(split, old.num_rows, float(np.mean(alike)), largest, dtype, divergence, log_loss)


def _divergence(before: FloatArray, after: FloatArray) -> float:
    """Kullback-Leibler divergence in nats, mean over rows. Probabilities [rows, labels] that do not add up to 1 are
    those of several labels, each for itself."""
    from scipy.special import rel_entr

    def nats(first: FloatArray, second: FloatArray) -> FloatArray:
        smallest = np.finfo(np.float32).tiny
        entropies: FloatArray = rel_entr(np.maximum(first, smallest), np.maximum(second, smallest))
        return entropies

    both = nats(before, after)
    if not np.allclose(np.nansum(before, axis=1), 1, atol=1e-3):
        both = both + nats(1 - before, 1 - after)
    return float(np.mean(np.nansum(both, axis=1)))
