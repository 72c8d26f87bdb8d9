"""Worked examples that are like the row: one set a request, never the row itself, and nothing asked twice."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from categorize.data.splitting.near import NearTexts
from categorize.errors import UserError
from categorize.label import label
from categorize.labeling.exchange import Reply, Request
from categorize.labeling.ledger import Ledger
from categorize.methods.registry import METHODS
from categorize.recipe.command import main, parse_command
from tests.labeling.fault_server import Script, serving
from tests.labeling.jobs import NAMES, InProcess, meant, start, table, write_recipe, write_rows
from tests.labeling.provider import Provider

TOPICS = ("the parcel came in a torn box", "this screen flickers when it is dark", "my coffee has gone cold")
COLUMNS = {"text": "text", "id": "id", "label": "label"}


def rows(asked: int = 90, labelled: int = 60) -> list[dict[str, str]]:
    """Rows on three topics, which are not in order; the last ones have a label."""
    dice = random.Random(3)

    def one(i: int) -> str:
        words = [f"{dice.choice('bcdfgklmnprst')}{dice.choice('aeiou')}{dice.choice('nrst')}" for _ in range(9)]
        return f"{TOPICS[i % 3]}, {' '.join(words)}"

    texts = [one(i) for i in range(asked + labelled)]
    return [
        {"id": f"r{i}", "text": text, "label": NAMES[(i // 3) % 3] if i >= asked else ""}
        for i, text in enumerate(texts)
    ]


def recipe_of(folder: Path, given: list[dict[str, str]], **changes: Any) -> Path:
    retrieval = {"k": 3, "clusters": 3} | changes.pop("retrieval", {})
    source = write_rows(folder, given)
    data = {"source": str(source), "columns": COLUMNS}
    return write_recipe(folder, source, data=data, prompt={"retrieval": retrieval}, **changes)


class Watching(InProcess):
    """A teacher that keeps what it was shown: the beginning of each request, and its texts."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.seen: list[tuple[str, list[str]]] = []

    async def ask(self, request: Request) -> Reply:
        """Answer one request."""
        self.seen.append(shown(request.messages))
        return await super().ask(request)


def shown(messages: Any) -> tuple[str, list[str]]:
    """The beginning of a request, and the texts that it asks about."""
    asked = json.loads(messages[-1]["content"])
    return json.dumps(messages[:-1]), [one["text"] for one in asked.get("comments", [asked])]


def examples(beginning: str) -> list[tuple[str, str]]:
    """Texts and labels of the examples in the beginning of a request."""
    _, question, answer = json.loads(beginning)
    said = {one["comment_id"]: one["labels"] for one in json.loads(answer["content"])["comments"]}
    asked = json.loads(question["content"])["comments"]
    return [(one["text"], said[one["comment_id"]][0]) for one in asked]


def near(one: str, other: str) -> bool:
    compared = NearTexts.of([one, other])
    return bool(compared.node[0] == compared.node[1] or len(compared.pairs))


def test_a_request_holds_rows_of_one_set_of_examples_that_are_like_them(tmp_path: Path) -> None:
    given, teacher = rows(), Watching()
    start(recipe_of(tmp_path, given), teacher)
    gold = {row["text"]: row["label"] for row in given if row["label"]}
    texts_of: defaultdict[str, list[str]] = defaultdict(list)
    for beginning, texts in teacher.seen:
        texts_of[beginning] += texts
    assert len(texts_of) == 3
    for beginning, texts in texts_of.items():
        chosen = examples(beginning)
        assert len(chosen) == 3 and all(gold[text] == name for text, name in chosen)
        assert {text.split(",")[0] for text, _ in chosen} == {text.split(",")[0] for text in texts}
    assert sorted(teacher.sizes, reverse=True) == [8] * 9 + [6] * 3, "each set's requests are full, but for its last"
    done = table(tmp_path)
    wanted = [row["label"] or meant(row["text"]) for row in given]
    assert done["label"].to_pylist() == wanted
    kept = json.loads((tmp_path / "job/examples.json").read_text())
    assert {shot["text"] for one in kept for shot in one} <= set(gold) and len(kept) == 7


def test_no_row_is_shown_its_own_label_or_that_of_its_like(tmp_path: Path) -> None:
    given = rows(30, 60)
    given += [
        {**row, "id": f"again {row['id']}", "text": f" {row['text'].upper()}!", "label": ""} for row in given[30:]
    ]
    teacher = Watching()
    start(recipe_of(tmp_path, given, labeling={"rows": "all"}), teacher)
    assert sum(len(texts) for _, texts in teacher.seen) == 150
    pairs = [(text, shot) for one, texts in teacher.seen for text in texts for shot, _ in examples(one)]
    assert len(pairs) == 3 * 150 and not [pair for pair in pairs if near(*pair)]


def test_rows_that_fail_are_asked_again_with_their_own_examples(tmp_path: Path) -> None:
    def drop(asked: list[str], objects: list[dict[str, Any]]) -> Any:
        return [one for text, one in zip(asked, objects, strict=True) if len(asked) == 1 or "ban" not in text]

    teacher, given = Watching(spoil=drop), rows()
    start(recipe_of(tmp_path, given), teacher)
    beginnings: defaultdict[str, set[str]] = defaultdict(set)
    for beginning, texts in teacher.seen:
        for text in texts:
            beginnings[text].add(beginning)
    assert max(teacher.asked.values()) > 1 and {len(one) for one in beginnings.values()} == {1}
    assert table(tmp_path)["label"].to_pylist()[:90] == [meant(row["text"]) for row in given[:90]]


def test_the_same_examples_ask_nothing_again_and_others_ask_about_everything(tmp_path: Path) -> None:
    given = rows()
    start(recipe_of(tmp_path, given), Watching())
    more = [{"id": f"n{i}", "text": f"{TOPICS[i]}, i say", "label": ""} for i in range(3)]
    for same in (given, given[::-1], [*given, *more]):
        again = Watching()
        start(recipe_of(tmp_path, same), again)
        assert len(again.asked) == len(same) - len(given), "neither order nor rows without a label change the examples"
    other = [{**row, "label": "odd"} if row["label"] else row for row in given]
    for labelled, k in ((other, 3), (given, 2)):
        asked = Watching()
        start(recipe_of(tmp_path, labelled, retrieval={"k": k}), asked)
        assert len(asked.asked) == 90
    reused = Watching()
    start(recipe_of(tmp_path, given, retrieval={"k": 1}), reused, "--reuse")
    assert not reused.asked


def test_an_answer_by_code_and_repeats_have_the_examples_too(tmp_path: Path) -> None:
    class ByCode(Watching):
        async def ask(self, request: Request) -> Reply:
            self.seen.append(shown(request.messages))
            assert request.codes is not None
            return Reply(request.codes[NAMES.index(meant(request.items[0].text))])

    given, teacher = rows(12), ByCode()
    start(recipe_of(tmp_path, given, labeling={"answer": "code", "items": 1, "repeats": 2}), teacher)
    assert len(teacher.seen) == 24
    for beginning, texts in teacher.seen:
        turns = json.loads(beginning)[1:]
        assert len(turns) == 6 and {len(turn["content"]) for turn in turns[1::2]} == {1}
        assert {json.loads(turn["content"])["text"].split(",")[0] for turn in turns[::2]} == {texts[0].split(",")[0]}
    assert table(tmp_path)["label"].to_pylist()[:12] == [meant(row["text"]) for row in given[:12]]


def test_labelled_rows_beyond_a_bound_are_left_out_the_same_in_any_order(tmp_path: Path) -> None:
    from categorize.labeling.examples import examples_of
    from categorize.labeling.job import job_rows
    from categorize.labeling.prompt import LabelingPrompt
    from categorize.labeling.rows import survey

    found = []
    for given in (rows(), rows()[::-1]):
        recipe: Any = parse_command("run_label.py", "label", METHODS, [str(recipe_of(tmp_path, given))]).recipe.recipe
        from categorize.labeling.label_sets import label_sets_of

        sets = label_sets_of(recipe)
        prompt = LabelingPrompt(recipe.prompt, sets, recipe.labeling)
        _, kept = survey(job_rows(recipe, sets["label"]), prompt, tmp_path / "spool", keep_gold=True)
        found.append(examples_of(recipe, kept, "x", sets["label"], most=10).sets)
    assert found[0] == found[1] and 1 < len({shot["text"] for one in found[0] for shot in one}) <= 10


def test_a_dry_run_shows_one_set_and_estimates_the_requests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = rows()
    start(recipe_of(tmp_path, given), Watching(), "--dry-run")
    said = capsys.readouterr().out
    assert "examples: 18 texts of 3 answers in 3 clusters" in said
    assert "90 texts in 12 requests" in said and "the same in all with the same examples" in said
    assert len({topic for topic in TOPICS if topic in said}) == 1


# ---------------------------------------------------------------- other teachers
def test_a_providers_batch_holds_the_examples_and_is_read_back(tmp_path: Path) -> None:
    def answer(comments: list[dict[str, Any]]) -> str:
        said = [{"comment_id": one["comment_id"], "labels": [meant(one["text"])]} for one in comments]
        return json.dumps({"comments": said})

    given = rows()
    teacher = {"type": "batch_file", "model": "some/model"}
    recipe = recipe_of(tmp_path, given, labeling={"teacher": teacher})
    provider = Provider(answer, expired=0.3)
    for _ in range(2):
        label(parse_command("run_label.py", "label", METHODS, [str(recipe)]))
        provider.serve(tmp_path / "job.batches")
    label(parse_command("run_label.py", "label", METHODS, [str(recipe)]))
    assert table(tmp_path)["label"].to_pylist() == [row["label"] or meant(row["text"]) for row in given]
    assert set(provider.asked.values()) == {1} and len(provider.asked) == 90
    for file in provider.served:
        for request in provider.requests(file):
            beginning, texts = shown(request["body"]["messages"])
            topics = {text.split(",")[0] for text in [*texts, *(text for text, _ in examples(beginning))]}
            assert len(topics) == 1


def test_a_local_model_reads_the_examples(tiny: Callable[..., Path], tmp_path: Path) -> None:
    teacher = {"type": "local", "name_or_path": str(tiny("qwen2", chat=True)), "max_tokens": 8, "dtype": "float32"}
    given = [{**row, "text": row["text"][-12:]} for row in rows(6, 12)]
    settings = {"teacher": teacher, "answer": "code", "items": 1, "attempts": 1}
    recipe = recipe_of(tmp_path, given, labeling=settings, retrieval={"k": 1, "clusters": 2})
    assert main("run_label.py", "label", label, METHODS, [str(recipe)]) == 0
    assert table(tmp_path)["source"].to_pylist()[6:] == ["gold"] * 12


def test_examples_that_a_local_model_has_no_room_for_are_told_before_its_weights_are_read(
    tiny: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    shutil.copytree(tiny("qwen2", chat=True), tmp_path / "m", ignore=shutil.ignore_patterns("*.safetensors"))
    teacher = {"type": "local", "name_or_path": str(tmp_path / "m"), "dtype": "float32"}
    recipe = recipe_of(tmp_path, rows(), labeling={"teacher": teacher}, retrieval={"k": 12})
    assert main("run_label.py", "label", label, METHODS, [str(recipe)]) == 2
    error = capsys.readouterr().err
    assert "reads 512; shorten prompt.system" in error and "prompt.retrieval.k" in error and error.count("\n") == 1


def test_a_source_without_a_labelled_row_is_refused_before_a_teacher_is_asked(tmp_path: Path) -> None:
    teacher = Watching()
    with pytest.raises(UserError, match=r"prompt.retrieval: no row of .*comments.csv has a text and a label in column"):
        start(recipe_of(tmp_path, rows(9, 0)), teacher)
    assert not teacher.seen


# ---------------------------------------------------------------- kills
@pytest.mark.slow
def test_a_killed_job_goes_on_with_the_same_examples_and_asks_nothing_again(root: Path, tmp_path: Path) -> None:
    given, dice = rows(2000), random.Random(5)
    with serving(tmp_path, Script(labels=list(NAMES), seconds=0.02, rate=0.1, faults=["500", "drop"])) as server:
        teacher: Mapping[str, Any] = {"type": "endpoint", "url": server.url, "model": "m", "concurrency": 4}
        recipe = recipe_of(tmp_path, given, labeling={"teacher": teacher, "items": 5})
        command = [sys.executable, str(root / "run_label.py"), str(recipe)]
        stored: set[str] = set()
        seen = kills = 0
        while kills < 6:
            process = subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            until = seen + dice.choice([5, 20, 30])
            while process.poll() is None and len(server.log()) < until:
                time.sleep(0.005)
            time.sleep(dice.uniform(0, 0.2))
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += process.returncode == -signal.SIGKILL
            time.sleep(0.3)  # requests that were in flight are still answered
            log = server.log()
            assert not {text for entry in log[seen:] for text in entry["texts"]} & stored
            seen = len(log)
            ledger = Ledger.open(tmp_path / "job.ledger")
            (variant,) = ledger.variants() or (0,)  # one: the examples are those of the first start
            keys = {key_of(row["text"]): row["text"] for row in given}
            stored = {keys[key] for key in ledger.settled(variant, list(keys))}
            ledger.close()
        assert 50 < len(stored) < 2000
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        log = server.log()
        assert not {text for entry in log[seen:] for text in entry["texts"]} & stored
    assert {len({text.split(",")[0] for text in entry["texts"]}) for entry in log if entry["texts"]} == {1}
    found = table(tmp_path)
    assert found["id"].to_pylist() == [row["id"] for row in given]
    assert Counter(found["source"].to_pylist()) == {"teacher": 2000, "gold": 60}


def key_of(text: str) -> bytes:
    from hashlib import blake2b

    return blake2b(text.encode(), digest_size=16).digest()
