"""Write the demo's sample: synthetic Chinese video comments with a class code, in a spreadsheet.

    python -m demo.generate [--seed 7] [--output demo/comments.xlsx]

Nobody wrote these comments: `grammar.py` composes each text and knows its class, `noise.py` types it badly, and this
module adds what a labelled spreadsheet of danmu has: the same text many times, unbalanced classes, labels that are
wrong, rows that nobody has labelled (an empty class, or -1). The same seed gives the same rows, on every machine.

Prints the composition and the two figures that say how hard the sample is: the accuracy of always answering the most
frequent class, and that of TF-IDF over character 1- to 3-grams with a linear SVM.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from demo.grammar import CLASS_NAMES, TOPICS, compose
from demo.noise import roughen

DEFAULT_OUTPUT = Path(__file__).parent / "comments.xlsx"
DEFAULT_SEED = 7
COLUMNS = ("custom_id", "video_id", "message", "class")
LABELLED_ROWS = 6000
UNLABELLED_ROWS = 400
VIDEOS = 48
CLASS_SHARES = (0.38, 0.20, 0.27, 0.15)
REPEATED_SHARE = 0.10
LABEL_NOISE = 0.045


@dataclass(frozen=True)
class Comment:
    """One row. `class_code` is what the sheet holds (None: empty, -1: unlabelled); `true_code` is not written."""

    custom_id: str
    video_id: str
    message: str
    class_code: int | None
    true_code: int

    @property
    def is_labelled(self) -> bool:
        """Whether the sheet gives this row a class."""
        return self.class_code is not None and self.class_code >= 0


@dataclass(frozen=True)
class Figures:
    """How hard the sample is; accuracies on a test split in which no text of the training split recurs."""

    train_rows: int
    test_rows: int
    majority_accuracy: float
    tfidf_accuracy: float
    label_noise: float


def generate(seed: int = DEFAULT_SEED) -> list[Comment]:
    """The sample's rows in the sheet's order: `LABELLED_ROWS` with a class and `UNLABELLED_ROWS` without, mixed."""
    rng = random.Random(seed)
    topics = [rng.choice(TOPICS) for _ in range(VIDEOS)]
    popularity = [1.0 / (rank + 4) for rank in range(VIDEOS)]  # a few videos draw most comments
    quotas = [round(share * LABELLED_ROWS) for share in CLASS_SHARES]
    labelled = [code for code, quota in enumerate(quotas) for _ in range(quota)]
    drafts: list[tuple[int, str, int, bool]] = []  # video, message, true class, has a label
    written: dict[int, list[str]] = {code: [] for code in range(len(CLASS_NAMES))}
    unlabelled = rng.choices(range(len(CLASS_NAMES)), CLASS_SHARES, k=UNLABELLED_ROWS)
    for has_label, codes in ((True, labelled), (False, unlabelled)):
        for code in codes:
            video = rng.choices(range(VIDEOS), popularity)[0]
            earlier = written[code]
            if len(earlier) >= 50 and rng.random() < REPEATED_SHARE:
                # The first few are the ones that everybody repeats.
                message = earlier[int(len(earlier) * rng.random() ** 3)]
            else:
                message = roughen(rng, compose(rng, topics[video], code))
                earlier.append(message)
            drafts.append((video, message, code, has_label))
    rng.shuffle(drafts)
    return [_finish(rng, number, *draft) for number, draft in enumerate(drafts, start=1)]


def _finish(rng: random.Random, number: int, video: int, message: str, true_code: int, has_label: bool) -> Comment:
    class_code: int | None = true_code
    if not has_label:
        class_code = rng.choice((None, -1))
    elif rng.random() < LABEL_NOISE:
        class_code = rng.choice([code for code in range(len(CLASS_NAMES)) if code != true_code])
    return Comment(f"c{number:05d}", f"v{video + 1:03d}", message, class_code, true_code)


def write_xlsx(comments: Sequence[Comment], path: Path) -> None:
    """Write the sheet `comments` with a header row. An unlabelled row's class is an empty cell or -1."""
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    sheet = book.create_sheet("comments")
    sheet.append(COLUMNS)
    for comment in comments:
        sheet.append((comment.custom_id, comment.video_id, comment.message, comment.class_code))
    path.parent.mkdir(parents=True, exist_ok=True)
    book.save(path)


def measure(comments: Sequence[Comment]) -> Figures:
    """Fit TF-IDF and a linear SVM on 70% of the distinct texts and score 20%, as a user would before anything dearer.

    Texts that are equal after NFKC and whitespace normalisation lie in one split; 10% are left for validation.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.metrics import accuracy_score
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    train: list[Comment] = []
    test: list[Comment] = []
    labelled = [comment for comment in comments if comment.is_labelled]
    for comment in labelled:
        position = _position(comment.message)
        if position < 0.2:
            test.append(comment)
        elif position >= 0.3:
            train.append(comment)
    model = make_pipeline(
        TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True), LinearSVC(C=0.5, random_state=0)
    )
    model.fit([c.message for c in train], [c.class_code for c in train])
    gold = [c.class_code for c in test]
    majority = Counter(c.class_code for c in train).most_common(1)[0][0]
    return Figures(
        train_rows=len(train),
        test_rows=len(test),
        majority_accuracy=sum(code == majority for code in gold) / len(gold),
        tfidf_accuracy=float(accuracy_score(gold, model.predict([c.message for c in test]))),
        label_noise=sum(c.class_code != c.true_code for c in labelled) / len(labelled),
    )


def normalized(message: str) -> str:
    """The key under which two messages are the same text: NFKC, with runs of whitespace as one space."""
    return " ".join(unicodedata.normalize("NFKC", message).split())


def _position(message: str) -> float:
    digest = hashlib.sha256(f"split:{normalized(message)}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def main() -> None:
    """Command line: generate, write, measure, print."""
    parser = argparse.ArgumentParser(description="Write the demo's synthetic sample and print how hard it is.")
    parser.add_argument(
        "--seed", type=int, default=DEFAULT_SEED, help=f"another seed, other rows (default {DEFAULT_SEED})"
    )
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, help="the spreadsheet to write")
    arguments = parser.parse_args()
    comments = generate(arguments.seed)
    write_xlsx(comments, arguments.output)
    counts = Counter(c.class_code for c in comments if c.is_labelled)
    labelled = sum(counts.values())
    distinct = len({normalized(c.message) for c in comments})
    size = arguments.output.stat().st_size / 1000
    print(f"{arguments.output}: {len(comments)} synthetic rows of seed {arguments.seed}, {size:.0f} kB")
    print(f"labelled {labelled}, without a class {len(comments) - labelled}, distinct texts {distinct}")
    print(", ".join(f"{code} {name} {counts[code] / labelled:.1%}" for code, name in enumerate(CLASS_NAMES)))
    figures = measure(comments)
    print(f"labels that are wrong on purpose: {figures.label_noise:.1%}")
    print(f"always the most frequent class: {figures.majority_accuracy:.1%} of {figures.test_rows} test rows")
    print(f"TF-IDF + linear SVM: {figures.tfidf_accuracy:.1%} (trained on {figures.train_rows} rows)")


if __name__ == "__main__":
    sys.exit(main())
