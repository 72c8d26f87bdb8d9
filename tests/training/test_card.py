"""The model card of a run: made of what was measured, and readable by the Hub."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from huggingface_hub import ModelCard

from categorize.data.splits import LoadedData
from categorize.labels import Label, LabelSet
from categorize.limitations import limitations
from categorize.methods.registry import METHODS
from categorize.metrics.progress import flat
from categorize.recipe.command import main
from categorize.recipe.load import load_recipe
from categorize.recipe.sections import TrainedRecipe
from categorize.runs.card import CardFacts, card_facts, front_matter
from categorize.train import train
from tests.session.collections import write_collection, write_recipe


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear model, whose card may show texts."""
    folder = tmp_path_factory.mktemp("card")
    labels: list[dict[str, Any]] = [{"name": "good", "description": "a | b\nc"}, {"name": "bad"}]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_collection(folder / "rows.csv")
        recipe = write_recipe(
            folder / "one.yaml", model={"method": "tfidf"}, training=None, labels={"names": labels},
            data={"columns": {"id": "id", "text": "text", "label": "mood"}},
        )  # fmt: skip
        assert main("run_seqcls.py", "seqcls", train, METHODS, [str(recipe)]) == 0
    return folder / "outputs/one"


def table_below(text: str, heading: str) -> list[list[str]]:
    """Cells of the first table below a heading."""
    lines = text.split(f"{heading}\n", 1)[1].splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").replace("\\|", "¦").split("|")])
    return rows


def test_the_card_shows_what_was_measured_with_intervals_beside_a_baseline(run: Path) -> None:
    text = (run / "README.md").read_text()
    measured = json.loads((run / "metrics.json").read_text())["test"]
    header, _, *rows = table_below(text, "## Results")
    assert header == ["measure", "value", "95% interval", "baseline"]
    values = {name: (value, interval, baseline) for name, value, interval, baseline in rows}
    for name in ("accuracy", "macro_f1", "weighted_f1", "log_loss"):
        value, interval, _ = values[name]
        assert value == f"{flat(measured)[name]:.4f}"
        low, high = map(float, interval.split(" to "))
        assert low <= float(value) + 1e-4 and float(value) <= high + 1e-4
    good = next(one["support"] for one in measured["per_class"] if one["label"] == "good")
    assert "it answers `good`." in text
    assert values["accuracy"][2] == f"{good / measured['rows']:.4f}"
    assert table_below(text, "### By label")[2:] == [
        [one["label"], *(f"{one[name]:.4f}" for name in ("precision", "recall", "f1")), str(one["support"]),
         str(one["predicted"])]
        for one in measured["per_class"]
    ]  # fmt: skip


def test_the_card_tells_labels_data_settings_and_machine(run: Path) -> None:
    text = (run / "README.md").read_text()
    manifest = json.loads((run / "run.json").read_text())
    labels = table_below(text, "## Labels")[2:]
    assert [row[:2] for row in labels] == [["good", "a ¦ b c"], ["bad", ""]]
    assert sum(int(row[2]) for row in labels) == manifest["rows"]["train"]
    rows = table_below(text, "## Training data")[2:]
    assert rows == [
        [name, str(manifest["rows"][name]), f"`{manifest['split_fingerprints'][name][:12]}`"]
        for name in ("train", "validation", "test")
    ]
    facts = dict(table_below(text, "## Training\n")[2:])
    assert facts["seed"] == "42" and f"categorize {manifest['versions']['categorize']}" in facts["versions"]
    assert "method: tfidf" in text and "good movie" not in text  # no text of the data


def test_the_code_of_the_card_loads_the_run(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.parent.parent)
    (code,) = re.findall(r"```python\n(.*?)```", (run / "README.md").read_text(), re.DOTALL)
    *first, last = ast.parse(code.replace("...", "good movie")).body
    names: dict[str, Any] = {}
    exec(compile(ast.Module(first, []), "card", "exec"), names)
    assert eval(ast.unparse(last), names) == [["good"]]


def test_a_recipe_lets_the_card_show_a_text_of_each_label(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from categorize.data.splits import load_recipe_data
    from categorize.description import EXAMPLE, label_table

    monkeypatch.chdir(run.parent.parent)
    recipe = load_recipe(run / "recipe.yaml", methods=METHODS).recipe
    assert isinstance(recipe, TrainedRecipe)
    data = load_recipe_data(recipe, write=False)
    header, _, *rows = table_below("x\n" + label_table(data, examples=True), "x")
    texts = {name: set() for name in ("good", "bad")}  # type: ignore[var-annotated]
    for text, labels in zip(data.splits.train["text"].to_pylist(), data.splits.train["gold"].to_pylist(), strict=True):
        texts[labels[0]].add(text[:EXAMPLE])
    assert header[-1] == "example" and all(row[-1] in texts[row[0]] for row in rows)


def recipe_of(root: Path, name: str, *overrides: str) -> TrainedRecipe:
    loaded = load_recipe(root / "recipes/demo" / name, ["name=mine", *overrides], methods=METHODS).recipe
    assert isinstance(loaded, TrainedRecipe)
    return loaded


def metadata(root: Path, recipe: TrainedRecipe, model: str | None, **options: Any) -> dict[str, Any]:
    method = METHODS.of(recipe)
    manifest = {"name": "mine", "task": "single_label", "method": method.name, "model": model}
    text = front_matter(recipe, manifest, card_facts(recipe, method.card), {"accuracy": 0.75, "mcc": 0.5}, **options)
    card = ModelCard(f"---\n{text}\n---\n# mine")
    assert card.data.eval_results is not None and card.data.eval_results[0].metric_value == 0.75
    return dict(card.data.to_dict())


def test_the_hub_reads_what_loads_the_model_its_base_data_licence_and_measures(root: Path) -> None:
    recipe = recipe_of(root, "decoder_sft_lora.yaml", "hub={repo_id: me/mine, license: mit}")
    found = metadata(root, recipe, "owner/base", dataset="owner/rows", language="zh")
    assert found.pop("model-index")[0]["results"][0]["dataset"]["name"] == "owner/rows"
    assert found == {
        "license": "mit", "language": "zh", "datasets": "owner/rows", "library_name": "peft",
        "pipeline_tag": "text-classification", "base_model": "owner/base", "base_model_relation": "adapter",
        "tags": ["categorize", "sft", "single-label", "lora", "text-generation"], "metrics": ["accuracy"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("recipe", "library"),
    [("tfidf.yaml", "categorize"), ("encoder_head.yaml", "transformers"), ("decoder_head_lora.yaml", "peft")],
)
def test_a_folder_of_this_machine_is_no_base_to_the_hub(root: Path, recipe: str, library: str) -> None:
    found = metadata(root, recipe_of(root, recipe), None if "tfidf" in recipe else str(root))
    assert found["library_name"] == library and "base_model" not in found
    assert ("lora" in found["tags"]) == ("lora" in recipe)


def test_a_method_says_which_library_reads_its_runs(root: Path) -> None:
    recipe = recipe_of(root, "tfidf.yaml")
    manifest = {"name": "mine", "task": "ordinal", "method": "setfit", "model": None}
    text = front_matter(recipe, manifest, CardFacts("setfit", ("few-shot",)), {})
    assert "library_name: setfit\n" in text and "- setfit\n- ordinal\n- few-shot" in text
    assert "model-index" not in text


def test_limits_name_weak_rare_and_unlearned_labels_and_what_is_not_better_than_the_baseline() -> None:
    label_set = LabelSet("single_label", tuple(map(Label, "abc")))
    report = SimpleNamespace(label_counts={"a": {"train": 90}, "b": {"train": 5}}, overlaps={"test": 3}, conflicts=1)
    data = cast("LoadedData", SimpleNamespace(label_set=label_set, report=report))
    per_class = [
        {"label": "a", "recall": 0.9, "support": 50},
        {"label": "b", "recall": 0.25, "support": 4},
        {"label": "c", "recall": 0.0, "support": 0},
    ]
    measured = {"per_class": per_class, "valid_rate": 0.9, "expected_calibration_error": 0.2}
    manifest = {"details": {"truncated_rows": 7}, "rows": {"train": 95}}
    found = "\n".join(limitations(data, measured, manifest, False))
    for said in (
        "not clearly better than the baseline", "by recall: `b` (0.25 of 4).", "whose numbers say little: `b` (4).",
        "no row was there to measure on: `c`.", "without a training row: `c`.", "10.0% of its answers", "20% off",
        "7 training texts of 95", "3 held-out rows", "1 text had rows with different labels",
    ):  # fmt: skip
        assert said in found
    assert limitations(data, {}, manifest, None) == ["Nothing was held out, so that nothing is known of its errors."]
