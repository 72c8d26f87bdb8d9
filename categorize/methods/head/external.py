"""A sequence classifier that is not a run of this project: tuned elsewhere, an adapter on its base, or a base whose
head is new."""

from __future__ import annotations

from dataclasses import replace

from categorize.errors import UserError
from categorize.methods.head.model import Head, HeadSettings, load_sequence_classifier
from categorize.methods.head.predictor import HeadPredictor
from categorize.nn.outputs import config_names, listed
from categorize.nn.parameters import parameter_counts
from categorize.nn.precision import resolve_dtype
from categorize.nn.tokenizer import clamp_length
from categorize.prediction.external import External, ExternalModel

MAX_LENGTH = 512


def external(given: ExternalModel) -> External:
    """Its predictor; a head that was never trained is named as such.

    Raises:
        UserError: its head is for other labels.
    """
    source, adapter, label_set = given.source, given.adapter, given.label_set
    if adapter is not None and (order := label_set.positions(config_names(given.config))) is not None:
        # The adapter's own head was most likely trained with the names of its base; the caller reorders.
        by_output = sorted(zip(order, label_set.labels, strict=True), key=lambda pair: pair[0])
        label_set = replace(label_set, labels=tuple(label for _, label in by_output))
    dtype = resolve_dtype("auto", trained=False)
    loaded = load_sequence_classifier(source, label_set, dtype=dtype, trust_remote_code=given.trust_remote_code)
    model, untrained, outputs = loaded.model, loaded.untrained, loaded.outputs
    notes: list[str] = []
    if adapter is None and outputs.held:
        if not outputs.fit:
            raise UserError(
                f"{source}: its head's outputs are {listed(outputs.names)}, the labels {listed(label_set.names)}: "
                f"these do not match; write its names as aliases in labels.names ({{name: ..., aliases: [...]}})"
            )
        notes += [outputs.note] if outputs.note else []
    if adapter is not None:
        try:
            model = given.with_adapter(model)
        except RuntimeError as error:  # a head of another size
            if "size mismatch" not in str(error):
                raise
            raise UserError(
                f"{given.folder}: its head is for another number of labels than {len(label_set)}, or for another base "
                f"than {source}; the labels are {listed(label_set.names)}"
            ) from error
        kept = set(adapter.get("modules_to_save") or ()) | {"classifier", "score"}
        untrained = [module for module in untrained if module not in kept and module.rpartition(".")[2] not in kept]
        notes.append(f"adapter on {source}")
        # Its folder names no outputs.
        notes.append(f"the adapter's outputs have no names and are read in the order {listed(label_set.names)}")
    if untrained:
        notes.append(f"randomly initialised head ({', '.join(untrained)})")
    settings = HeadSettings(clamp_length(MAX_LENGTH, model.config, loaded.tokenizer), head_modules=loaded.head_modules)
    facts = {"method": "head", "parameters": parameter_counts(model)[1], "parameters_trained": 0}
    return External(HeadPredictor(Head(model, loaded.tokenizer, settings), label_set, given.section), notes, facts)
