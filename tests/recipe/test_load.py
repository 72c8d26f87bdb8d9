"""A recipe becomes typed sections, or one error that says everything."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from categorize.errors import UserError
from categorize.methods.head.section import HeadModel
from categorize.methods.tfidf.section import TfidfModel
from categorize.recipe.load import LoadedRecipe
from categorize.recipe.sections import EvalRecipe, SeqclsRecipe
from tests.recipes import load_recipe

from .conftest import MINIMAL, Errors, Write

Minimal = Callable[..., LoadedRecipe]


def error_of(path: str | Path, kind: str | None = None) -> str:
    with pytest.raises(UserError) as caught:
        load_recipe(path, kind=kind, environment={})
    return str(caught.value)


def test_the_smallest_recipe_takes_every_default(minimal: Minimal) -> None:
    recipe = minimal().recipe
    assert isinstance(recipe, SeqclsRecipe)
    assert isinstance(recipe.model, HeadModel)
    assert (recipe.seed, recipe.output_path, recipe.data.splits.test) == (42, "outputs/mine", 0.2)


def test_upstream_keys_reach_the_section_as_written(minimal: Minimal) -> None:
    recipe = minimal(
        """\
        training: {learning_rate: 1e-4, eval_strategy: no, num_train_epochs: 3, report_to: [wandb], resume: auto}
        adapter: {type: lora, r: 16, target_modules: [q, v], init_lora_weights: pissa_niter_4}
        quantization: {load_in_4bit: true, bnb_4bit_compute_dtype: bfloat16}
        """
    ).recipe
    assert isinstance(recipe, SeqclsRecipe)
    assert recipe.training.upstream() == {
        "learning_rate": 1e-4,
        "eval_strategy": "no",
        "num_train_epochs": 3,
        "report_to": ["wandb"],
    }
    assert recipe.training.resume == "auto"
    assert recipe.adapter is not None
    assert recipe.adapter.upstream() == {"r": 16, "target_modules": ["q", "v"], "init_lora_weights": "pissa_niter_4"}


def test_the_resolved_text_is_a_recipe_that_says_the_same(minimal: Minimal, write: Write) -> None:
    first = minimal(
        """\
        labels: {names: ["no", "1", {name: x, aliases: ["1e-4"]}], codes: {0: no, 007: "1"}}
        prompt: {system: "two\\nlines: {labels}"}
        training: {learning_rate: 2e-5, warmup_steps: 0.1}
        """,
        "seed=7",
    )
    again = load_recipe(write("again.yaml", first.text))
    assert again.recipe == first.recipe
    assert again.resolved == first.resolved
    assert first.text.startswith("# Resolved from: r.yaml, command line\n")


def test_tfidf_has_keys_of_its_own(minimal: Minimal) -> None:
    recipe = minimal("", "model.method=tfidf", "model.C=2").recipe
    assert isinstance(recipe, SeqclsRecipe)
    assert isinstance(recipe.model, TfidfModel)


def test_a_misspelt_method_is_the_one_thing_that_is_said(write: Write) -> None:
    text = "kind: seqcls\nname: a\ndata: {source: x.csv}\nmodel: {methd: tfidf}\n"
    assert error_of(write("r.yaml", text)) == "r.yaml:4: model.methd: unknown key; did you mean method?"


def test_an_eval_recipe_is_loaded(write: Write) -> None:
    text = "kind: eval\nname: e\ndata: {source: x.csv}\nevaluation: {runs: [outputs/a, {run: outputs/b, name: B}]}\n"
    recipe = load_recipe(write("e.yaml", text), kind="eval").recipe
    assert isinstance(recipe, EvalRecipe)
    assert len(recipe.evaluation.runs) == 2


# ---------------------------------------------------------------- files
def test_a_missing_file_says_what_is_there(write: Write) -> None:
    write("bert.yaml", MINIMAL)
    assert error_of("bret.yaml") == "bret.yaml: no such file; did you mean bert.yaml?"
    assert error_of("bert.yaml/x.yaml").startswith("bert.yaml/x.yaml: no such file")


def test_a_folder_is_not_a_recipe(write: Write) -> None:
    write("recipes/a.yaml", MINIMAL)
    assert error_of("recipes") == "recipes: is a folder; name a YAML file"


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "\ufeff"])
def test_an_empty_file_is_said_to_be_empty(write: Write, text: str) -> None:
    assert error_of(write("r.yaml", text)) == "r.yaml: the file is empty; a recipe is a mapping of keys to values"


@pytest.mark.parametrize(
    ("text", "held"), [("- a\n", "a list"), ("just words\n", "'just words'"), ("3\n", "the number 3")]
)
def test_a_file_that_is_not_a_mapping_says_what_it_holds(write: Write, text: str, held: str) -> None:
    assert error_of(write("r.yaml", text)) == f"r.yaml:1: a recipe is a mapping of keys to values, found {held}"


def test_broken_yaml_names_its_line(write: Write) -> None:
    said = error_of(write("r.yaml", "kind: seqcls\nname: a: b\n"))
    assert said == 'r.yaml:2: not valid YAML: a text with a colon needs quotes: name: "a: b"'


def test_a_binary_file_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"PK\x03\x04\n\xff\xfe")
    assert ":2: is not UTF-8 text" in error_of(tmp_path / "a.xlsx")


@pytest.mark.parametrize(("encoding", "name"), [("gb18030", "GBK"), ("utf-16", "UTF-16")])
def test_a_recipe_of_another_encoding_says_which_and_the_way_out(write: Write, encoding: str, name: str) -> None:
    path = write("r.yaml", MINIMAL)
    path.write_bytes((MINIMAL + "labels: {names: [积极的评论, 消极的评论]}\n").encode(encoding))
    said = error_of(path)
    assert f"is not UTF-8 text; it may be {name}: save it as UTF-8, such as by iconv -f {encoding}" in said


def test_a_template_without_quotes_says_quote_it(write: Write) -> None:
    said = error_of(write("r.yaml", MINIMAL.replace("  source:", "  template: {text}\n  source:")))
    assert said == 'r.yaml:4: data.template: expected a text or null, found a mapping; quote it: "{text}"'


def test_windows_line_ends_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())
    assert load_recipe(path).recipe.name == "mine"


# ---------------------------------------------------------------- kinds
def test_a_recipe_of_another_kind_names_the_right_script(write: Write) -> None:
    path = write("e.yaml", "kind: eval\nname: e\n")
    said = "e.yaml:1: kind: eval belongs to run_eval.py; run: python run_eval.py e.yaml"
    assert error_of(path, kind="seqcls") == said


def test_a_missing_kind_and_an_unknown_kind(write: Write) -> None:
    assert error_of(write("a.yaml", "name: a\n"), kind="seqcls") == "a.yaml: kind: is missing; write kind: seqcls"
    said = "b.yaml:1: kind: expected seqcls, sft, eval or label, found the text 'seqclas'; did you mean seqcls?"
    assert error_of(write("b.yaml", "kind: seqclas\n")) == said


# ---------------------------------------------------------------- keys
@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("learning_rate: 1e-4", "r.yaml:7: learning_rate: belongs under training"),
        ("load_in_4bit: true", "r.yaml:7: load_in_4bit: belongs under quantization"),
        ("evaluation: {runs: [a]}", "r.yaml:7: evaluation: unknown key"),
        ("training: {name_or_path: x}", "r.yaml:7: training.name_or_path: belongs under model"),
        ("training: {patience: 3}", "training.patience: belongs under training.early_stopping"),
        ("training: {lerning_rate: 1}", "r.yaml:7: training.lerning_rate: unknown key; did you mean learning_rate?"),
        ("labels: {Names: [a, b]}", "labels.Names: unknown key; did you mean names?"),
        ("labels: {name: [a, b]}", "r.yaml:7: labels.name: "),
        ("decision: {zzz: 1}", "decision.zzz: unknown key; keys here: calibration, thresholds, precision, fallback"),
        ("training: {evaluation_strategy: epoch}", "was renamed to eval_strategy in transformers 5"),
        ("training: {gradient_checkpointing: true}", "was renamed to activation_checkpointing in transformers 5"),
        ("training: {warmup_ratio: 0.1}", "write training.warmup_steps (a number below 1 is a ratio)"),
        ("training: {overwrite_output_dir: true}", "the command-line flag --overwrite"),
        ("training: {no_cuda: true}", "was renamed to use_cpu"),
        ("training: {group_by_length: true}", "write training.length_grouping"),
        ("training: {max_seq_length: 5}", "write model.max_length"),
        ("training: {max_length: 5}", "is set by model.max_length"),
        ("training: {batch_size: 5}", "is set by training.per_device_train_batch_size"),
        ("torch_dtype: bfloat16", "write model.dtype"),
        ("tokenizer: x", "the tokenizer is that of model.name_or_path"),
        ("training: {output_dir: x}", "write output_dir at the top level"),
        ("training: {seed: 1}", "write seed at the top level"),
        ("training: {do_train: true}", "the script trains and evaluates"),
        ("training: {resume_from_checkpoint: x}", "is the command-line flag --resume"),
        ("training: {push_to_hub: true}", "is not part of training"),
        ("training: {hub_token: x}", "is not part of training"),
        ("training: {deepspeed: x}", "is set by accelerate launch"),
        ("training: {fsdp: x}", "is set by accelerate launch"),
        ("training: {train_sampling_strategy: random}", "is set by training.length_grouping"),
        ("training: {remove_unused_columns: true}", "is set by the project"),
        ("adapter: {type: lora, task_type: SEQ_CLS}", "adapter.task_type: is set by the project"),
        ("adapter: {type: lora, use_dora: true}", "is written as adapter.type: dora"),
        ("adapter: {type: ia3, r: 8}", "adapter.r: belongs to adapter.type: lora, dora or rslora; this one is ia3"),
        ("adapter: {type: lora, rr: 8}", "adapter.rr: unknown key; did you mean r?"),
        (
            "adapter: {type: lroa}",
            "adapter.type: expected one of lora, dora, rslora, ia3, prefix, prompt, p_tuning, bottleneck, found",
        ),
        ("adapter: {r: 8}", "r.yaml:7: adapter.type: is missing; without it the run would be a full fine-tune"),
        ("quantization: {load_in_4bit: true, gptq: 1}", "quantization.gptq: unknown key"),
        (
            "training: {trust_remote_code: true}",
            "training.trust_remote_code: is a command-line flag, never a recipe key",
        ),
        ("training: {optim_args: x, lr_scheduler_kwargs: {trust_remote_code: true}}", "pass --trust-remote-code"),
    ],
)
def test_a_wrong_key_says_what_was_meant(errors: Errors, more: str, said: str) -> None:
    lines = errors(more)
    assert any(said in line for line in lines), lines


def test_keys_of_another_method_are_named(errors: Errors) -> None:
    belongs = "command line: model.C: belongs to model.method: tfidf, embedding or contrastive"
    assert errors("", "model.C=1") == [belongs]
    assert "model.freeze: belongs to model.method: head" in errors("", "model.method=tfidf", "model.freeze=true")[0]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("training: {learning_rate: 2e}", "training.learning_rate: expected a number, found the text '2e'"),
        ('training: {learning_rate: "2e-5"}', "found the text '2e-5'; remove the quotes"),
        ("training: {bf16: yes}", "expected true or false, found the text 'yes'; YAML 1.2 knows only true and false"),
        ("training: {max_steps: 1e3}", "expected a whole number, found the number 1000.0; write 1000"),
        ("training: {max_steps: true}", "training.max_steps: expected a whole number, found true"),
        ("training: {lr_scheduler_type: cosin}", "found the text 'cosin'; did you mean cosine?"),
        ("training: {eval_strategy: false}", 'expected one of no, steps, epoch, found false; quote it: "false"'),
        ("training: {save_strategy: epochs}", "expected one of no, steps, epoch, best, found the text 'epochs'"),
        ("training: {optim: adam}", "training.optim: expected one of adamw_torch,"),
        ("training: {report_to: tensorbord}", "did you mean tensorboard?"),
        ("training: {report_to: [wandb, tensorbord]}", "item 2: expected one of"),
        ("training: {lr_scheduler_kwargs: 3}", "expected a mapping or null, found the number 3"),
        ("training: {learning_rate: .nan}", "expected a number, found .nan"),
        ("training: {learning_rate: -.inf}", "expected a number, found -.inf"),
        *(
            (
                f"training: {{class_weights: {{Male: {value}, Female: 1.0}}}}",
                "class_weights.Male: expected a number above",
            )
            for value in (".inf", "-.inf", ".nan", "-1", "0")
        ),
        ("training: 3", "r.yaml:7: training: expected a mapping, found the number 3"),
        ("adapter: {type: lora, bias: some}", "adapter.bias: expected one of none, all, lora_only"),
        ("adapter: {type: lora, init_lora_weights: gausian}", "did you mean gaussian?"),
        ("adapter: {type: lora, target_modules: [1]}", "item 1: expected a text, found the number 1"),
        ("quantization: {load_in_4bit: true, bnb_4bit_quant_type: nf5}", "expected one of fp4, nf4, found"),
        ("labels: {task: multilabel}", "found the text 'multilabel'; did you mean multi_label?"),
        ("labels: {names: [a, 1]}", 'labels.names[1]: expected a mapping or a text, found the number 1; quote it: "1"'),
        ("labels: {names: [true, a]}", 'labels.names[0]: expected a mapping or a text, found true; quote it: "true"'),
        ("labels: {names: [007, a]}", 'quote it: "007"'),
        ("labels: {names: [{name: 1}, a]}", "labels.names[0].name: expected a text, found the number 1"),
        ("labels: {names: [{description: x}]}", "labels.names[0].name: is missing: Name of the label"),
        ("labels: {names: abc}", "labels.names: expected a list or null, found the text 'abc'; write [abc]"),
        ("labels: {codes: {0: 1}}", 'labels.codes.0: expected a text, found the number 1; quote it: "1"'),
        ("prediction: {batch_size: 0}", "prediction.batch_size: expected a number above 0, found the number 0"),
        ("decision: {thresholds: globl}", "did you mean global?"),
        ("decision: {thresholds: 50}", "decision.thresholds: expected a number below 1, found the number 50"),
        ("decision: {thresholds: 1.0}", "decision.thresholds: expected a number below 1, found the number 1.0"),
        ("decision: {thresholds: 0}", "decision.thresholds: expected a number above 0, found the number 0"),
        ("seed: 4294967296", "seed: expected a number of at most 4294967295"),
        ("output_dir: [a]", "output_dir: expected a text or null, found a list"),
    ],
)
def test_a_wrong_value_says_what_was_expected(errors: Errors, more: str, said: str) -> None:
    lines = errors(more)
    assert any(said in line for line in lines), lines


def test_no_text_column_and_no_separator_are_refused(minimal: Minimal) -> None:
    for override, said in (
        ("data.columns.text=[]", "data.columns.text: must not be empty"),
        ('data.label_separator=""', "data.label_separator: must not be empty"),
    ):
        with pytest.raises(UserError, match=said) as caught:
            minimal("", override)
        assert "\n" not in str(caught.value)


def test_shares_and_lengths_are_bounded(errors: Errors) -> None:
    assert "expected a number below 1, found the number 1.5" in errors("", "data.splits.test=1.5")[0]
    assert "needs at least 2 items, found 1" in errors("", "model.method=tfidf", "model.char_ngrams=[1]")[0]
    assert errors("", "name=''") == ["command line: name: must not be empty"]


def test_missing_keys_name_the_file_and_what_they_are_for(write: Write) -> None:
    assert error_of(write("r.yaml", "kind: seqcls\ndata: {}\n")).splitlines() == [
        "r.yaml: name: is missing: Name of the run.",
        "r.yaml: model: is missing: A classification or regression head on an encoder or a decoder.",
        "r.yaml:2: data.source: is missing: Path of a file, a folder of Parquet parts or a saved dataset, a Hub "
        "dataset id, or files by split.",
    ]


def test_all_errors_come_at_once_in_the_order_of_lines(errors: Errors) -> None:
    lines = errors(
        """\
        sed: 1
        training:
          lr_scheduler_type: cosin
          bf16: true
          fp16: true
        labels: {names: [1]}
        """,
        "foo=1",
    )
    assert [line.split(": ")[0] for line in lines] == ["r.yaml:7", "r.yaml:9", "r.yaml:11", "r.yaml:12", "command line"]


def test_no_message_speaks_pydantic(errors: Errors) -> None:
    lines = errors("labels: {names: [[]]}\nprediction: []\n")
    assert lines
    assert not any("Input should" in line or "validation error" in line for line in lines)


def test_what_only_a_validator_knows_is_told_with_its_line() -> None:
    from pydantic import BaseModel, field_validator

    from categorize.recipe.nodes import Mapping, compose
    from categorize.recipe.problems import Problems
    from categorize.recipe.typecheck import validated

    class Part(BaseModel):
        even: int

        @field_validator("even")
        @classmethod
        def check(cls, value: int) -> int:
            if value % 2:
                raise ValueError(f"expected an even number, found {value}")
            return value

    class Whole(BaseModel):
        parts: list[Part | str]

    root = compose("parts:\n  - {even: 2}\n  - even: 3\n", "r.yaml", Problems())
    assert isinstance(root, Mapping)
    problems = Problems()
    assert validated(root, Whole, problems, ())[0] is None
    assert problems.lines() == ["r.yaml:3: parts[1].even: expected an even number, found 3"]


def test_a_cleaning_step_is_a_name_or_a_name_with_options(minimal: Callable[..., LoadedRecipe]) -> None:
    cleaning = "[nfkc, {urls: {replace: <url>}}, {fillers: {languages: [en], add: [like]}}]"
    steps = minimal("", f"data.cleaning={cleaning}").recipe.data.cleaning
    assert [step if isinstance(step, str) else step.to_dict() for step in steps] == [
        "nfkc",
        {"urls": {"replace": "<url>"}},
        {"fillers": {"languages": ["en"], "add": ["like"]}},
    ]


@pytest.mark.parametrize(
    ("cleaning", "said"),
    [
        ("[nfkc, url]", "data.cleaning[1]: expected one of nfkc, control_characters"),
        ("[mention]", "; did you mean mentions?"),
        ("[{urls: null}]", "data.cleaning[0]: one step with its options an item, found none"),
        ("[{url: {}}]", "data.cleaning[0].url: unknown key; did you mean urls?"),
        ("[{urls: {replcae: x}}]", "data.cleaning[0].urls.replcae: unknown key; did you mean replace?"),
        ("[{fillers: {languages: [de]}}]", "data.cleaning[0].fillers.languages[0]: expected one of en, zh, found"),
        ("[{urls: {}, mentions: {}}]", "data.cleaning[0]: one step with its options an item, found urls and mentions"),
        ("[{speakers: {style: none}}]", "data.cleaning[0].speakers.style: expected one of prefix"),
    ],
)
def test_a_wrong_cleaning_step_is_named_with_its_place(errors: Errors, cleaning: str, said: str) -> None:
    lines = errors("", f"data.cleaning={cleaning}")
    assert len(lines) == 1
    assert said in lines[0]


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("../../x", "has '/' in it"),
        ("a\\b", "has '\\\\' in it"),
        ("a:b", "has ':' in it"),
        ("a\0b", "has '\\x00' in it"),
        ("a\u3000", "is blank or has blanks at its ends"),
        (" ", "is blank or has blanks at its ends"),
        ("..", "begins or ends with a point"),
        ("a.", "begins or ends with a point"),
        ("Con.v2", "is a device on Windows"),
        ("a.incomplete", "ends as the folders do that a run is written in"),
        ("好" * 70, "is longer than 200 bytes"),
    ],
)
def test_a_name_is_one_folder_wherever_a_run_may_be_copied(errors: Errors, name: str, fault: str) -> None:
    found = errors("", f"name={json.dumps(name)}")
    assert len(found) == 1
    assert found[0].startswith("command line: name: ")
    assert fault in found[0] and found[0].endswith(
        "write the name of one folder, and output_dir where it is to be elsewhere"
    )


@pytest.mark.parametrize("place", [" ", "a\0b"])
def test_an_output_dir_that_cannot_be_a_path_is_refused(errors: Errors, place: str) -> None:
    assert errors("", f"output_dir={json.dumps(place)}") == [f"command line: output_dir: {place!r} cannot be a path"]


def test_names_of_any_script_are_names(minimal: Minimal) -> None:
    for name in ("弹幕-分类_v1.2", "bert zh (2)", "console", "a" * 200):
        assert minimal("", f"name={json.dumps(name)}").recipe.name == name


@pytest.mark.parametrize(
    ("adapter", "said"),
    [
        ("{type: lora, r: 0}", "adapter.r: must be at least 1, found the number 0"),
        ("{type: dora, rank_pattern: {query: 0}}", "adapter.rank_pattern: must be at least 1, found the number 0"),
        (
            "{type: lora, lora_dropout: 1.5}",
            "adapter.lora_dropout: must be at least 0 and below 1, found the number 1.5",
        ),
        ("{type: prompt, num_virtual_tokens: 0}", "adapter.num_virtual_tokens: must be at least 1"),
    ],
)
def test_a_number_that_no_adapter_can_have_is_refused_with_its_bound(write: Write, adapter: str, said: str) -> None:
    assert said in error_of(write("r.yaml", MINIMAL + f"adapter: {adapter}\n"))
