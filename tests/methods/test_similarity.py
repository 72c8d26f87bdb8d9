"""Texts compared with descriptions of labels: without rows, with some, and for other labels."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import run_seqcls
from categorize import load_predictor
from categorize.errors import UserError
from categorize.labels import Label, LabelSet
from categorize.methods.registry import METHODS
from categorize.methods.similarity.fit import fitted
from categorize.recipe.command import main
from tests.session.collections import write_recipe

ANIMALS = {
    "bird": ["feathers and wings", "it flies with wings", "feathers on its back"],
    "fish": ["fins and gills", "it swims with fins", "gills under water"],
    "horse": ["hooves and a mane", "it gallops on hooves", "a mane in the wind"],
}
DESCRIBED = [{"name": name, "description": texts[0]} for name, texts in ANIMALS.items()]


def run(*arguments: str) -> int:
    return main("run_seqcls.py", "seqcls", run_seqcls.run, METHODS, list(arguments))


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    with Path("rows.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["text", "animal"])
        table.writerows([f"{text} {i}", name] for i in range(12) for name, texts in ANIMALS.items() for text in texts)
    model = {"method": "similarity", "features": {"type": "tfidf", "char_ngrams": None, "word_ngrams": [1, 1]}}
    path = write_recipe(
        tmp_path / "one.yaml",
        model=model,
        training=None,
        data={"source": "rows.csv", "columns": {"text": "text", "label": "animal"}},
        labels={"names": DESCRIBED},
    )
    path.write_text(path.read_text().replace("    id: id\n", ""))
    return path.name


@pytest.mark.parametrize("learn", ["true", "false"])
def test_labels_are_told_by_their_descriptions_and_other_labels_too(
    recipe: str, learn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(recipe, f"model.learn={learn}", "--dry-run") == 0
    assert "| bird: feathers and wings" in capsys.readouterr().out
    assert run(recipe, f"model.learn={learn}") == 0
    out = capsys.readouterr().out
    assert ("set by the spread" in out) == (learn == "false")
    predictor = load_predictor("outputs/one")
    texts = ["wings", "the gills", "hooves", ""]
    assert predictor.predict_texts(texts).decided[:3] == [["bird"], ["fish"], ["horse"]]
    again = load_predictor("outputs/one").predict_texts(texts)
    np.testing.assert_array_equal(again.probabilities, predictor.predict_texts(texts).probabilities)
    other = predictor.for_labels(
        LabelSet("single_label", (Label("swimmer", "gills and fins"), Label("runner", "mane and hooves")))
    )
    assert other.predict_texts(["it gallops on hooves", "fins"]).decided == [["runner"], ["swimmer"]]
    with pytest.raises(UserError, match=r"labels: .* reads descriptions, which runner lack"):
        predictor.for_labels(LabelSet("single_label", (Label("swimmer", "gills"), Label("runner"))))
    assert json.loads(Path("outputs/one/metrics.json").read_text())["test"]["accuracy"] > 0.9


def test_it_works_without_any_labelled_row(recipe: str) -> None:
    Path("plain.csv").write_text("text\nit has wings\nit has gills\nit has hooves\nnothing\n", encoding="utf-8")
    data = ["data.source=plain.csv", "data.columns={text: text, label: null}", "labels.task=multi_label"]
    assert run(recipe, *data, "decision.fallback=top") == 0
    assert load_predictor("outputs/one").predict_texts(["wings", "hooves"]).decided == [["bird"], ["horse"]]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("labels.names=[bird, {name: fish, description: fins}]", "reads descriptions, which bird lack; describe them"),
        ("labels.names=null", "reads descriptions, but labels.names are those of the data; describe them"),
        ("model.template='{title}'", "model.template: {title} is not one of name, description, aliases, parent"),
        ("model.template=animal", "'animal' is the same for all labels; write {name} in it"),
        ("labels={task: regression}", "similarity compares texts with labels, but labels.task is regression"),
    ],
)
def test_what_labels_lack_is_told_before_anything_is_loaded(
    recipe: str, change: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    features = "model.features={type: encoder, name_or_path: not/there}"
    assert run(recipe, features, change) == 2
    assert line in capsys.readouterr().err


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
def test_the_fitted_numbers_are_those_of_a_logistic_regression(task: str) -> None:
    """Of several labels the loss is that of scikit-learn's logistic regression over cells; of one, statsmodels'
    conditional logit has no intercept."""
    from sklearn.linear_model import LogisticRegression

    generator = np.random.default_rng(0)
    labels = LabelSet(task, tuple(Label(name) for name in "abcd"))  # type: ignore[arg-type]
    hubs = np.array([0.1, 0.2, 0.3, 0.15])
    targets = np.eye(4)[generator.integers(4, size=400)]
    found = hubs + 0.1 * generator.normal(size=(400, 4)) + 0.15 * targets
    scaling = fitted(labels, found, hubs, targets, np.ones(400))
    got = np.array([scaling.scale, -scaling.scale * scaling.hubness, scaling.bias])
    if task == "multi_label":
        cells = np.column_stack([found.ravel(), np.tile(hubs, 400)])
        model = LogisticRegression(C=np.inf, tol=1e-8).fit(cells, targets.ravel())
        np.testing.assert_allclose(got, [*model.coef_[0], model.intercept_[0]], rtol=2e-2)
        return
    from statsmodels.discrete.conditional_models import ConditionalLogit

    cells = np.column_stack([found.ravel(), np.tile(hubs, 400)])
    model = ConditionalLogit(targets.ravel(), cells, groups=np.repeat(np.arange(400), 4)).fit(disp=False)
    np.testing.assert_allclose(got[:2], model.params, rtol=2e-2)
    assert scaling.bias == 0
