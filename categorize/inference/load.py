"""From a run folder, a Hub id, an adapter trained elsewhere or a base model to a predictor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from categorize.data.input_spec import InputSpec
from categorize.errors import UserError
from categorize.inference.predictor import Predictor, TrainedPredictor
from categorize.labels import Label, LabelSet
from categorize.metrics.decision import DecisionRule
from categorize.models.tokenizer import loading
from categorize.recipe.sections import CausalPredictionSection, PredictionSection, Task
from categorize.runs import DECISION_RULE, INPUT, MANIFEST, Run

DEFAULT_MAX_LENGTH = 512


def load_predictor(
    path_or_hub_id: str,
    *,
    base: str | None = None,
    label_set: LabelSet | None = None,
    input_spec: InputSpec | None = None,
    section: PredictionSection | None = None,
    name: str | None = None,
    trust_remote_code: bool = False,
) -> TrainedPredictor:
    """Rebuild exactly what was trained; a base model gets a head that is named as untrained.

    Args:
        path_or_hub_id: a run folder, a Hub id of a pushed run, an adapter folder, or a base model.
        base: the base of an adapter, where it is not found under the name that it was trained on.
        label_set: labels of a model that is no run; by default those that its config names.
        input_spec: how text is prepared for a model that is no run.
        section: batch bounds and computation type.
        name: what reports call it.

    Raises:
        UserError: nothing is found there, the run is not finished or damaged, or no label set is known.
    """
    folder = resolve_folder(path_or_hub_id)
    title = name or Path(path_or_hub_id).name
    if (folder / MANIFEST).is_file() or (
        not (folder / "config.json").is_file() and not (folder / "adapter_config.json").is_file()
    ):
        run = Run.open(folder)
        return TrainedPredictor(
            inner=run_predictor(run, run.method, section, base, trust_remote_code),
            input_spec=InputSpec.load(run.path / INPUT),
            decision_rule=DecisionRule.load(run.path / DECISION_RULE),
            name=name or str(run.manifest.get("name", title)),
            notes=list(run.manifest.get("notes", [])),
            facts=run.manifest,
            fingerprints=dict(run.manifest.get("split_fingerprints", {})),
        )
    inner, notes, facts = _foreign_predictor(folder, base, label_set, section, trust_remote_code)
    return TrainedPredictor(
        inner, input_spec or InputSpec(), DecisionRule.default(inner.label_set), title, notes, facts
    )


def run_predictor(
    run: Run,
    method: str,
    section: PredictionSection | None = None,
    base: str | None = None,
    trust_remote_code: bool = False,
) -> Predictor:
    """The predictor of a run that this method wrote; the run may still lack its manifest."""
    if method == "tfidf":
        from categorize.inference.tfidf import TfidfPredictor

        return TfidfPredictor.load(run)
    if method == "head":
        from categorize.inference.head import HeadPredictor

        return HeadPredictor.load(run, section, base, trust_remote_code)
    if method == "sft":
        from categorize.inference.causal import CausalPredictor

        causal_section = section if isinstance(section, CausalPredictionSection) else None
        return CausalPredictor.load(run, causal_section, base, trust_remote_code)
    raise UserError(f"{run.path / MANIFEST}: method {method!r} is unknown here; the run was made by a newer version")


def resolve_folder(path_or_hub_id: str) -> Path:
    """The local folder of a path, or of a Hub id after its files were fetched."""
    path = Path(path_or_hub_id).expanduser()
    if (
        path.exists()
        or path_or_hub_id.startswith((".", "/", "~"))
        or path_or_hub_id.count("/") != 1
        or path.parent.is_dir()
    ):
        if not path.exists():
            Run.open(path)  # says what is missing, or that the run is not finished
        return path
    from huggingface_hub import snapshot_download

    with loading(path_or_hub_id, "the run or model"):
        return Path(snapshot_download(path_or_hub_id))


def _foreign_predictor(
    folder: Path,
    base: str | None,
    label_set: LabelSet | None,
    section: PredictionSection | None,
    trust_remote_code: bool,
) -> tuple[Predictor, list[str], dict[str, Any]]:
    """A sequence classifier that is no run of this project: a fine-tuned model, an adapter on its base, or a base
    model."""
    from categorize.inference.head import HeadPredictor
    from categorize.models.head import (
        Head,
        HeadSettings,
        clamp_length,
        load_sequence_classifier,
        parameter_counts,
        resolve_dtype,
    )

    adapter_file = folder / "adapter_config.json"
    source = str(folder)
    adapter: dict[str, Any] | None = None
    if adapter_file.is_file():
        adapter = json.loads(adapter_file.read_text(encoding="utf-8"))
        source = base or adapter.get("base_model_name_or_path") or ""
        if not source:
            raise UserError(f"{adapter_file}: names no base model; name it in the recipe as `base`")
        if adapter.get("task_type") not in (None, "SEQ_CLS"):
            raise UserError(
                f"{adapter_file}: an adapter for {adapter.get('task_type')}, not for a head; it cannot be compared here"
            )
    label_set = label_set or _labels_of_config(Path(source) / "config.json")
    if label_set is None:
        raise UserError(f"{source}: no run, and its config names no labels; give labels in the evaluation recipe")
    dtype = resolve_dtype("auto", trained=False)
    loaded = load_sequence_classifier(source, label_set, dtype=dtype, trust_remote_code=trust_remote_code)
    model, untrained = loaded.model, loaded.untrained
    notes: list[str] = []
    if adapter is not None:
        from peft import PeftModel

        with loading(str(folder), "the adapter"):
            model = PeftModel.from_pretrained(model, str(folder))
        kept = set(adapter.get("modules_to_save") or ()) | {"classifier", "score"}
        untrained = [module for module in untrained if module not in kept and module.rpartition(".")[2] not in kept]
        notes.append(f"adapter on {source}")
    if untrained:
        notes.append(f"randomly initialised head ({', '.join(untrained)})")
    settings = HeadSettings(clamp_length(DEFAULT_MAX_LENGTH, model.config, loaded.tokenizer), loaded.head_modules)
    _, total = parameter_counts(model)
    facts = {"method": "head", "parameters": total, "parameters_trained": 0}
    return HeadPredictor(Head(model, loaded.tokenizer, settings), label_set, section), notes, facts


def _labels_of_config(path: Path) -> LabelSet | None:
    """The labels that a fine-tuned model's config names; None where they are only LABEL_0, LABEL_1, ..."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return None
    names = config.get("id2label") or {}
    labels = tuple(Label(names[key]) for key in sorted(names, key=int))
    if len(labels) < 2 or all(label.name.startswith("LABEL_") for label in labels):
        return None
    task: Task = "multi_label" if config.get("problem_type") == "multi_label_classification" else "single_label"
    return LabelSet(task, labels)
