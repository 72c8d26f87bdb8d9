"""The linear model on TF-IDF features: what it learns from weighted rows."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from categorize import load_predictor
from categorize.features.tfidf import NgramSettings, TfidfFeaturizer, word_lines
from categorize.methods.registry import METHODS
from categorize.methods.tfidf.section import TfidfModel
from categorize.metrics.decision import DecisionRule
from categorize.recipe.command import main
from categorize.runs.folder import Run
from categorize.train import train
from tests.session.collections import write_recipe

TEXTS = {"a": "apple pear", "b": "bolt nut", "c": "cloud rain"}


def fit(folder: Path, weights: dict[str, int], estimator: str, task: str = "single_label") -> np.ndarray:
    """Trains on 30 rows a label with these weights; gives the probabilities of one text a label."""
    with (folder / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "text", "mood", "w"])
        rows.writerows(
            [f"{label}{i}", f"{text} {i}", label, weights[label]] for label, text in TEXTS.items() for i in range(30)
        )
    recipe = write_recipe(
        folder / "one.yaml",
        model={"method": "tfidf", "estimator": estimator},
        training=None,
        data={"columns": {"id": "id", "text": "text", "label": "mood", "weight": "w"}},
        labels={"task": task, "names": list(TEXTS)},
    )
    assert main("run_seqcls.py", "seqcls", train, METHODS, [recipe.name, "--overwrite"]) == 0
    found = load_predictor("outputs/one").predict_texts(list(TEXTS.values()))
    assert found.probabilities is not None
    return np.asarray(found.probabilities)


@pytest.mark.parametrize("estimator", ["linear_svc", "logistic_regression"])
@pytest.mark.parametrize("task", ["single_label", "multi_label"])
def test_a_label_whose_rows_all_weigh_nothing_is_one_without_training_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], estimator: str, task: str
) -> None:
    monkeypatch.chdir(tmp_path)
    found = fit(tmp_path, {"a": 1, "b": 2, "c": 0}, estimator, task)
    assert found.argmax(axis=1)[:2].tolist() == [0, 1]
    assert (found[:, 2] < 1e-6).all()
    assert "WARNING" not in capfd.readouterr().out, "liblinear's own, of a label without rows"


def test_a_label_that_training_never_saw_is_not_given_to_every_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    texts = {"fruit": "apple pear plum", "car": "motor wheel brake", "fruit;car": "apple motor pear"}
    for split, rows in (("train", 60), ("validation", 20), ("test", 40)):
        with Path(f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(["text", "mood"])
            table.writerows([f"{texts[labels]} {i}", labels] for i, labels in enumerate((40 * [*texts])[:rows]))
            table.writerows([["rail station", "train"]] * (split == "validation"))
    recipe = write_recipe(
        tmp_path / "one.yaml",
        model={"method": "tfidf"},
        training=None,
        data={
            "source": {split: f"{split}.csv" for split in ("train", "validation", "test")},
            "columns": {"text": "text", "label": "mood"},
            "label_separator": ";",
        },
        labels={"task": "multi_label", "names": ["fruit", "car", "train"]},
        decision={"thresholds": "per_label"},
    )
    assert main("run_seqcls.py", "seqcls", train, METHODS, [recipe.name]) == 0
    measured = Run.open("outputs/one").read_json("metrics.json")["test"]
    assert measured["accuracy"] == 1.0 and measured["per_class"][2]["predicted"] == 0
    printed = capsys.readouterr().out
    assert "subset_accuracy 1.0000" in printed and "  accuracy" not in printed
    assert "(macro over 2 of 3 labels: no row has train)" in printed
    assert "| subset_accuracy |" in (Run.open("outputs/one").path / "README.md").read_text(encoding="utf-8")


def test_chinese_clauses_are_not_words_and_margins_are_calibrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    common = [chr(0x4E00 + i) for i in range(300)]
    signs = {label: [chr(0x6000 + 10 * i) + chr(0x7000 + 10 * i)] for i, label in enumerate("abcdefgh")}
    with Path("rows.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "text", "mood"])
        for i in range(480):
            label = "abcdefgh"[i % 8]
            sign = signs[label if rng.random() < 0.8 else rng.choice([*signs])]  # a fifth has another label's
            table.writerow([i, "".join([*rng.choice(common, 6), *sign, *rng.choice(common, 6)]), label])
    recipe = write_recipe(
        tmp_path / "one.yaml",
        model={"method": "tfidf", "char_ngrams": None, "word_ngrams": [1, 2]},
        training=None,
        labels={"names": [*signs]},
        data={"splits": {"test": 0.25, "validation": 0.25}},
    )
    assert main("run_seqcls.py", "seqcls", train, METHODS, [recipe.name]) == 0
    assert "words: 100% are single characters of scripts without spaces" in capsys.readouterr().out
    run = Run.open("outputs/one")
    calibrated = run.read_json("metrics.json")["test"]
    assert calibrated["accuracy"] > 0.7  # with clauses as words 1 of 8, by chance
    assert DecisionRule.load(run.path / "decision_rule.json").temperature < 0.5
    # Said otherwise, probabilities are the margins'.
    assert (
        main("run_seqcls.py", "seqcls", train, METHODS, [recipe.name, "decision.calibration=none", "--overwrite"]) == 0
    )
    plain = run.read_json("metrics.json")["test"]
    assert plain["accuracy"] == calibrated["accuracy"]
    assert calibrated["expected_calibration_error"] < 0.15 < 0.4 < plain["expected_calibration_error"]


def test_runs_from_before_take_words_as_they_were_trained() -> None:
    def words(settings: NgramSettings, text: str) -> list[str]:
        return list(TfidfFeaturizer(settings).vectorizers["word"].build_analyzer()(text))

    before = json.loads('{"char_ngrams": null, "word_ngrams": [1, 1], "min_df": 1, "max_features": null}')
    assert words(NgramSettings(**before), "好看 的视频 ok_2") == ["好看", "的视频", "ok_2"]
    now = TfidfFeaturizer.build(TfidfModel(method="tfidf", char_ngrams=None, word_ngrams=[1, 1])).settings
    assert words(now, "好看 Don't ok_2 ไทย 네이버 カナ") == [*"好看", "don", "t", "ok_2", *"ไทย", "네이버", *"カナ"]


@pytest.mark.parametrize(
    ("text", "ngrams", "said"),
    [
        ("只看 天气", [1, 1], "warning: words: 100%"),
        ("只看 天气", [1, 2], "words: 100%"),
        ("plain words", [1, 1], None),
    ],
)
def test_single_characters_alone_are_warned_of(text: str, ngrams: list[int], said: str | None) -> None:
    lines = word_lines(TfidfModel(method="tfidf", char_ngrams=None, word_ngrams=ngrams), [text])
    assert [line.startswith(said or "?") for line in lines] == [True] * (said is not None)


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
def test_class_weights_raise_the_rare_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str) -> None:
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "text", "mood"])
        rows.writerows([f"{i}", f"the same words {i}", "rare" if i % 10 == 0 else "frequent"] for i in range(200))
    found = {}
    for name, training in (("plain", None), ("weighted", {"class_weights": "balanced"})):
        recipe = write_recipe(
            tmp_path / f"{name}.yaml",
            model={"method": "tfidf", "estimator": "logistic_regression"},
            training=None,
            labels={"task": task, "names": ["frequent", "rare"]},
            **({} if training is None else {"decision": {"calibration": "none"}}),
        )
        assert (
            main(
                "run_seqcls.py",
                "seqcls",
                train,
                METHODS,
                [str(recipe), *([f"training={training}"] if training else [])],
            )
            == 0
        )
        run = Run.open(Path("outputs") / name)
        found[name] = load_predictor(str(run.path)).predict_texts(["the same words"]).probabilities[0, 1]  # type: ignore[index]
        weights = run.manifest["details"].get("class_weights", {})
        assert (weights.get("rare", 0) > weights.get("frequent", 0)) == (training is not None)
    assert found["weighted"] > 1.5 * found["plain"]
