"""Worked examples of a prompt that are like the row, chosen from labelled rows (Liu et al. 2022,
https://arxiv.org/abs/2101.06804), one set for all rows of a cluster, so that the beginning of the prompt is computed
once for it.

Clusters are those of the labelled rows (k-means on their features). Which set a row has depends on its text alone, not
on the rows beside it. No row is shown itself: the two sets of a cluster have no text in common, nor texts that are
nearly the same, and a row that is nearly an example of the first has the second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import pyarrow as pa

from categorize.data.splitting.near import SIMILARITY, normalized, shingles
from categorize.errors import UserError
from categorize.features.build import build_featurizer, load_featurizer
from categorize.features.featurizer import Featurizer, Matrix, Vectors
from categorize.labels import LabelSet
from categorize.predictions import IntArray
from categorize.prompts.tokens import EncodedPrompt, PromptFormat
from categorize.recipe.sections import PromptSection
from categorize.recipe.template import Template
from categorize.runs.folder import Run, RunWriter
from categorize.writing import disk_errors

SHOTS = "shots.json"
CENTROIDS = "shots.safetensors"
FEATURES = "shots_features"
OUTLIER = 4  # times the median length; a longer text is not taken as an example
Shot = Mapping[str, str]


class ShotSets:
    """Sets of examples, and which of them a text has.

    Args:
        featurizer: fitted.
        centroids: of the clusters, float32 [clusters, features], of length 1.
        sets: two of each cluster.
    """

    def __init__(self, featurizer: Featurizer, centroids: Vectors, sets: Sequence[Sequence[Shot]]) -> None:
        self.featurizer, self.centroids = featurizer, centroids
        self.sets: list[Sequence[Shot]] = [*sets, ()]  # the last is for a row that has its like in both of its cluster
        self._shingles = [[shingles(normalized(shot["text"])) for shot in one] for one in self.sets]

    @classmethod
    def choose(cls, prompt: PromptSection, rows: pa.Table | None, label_set: LabelSet) -> Self:
        """Sets of `retrieval.k` examples, those most like the cluster's centroid, at most half of them of one label.

        Args:
            prompt: the recipe's, with `retrieval`.
            rows: labelled ones; others are passed over.

        Raises:
            UserError: no row is labelled.
        """
        from sklearn.cluster import MiniBatchKMeans

        section = prompt.retrieval
        assert section is not None
        check_examples(rows, label_set)
        shots = list(_shots(rows, Template.parse(prompt.template).columns, label_set))
        longest = OUTLIER * float(np.median([len(shot["text"]) for shot in shots]))
        shots = [shot for shot in shots if len(shot["text"]) <= max(longest, 1)]
        featurizer = build_featurizer(section.features)
        vectors = _normalized(featurizer.fit([shot["text"] for shot in shots]))
        clusters = MiniBatchKMeans(min(section.clusters, len(shots)), random_state=0, n_init=3).fit(vectors)
        centroids = _normalized(clusters.cluster_centers_)
        nearest = np.argsort(-np.asarray(vectors @ centroids.T), axis=0, kind="stable").T
        sets = [one for order in nearest for one in _two_sets([shots[i] for i in order], section.k)]
        return cls(featurizer, centroids, sets)

    def of(self, texts: Sequence[str]) -> IntArray:
        """The number of the set of each text, int64 [texts]."""
        if not texts:
            return np.zeros(0, dtype=np.int64)
        vectors = _normalized(self.featurizer.transform(list(texts)))
        first = 2 * np.asarray(vectors @ self.centroids.T).argmax(axis=1)
        return np.array([self._free(int(i), text) for i, text in zip(first, texts, strict=True)], dtype=np.int64)

    def _free(self, first: int, text: str) -> int:
        own = shingles(normalized(text))
        free = (i for i in (first, first + 1) if not any(_near(own, shot) for shot in self._shingles[i]))
        return next(free, len(self.sets) - 1)

    def line(self) -> str:
        """What the examples are, for the terminal."""
        distinct = {shot["text"]: shot["label"] for one in self.sets for shot in one}
        answers = len(set(distinct.values()))
        return f"examples: {len(distinct)} texts of {answers} answers in {len(self.centroids)} clusters"

    def save(self, writer: RunWriter) -> None:
        """Write what `load` needs into the run."""
        from safetensors.numpy import save_file

        writer.write_json(SHOTS, [[dict(shot) for shot in one] for one in self.sets[:-1]])
        self.featurizer.save(writer, FEATURES)
        with disk_errors(writer.path):
            save_file({"centroids": self.centroids}, writer.stage(CENTROIDS))

    @classmethod
    def load(cls, run: Run) -> Self:
        """What was saved."""
        from safetensors.numpy import load_file

        centroids = load_file(run.path / CENTROIDS)["centroids"]
        return cls(load_featurizer(run, FEATURES), centroids, run.read_json(SHOTS))


class RetrievedPrompt(PromptFormat):
    """A prompt whose worked examples depend on the row's text.

    Args:
        base: the prompt without examples.
        shots: the examples.

    Raises:
        UserError: instruction, examples and answer do not fit into the length.
    """

    def __init__(self, base: PromptFormat, shots: ShotSets) -> None:
        self.shots = shots
        try:
            self.prompts = [
                PromptFormat(replace(base.settings, shots=tuple(one)), base.label_set, base.tokenizer, base.max_length)
                for one in shots.sets
            ]
        except UserError as error:
            raise UserError(f"{error}; with examples by prompt.retrieval, a lower k helps, too") from None
        self.longest = max(self.prompts, key=lambda one: len(one.prefix_ids))
        super().__init__(base.settings, base.label_set, base.tokenizer, base.max_length)

    def render(self, fields: Mapping[str, str]) -> str:
        """The longest of the prompts that there are for a row: by it the room of a text is counted."""
        return self.longest.render(fields)

    def encode(
        self, fields: Mapping[str, str], gold: Sequence[str] | None = None, score: float | None = None
    ) -> EncodedPrompt:
        """One row behind its examples, as token ids."""
        return self.prompts[int(self.shots.of([fields["text"]])[0])].encode(fields, gold, score)

    def encode_all(self, rows: Sequence[Mapping[str, str]], **given: Sequence[Any]) -> list[EncodedPrompt]:
        """Many rows, each behind its examples, as token ids."""
        chosen = self.shots.of([fields["text"] for fields in rows])
        answers = [dict(zip(given, values, strict=True)) for values in zip(*given.values(), strict=True)]
        each = zip(chosen, rows, answers or [{}] * len(rows), strict=True)
        return [self.prompts[i].encode(fields, **one) for i, fields, one in each]

    def for_labels(self, label_set: LabelSet) -> RetrievedPrompt:
        """The same questions and examples with other labels of the same task."""
        return RetrievedPrompt(super().for_labels(label_set), self.shots)


# ---------------------------------------------------------------- which rows are examples
def check_examples(rows: pa.Table | None, label_set: LabelSet) -> None:
    """Raise UserError where no row can be an example."""
    if rows is None or next(_shots(rows, (), label_set), None) is None:
        raise UserError("prompt.retrieval: no training row is labelled; write prompt.shots, or add labelled rows")


def _shots(rows: pa.Table, columns: Sequence[str], label_set: LabelSet) -> Iterator[Shot]:
    """Labelled rows as examples, each text once; a text that is labelled in different ways is none."""
    found: dict[str, Shot | None] = {}
    names = ("text", "fields", "gold", "gold_score")
    for text, fields, gold, score in zip(*(rows.column(name).to_pylist() for name in names), strict=True):
        known = score is not None if label_set.is_regression else bool(gold)
        if not known or not text.strip():
            continue
        shown = {column: (fields or {}).get(column) or "" for column in columns}
        answer = repr(score) if label_set.is_regression else ", ".join(gold)
        shot = {**shown, "text": text, "label": answer}
        key = normalized(text)
        other = found.setdefault(key, shot)
        if other is not None and other["label"] != answer:
            found[key] = None
    return (shot for shot in found.values() if shot is not None)


def _two_sets(candidates: Sequence[Shot], k: int) -> list[list[Shot]]:
    """Two sets of `k` of the first candidates, none of them nearly another's text, and at most half of a set of one
    label; the most similar stands last, next to the row."""
    sets: list[list[Shot]] = []
    used: list[frozenset[str]] = []
    taken: set[int] = set()
    for _ in range(2):
        chosen: list[Shot] = []
        labels: Counter[str] = Counter()
        for i, shot in enumerate(candidates):
            if len(chosen) == k:
                break
            if i in taken or labels[shot["label"]] >= -(-k // 2):
                continue
            own = shingles(normalized(shot["text"]))
            if any(_near(own, other) for other in used):
                taken.add(i)
                continue
            chosen.append(shot)
            labels[shot["label"]] += 1
            used.append(own)
            taken.add(i)
        sets.append(chosen[::-1])
    return sets


def _near(one: frozenset[str], other: frozenset[str]) -> bool:
    return len(one & other) >= SIMILARITY * len(one | other)


def _normalized(matrix: Matrix) -> Any:
    """Rows of length 1, float32."""
    from sklearn.preprocessing import normalize

    return normalize(matrix).astype(np.float32)
