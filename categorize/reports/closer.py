"""A closer look at what was compared: from an evaluation's parts to `analysis.closer.look_closer`."""

from __future__ import annotations

from collections.abc import Sequence

from categorize.analysis.closer import Closer, look_closer
from categorize.analysis.inputs import Inputs, RunOutput
from categorize.analysis.registry import check_codes
from categorize.analysis.traits import telling_columns
from categorize.data.columns import named_columns
from categorize.data.splits import LoadedData
from categorize.errors import UserError
from categorize.recipe.decision_sections import RunReference
from categorize.recipe.sections import EvalRecipe
from categorize.reports.comparison import Comparison
from categorize.reports.further import UNLABELLED, Further
from categorize.reports.measuring import baseline_name
from categorize.reports.predicted import RunPredictions
from categorize.reports.split import EvaluatedSplit


def check_closer(recipe: EvalRecipe, split: EvaluatedSplit) -> None:
    """Refuse, before anything is predicted, codes that are not checks and columns that the rows have not.

    Raises:
        UserError: see there.
    """
    check_codes(recipe.evaluation.ignore)
    there = [child.name for child in split.documents.schema.field("fields").type]
    for column in recipe.evaluation.columns or ():
        if column not in there:
            raise UserError(
                f"evaluation.columns: {column!r} is not a column of the rows; columns: {', '.join(map(repr, there))}"
            )


def looked_closer(
    predicted: Sequence[RunPredictions],
    references: Sequence[RunReference],
    comparison: Comparison,
    recipe: EvalRecipe,
    split: EvaluatedSplit,
    data: LoadedData,
    further: Further,
) -> Closer:
    """The closer look of an evaluation.

    Args:
        references: of the runs, in the order of `predicted`.
        further: what was predicted beside the split.
    """
    measured = {run.name: run for run in comparison.runs}
    runs = [
        RunOutput(
            name=one.name,
            predictions=one.predictions,
            metrics=measured[one.name].metrics,
            run=reference.run,
            changed=one.further,
            unlabelled=one.further.get(UNLABELLED),
            is_ranked=measured[one.name].is_ranked,
        )
        for one, reference in zip(predicted, references, strict=True)
    ]
    baseline = measured.get(baseline_name(split.label_set))
    inputs = Inputs(
        label_set=split.label_set,
        split=split.name,
        documents=split.documents,
        gold=split.gold,
        train=data.input_spec.documents(data.splits.train),
        runs=runs,
        overlap=split.train_overlap,
        baseline=None if baseline is None else baseline.metrics,
        columns=looked_at(recipe, split),
        features=recipe.evaluation.features,
        seed=recipe.seed,
        variants=further.variants,
        unlabelled=further.documents,
        resamples=recipe.evaluation.bootstrap,
        search_train=recipe.evaluation.train_label_errors,
    )
    return look_closer(inputs, recipe.evaluation.ignore)


def looked_at(recipe: EvalRecipe, split: EvaluatedSplit) -> list[str]:
    """The raw columns by whose values errors are looked at."""
    if recipe.evaluation.columns is not None:
        return recipe.evaluation.columns
    named = named_columns(recipe.data.columns)
    told = [*named["keep"], *named["group"], *([recipe.data.splits.by_time] if recipe.data.splits.by_time else [])]
    taken = [name for key in ("text", "label", "id", "document", "weight", "raters") for name in named[key]]
    return list(dict.fromkeys(told)) if told else telling_columns(split.documents, taken)
