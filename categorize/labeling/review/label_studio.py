"""A review in Label Studio: tasks with the given labels, the labelling interface, and the export that comes back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from categorize.errors import UserError
from categorize.labeling.review.sheets import Shown
from categorize.labels import LabelSet
from categorize.prompts.parsing import NONE


def write_tasks(folder: Path, shown: Shown, label_sets: Mapping[str, LabelSet]) -> None:
    """Write `label_studio.json`, to be imported, and `label_studio.xml`, the interface; groups become a taxonomy."""
    tasks = [task_of(shown, i, label_sets) for i in range(len(shown.ids))]
    (folder / "label_studio.json").write_text(json.dumps(tasks, ensure_ascii=False, indent=1), encoding="utf-8")
    (folder / "label_studio.xml").write_text(config_of(label_sets), encoding="utf-8")


def _path(name: str, label_set: LabelSet) -> list[str]:
    parent = label_set.labels[label_set.index[name]].parent
    return [name] if parent in (None, name) else [str(parent), name]


def task_of(shown: Shown, i: int, label_sets: Mapping[str, LabelSet]) -> dict[str, Any]:
    """One row as a task, its given labels as a prediction that is filled in."""
    results = []
    for name, given in shown.labels.items():
        vote, label_set = given[i], label_sets[name]
        if vote is None or label_set.is_regression:
            continue
        kind = "taxonomy" if label_set.groups else "choices"
        value = [_path(one, label_set) for one in vote] if label_set.groups else list(vote)
        results.append({"from_name": name, "to_name": "text", "type": kind, "value": {kind: value}})
    data = {"id": shown.ids[i], "text": shown.texts[i]}
    data |= {name: values[i] or "" for name, values in shown.context.items()}
    return {"data": data, "predictions": [{"model_version": "given", "result": results}] if results else []}


def config_of(label_sets: Mapping[str, LabelSet]) -> str:
    """The labelling interface of these label sets."""
    lines = ["<View>", '  <Text name="text" value="$text"/>']
    for name, label_set in label_sets.items():
        lines.append(f"  <Header value={quoteattr(name)}/>")
        if label_set.is_regression:
            lines.append(f'  <Number name={quoteattr(name)} toName="text"/>')
            continue
        many = "multiple" if label_set.is_multi_label else "single"
        if not label_set.groups:
            lines.append(f'  <Choices name={quoteattr(name)} toName="text" choice="{many}">')
            lines += [
                f"    <Choice value={quoteattr(label.name)}{_hint(label.description)}/>" for label in label_set.labels
            ]
            lines.append("  </Choices>")
            continue
        single = "" if label_set.is_multi_label else ' maxUsages="1"'
        lines.append(f'  <Taxonomy name={quoteattr(name)} toName="text" leafsOnly="false"{single}>')
        for group in label_set.groups:
            lines.append(f"    <Choice value={quoteattr(group.name)}{_hint(group.description)}>")
            lines += [
                f"      <Choice value={quoteattr(one.name)}{_hint(one.description)}/>"
                for one in label_set.labels
                if one.parent == group.name and one.name != group.name
            ]
            lines.append("    </Choice>")
        lines += [
            f"    <Choice value={quoteattr(one.name)}{_hint(one.description)}/>"
            for one in label_set.labels
            if one.parent is None
        ]
        lines.append("  </Taxonomy>")
    return "\n".join([*lines, "</View>", ""])


def _hint(text: str) -> str:
    return f" hint={quoteattr(text)}" if text else ""


def read_tasks(file: Path, label_sets: Mapping[str, LabelSet]) -> dict[str, dict[str, str | list[str]]]:
    """What people chose, by row id and label column, from an export as JSON. Tasks without an annotation are not there.

    Raises:
        UserError: the file cannot be read, or is something else.
    """
    try:
        tasks = json.loads(file.read_text(encoding="utf-8"))
        found: dict[str, dict[str, str | list[str]]] = {}
        for task in tasks:
            done = [one for one in task.get("annotations", []) if not one.get("was_cancelled")]
            if not done:
                continue
            chosen: dict[str, str | list[str]] = dict.fromkeys(label_sets, NONE)
            for result in done[-1]["result"]:
                value = result["value"]
                if "taxonomy" in value:
                    chosen[result["from_name"]] = [path[-1] for path in value["taxonomy"]]
                else:
                    chosen[result["from_name"]] = value["choices"] if "choices" in value else str(value["number"])
            found[str(task["data"]["id"])] = chosen
        return found
    except OSError as error:
        raise UserError(f"--reviewed: {file}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"--reviewed: {file}: not an export of Label Studio as JSON ({error})") from None
