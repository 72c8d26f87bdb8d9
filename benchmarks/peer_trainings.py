#!/usr/bin/env python
"""The jobs of `peers.py` done by reference implementations; runs in the environment that they are installed in.

    python peer_trainings.py JOB.json

A job has `peer`, one of `PEERS`; `train`, `validation` and `test`, JSON lines of `text` and `label`; `model`, a folder;
`output`, where the answers to the test rows go as a JSON list; and what the peer is set to. An answer is a label, of
Annif the most probable ones with their scores.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Rows = list[dict[str, str]]


def read(path: str) -> tuple[list[str], list[str]]:
    """Texts and labels of a split."""
    rows: Rows = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    return [row["text"] for row in rows], [row["label"] for row in rows]


def logistic_regression(job: dict[str, Any], encode: Callable[[list[str]], Any]) -> Sequence[str]:
    """scikit-learn's on the vectors of the texts, its strength chosen on validation."""
    from sklearn.linear_model import LogisticRegression

    (train, labels), (held_out, gold), (test, _) = (read(job[split]) for split in ("train", "validation", "test"))
    vectors, of_held_out = encode(train), encode(held_out)
    models = [LogisticRegression(C=strength, max_iter=1000).fit(vectors, labels) for strength in job["C"]]
    return list(max(models, key=lambda model: model.score(of_held_out, gold)).predict(encode(test)))


def sentence_transformers(job: dict[str, Any]) -> Sequence[str]:
    """`SentenceTransformer.encode` and logistic regression."""
    from sentence_transformers import SentenceTransformer

    return logistic_regression(job, SentenceTransformer(job["model"], device="cpu").encode)


def distill(job: dict[str, Any]) -> Sequence[str]:
    """Static vectors of the encoder, which both sides read."""
    from model2vec.distill import distill as distilled

    distilled(job["model"], device="cpu").save_pretrained(job["static"])
    return []


def model2vec(job: dict[str, Any]) -> Sequence[str]:
    """Static vectors and logistic regression."""
    from model2vec import StaticModel

    return logistic_regression(job, StaticModel.from_pretrained(job["static"]).encode)


def model2vec_tuned(job: dict[str, Any]) -> Sequence[str]:
    """Its classifier, which trains the static vectors too."""
    from model2vec.train import StaticModelForClassification

    (train, labels), (held_out, gold), (test, _) = (read(job[split]) for split in ("train", "validation", "test"))
    model = StaticModelForClassification.from_pretrained(path=job["static"])
    model.fit(train, labels, X_val=held_out, y_val=gold, device="cpu")
    return list(model.predict(test))


def setfit(job: dict[str, Any]) -> Sequence[str]:
    """SetFit's trainer with its own settings, and as many pairs as the recipe draws."""
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    (train, labels), (test, _) = read(job["train"]), read(job["test"])
    model = SetFitModel.from_pretrained(job["model"], device="cpu", labels=sorted(set(labels)))
    arguments = TrainingArguments(
        output_dir=job["work"],
        num_iterations=job["pairs"],
        num_epochs=1,
        batch_size=16,
        report_to="none",
        save_strategy="no",
        seed=job["seed"],
    )
    Trainer(model, arguments, train_dataset=Dataset.from_dict({"text": train, "label": labels})).train()
    return [str(label) for label in model.predict(test)]


def transformers(job: dict[str, Any]) -> Sequence[str]:
    """`AutoModelForSequenceClassification` and `Trainer` as in the library's example for classifying texts."""
    from datasets import Dataset
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    set_seed(job["arguments"]["seed"])
    (train, labels), (test, answers) = read(job["train"]), read(job["test"])
    names = sorted(set(labels))
    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    model = AutoModelForSequenceClassification.from_pretrained(job["model"], num_labels=len(names))

    def tokenized(texts: list[str], of: list[str]) -> Any:
        rows = Dataset.from_dict({"text": texts, "label": [names.index(label) for label in of]})
        return rows.map(lambda batch: tokenizer(batch["text"], truncation=True, max_length=128), batched=True)

    trainer = Trainer(
        model,
        TrainingArguments(job["work"], use_cpu=True, report_to="none", save_strategy="no", **job["arguments"]),
        train_dataset=tokenized(train, labels),
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
    )
    trainer.train()
    return [names[position] for position in trainer.predict(tokenized(test, answers)).predictions.argmax(axis=1)]


def annif(job: dict[str, Any]) -> Sequence[Any]:
    """A project of Annif, with its own settings: its vocabulary as SKOS, training, suggestions for the test rows."""
    import os

    import nltk.data
    from nltk.tokenize.punkt import PunktParameters, save_punkt_params

    folder = Path(job["work"])
    # Annif's analyzer wants NLTK's model of sentences, a download; texts of the task are one sentence of plain words.
    sentences = folder / "nltk" / "tokenizers" / "punkt_tab" / "english"
    sentences.mkdir(parents=True, exist_ok=True)
    save_punkt_params(PunktParameters(), str(sentences))
    nltk.data.path.insert(0, str(folder / "nltk"))
    (folder / "projects.cfg").write_text(job["projects"], encoding="utf-8")
    os.environ["ANNIF_PROJECTS"], os.environ["ANNIF_DATADIR"] = str(folder / "projects.cfg"), str(folder / "data")

    place = {label["name"]: f"http://example.org/label/{n}" for n, label in enumerate(job["labels"])}
    lines = ["@prefix skos: <http://www.w3.org/2004/02/skos/core#> ."]
    for label in job["labels"]:
        named = [f'skos:prefLabel "{label["name"]}"@en', *(f'skos:altLabel "{one}"@en' for one in label["aliases"])]
        lines.append(f"<{place[label['name']]}> a skos:Concept ; {' ; '.join(named)} .")
    (folder / "labels.ttl").write_text("\n".join(lines), encoding="utf-8")
    with (folder / "train.tsv").open("w", encoding="utf-8") as file:
        for text, gold in labelled(job["train"]):
            file.write(f"{text}\t{' '.join(f'<{place[name]}>' for name in gold)}\n")

    from annif.cli import cli

    def command(*words: str) -> None:
        cli(list(words), standalone_mode=False)

    command("load-vocab", "labels", str(folder / "labels.ttl"))
    for project in job["trained"]:
        command("train", "--jobs", "1", project, str(folder / "train.tsv"))

    from annif import create_flask_app
    from annif.corpus import Document

    with create_flask_app().app_context():
        import annif.registry

        project = annif.registry.get_project(job["trained"][-1])
        name = {uri: label for label, uri in place.items()}
        found = project.suggest([Document(text=text) for text, _ in labelled(job["test"])])
        return [[[name[project.subjects[one.subject_id].uri], float(one.score)] for one in row] for row in found]


def labelled(path: str) -> list[tuple[str, list[str]]]:
    """Texts of the generated task and their labels."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["labels"].split(";")) for row in csv.DictReader(file)]


PEERS: dict[str, Callable[[dict[str, Any]], Sequence[Any]]] = {
    each.__name__: each
    for each in (sentence_transformers, distill, model2vec, model2vec_tuned, setfit, transformers, annif)
}


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    answers = [answer if isinstance(answer, list) else str(answer) for answer in PEERS[given["peer"]](given)]
    Path(given["output"]).write_text(json.dumps(answers), encoding="utf-8")
