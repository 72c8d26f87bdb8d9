"""A search for hyperparameters: trials of a recipe, each a training run that sees no test row, and then the run itself
with the values that were best on validation.

A training recipe with a `search` section starts it. Trials go to `<output_dir>_search/`, beside the study of Optuna,
which remembers them: the same command goes on where it stopped, with the trials that an uninterrupted search would have
tried. The weights of the best trial alone are kept.
"""

from __future__ import annotations

import json
import shlex
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from categorize.child_runs import ChildRun, variant
from categorize.errors import UserError
from categorize.metrics.progress import flat, greater_is_better, headline_of
from categorize.processes import world_size
from categorize.recipe.command import Command
from categorize.recipe.load import load_recipe
from categorize.recipe.scalars import flow
from categorize.recipe.search_sections import Range, SearchSection
from categorize.recipe.sections import TrainedRecipe
from categorize.recipe.written import Methods
from categorize.runs.folder import METRICS, RECIPE, Run, RunWriter
from categorize.text_tables import text_table
from categorize.training.checkpoints import has_checkpoints
from categorize.writing import disk_errors, json_text, write_whole

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

STUDY = "study.log"
TRIALS = "trials.json"
SHOWN = 10  # trials of the table at the end, the best first
FEWEST_FOR_IMPORTANCE = 8


def with_best_values(command: Command, methods: Methods) -> Command:
    """The command with a recipe whose values were best in its search, and that has no search.

    Raises:
        UserError: see `Search.best`; or a run is in the way of the one that is to come of it.
    """
    search = Search(command, methods)
    chosen = search.best()
    loaded = load_recipe(search.file, (*chosen, "search=null"), search.recipe.kind, methods=methods)
    return replace(command, recipe=loaded)


def search_line(section: SearchSection) -> str:
    """What a dry run says of it."""
    return f"search: {section.trials} trials over {', '.join(section.space)}, before the run itself"


class Search:
    """The trials of a recipe.

    Args:
        command: what the user asked for; its recipe has a `search` section.
        methods: that there are.
    """

    def __init__(self, command: Command, methods: Methods) -> None:
        recipe = command.recipe.recipe
        assert isinstance(recipe, TrainedRecipe) and recipe.search is not None
        self.command, self.methods, self.recipe = command, methods, recipe
        self.section: SearchSection = recipe.search
        self.folder = Path(f"{recipe.output_path}_search")
        self.file = self.folder / RECIPE  # as it is now: trials to come read no later edit
        self.starter = shlex.split(self.section.launcher)

    def best(self) -> tuple[str, ...]:
        """Run the trials that are still to be run; the overrides of the best one.

        Raises:
            UserError: Optuna is missing, a value of the search is not one that the recipe may have, or no trial came to
                an end.
        """
        self._refuse()
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self.file, self.command.recipe.text)
        self._check_space()
        study = self._study()
        begun = time.monotonic()
        while (trial := self._next(study, begun)) is not None:
            number, overrides = trial
            self._run(study, number, overrides)
        finished = _finished(study)
        if not finished:
            raise UserError(f"{self.folder}: no trial came to its end; what each said stands above")
        for line in self._told(study, finished):
            print(line, flush=True)
        chosen = self._chosen(study.best_trial.params)
        print(f"best: {' '.join(chosen)}; training with it, and testing once", flush=True)
        return chosen

    def _refuse(self) -> None:
        """Raises UserError where the search cannot be, or the run after it."""
        try:
            import optuna  # noqa: F401
        except ImportError:
            raise UserError(
                "search: needs Optuna: pip install 'categorize[search]', or leave the section out"
            ) from None
        if world_size() > 1:
            raise UserError(
                "search: starts its trials itself; run it without accelerate launch, and write what starts a trial "
                "into search.launcher, such as 'python -m categorize.launch'"
            )
        command, recipe = self.command, self.recipe
        RunWriter(
            recipe.output_path,
            command.recipe.text,
            resume=command.resumes(recipe),
            overwrite=command.overwrite,
            probe=True,
            holds_work=has_checkpoints,
        )

    def _check_space(self) -> None:
        """Raises UserError for a value that may be tried and that the recipe may not have."""
        for key, space in self.section.space.items():
            for value in (space.low, space.high) if isinstance(space, Range) else space:
                try:
                    self._child(0, (_override(key, value),))
                except UserError as error:
                    raise UserError(f"search.space.{key}: {flow(value)} cannot be tried: {error}") from error

    # ------------------------------------------------------------ trials
    def _study(self) -> Study:
        """The trials so far. Those of another recipe are begun anew with --overwrite, and refused without."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = self._opened()
        asked = self._identity()
        if study.user_attrs.get("recipe", asked) != asked:
            if not self.command.overwrite:
                raise UserError(
                    f"{self.folder}: holds a search of another recipe or space; run again with --overwrite to begin "
                    "anew, or name another output_dir"
                )
            for old in self.folder.glob("trial_*"):
                shutil.rmtree(old)
            (self.folder / STUDY).unlink()
            study = self._opened()
        study.set_user_attr("recipe", asked)
        return study

    def _opened(self) -> Study:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        return optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(self.folder / STUDY))),
            study_name=self.recipe.name,
            direction="maximize" if greater_is_better(self.measure) else "minimize",
            load_if_exists=True,
        )

    def _identity(self) -> str:
        """What makes trials comparable: the recipe and the space, but not how many trials there are to be."""
        ours = ("name", "output_dir", "hub", "search", "seeds")
        resolved = {key: value for key, value in self.command.recipe.resolved.items() if key not in ours}
        section = self.section.model_dump(mode="json", include={"space", "measure"})
        return json.dumps([resolved, section], sort_keys=True, ensure_ascii=False)

    @property
    def measure(self) -> str:
        """What trials are ranked by."""
        return self.section.measure or headline_of(self.recipe.labels.task)

    def _next(self, study: Study, begun: float) -> tuple[int, tuple[str, ...]] | None:
        """The trial to run: one that was interrupted, else a new one; None where all are done or the time is up."""
        import optuna

        running = [one for one in study.trials if one.state == optuna.trial.TrialState.RUNNING]
        if running:
            return running[0].number, self._chosen(running[0].params)
        if len(study.trials) >= self.section.trials:
            return None
        if self.section.minutes is not None and time.monotonic() - begun > 60 * self.section.minutes:
            print(f"search: {self.section.minutes:g} minutes are over after {len(study.trials)} trials", flush=True)
            return None
        # A sampler of its own for each trial: what it draws hangs on the trials before, not on interruptions.
        study.sampler = self._sampler(self.recipe.seed + len(study.trials))
        trial = study.ask()
        for key, space in self.section.space.items():
            _suggest(trial, key, space)
        return trial.number, self._chosen(trial.params)

    def _chosen(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(_override(key, value) for key, value in params.items())

    def _sampler(self, seed: int) -> Any:
        import optuna

        named: Mapping[str, Any] = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
        return named[self.section.sampler](seed=seed)

    def _run(self, study: Study, number: int, overrides: tuple[str, ...]) -> None:
        import optuna

        child = self._child(number, overrides)
        state = child.state()
        print(f"{child.title} of {self.section.trials}: {' '.join(overrides)}", flush=True)
        flags = ["--validation-only", *(["--trust-remote-code"] if self.command.trust_remote_code else [])]
        status = 0 if state == "finished" else child.start(state, self.starter, *flags)
        if status:
            print(f"{child.title}: failed (exit status {status}); it says why above", flush=True)
            study.tell(number, state=optuna.trial.TrialState.FAIL)
            if not _finished(study):
                raise UserError(f"{child.title} failed (exit status {status}), and none before it came to its end")
            return
        measures = flat(Run.open(child.output).read_json(METRICS)["validation"])
        if self.measure not in measures:
            raise UserError(f"search.measure: {self.measure!r} is not measured; there are {', '.join(measures)}")
        study.tell(number, measures[self.measure])
        for one in _finished(study):  # their values and measures stay in the study
            if one.number != study.best_trial.number:
                shutil.rmtree(self._place(one.number), ignore_errors=True)

    def _child(self, number: int, overrides: tuple[str, ...]) -> ChildRun:
        from categorize.data.splitting.split_file import default_split_file

        stored = default_split_file(self.recipe.data, Path(self.recipe.output_path).parent)  # that of the run itself
        title, own = f"trial {number}", (*overrides, "search=null")
        return variant(title, self.file, own, self._place(number), stored, self.methods, self.recipe.kind)

    def _place(self, number: int) -> Path:
        return self.folder / f"trial_{number}"

    # ------------------------------------------------------------ what came of it
    def _told(self, study: Study, finished: Sequence[FrozenTrial]) -> list[str]:
        """The best trials, what mattered, and where all of them stand, which is written."""
        import optuna

        ranked = sorted(finished, key=lambda one: one.value or 0.0, reverse=greater_is_better(self.measure))
        rows = [{"trial": one.number, self.measure: one.value, **one.params} for one in ranked]
        failed = len(study.trials) - len(finished)
        path = self.folder / TRIALS
        with disk_errors(path):
            write_whole(path, json_text({"measure": self.measure, "failed": failed, "trials": rows}))
        header = ["trial", self.measure, *self.section.space]
        table = [
            [str(one.number), f"{one.value:.4f}", *(_shown(one.params.get(key)) for key in self.section.space)]
            for one in ranked[:SHOWN]
        ]
        lines = [
            "",
            f"search: {len(finished)} trials, ranked by {self.measure} on validation"
            + (f"; {failed} failed" if failed else ""),
            text_table(header, table, "l" + "r" * (len(header) - 1), width=120),
        ]
        if len(finished) >= FEWEST_FOR_IMPORTANCE and len(self.section.space) > 1:
            shares = optuna.importance.get_param_importances(study)
            lines.append("what mattered: " + ", ".join(f"{key} {share:.0%}" for key, share in shares.items()))
        return [*lines, f"written: {path}"]


def _finished(study: Study) -> list[FrozenTrial]:
    import optuna

    return [one for one in study.trials if one.state == optuna.trial.TrialState.COMPLETE]


def _suggest(trial: Trial, key: str, space: Range | list[Any]) -> None:
    """Draw a value of the space; of a list as JSON, since Optuna takes no lists for values."""
    if isinstance(space, list):
        trial.suggest_categorical(key, [json.dumps(value, ensure_ascii=False) for value in space])
    elif isinstance(space.low, int) and isinstance(space.high, int):
        trial.suggest_int(key, space.low, space.high, log=space.log)
    else:
        trial.suggest_float(key, space.low, space.high, log=space.log)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _override(key: str, value: Any) -> str:
    return f"{key}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
