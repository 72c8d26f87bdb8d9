"""What belongs to a finished run: its own files, and what it reads beside them (the runs that it was made of, encoders
in folders of this machine), which a whole copy holds inside.

    members/<name>/...                     a run that it was made of, whole itself
    encoders/<fingerprint>_<name>/...      an encoder whose vectors it reads

What is inside goes before what lies elsewhere, wherever the run is loaded.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from categorize.errors import UserError
from categorize.runs.fingerprint import folder_fingerprint
from categorize.runs.folder import CHECKPOINTS, MANIFEST, MARK, RECIPE, Run, RunWriter
from categorize.writing import disk_errors

README = "README.md"
STATUS = "status.json"  # how far a labelling job is
EXAMPLES = "examples.json"  # of the prompt of a labelling run, where they were chosen
PREDICTIONS = "predictions"
LABELS, LABEL_SETS = "labels", "label_sets"  # of a labelling run: the parts of its table; label sets, where several
NAMES = (RECIPE, README, "vocab.txt", "merges.txt", "dict.txt")
ENDINGS = (".json", ".safetensors", ".model", ".spm", ".codes", ".tiktoken", ".jinja", ".py")
FOLDERS = ("additional_chat_templates", "1_Pooling", "2_Dense", "2_Normalize", "3_Normalize")  # of sentence encoders
MEMBERS, ENCODERS = "members", "encoders"
ADAPTER = "adapter"  # beside a merged run: the adapter by itself
ADAPTER_CONFIG = "adapter_config.json"
OTHER_FORMATS = ("onnx", "openvino")  # of an encoder's weights


def files_of(folder: Path, predictions: bool = False) -> dict[str, Path]:
    """The files of a whole copy of a run, each by its name in the copy. Checkpoints, pickles and the split assignment
    are never among them, predictions (they hold texts) only when asked for.

    Raises:
        UserError: a member is gone, was trained again, or is an adapter whose base would stay behind; an encoder is
            another one by now, or has no safetensors.
    """
    names = [
        entry.name
        for entry in folder.iterdir()
        if entry.is_file() and (entry.name in NAMES or entry.suffix in ENDINGS) and not entry.name.startswith(".")
    ]
    for inner in (*FOLDERS, *([PREDICTIONS] if predictions else [])):
        names += [f"{inner}/{entry.name}" for entry in (folder / inner).glob("[!.]*") if entry.is_file()]
    files = {name: folder / name for name in names}
    for settings in _encoder_settings(folder):
        for name, source in _encoder_files(folder, settings).items():
            files[f"{ENCODERS}/{encoder_name(settings)}/{name}"] = source
    if is_made_of_others(folder):
        for member, run in find_members(Run(folder), Run(folder).manifest["members"]).items():
            check_stands_alone(run)
            files |= {f"{MEMBERS}/{member}/{name}": source for name, source in files_of(run.path).items()}
    return dict(sorted(files.items()))


def labelled_files(folder: Path) -> dict[str, Path]:
    """The files of a labelling run that are pushed, each by its name there: the table, and how it came about."""
    files = [
        folder / RECIPE,
        folder / README,
        *folder.glob(f"{LABELS}/*.parquet"),
        *folder.glob(f"{LABEL_SETS}/*.json"),
    ]
    files += [path for path in folder.glob("[!.]*.json") if path.is_file() and path.name != STATUS]
    return {path.relative_to(folder).as_posix(): path for path in sorted(files)}


def merged_folder(run: Path) -> Path:
    """Where the merged run of a run lies, beside it."""
    return run.with_name(f"{run.name}_merged")


def adapter_files(run: Path) -> dict[str, Path]:
    """The adapter of a run as peft reads it, by their names beside the merged weights."""
    return {f"{ADAPTER}/{path.name}": path for path in run.glob("adapter_*") if path.suffix in ENDINGS}


def checkpoint_files(run: Path) -> dict[str, Path]:
    """What training saved on its way and another can load: no optimizer, no random states.

    Raises:
        UserError: there is none any more.
    """
    found = {
        path.relative_to(run).as_posix(): path
        for path in sorted((run / CHECKPOINTS).glob("*/*"))
        if path.is_file() and path.suffix in ENDINGS and path.name != MARK
    }
    if not found:
        raise UserError(f"{run} has no checkpoints any more; train it with training.keep_checkpoints: true")
    return found


# ---------------------------------------------------------------- members
def is_made_of_others(folder: Path) -> bool:
    """Whether the folder is a finished run that has members."""
    return (folder / MANIFEST).is_file() and bool(Run(folder).manifest.get("members"))


def fingerprint(run: Run) -> str:
    """SHA-256 of the manifest, which says when the run was made and of what."""
    return hashlib.sha256((run.path / MANIFEST).read_bytes()).hexdigest()


def member_names(paths: Sequence[str | Path]) -> list[str]:
    """The folder of each member inside: that of its run, numbered where it is taken.

    >>> member_names(["../mine/words", "../yours/words", "../bert"])
    ['words', 'words_2', 'bert']
    """
    names: list[str] = []
    for path in paths:
        name, number = Path(path).name, 1
        while (numbered := name if number == 1 else f"{name}_{number}") in names:
            number += 1
        names.append(numbered)
    return names


def find_members(run: Run, members: Sequence[dict[str, str]]) -> dict[str, Run]:
    """The members of a run by their names inside, found there or else at their paths.

    Args:
        members: each with its `path` from the run's folder, and the `fingerprint` that it had.

    Raises:
        UserError: one is gone, or is another run by now.
    """
    names = member_names([one["path"] for one in members])
    return {name: _find(run, name, one["path"], one["fingerprint"]) for name, one in zip(names, members, strict=True)}


def _find(run: Run, name: str, path: str, wanted: str) -> Run:
    place = run.path / MEMBERS / name
    if not place.is_dir():
        place = Path(os.path.normpath(run.path.absolute() / path))
    if not (place / MANIFEST).is_file():
        raise UserError(
            f"{run.path}: its member {place} is not there; move it back, or train the run again "
            "(model.copy_members: true keeps its members inside)"
        )
    member = Run.open(place)
    if fingerprint(member) != wanted:
        raise UserError(f"{run.path}: its member {place} was trained again since; train the run again (--overwrite)")
    return member


def check_stands_alone(member: Run) -> None:
    """Raises UserError where a member is an adapter on a folder of this machine: of several bases none can be named
    when the run that it is part of is loaded elsewhere."""
    if not member.has(ADAPTER_CONFIG):
        return
    base = member.read_json(ADAPTER_CONFIG).get("base_model_name_or_path")
    if base and Path(base).is_dir():
        raise UserError(
            f"{member.path}: is an adapter on {base}, a folder of this machine that would stay behind; put it into the "
            "weights (--merge) and name the merged run as the member"
        )


def copy_into(writer: RunWriter, place: str, run: Run) -> None:
    """Copy a finished run, with what it reads, into the run that is written."""
    with disk_errors(writer.path):
        for name, source in files_of(run.path).items():
            shutil.copyfile(source, writer.stage(f"{place}/{name}"))


# ---------------------------------------------------------------- encoders
def encoder_name(settings: dict[str, Any]) -> str:
    """The folder of an encoder inside, of the settings that the run keeps of its features."""
    return f"{settings['fingerprint'][:12]}_{Path(settings['name_or_path']).name}"


def encoder_inside(run: Run, settings: dict[str, Any]) -> Path | None:
    """Where an encoder of the run lies inside; None where it does not."""
    place = run.path / ENCODERS / encoder_name(settings)
    return place if place.is_dir() else None


def _encoder_settings(folder: Path) -> list[dict[str, Any]]:
    """Settings of features that are vectors of an encoder in a folder, inside or elsewhere."""
    found = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*features*.json"))]
    models = [one for one in found if isinstance(one, dict) and {"name_or_path", "fingerprint"} <= one.keys()]
    return [one for one in models if encoder_inside(Run(folder), one) or Path(one["name_or_path"]).is_dir()]


def _encoder_files(folder: Path, settings: dict[str, Any]) -> dict[str, Path]:
    inside = encoder_inside(Run(folder), settings)
    encoder = inside or Path(settings["name_or_path"])
    if inside is None and folder_fingerprint(encoder) != settings["fingerprint"]:
        raise UserError(
            f"{folder}: was trained with another model than {encoder} holds now; put that one back, or train the run "
            "again (--overwrite)"
        )
    files = {path.relative_to(encoder): path for path in encoder.rglob("*") if path.is_file()}
    found = {
        name.as_posix(): path
        for name, path in files.items()
        if (path.name in NAMES or path.suffix in ENDINGS)
        and not any(part.startswith(".") or part in OTHER_FORMATS for part in name.parts)
    }
    if not any(name.endswith(".safetensors") for name in found):
        raise UserError(
            f"{encoder}: the run reads this encoder, which would go with it, and it has no *.safetensors; save it with "
            "save_pretrained, and train the run with that folder"
        )
    return found
