"""From a run folder, a Hub id, an adapter trained elsewhere or a base model to a predictor."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from categorize.data.input_spec import InputSpec
from categorize.labels import LabelSet
from categorize.methods.method import Method, refuse_engine
from categorize.methods.registry import METHODS
from categorize.methods.trained import trained_predictor
from categorize.metrics.decision import DecisionRule
from categorize.nn.console import quiet_loggers
from categorize.prediction.checkpoint import checkpoint_of
from categorize.prediction.external import ExternalModel, look_at
from categorize.prediction.predictor import TrainedPredictor
from categorize.prediction.scope import load_scope
from categorize.recipe.decision_sections import PredictionSection
from categorize.recipe.sections import PromptSection
from categorize.recipe.written import working
from categorize.runs.folder import DECISION_RULE, INPUT, LABEL_SET, MANIFEST, Run, incomplete_path, is_run
from categorize.runs.hub import HubId, fetch


def load_predictor(
    path_or_hub_id: str,
    *,
    base: str | None = None,
    label_set: LabelSet | None = None,
    input_spec: InputSpec | None = None,
    section: PredictionSection | None = None,
    prompt: PromptSection | None = None,
    examples: pa.Table | None = None,
    name: str | None = None,
    trust_remote_code: bool = False,
    unseen_labels: bool = False,
) -> TrainedPredictor:
    """Rebuild exactly what was trained; a base model gets a head that is named as untrained.

    Args:
        path_or_hub_id: a run folder, one of its checkpoints (the run at that step), a Hub id of a pushed run
            (`owner/name`, `owner/name@revision`), an adapter folder, or a base model.
        base: the base of an adapter, where it is not found under the name that it was trained on.
        label_set: labels of a model that is not a run; by default those that its config names.
        input_spec: how text is prepared for a model that is not a run.
        section: batch bounds, computation type, and how a causal model predicts.
        prompt: how a causal model that is not a run is asked.
        examples: labelled rows, from which `prompt.retrieval` chooses.
        name: what reports call it.
        unseen_labels: a run whose labels are fixed by training may lack some of `label_set`: it never predicts these.

    Raises:
        UserError: nothing is found there, the run is not finished or damaged, or no label set is known.
    """
    quiet_loggers()
    folder = resolve_folder(path_or_hub_id)
    title = name or Path(path_or_hub_id).name
    if (trained := _load_run(folder, name, section, base, trust_remote_code, label_set)) is not None:
        return trained if label_set is None else trained.for_labels(label_set, unseen_labels)
    model = look_at(
        folder,
        base=base,
        label_set=label_set,
        section=section,
        prompt=prompt,
        trust_remote_code=trust_remote_code,
        examples=examples,
    )
    external = _reader(model).external(model)
    inner = external.predictor
    rule = DecisionRule.default(inner.label_set)
    return TrainedPredictor(inner, input_spec or InputSpec(), rule, title, external.notes, external.facts)


def _load_run(
    folder: Path,
    name: str | None,
    section: PredictionSection | None,
    base: str | None,
    trust_remote_code: bool,
    label_set: LabelSet | None,
) -> TrainedPredictor | None:
    """The predictor of a run, or of a run at one of its checkpoints; None where the folder is another model.

    Args:
        label_set: that it will be asked about; more labels than its prompt holds are refused before it is loaded.
    """
    checkpoint = checkpoint_of(folder, METHODS.name_by_files)
    if checkpoint is None:
        is_model = (folder / "config.json").is_file() or (folder / "adapter_config.json").is_file()
        # A run that is not finished holds a model too: read as an external one, it would lose its text preparation and
        # the check of its split.
        if is_model and not (folder / MANIFEST).is_file() and not (folder / LABEL_SET).is_file():
            return None
        check_asked(folder, label_set, section, trust_remote_code=trust_remote_code)
        return trained_predictor(Run.open(folder), section, base, trust_remote_code, name)
    run, method = checkpoint.run, METHODS[checkpoint.method]
    _check_run(method, run, label_set, section, trust_remote_code)
    inner = method.predictor(run, section, base, trust_remote_code)
    rule = DecisionRule.load(run.path / DECISION_RULE) if checkpoint.finished else DecisionRule.default(inner.label_set)
    spec = InputSpec.load(run.path / INPUT)
    facts, fingerprints, scope = checkpoint.facts(), checkpoint.fingerprints(), load_scope(run, section)
    return TrainedPredictor(inner, spec, rule, name or checkpoint.name, checkpoint.notes, facts, fingerprints, scope)


def check_asked(
    folder: Path,
    label_set: LabelSet | None,
    section: PredictionSection | None = None,
    *,
    base: str | None = None,
    prompt: PromptSection | None = None,
    trust_remote_code: bool = False,
) -> None:
    """Look at a finished run, or at a model that is none, before anything of it is loaded.

    Raises:
        UserError: `prediction.engine` does not compute it; it is asked by a prompt, and there are more labels than that
            holds.
    """
    if is_run(folder):
        run = Run.open(folder)
        _check_run(METHODS.of_run(run), run, label_set, section, trust_remote_code)
    elif label_set is not None and checkpoint_of(folder, METHODS.name_by_files) is None:
        model = look_at(
            folder, base=base, label_set=label_set, section=section, prompt=prompt, trust_remote_code=trust_remote_code
        )
        _reader(model).check_external(model)


def _reader(model: ExternalModel) -> Method:
    """The method that predicts with a model that is not a run. Raises UserError where its engine does not."""
    method = next(one for one in working(METHODS) if one.reads(model))
    refuse_engine(model.section, method.engines, f"{model.source}, which method {method.name} predicts with")
    return method


def _check_run(
    method: Method, run: Run, label_set: LabelSet | None, section: PredictionSection | None, trust_remote_code: bool
) -> None:
    method.check_engine(run, section)
    own = LabelSet.load(run.path / LABEL_SET)
    if label_set is not None and label_set.task == own.task and set(label_set.names) != set(own.names):
        method.check_labels(run, label_set, section, trust_remote_code)


def resolve_folder(path_or_hub_id: str) -> Path:
    """The local folder of a path, or of a Hub id after its files were fetched.

    What exists here wins over the Hub. `owner/name` in a folder `owner` that exists is a path too; with a revision,
    `owner/name@main`, it is a Hub id in any case.

    Raises:
        UserError: neither here nor on the Hub.
    """
    path = Path(path_or_hub_id).expanduser()
    if path.exists():
        return path
    hub_id = HubId.parse(path_or_hub_id)
    in_a_folder = path.parent != Path() and path.parent.is_dir()
    if hub_id is None or incomplete_path(path).exists() or (in_a_folder and hub_id.revision is None):
        return Run.open(path).path  # says what is missing, or that the run is not finished
    return fetch(hub_id)
