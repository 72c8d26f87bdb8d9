"""What an evaluation refuses: runs that cannot be compared on its split, an output folder that is taken."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from categorize.errors import UserError
from categorize.labels import LabelSet
from categorize.loading import check_asked
from categorize.recipe.decision_sections import RunReference
from categorize.recipe.sections import EvalRecipe
from categorize.reports.labelled import labelling_run, labels_of_run
from categorize.reports.split import EvaluatedSplit
from categorize.reports.write import FORMER, REPORT
from categorize.runs.folder import Run, is_run


def check_output(output: Path, overwrite: bool) -> None:
    """Refuse a folder that holds a training run, or an earlier report unless told."""
    if is_run(output):
        raise UserError(f"{output}: output_dir holds a training run; name another output_dir")
    if not overwrite and any((output / name).exists() for name in (REPORT, f"{FORMER}.json")):
        raise UserError(f"{output}: output_dir holds a report; name another output_dir or replace it with --overwrite")


def check_runs(references: Iterable[RunReference], check: RunCheck) -> None:
    """Refuse what can be told from the runs' manifests: the last run of a list should not cost the hours of the others.

    Raises:
        UserError: as `RunCheck.check`; a run is missing or not finished.
    """
    for one in references:
        folder = Path(one.run).expanduser()
        if not folder.exists() and "@" not in one.run and folder.parent != Path() and folder.parent.is_dir():
            Run.open(folder)  # not a Hub id: says that it is missing, or not finished
        if (labelled := labelling_run(one.run)) is not None:
            label_set = labels_of_run(labelled)
            check.check(one.run, one.name or labelled.manifest["name"], label_set.task, label_set.names, {})
        elif is_run(folder):
            found = Run.open(folder).manifest
            fingerprints = found.get("split_fingerprints", {})
            check.check(one.run, one.name or found["name"], found["task"], found["labels"], fingerprints)


def check_prompts(references: Iterable[RunReference], recipe: EvalRecipe, label_set: LabelSet, trust: bool) -> None:
    """Refuse models here that the engine does not compute, or that are asked by a prompt which does not hold so many
    labels; those of the Hub are looked at when they are fetched.

    Raises:
        UserError: see above.
    """
    for one in references:
        folder = Path(one.run).expanduser()
        if folder.is_dir() and labelling_run(one.run) is None:
            section = one.asked_by(recipe.prediction)
            check_asked(folder, label_set, section, base=one.base, prompt=recipe.prompt, trust_remote_code=trust)


@dataclass
class RunCheck:
    """Which runs can be compared on a split; `taken` are names that the comparison gives itself, and `unseen_labels`
    whether runs may be asked about labels beyond their training."""

    split: EvaluatedSplit
    taken: Container[str]
    unseen_labels: bool = False
    names: set[str] = field(default_factory=set)

    def check(self, run: str, name: str, task: str, labels: Sequence[str], fingerprints: Mapping[str, str]) -> None:
        """Check one run after the other.

        Raises:
            UserError: the run predicts another task or other labels, was trained with another split, so that it may
                have seen these rows, or has the name of an earlier one or of the baseline.
        """
        # Labels before the split: gold of other labels makes it another one too.
        wanted = self.split.label_set
        if task != wanted.task:
            raise UserError(f"{run}: predicts {task}, the evaluation is {wanted.task}")
        alone = (
            ("only the run has", set(labels) - set(wanted.names)),
            ("only the evaluation has", set(wanted.names) - set(labels)),
        )
        if told := "; ".join(
            f"{who} {_listed(names)}" for who, names in alone[: 1 + (not self.unseen_labels)] if names
        ):
            beyond = "" if alone[0][1] or self.unseen_labels else ", or write evaluation.unseen_labels: measure"
            raise UserError(
                f"{run}: its labels are not the evaluation's: {told}; "
                f"name them in labels as the run was trained with them{beyond}"
            )
        found, fingerprint = fingerprints.get(self.split.name), self.split.fingerprint
        if found is not None and found != fingerprint:
            raise UserError(
                f"{run}: its {self.split.name} split ({found[:12]}) is not this recipe's ({fingerprint[:12]}); "
                "scores would not be comparable: use the data section that the run was trained with, or train it again"
            )
        if name in self.taken:
            raise UserError(
                f"evaluation.runs: {name!r} is what the table calls the baseline; give the run another name "
                "(name: ...), or leave the baseline out with evaluation.baselines"
            )
        if name in self.names:
            raise UserError(f"evaluation.runs: two runs are named {name!r}; give each a name of its own (name: ...)")
        self.names.add(name)


def _listed(labels: Iterable[str], most: int = 10) -> str:
    """Labels in quotes, the first `most` of them."""
    names = sorted(labels)
    return ", ".join(map(repr, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")
