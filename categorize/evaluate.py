"""The evaluation: every run predicts the same split, one report comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from categorize.analysis.terminal import lines_of
from categorize.baseline_runs import TFIDF, tfidf_baseline
from categorize.data.splits import LoadedData, load_recipe_data
from categorize.features.shots import check_examples
from categorize.nn.shared_bases import bases_loaded_once
from categorize.prediction.tables import predictions_table
from categorize.processes import is_main_process
from categorize.recipe.command import Command
from categorize.recipe.decision_sections import RunReference
from categorize.recipe.sections import EvalRecipe
from categorize.recipe.wording import counted
from categorize.reports.checks import RunCheck, check_output, check_prompts, check_runs
from categorize.reports.classification_report import classification_report
from categorize.reports.closer import check_closer, looked_closer
from categorize.reports.costs import costs_of
from categorize.reports.further import further_rows
from categorize.reports.guard import Guard
from categorize.reports.main_categories import main_category_table
from categorize.reports.measuring import baseline_name, compare_predictions, unseen_labels
from categorize.reports.per_class import per_class_text
from categorize.reports.predicting import predict_with_runs
from categorize.reports.rendering import WIDTH, as_text
from categorize.reports.report import Report
from categorize.reports.seed_groups import expanded
from categorize.reports.split import evaluated_split
from categorize.reports.summary import quoted_where_needed, summary
from categorize.reports.write import REPORT, prediction_files, write_report
from categorize.text_tables import text_table, wrap

LABELS_SHOWN = 30  # the F1 of each is printed up to so many; per_class.csv has all


def evaluate(command: Command) -> None:
    """Predict one split with every run, print and write the report; of several processes, the first does.

    Raises:
        UserError: a run is missing or unfinished, was split otherwise, or has other labels.
        GuardFailed: a run is worse than the report of `--against` allows.
    """
    recipe = command.recipe.recipe
    assert isinstance(recipe, EvalRecipe)
    if not is_main_process():
        return  # one process predicts; all of a launch would write the same files
    output = Path(recipe.output_path)
    if command.classification_report is not None and (output / REPORT).exists() and not command.overwrite:
        print(classification_report(output / REPORT, command.classification_report), end="")
        return
    check_output(output, command.overwrite)
    guard = None if command.against is None else Guard.load(command.against, command.fail_below)
    data = load_recipe_data(recipe, write=not command.dry_run)
    split = evaluated_split(data, recipe.evaluation.split, recipe.data.columns.raters)
    if guard is not None:
        guard.check_comparable(split.label_set.task, split.name, split.fingerprint)
    named = [one if isinstance(one, RunReference) else RunReference(run=one) for one in recipe.evaluation.runs]
    references, seeds = expanded(named)
    runs, documents = counted(len(references), "run"), counted(split.documents.num_rows, "document")
    print(f"{recipe.name}: {runs} on the {split.name} split, {documents}", flush=True)
    examples = data.splits.train
    if recipe.prompt.retrieval is not None:
        check_examples(examples, data.label_set)
    if recipe.evaluation.closer:
        check_closer(recipe, split)
    further = further_rows(recipe, split, data)
    if command.dry_run:
        check_prompts(references, recipe, data.label_set, command.trust_remote_code)
        show_dry_run(data, references)
        return
    baselines = recipe.evaluation.baselines
    names = {"majority": baseline_name(split.label_set), "tfidf": TFIDF}
    taken = {names[one] for one in baselines}
    beyond = recipe.evaluation.unseen_labels == "measure"
    check_runs(references, RunCheck(split, taken, beyond, {*seeds}))
    check, trust = RunCheck(split, taken, beyond, {*seeds}), command.trust_remote_code
    check_prompts(references, recipe, split.label_set, trust)
    with bases_loaded_once():
        predicted = list(
            predict_with_runs(references, recipe, split, data.input_spec, check, trust, examples, further.rows)
        )
    everyone = predicted
    if "tfidf" in baselines and not any(one.facts.get("method") == "tfidf" for one in predicted):
        one = tfidf_baseline(command.recipe, data, unseen_labels(predicted, split.label_set))
        check = RunCheck(split, (), beyond)
        (found,) = predict_with_runs([one], recipe, split, data.input_spec, check, trust)
        everyone = [replace(found, facts={**found.facts, "method": "baseline"}), *predicted]
    comparison = compare_predictions(everyone, recipe, split, data.splits.train, seeds)
    closer = None
    if recipe.evaluation.closer:
        print("looking closer", flush=True)
        closer = looked_closer(predicted, references, comparison, recipe, split, data, further)
    files, kept = prediction_files(one.name for one in everyone), recipe.data.columns.keep
    tables = (
        (files[one.name], predictions_table(split.documents, one.predictions, kept, split.train_overlap))
        for one in everyone
    )
    asked = recipe.evaluation.costs
    rest = unlabelled(data) if asked.rows is None else asked.rows
    costs = costs_of(comparison.runs, rest, asked.price_per_hour, asked.currency)
    report = Report(recipe.name, comparison, costs, {} if closer is None else closer.found)
    show(report, write_report(output, report, tables, None if closer is None else closer.rows))
    if command.classification_report is not None:
        print("\n" + classification_report(output / REPORT, command.classification_report), end="")
    if guard is not None:
        print("\n" + guard.judge(comparison))


def show_dry_run(data: LoadedData, references: Sequence[RunReference]) -> None:
    """What the data holds and which runs are there."""
    for line in [*data.report.lines(), *data.report.cleaning.lines()]:
        print(line)
    for one in references:
        found = "found" if Path(one.run).exists() else "no such folder yet; taken as a Hub id if it is one"
        print(f"  would predict with {one.run}: {found}")
    print("dry run: nothing was predicted or written")


def unlabelled(data: LoadedData) -> int:
    """Documents of the data that have no label."""
    return len(data.splits.unlabeled.column("document_id").unique())


def show(report: Report, written: Sequence[Path]) -> None:
    """Print the comparison, the F1 by label where there are few, the summary, advice, and where all of it stands."""
    comparison = report.comparison
    print("\n" + as_text(comparison))
    by_label = comparison.runs[0].metrics.get("per_class", ())
    if len(by_label) <= LABELS_SHOWN and (table := per_class_text(comparison.runs)):
        print("\nF1 by label\n" + table)
    mains = main_category_table(comparison.runs)
    if 0 < len(mains.rows) <= LABELS_SHOWN:
        print("\nMain categories\n" + text_table(*mains, width=WIDTH))
    print("\n" + "\n".join(wrap(one, WIDTH) for one in summary(report, quoted_where_needed)))
    if lines := lines_of(report.analysis):
        print("\n" + "\n".join(wrap(line, WIDTH) for line in lines))
    print("\nwritten: " + ", ".join(map(str, written)))
