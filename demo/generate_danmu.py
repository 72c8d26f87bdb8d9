"""Write a synthetic collection of raw danmu, with the truth beside it.

    python -m demo.generate_danmu FOLDER [--comments 20000] [--form jsonl] [--seed 7] [--labels]

Each video is collected once an hour; a collection holds the newest comments, so that most come again in the next one.
Texts are composed by `grammar.py` and `noise.py`, and some are nasty on purpose: they hold commas, quotes, brackets,
line breaks, the joint between tuples, half a tuple, control characters. Some comments are positioned or scripted, some
tuples are damaged, some records are cut off. Nobody wrote these comments. The same arguments give the same files.

FOLDER/raw/ holds one file a day, FOLDER/truth.parquet each comment as it should be read, FOLDER/truth.json the counts,
and with --labels FOLDER/labels.csv the class of some comments by `row_id`, as a spreadsheet of coded comments has it.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import IO, Any

import numpy as np

from demo.generate import CLASS_SHARES, LABEL_NOISE
from demo.grammar import CLASS_NAMES, TOPICS, compose
from demo.noise import roughen

FORMS = ("jsonl", "jsonl.gz", "json", "csv", "parquet")
HOURS = 24  # collections of a video
KEPT = 0.8  # share of a collection that is new
MAXLIMIT = 1000  # most comments of a collection; of some videos fewer, so that theirs are full
_FEWEST_VIDEOS = 24
START = datetime(2021, 7, 12, tzinfo=timezone(timedelta(hours=8)))
_POOL = 20_000  # composed texts; a large collection adds tails to them
NASTY = (
    "a,b,c", '"quoted", he said', "it's [not] (a) {tuple}", "第一行\n第二行", "tab\there", "1,2,3", "3,1,25",
    "12.5,1,25", "7;8;9", "),(", "],[", "'],['", "｜｜；；，，", "😂😭👍🏽", "👨\u200d👩\u200d👧",
    "ＦＵＬＬ ｗｉｄｔｈ！",
    "看\u200b不\u200b见",
    "nul\x00byte", "bell\x07", "  spaces  ", "back\\slash\\n", "&amp;&lt;d&gt;", "</d>", '{"json": [1, 2]}', "[1,2,3]",
    "1,1,25,16777215", "26132238280687620", "f4b0b794,2978414126", "ﷺ", "é", "，", "。。。", "\u202eabc\u202c", "ⅷ①㌔",
    "=1+1", "-1", "NULL", "nan", "|", "||", "#", "<br>", "\\", '"', "'", ",",
)  # fmt: skip
_MODES = ((1, 0.80), (4, 0.08), (5, 0.08), (6, 0.02))
_SIZES = (25, 25, 25, 25, 18, 36, 12, 16, 45, 64, 30)
_COLORS = (16777215, 16777215, 16777215, 15138834, 41194, 16646914, 0, 65280)
_MODE_NAMES = {1: "scroll", 4: "bottom", 5: "top", 6: "reverse", 7: "positioned", 8: "scripted"}
_POOL_NAMES = {0: "normal", 1: "subtitle", 2: "special"}


@dataclass(frozen=True)
class Plan:
    """What is generated.

    Attributes:
        comments: tuples in the lists, damaged ones and those that come again included, about.
        joint, opener, closer: around tuples.
        scripted, nasty, broken: shares of comments and of tuples.
        cut_records: share of the records of JSON lines that end too early.
        conflicts: share of collections in which one comment comes again with another text.
        labelled: share of the comments that `labels.csv` gives a class.
    """

    comments: int = 20_000
    seed: int = 7
    form: str = "jsonl"
    joint: str = ";"
    opener: str = ""
    closer: str = ""
    scripted: float = 0.02
    nasty: float = 0.05
    broken: float = 0.002
    cut_records: float = 0.01
    conflicts: float = 0.01
    labelled: float = 0.5


@dataclass
class Truth:
    """The counts that reading must give, and the comments of one video."""

    elements: int = 0
    rejected: int = 0
    conflicts: int = 0
    records: int = 0
    cut_collections: int = 0
    set_apart: Counter[int] = field(default_factory=Counter)  # appearances, by mode
    distinct: int = 0
    distinct_apart: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        parsed = self.elements - self.rejected - sum(self.set_apart.values())
        return {
            "elements": self.elements, "rejected": self.rejected, "parsed": parsed, "records": self.records,
            "set_apart": {_MODE_NAMES[mode]: n for mode, n in sorted(self.set_apart.items())},
            "rows": self.distinct, "rows_apart": self.distinct_apart, "conflicts": self.conflicts,
            "cut_collections": self.cut_collections,
        }  # fmt: skip


@dataclass
class _Texts:
    """Texts with their class; -1 for those without one."""

    texts: list[str]
    classes: list[int]


def _compose(rng: random.Random, plan: Plan) -> _Texts:
    codes = rng.choices(range(len(CLASS_NAMES)), CLASS_SHARES, k=min(_POOL, plan.comments))
    return _Texts([roughen(rng, compose(rng, rng.choice(TOPICS), code)) for code in codes], codes)


class Generator:
    """Generates a plan, video by video."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.truth = Truth()
        self._rng = random.Random(plan.seed)
        self._numbers = np.random.default_rng(plan.seed)
        self._pool = _compose(self._rng, plan)
        self._next_id = 26_132_238_280_687_620

    def videos(self) -> Iterator[tuple[list[tuple[datetime, str]], dict[str, list[Any]]]]:
        """The records of one video, each with its hour (as a line of JSON), and its comments as they should be read."""
        number = 0
        while self.truth.elements < self.plan.comments:
            number += 1
            yield self._video(number)

    # ------------------------------------------------------------ one video
    def _video(self, number: int) -> tuple[list[tuple[datetime, str]], dict[str, list[Any]]]:
        plan, rng = self.plan, self._rng
        left = plan.comments - self.truth.elements
        usual = min(750, plan.comments // (HOURS * _FEWEST_VIDEOS))
        size = max(5, min(rng.randrange(usual // 4 + 1, usual * 7 // 4 + 2), MAXLIMIT, left // HOURS + 1))
        limit = size if rng.random() < 0.2 else MAXLIMIT
        step = max(1, int(size * KEPT))
        total = step * (HOURS - 1) + size
        columns, tuples = self._comments(total, number)
        start = START + timedelta(hours=rng.randrange(24 * max(1, min(9, plan.comments // 500_000))))
        times, first, last = np.zeros(total, int), np.full(total, -1), np.full(total, -1)
        cut_seen = np.zeros(total, bool)
        records = []
        for hour in range(HOURS):
            items = tuples[hour * step : hour * step + size]
            places = range(hour * step, hour * step + size)
            conflict = rng.random() < plan.conflicts and times[places[0]] > 0
            if conflict:
                items = [*items]
                items[0] = self._tuple(columns, places[0], "同一个编号，不同的话")
                self.truth.conflicts += 1
            items, damaged = self._damaged(items)
            moment = start + timedelta(hours=hour)
            line, whole = self._record(f"v{number:04d}", moment, items, limit, not conflict)
            if whole is not None:  # the record is cut off behind so many whole tuples
                kept = [item for item, _ in zip(damaged, range(whole), strict=False)]
                places = places[: sum(not d for d in kept)]
                self.truth.rejected += sum(kept) + 1
                self.truth.elements += whole + 1
                cut = whole + 1 >= limit
            else:
                self.truth.rejected += sum(damaged)
                self.truth.elements += len(items)
                cut = len(items) >= limit
            self.truth.records += 1
            self.truth.cut_collections += cut
            here = np.array(places, dtype=int)
            times[here] += 1
            first[here] = np.where(first[here] < 0, hour, first[here])
            last[here] = hour
            cut_seen[here] |= cut
            records.append((moment, line))
        seen = np.flatnonzero(times)
        modes = np.array(columns["mode"])
        for mode in (7, 8):
            self.truth.set_apart[mode] += int(times[modes == mode].sum())
        self.truth.distinct += int(((modes < 7) & (times > 0)).sum())
        self.truth.distinct_apart += int(((modes >= 7) & (times > 0)).sum())
        result = {name: [values[i] for i in seen] for name, values in columns.items()}
        base = int(start.timestamp())
        result["collections"] = times[seen].tolist()
        result["first_collected"] = (base + 3600 * first[seen]).tolist()
        result["last_collected"] = (base + 3600 * last[seen]).tolist()
        result["possibly_cut"] = cut_seen[seen].tolist()
        return records, result

    def _comments(self, total: int, number: int) -> tuple[dict[str, list[Any]], list[str]]:
        plan, rng, numbers = self.plan, self._rng, self._numbers
        modes = numbers.choice([m for m, _ in _MODES], total, p=_shares(_MODES))
        scripted = numbers.random(total) < plan.scripted
        modes[scripted] = numbers.choice([7, 8], int(scripted.sum()))
        texts, classes = self._texts(total, modes)
        ids = self._next_id + np.cumsum(numbers.integers(1, 9000, total))
        self._next_id = int(ids[-1]) + 1
        senders = [f"{value:x}" for value in numbers.integers(0, 2**32, total).tolist()]
        sent = 1_626_019_200 + np.sort(numbers.integers(0, 86_400 * 3, total))
        columns: dict[str, list[Any]] = {
            "row_id": [str(value) for value in ids.tolist()],
            "video_id": [f"v{number:04d}"] * total,
            "chat_id": [str(370_000_000 + number)] * total,
            "text": texts,
            "onset_time": [f"{value:.5f}" for value in (numbers.random(total) * 1200).tolist()],
            "mode": modes.tolist(),
            "font_size": numbers.choice(_SIZES, total).tolist(),
            "color": numbers.choice(_COLORS, total).tolist(),
            "sent_at": sent.tolist(),
            "pool": numbers.choice([0, 0, 0, 0, 0, 1], total).tolist(),
            "sender_id": senders,
            "class": classes,
        }
        if rng.random() < 0.3:  # files that call seconds milliseconds, and some that write milliseconds
            columns["sent_at"] = [value * 1000 for value in columns["sent_at"]]
        tuples = [
            f"{onset},{mode},{size},{color},{moment},{pool},{sender},{row_id},{text}"
            for onset, mode, size, color, moment, pool, sender, row_id, text in zip(
                *(columns[name] for name in ("onset_time", "mode", "font_size", "color", "sent_at", "pool", "sender_id",
                                             "row_id", "text")), strict=True)
        ]  # fmt: skip
        return columns, tuples

    def _texts(self, total: int, modes: np.ndarray[Any, Any]) -> tuple[list[str], list[int]]:
        numbers, pool = self._numbers, self._pool
        which = numbers.integers(0, len(pool.texts), total).tolist()
        texts = [pool.texts[i] for i in which]
        classes = [pool.classes[i] for i in which]
        if self.plan.comments > 4 * _POOL:  # not every comment of millions is one of few texts
            tails = numbers.integers(0x4E00, 0x9000, (total, 3))
            texts = [
                text + "".join(map(chr, tail)) if tail[0] & 1 else text
                for text, tail in zip(texts, tails.tolist(), strict=True)
            ]
        nasty = np.flatnonzero((numbers.random(total) < self.plan.nasty) & (modes < 7)).tolist()
        for i in nasty:
            texts[i] = self._rng.choice(NASTY).replace(self.plan.joint, "")
            classes[i] = -1
            if texts[i].count(",") > 3 or not texts[i].strip():
                texts[i] = "…"
            elif self._rng.random() < 0.5:
                texts[i] += self.plan.joint + "哈"  # the joint alone is no joint
        for i in np.flatnonzero(modes >= 7).tolist():
            texts[i] = f'[{i % 600},{i % 400},"1-1",4.5,"明,{i}",0,0]' if modes[i] == 7 else f"var a={i};f(a,[1,2]);"
            texts[i] = texts[i].replace(self.plan.joint, "") if self.plan.joint != "," else texts[i]
            classes[i] = -1
        return texts, classes

    def _tuple(self, columns: dict[str, list[Any]], i: int, text: str) -> str:
        names = ("onset_time", "mode", "font_size", "color", "sent_at", "pool", "sender_id", "row_id")
        return ",".join([*(str(columns[name][i]) for name in names), text])

    def _damaged(self, items: list[str]) -> tuple[list[str], list[bool]]:
        """Items with damaged tuples put among them (never first), and which are damaged."""
        rng = self._rng
        count = sum(rng.random() < self.plan.broken for _ in items) if self.plan.broken else 0
        if not count:
            return items, [False] * len(items)
        result, damaged = [*items], [False] * len(items)
        for _ in range(count):
            place = rng.randrange(1, len(result) + 1)
            fields = rng.choice(items).split(",", 8)
            kind = rng.randrange(3)
            if kind == 0:
                fields = fields[: rng.randrange(4, 8)]
            elif kind == 1:
                fields[4] = "NaN"
            else:
                fields[2] = "large"
            result.insert(place, ",".join(fields))
            damaged.insert(place, True)
        return result, damaged

    def _record(
        self, video: str, moment: datetime, items: list[str], limit: int, may_cut: bool
    ) -> tuple[str, int | None]:
        """A record as a line of JSON; and behind how many whole tuples it is cut off, if it is."""
        plan = self.plan
        record = {
            "video_id": video, "collect_YMDH": moment.strftime("%Y%m%d%H"),
            "chat_id": str(370_000_000 + int(video[1:])),
            "maxlimit": limit, "danmu_list": plan.opener + plan.joint.join(items) + plan.closer,
        }  # fmt: skip
        line = json.dumps(record, ensure_ascii=False)
        if not (may_cut and plan.form.startswith("jsonl")) or self._rng.random() >= plan.cut_records:
            return line, None
        whole = self._rng.randrange(len(items))
        # Behind the whole tuples and their joint, some fields of the next one.
        text = (
            plan.opener + "".join(item + plan.joint for item in items[:whole]) + ",".join(items[whole].split(",")[:4])
        )
        return json.dumps({**record, "danmu_list": text}, ensure_ascii=False)[:-2], whole


def _shares(pairs: tuple[tuple[int, float], ...]) -> list[float]:
    total = sum(share for _, share in pairs)
    return [share / total for _, share in pairs]


# ---------------------------------------------------------------- writing
def write(plan: Plan, folder: Path, with_truth: bool = True, with_labels: bool = False) -> Truth:
    """Write the files of a plan and, if wanted, the truth and the labels beside them."""
    raw = folder / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    generator = Generator(plan)
    files: dict[str, IO[str]] = {}
    held: dict[str, list[str]] = {}  # of forms that are no lines
    writer: Any = None
    labels: list[tuple[str, int]] = []
    chooser = random.Random(plan.seed + 1)
    for records, truth in generator.videos():
        for moment, line in records:
            day = f"{moment:%Y%m%d}"
            if plan.form.startswith("jsonl"):
                if day not in files:
                    files[day] = _open(raw / f"danmu_{day}.{plan.form}")
                files[day].write(line + "\n")
            else:
                held.setdefault(day, []).append(line)
        if with_labels:
            labels += _labels(truth, plan, chooser)
        truth.pop("class")
        if with_truth:
            writer = _write_truth(writer, truth, folder / "truth.parquet")
    for file in files.values():
        file.close()
    if writer is not None:
        writer.close()
    for day, lines in held.items():
        _write_held(raw / f"danmu_{day}.{plan.form}", plan.form, lines)
    if with_labels:
        with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as table:
            csv.writer(table).writerows([("row_id", "class"), *labels])
    text = json.dumps(generator.truth.to_dict(), indent=1)
    (folder / "truth.json").write_text(text + "\n", encoding="utf-8")
    return generator.truth


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        # The same bytes whenever it is written.
        return io.TextIOWrapper(gzip.GzipFile(path, "wb", compresslevel=1, mtime=0), encoding="utf-8", newline="\n")
    return path.open("w", encoding="utf-8", newline="\n")


def _labels(truth: dict[str, list[Any]], plan: Plan, rng: random.Random) -> Iterator[tuple[str, int]]:
    """The class of some comments, now and then a wrong one, as people code them."""
    for row_id, code in zip(truth["row_id"], truth["class"], strict=True):
        if code >= 0 and rng.random() < plan.labelled:
            others = [other for other in range(len(CLASS_NAMES)) if other != code]
            yield row_id, rng.choice(others) if rng.random() < LABEL_NOISE else code


def _write_truth(writer: Any, truth: dict[str, list[Any]], path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    truth["onset_time"] = [float(value) for value in truth["onset_time"]]
    truth["sent_at"] = [value if value > 10**11 else value * 1000 for value in truth["sent_at"]]
    truth["color"] = [f"#{value:06X}" for value in truth["color"]]
    truth["mode"] = [_MODE_NAMES[value] for value in truth["mode"]]
    truth["pool"] = [_POOL_NAMES[value] for value in truth["pool"]]
    table = pa.table(truth)
    writer = writer or pq.ParquetWriter(path, table.schema)
    writer.write_table(table)
    return writer


def _write_held(path: Path, form: str, lines: list[str]) -> None:
    records = [json.loads(line) for line in lines]
    if form == "json":
        path.write_text("[" + ",\n".join(lines) + "]\n", encoding="utf-8")
    elif form == "csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, list(records[0]))
            table.writeheader()
            table.writerows(records)
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(records), path)


def main() -> None:
    """Command line: generate, write, print the counts."""
    parser = argparse.ArgumentParser(description="Write a synthetic collection of raw danmu, with the truth beside it.")
    parser.add_argument("folder", type=Path, help="where to write")
    parser.add_argument("--comments", type=int, default=20_000, help="about so many tuples (default 20000)")
    parser.add_argument("--form", choices=FORMS, default="jsonl", help="form of the raw files")
    parser.add_argument("--seed", type=int, default=7, help="another seed, other comments")
    parser.add_argument("--labels", action="store_true", help="write labels.csv: the class of half of the comments")
    arguments = parser.parse_args()
    plan = Plan(arguments.comments, arguments.seed, arguments.form)
    truth = write(plan, arguments.folder, with_labels=arguments.labels)
    print(f"{arguments.folder}: {json.dumps(truth.to_dict())}")


if __name__ == "__main__":
    sys.exit(main())
