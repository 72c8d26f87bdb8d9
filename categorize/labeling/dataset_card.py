"""The README.md of a labelling run: a dataset card, which the Hub reads too. Its text is `dataset_card.md.jinja`.

It is made of the run folder alone, with counts from the table itself, so that it says what the table says after a
review as well. Source: https://huggingface.co/docs/hub/datasets-cards.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from categorize.data.export.datasheet import language_of, size_category
from categorize.labeling.gold import gold_lines
from categorize.labeling.joining import report_lines
from categorize.labeling.progress import duration
from categorize.labels import LabelSet
from categorize.recipe.wording import counted
from categorize.runs.contents import LABELS, README
from categorize.runs.environment import environment
from categorize.runs.folder import METRICS, PROMPT, RECIPE
from categorize.text_tables import markdown_table
from categorize.writing import write_whole

MEANINGS = {
    "gold": "a label that the data had before; nobody was asked",
    "reviewed": "a label that a person gave or confirmed",
    "teacher": "a teacher's answer",
    "duplicate": "the answer to the same text in another row (`duplicate_of`)",
    "reused": "an answer that was given under another prompt or label set",
    "student": "predicted by a trained model",
    "disagreement": "unknown: the teachers disagree; no label",
    "failed": "unanswered: no valid answer, or no text; no label",
}
UNSHOWN = ("url", "api_key_env", "extra_body", "base")  # of a teacher in a recipe: of this machine
_LOOKED_AT = 2000  # texts that tell the language


@dataclass
class Counted:
    """What the table holds: rows, rows by source, rows with a label and labels by each column."""

    rows: int = 0
    sources: Counter[str] = field(default_factory=Counter)
    labelled: Counter[str] = field(default_factory=Counter)
    labels: dict[str, Counter[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, columns: Iterable[str]) -> Counted:
        """The counts of all parts in a folder; numbers are no labels."""
        found = cls(labels={name: Counter() for name in columns})
        for path in sorted(folder.glob("part-*.parquet")):
            for batch in pq.ParquetFile(path).iter_batches(columns=["source", *found.labels]):
                found.rows += batch.num_rows
                _add(found.sources, batch["source"])
                for name, counts in found.labels.items():
                    values = batch[name]
                    found.labelled[name] += len(values) - values.null_count
                    if not pa.types.is_floating(values.type):
                        _add(counts, values.flatten() if pa.types.is_list(values.type) else values)
        return found


def _add(counts: Counter[str], values: pa.Array) -> None:
    for pair in pc.value_counts(values.drop_null()).to_pylist():
        counts[pair["values"]] += pair["counts"]


def write_card(
    folder: Path,
    manifest: Mapping[str, Any],
    label_sets: Mapping[str, LabelSet],
    place: str,
    concluded: Mapping[str, Any] | None = None,
) -> None:
    """Write the card of a labelling run into its folder.

    Args:
        manifest: of the run, which may not be in place yet.
        label_sets: by the names of their columns.
        place: where the finished run lies.
        concluded: of each label set, what a review by people found.
    """
    from jinja2 import Environment, StrictUndefined

    manifest = {**environment(), **manifest}
    recipe = yaml.safe_load((folder / RECIPE).read_text(encoding="utf-8"))
    counts = Counted.of(folder / LABELS, label_sets)
    metrics, prompt = _read(folder / METRICS), _read(folder / PROMPT)
    template = Environment(  # Markdown: nothing to escape
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    ).from_string(Path(__file__).with_suffix(".md.jinja").read_text(encoding="utf-8"))
    text = template.render(
        front_matter=front_matter(
            manifest["name"],
            recipe.get("hub") or {},
            [one.task for one in label_sets.values()],
            counts.rows,
            _texts(folder),
        ),
        manifest=manifest,
        rows=counted(counts.rows, "row"),
        teachers=" and ".join(f"`{name}`" for name in manifest["teachers"]),
        place=place,
        sources=_sources(counts),
        reasons=_table(["reason", "rows"], Counter(manifest.get("reasons", {})).most_common()),
        label_sets=[
            {"name": name, "task": one.task.replace("_", "-"), "labelled": f"{counts.labelled[name]:,}",
             "table": label_table(one, counts.labels[name], counts.labelled[name])}
            for name, one in label_sets.items()
        ],
        agreement=[
            *(_reviewed(name, found) for name, found in (concluded or {}).items()),
            *gold_lines(metrics.get("gold", {})),
            *report_lines(metrics.get("agreement", {}), metrics.get("flips", {})),
        ],
        facts=_facts(manifest),
        settings=_settings(recipe),
        messages=[{**one, "fence": _fence(one["content"])} for one in prompt.get("messages", ())],
    )  # fmt: skip
    write_whole(folder / README, text)


def front_matter(name: str, hub: Mapping[str, Any], tasks: Sequence[str], rows: int, texts: Sequence[str] = ()) -> str:
    """The metadata that the Hub reads at the top of a dataset's card, checked by its client's own class.

    Args:
        hub: `license` and `language` of the recipe's section.
        texts: that tell the language, where nobody does; without any, there are no files yet either.
    """
    from huggingface_hub import DatasetCardData

    language = hub.get("language") or language_of(texts)
    files = [{"split": "train", "path": f"{LABELS}/*.parquet"}]
    more: dict[str, Any] = {"configs": [{"config_name": "default", "data_files": files}]} if texts else {}
    regression = set(tasks) == {"regression"}
    data = DatasetCardData(
        license=hub.get("license"),
        language=language,
        annotations_creators=["machine-generated"],
        pretty_name=name,
        task_categories=["text-classification"],
        task_ids=["text-scoring"] if regression else None,
        size_categories=[size_category(rows)],
        tags=["categorize", *dict.fromkeys(one.replace("_", "-") for one in tasks)],
        **more,
    )
    return str(data.to_yaml()).rstrip("\n")


def label_table(label_set: LabelSet, counts: Mapping[str, int], labelled: int) -> str:
    """Each label with its description, its rows, and their share of the rows that have a label."""
    if label_set.is_regression:
        low, high = label_set.rules.minimum, label_set.rules.maximum
        bounds = [f"at least {low:g}" if low is not None else "", f"at most {high:g}" if high is not None else ""]
        return ", ".join(["A number", *filter(None, bounds)]) + "."
    shown = [
        [one.name, one.description, f"{counts.get(one.name, 0):,}", f"{counts.get(one.name, 0) / max(labelled, 1):.1%}"]
        for one in label_set.labels
    ]
    return markdown_table(["label", "description", "rows", "share"], shown, "llrr")


def _reviewed(name: str, found: Mapping[str, Any]) -> str:
    """How right the labels were before people corrected them, estimated from the rows that they reviewed."""
    if "mae" in found:
        said = f"off by {found['mae']:.3g} on average"
    else:
        one = found["accuracy"]
        said = f"{one['value']:.1%} right [{one['low']:.1%}, {one['high']:.1%}]"
    return f"reviewed by people, {name}: {said} of all, estimated from {counted(found['reviewed'], 'row')}"


def _sources(counts: Counted) -> str:
    shown = [[f"`{name}`", f"{number:,}", MEANINGS.get(name, "")] for name, number in counts.sources.most_common()]
    return markdown_table(["source", "rows", "meaning"], shown, "lrl")


def _table(header: list[str], pairs: Sequence[tuple[str, int]]) -> str:
    return markdown_table(header, [[name, f"{number:,}"] for name, number in pairs], "lr") if pairs else ""


def _texts(folder: Path) -> list[str]:
    first = min((folder / LABELS).glob("part-*.parquet"))
    batch = next(pq.ParquetFile(first).iter_batches(_LOOKED_AT, columns=["text"]), None)
    return [] if batch is None else [text or "" for text in batch["text"].to_pylist()]


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _facts(manifest: Mapping[str, Any]) -> str:
    spent = manifest.get("spent")
    found = {
        "distinct texts": f"{manifest['distinct']:,}" if "distinct" in manifest else None,
        "requests": f"{spent['requests']:,}" if spent else None,
        "tokens": (
            f"{spent['input_tokens']:,} in ({spent['cached_input_tokens']:,} of them cached), "
            f"{spent['output_tokens']:,} out"
            if spent
            else None
        ),
        "cost": f"{spent['money']:.4f} {spent['currency']}" if spent else None,
        "time of the last start": duration(manifest["seconds"]),
        "made with": f"categorize {manifest['versions']['categorize']}",
    }
    return markdown_table(["", ""], [[name, value] for name, value in found.items() if value is not None], "ll")


def _settings(recipe: dict[str, Any]) -> str:
    """The section `labeling` without what is of this machine alone."""
    section = dict(recipe["labeling"])
    teachers = section.pop("teachers", None) or [section.pop("teacher")]
    shown = [{key: value for key, value in one.items() if key not in UNSHOWN} for one in teachers]
    shown = [{"teachers": shown} if len(shown) > 1 else {"teacher": shown[0]}]
    kept = {key: value for key, value in section.items() if key not in ("ledger", "teacher")}
    return yaml.safe_dump({**shown[0], **kept}, allow_unicode=True, sort_keys=False).rstrip("\n")


def _fence(text: str) -> str:
    """A fence that nothing in the text closes."""
    return "`" * max(3, 1 + max(map(len, re.findall(r"`+", text)), default=0))
