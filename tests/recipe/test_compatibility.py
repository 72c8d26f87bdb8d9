"""Combinations that cannot work are refused, each at the line of the guilty key."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from categorize.errors import UserError
from categorize.recipe.compatibility import zero_stage
from categorize.recipe.load import LoadedRecipe
from tests.recipes import load_recipe

from .conftest import Errors, Write

QLORA = "quantization: {load_in_4bit: true}\nadapter: {type: lora}\n"
ZERO3 = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            "quantization:\n  load_in_4bit: true\n",
            "r.yaml:8: quantization.load_in_4bit: quantized weights cannot be trained",
        ),
        (
            "quantization: {load_in_4bit: true, load_in_8bit: true}\nadapter: {type: lora}\n",
            "cannot go with load_in_4bit",
        ),
        (
            "quantization: {bnb_4bit_quant_type: nf4}\nadapter: {type: lora}\n",
            "r.yaml:7: quantization: quantizes nothing",
        ),
        ("adapter: {type: prefix}\n", "r.yaml:7: adapter.type: prefix needs adapter.num_virtual_tokens"),
        (
            "adapter: {type: prefix, num_virtual_tokens: 5}\ntraining:\n  activation_checkpointing: true\n",
            "r.yaml:9: training.activation_checkpointing: crashes with adapter.type: prefix",
        ),
        *(
            (f"adapter: {{type: lora, init_lora_weights: {start}}}\n", f"adapter.init_lora_weights: {start} needs")
            for start in ("eva", "corda", "loftq")
        ),
        ("adapter: {type: lora, layers_pattern: h}\n", "adapter.layers_pattern: does nothing without layers_to"),
        ("adapter: {type: lora, layers_to_transform: [0]}\n", "needs adapter.target_modules as a list"),
        ("adapter: {type: prefix, num_virtual_tokens: 5, encoder_hidden_size: 8}\n", "does nothing without prefix_pro"),
        ("adapter: {type: prompt, num_virtual_tokens: 5, prompt_tuning_init: TEXT}\n", "TEXT needs adapter.prompt_tu"),
        (
            "adapter: {type: prompt, num_virtual_tokens: 5, prompt_tuning_init_text: x}\n",
            "does nothing without prompt_tuning_init: TEXT",
        ),
        *(
            (
                f"adapter: {{type: p_tuning, num_virtual_tokens: 5, {key}: {value}}}\n",
                "does nothing without encoder_rep",
            )
            for key, value in (("encoder_num_layers", 3), ("encoder_dropout", 0.1))
        ),
        (
            "labels: {names: [{name: a, description: x}, b, {name: g, labels: [c]}]}\nprompt: {descriptions: true}\n",
            "r.yaml:8: prompt.descriptions: b, c have none; write {name: ..., description: ...} in labels.names",
        ),
        ("prompt: {descriptions: true}\n", "prompt.descriptions: labels are those of the data; write labels.names"),
        (
            "labels: {names: [a, b]}\nprompt: {system: Choose., descriptions: false}\n",
            "prompt.descriptions: prompt.system does not show the labels; write {labels} in it",
        ),
        ("labels: {task: regression}\nprompt: {descriptions: true}\n", "prompt.descriptions: is for labels, but"),
        ("prompt: {retrieval: {k: 2}}\n", "prompt.retrieval: chooses examples for models that are asked"),
        ("adapter: {type: bottleneck, size: 8, reduction: 4}\n", "adapter.reduction: does nothing beside adapter.size"),
        (
            "adapter: {type: bottleneck, placement: pfeiffer, target_modules: [mlp]}\n",
            "adapter.placement: does nothing beside adapter.target_modules",
        ),
        ("adapter: {type: bottleneck, size: 0}\n", "adapter.size: expected a number above 0"),
        ("adapter: {type: bottleneck, dropout: 1.0}\n", "adapter.dropout: expected a number below 1"),
        (
            "adapter: {type: bottleneck, r: 8}\n",
            "adapter.r: belongs to adapter.type: lora, dora or rslora; this",
        ),
        ("adapter: {type: lora, placement: pfeiffer}\n", "adapter.placement: belongs to adapter.type: bottleneck"),
        (
            "adapter: {type: lora}\nquantization: {load_in_8bit: true, bnb_4bit_quant_type: nf4}\n",
            "quantization.bnb_4bit_quant_type: is for load_in_4bit, but the weights are loaded in 8 bits",
        ),
        (
            "adapter: {type: lora}\nquantization: {load_in_4bit: true, llm_int8_threshold: 3.0}\n",
            "quantization.llm_int8_threshold: is for load_in_8bit",
        ),
        ("training: {bf16: true, fp16: true}\n", "training.fp16: cannot go with bf16"),
        (
            "training: {early_stopping: {patience: 2}, eval_strategy: no}\n",
            "training.early_stopping: needs evaluations",
        ),
        ("training: {load_best_model_at_end: true, eval_strategy: no}\n", "needs evaluations"),
        (
            "training: {load_best_model_at_end: true, eval_strategy: epoch, save_strategy: steps}\n",
            "training.save_strategy: steps and eval_strategy epoch do not fit",
        ),
        ("labels: {task: regression}\ntraining: {class_weights: balanced}\n", "training.class_weights: is for labels"),
        ("labels: {task: regression}\ntraining: {balance: upsample}\n", "training.balance: is for labels"),
        ("labels: {task: regression}\nprompt: {completion: codes}\n", "prompt.completion: codes stand for labels"),
        ("prompt: {completion: yes_no}\n", "prompt.completion: yes_no is for run_sft.py and run_eval.py: a head"),
        (
            "prompt: {question: '{label}?'}\n",
            "prompt.question: is asked about each label with prompt.completion: yes_no",
        ),
        ("training: {balance: upsample, class_weights: balanced}\n", "training.balance: cannot go with class_weights"),
        ("training: {balance: {type: repeat}, class_weights: balanced}\n", "training.balance: cannot go with class_we"),
        (
            "training: {loss: asymmetric}\n",
            "training.loss: asymmetric is for multi_label, but labels.task is single_la",
        ),
        (
            "labels: {task: multi_label}\ntraining: {loss: balanced_softmax}\n",
            "balanced_softmax is for single_label or ordinal, but labels.task is multi_label; write cross_ent",
        ),
        (
            "training: {loss: corn}\n",
            "training.loss: corn is for ordinal, but labels.task is single_label; write cross",
        ),
        (
            "labels: {task: ordinal, names: [a, b]}\ntraining: {loss: corn, label_smoothing_factor: 0.1}\n",
            "training.label_smoothing_factor: does nothing with loss corn",
        ),
        ("labels: {task: regression}\ntraining: {loss: focal}\n", "training.loss: focal is for"),
        (
            "training: {loss: {type: huber, delta: 2}}\n",
            "training.loss: huber is for regression, but labels.task is si",
        ),
        (
            "training: {loss: focal, label_smoothing_factor: 0.1}\n",
            "label_smoothing_factor: does nothing with loss foc",
        ),
        ("training: {loss: {type: logit_adjustment}, balance: weighted}\n", "training.balance: cannot go with loss lo"),
        ("training: {loss: balanced_softmax, class_weights: balanced}\n", "training.class_weights: cannot go with los"),
        ("training: {loss: {type: focal, tau: 1}}\n", "loss.tau: belongs to training.loss.type: logit_adjustment; thi"),
        ("training: {loss: {gamma: 1}}\n", "training.loss.type: is missing: Name of the loss."),
        (
            "training: {class_weights: {type: effective_number, beta: 1}}\n",
            "class_weights.beta: expected a number below",
        ),
        ("labels: {task: regression, codes: {0: a}}\n", "labels.codes: is for labels, but labels.task is regression"),
        ("labels: {names: [good, bad]}\ntraining: {class_weights: {god: 2}}\n", "did you mean good?"),
        (
            "labels: {names: [good, bad], codes: {0: god}}\n",
            "r.yaml:7: labels.codes.0: 'god' is not one of labels.names",
        ),
        (
            "training: {per_device_train_batch_size: 0}\n",
            "training.per_device_train_batch_size: expected a number of at",
        ),
        ("training: {gradient_accumulation_steps: -2}\n", "at least 1, found -2"),
        ("training: {num_train_epochs: 0}\n", "training.num_train_epochs: expected a number above 0, found 0"),
        ("training: {learning_rate: -1e-4}\n", "training.learning_rate: expected a number of at least 0"),
        ("training: {label_smoothing_factor: 1.5}\n", "a share of at least 0 and below 1, found 1.5"),
        ("labels: {minimum: 0}\n", "labels.minimum: bounds a score, but labels.task is single_label"),
        ("labels: {task: ordinal}\n", "labels.task: ordinal needs labels.names, in rising order"),
        ("decision: {thresholds: per_label}\n", "decision.thresholds: decides among several labels a row"),
        (
            "decision: {ordinal: median}\n",
            "decision.ordinal: decides among ordered labels, but labels.task is single_label",
        ),
        ("prompt:\n  template: Read this\n", "r.yaml:8: prompt.template: 'Read this' does not hold the row"),
        ("prompt: {template: 'by {speaker}'}\n", "prompt.template: 'by {speaker}' does not hold the row"),
        ("prompt: {template: '{text!r}'}\n", "prompt.template: '{text!r}' does not hold the row; write {text}"),
        ("prompt: {template: '{{text}}'}\n", "prompt.template: '{{text}}' does not hold the row"),
        ("prompt: {template: '{text} {label}'}\n", "r.yaml:7: prompt.template: '{text} {label}' puts the label column"),
        ('prompt: {template: \'{"t": "{text}"}\'}\n', "a brace of no placeholder; write {{ or }} for one"),
    ],
)
def test_what_cannot_work_is_refused_by_name(errors: Errors, more: str, said: str) -> None:
    lines = errors(more)
    assert len(lines) == 1
    assert said in lines[0]


@pytest.mark.parametrize(
    ("columns", "more", "said"),
    [
        ("{text: [a, label]}", "", "data.columns.text: label is the label column too"),
        ("{text: a}", "  template: '{a} {label}'\n", "r.yaml:6: data.template: '{a} {label}' puts the label column"),
        ("{text: [a, the-b]}", "  template: '{a}'\n", "data.columns.text (a, the-b) differ in {the-b}"),
        ("{text: a}", "  template: '{a} {A}'\n", "data.columns.text (a) differ in {A}"),
        ("{text: a}", "  template: '{a} }'\n", "r.yaml:6: data.template: '{a} }': a brace of no placeholder"),
        ("{text: a, label: mood}", "prompt: {template: '{a} is {mood}'}\n", "puts the label column {mood}"),
        ("{text: a, label: mood}", "prompt: {template: '{a} by {the-author!r}'}\n", None),
        ("{text: [Customer Review, b]}", "prompt: {template: '{Customer Review} {{}}'}\n", None),
        ("{text: a, label: null}", "prompt: {template: '{a} {label}'}\n", None),
    ],
)
def test_templates_hold_the_row_and_not_its_label(write: Write, columns: str, more: str, said: str | None) -> None:
    """Any column may be named, with one syntax for both templates."""
    head = f"kind: seqcls\nname: mine\ndata:\n  source: x.csv\n  columns: {columns}\n"
    path = write("r.yaml", f"{head}{more}model: {{name_or_path: some/model}}\n")
    if said is None:
        load_recipe(path, environment={})
        return
    with pytest.raises(UserError) as caught:
        load_recipe(path, environment={})
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["sample: {rows: 100}", "dedupe: exact", "silver: {}"])
def test_what_would_leave_rows_out_of_a_labelling_job_is_refused(write: Write, key: str) -> None:
    head = "kind: label\nname: mine\nlabels: {names: [a, b]}\nlabeling: {teacher: {type: run, run: outputs/mine}}\n"
    load_recipe(write("r.yaml", f"{head}data:\n  source: x.csv\n  dedupe: none\n  splits: {{test: 0.5}}\n"))
    with pytest.raises(UserError) as caught:
        load_recipe(write("r.yaml", f"{head}data:\n  source: x.csv\n  {key}\n"))
    name = key.partition(":")[0]
    assert f"r.yaml:7: data.{name}: a labelling job labels every row; remove it: " in str(caught.value)


def test_a_linear_probe_has_no_adapter(errors: Errors) -> None:
    lines = errors("adapter: {type: lora}\n", "model.freeze=true")
    assert lines == [
        "command line: model.freeze: cannot go with an adapter: a linear probe trains the head alone; remove one of "
        "them"
    ]


def test_tfidf_has_no_pretrained_model(errors: Errors) -> None:
    lines = errors(QLORA + "training: {learning_rate: 1}\nprompt: {system: x}\n", "model.method=tfidf")
    assert [line.split(": ")[1] for line in lines] == ["quantization", "adapter", "training", "prompt"]
    assert lines[2].endswith(": learning_rate")


@pytest.mark.parametrize("value", ["-1", "[null]", "[1, 2]"])
def test_a_section_that_is_not_a_mapping_is_one_problem_under_any_method(errors: Errors, value: str) -> None:
    lines = errors(f"training: {value}\n", "model={method: tfidf}")
    assert len(lines) == 1 and "training: expected a mapping, found" in lines[0]


def test_code_of_the_hub_does_not_come_in_by_the_attention(errors: Errors) -> None:
    assert "is code from the Hub" in errors("", "model.attn_implementation=kernels-community/flash-attn")[0]


def test_stopping_early_needs_validation_rows(errors: Errors, minimal: Callable[..., LoadedRecipe]) -> None:
    more = "training: {early_stopping: {patience: 2}, eval_strategy: epoch}\n"
    assert "needs validation rows" in errors(more, "data.splits.validation=0")[0]
    minimal(more, "data.splits.validation=0", "data.source={train: a.csv, validation: b.csv}")
    minimal(more, "data.splits.validation=0", "data.source=someone/dataset")


def test_what_works_is_not_refused(minimal: Callable[..., LoadedRecipe]) -> None:
    minimal(QLORA)
    minimal("labels: {task: multi_label}\ndecision: {thresholds: per_label, fallback: top}\n")
    minimal("labels: {names: [{name: g, labels: [a, {name: b}]}]}\ntraining: {class_weights: {a: 1, b: 2}}\n")
    grouped = "names: [{name: g, labels: [a, b]}], rules: {brings_parent: [g]}"
    minimal(f"labels: {{task: multi_label, {grouped}}}\ndecision: {{hierarchy: capped}}\n")
    minimal("training: {load_best_model_at_end: true, eval_strategy: epoch, save_strategy: best}\n")
    minimal("training: {activation_checkpointing: true}\nadapter: {type: lora}\n")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("{names: [{name: g, labels: [g, a]}]}", "decision.hierarchy: decides among several labels a row"),
        ("{task: multi_label, names: [a, b]}", "decision.hierarchy: is for labels in groups"),
        (
            "{task: multi_label, names: [{name: g, labels: [a, b]}]}",
            "decision.hierarchy: is for groups that are labels",
        ),
    ],
)
def test_a_hierarchy_that_no_label_follows_is_refused(errors: Errors, labels: str, said: str) -> None:
    (line,) = errors(f"labels: {labels}\ndecision: {{hierarchy: exact}}\n")
    assert said in line


def test_4_bit_weights_are_refused_under_zero_3_only(errors: Errors, minimal: Callable[..., LoadedRecipe]) -> None:
    assert "do not work with DeepSpeed ZeRO-3" in errors(QLORA, environment=ZERO3)[0]
    minimal(QLORA, environment={**ZERO3, "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"})
    minimal(QLORA, environment={**ZERO3, "ACCELERATE_USE_DEEPSPEED": "false"})
    minimal("adapter: {type: lora}\n", environment=ZERO3)


def test_the_zero_stage_of_a_deepspeed_file_decides(tmp_path: Path) -> None:
    text = json.dumps({"zero_optimization": {"stage": 3}})
    (tmp_path / "ds.json").write_text(text)
    on = {"ACCELERATE_USE_DEEPSPEED": "true"}
    assert zero_stage({}) == 0
    assert zero_stage(on) == 2
    assert zero_stage({**on, "ACCELERATE_DEEPSPEED_CONFIG_FILE": str(tmp_path / "ds.json")}) == 3
    encoded = base64.urlsafe_b64encode(text.encode()).decode()
    assert zero_stage({**on, "ACCELERATE_DEEPSPEED_CONFIG_FILE": encoded}) == 3
    assert zero_stage({**on, "ACCELERATE_DEEPSPEED_CONFIG_FILE": str(tmp_path / "gone.json")}) == 2


def test_accelerate_still_passes_the_zero_stage_by_these_names() -> None:
    import inspect

    from accelerate.utils import launch

    source = inspect.getsource(launch)
    for name in ("ACCELERATE_USE_DEEPSPEED", "ACCELERATE_DEEPSPEED_ZERO_STAGE", "ACCELERATE_DEEPSPEED_CONFIG_FILE"):
        assert f'"{name}"' in source


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("training: {label_smoothing_factor: 0.1}\n", "training.label_smoothing_factor: smooths a head's labels"),
        (
            "labels: {task: multi_label}\ntraining: {class_weights: balanced}\n",
            "training.class_weights: a row of several labels",
        ),
        (
            "labels: {task: multi_label}\nprediction: {mode: scoring}\n",
            "prediction.mode: scoring chooses one label, but labels.task is multi_label; write generation",
        ),
        ("labels: {task: multi_label}\ndecision: {thresholds: per_label}\n", "decision.thresholds: works on prob"),
        (
            "labels: {task: ordinal, names: [a, b]}\nprediction: {mode: generation}\ndecision: {ordinal: median}\n",
            "decision.ordinal: works on probabilities",
        ),
        ("labels: {task: multi_label}\ndecision: {fallback: top}\n", "decision.fallback: works on probabilities"),
        (
            "labels: {task: multi_label, names: [{name: a, labels: [a, b]}]}\ndecision: {hierarchy: exact}\n",
            "decision.hierarchy: works on probabilities",
        ),
        ("prediction: {mode: generation}\ndecision: {calibration: temperature}\n", "decision.calibration: works on"),
        (
            "labels: {task: multi_label}\ntraining: {loss: label_set}\n",
            "training.loss: label_set learns one label, but labels.task is multi_label; set prompt.completion: yes_no",
        ),
        (
            "training: {loss: label_set}\nprediction: {mode: generation}\n",
            "prediction.mode: with training.loss: label_set no answer is learned that could be written; write scoring",
        ),
        (
            "prediction: {prior: auto, candidates: {}}\n",
            "prediction.prior: auto is measured of one prompt, but with prediction.candidates",
        ),
        (
            "prediction: {length_normalization: auto, candidates: {}}\n",
            "prediction.length_normalization: auto is chosen for one prompt, but with prediction.candidates",
        ),
        ("prompt: {completion: yes_no}\n", "prompt.completion: yes_no asks about each of several labels"),
        (
            "labels: {task: multi_label}\nprompt: {completion: yes_no}\ntraining: {loss: tokens}\n",
            "training.loss: with prompt.completion: yes_no labels are learned by label_set",
        ),
        (
            "labels: {task: multi_label}\nprompt: {completion: yes_no, shots: [{text: a, label: b}]}\n",
            "prompt.shots: show whole answers, but prompt.completion is yes_no",
        ),
        ("training: {router_aux_loss_coef: 0.1}\n", "training.router_aux_loss_coef: is not used"),
        ("training: {pad_to_multiple_of: 8}\n", "training.pad_to_multiple_of: is set by the project"),
    ],
)
def test_keys_that_would_do_nothing_for_answers_are_refused(errors: Errors, more: str, said: str) -> None:
    lines = errors(more, "kind=sft")
    assert len(lines) == 1
    assert said in lines[0]


def test_losses_and_weights_that_fit_are_not_refused(minimal: Callable[..., LoadedRecipe]) -> None:
    minimal("training: {loss: logit_adjustment, label_smoothing_factor: 0.1}\n")
    minimal("labels: {task: multi_label}\ntraining: {loss: {type: asymmetric, margin: 0}, class_weights: balanced}\n")
    minimal("training: {class_weights: {type: effective_number, beta: 0.9}, loss: focal}\n")
    minimal("labels: {names: [type, beta]}\ntraining: {class_weights: {type: 2, beta: 1}}\n")
    minimal("training: {balance: {type: repeat, threshold: 0.1}}\n", "model={method: tfidf}")
    minimal("training: {class_weights: balanced}\n", "model={method: tfidf}")


def test_what_works_for_answers_is_not_refused(minimal: Callable[..., LoadedRecipe]) -> None:
    minimal("decision: {calibration: temperature}\nprediction: {mode: scoring}\n", "kind=sft")
    minimal("labels: {task: multi_label}\ndecision: {fallback: none}\n", "kind=sft")
    minimal("labels: {task: regression}\nprediction: {mode: generation}\n", "kind=sft")
    minimal("training: {loss: label_set, label_smoothing_factor: 0.1}\n", "kind=sft")
    minimal(
        "labels: {task: multi_label}\nprompt: {completion: yes_no}\ndecision: {thresholds: per_label}\n"
        "training: {class_weights: balanced}\nprediction: {mode: scoring}\n",
        "kind=sft",
    )


def test_data_keys_that_the_source_may_have_a_use_for_are_not_refused(minimal: Callable[..., LoadedRecipe]) -> None:
    minimal("", "data.source=owner/name", "data.subset=a", "data.revision=v1")
    minimal("", "data.source={train: a.csv, test: b.xlsx}", "data.sheet=2", "data.encoding=gbk")
    minimal("", "data.source=a.txt", "data.format=csv", "data.encoding=gbk")
    minimal("", "data.source=a.csv", "data.sheet=null")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ("data.encoding=gbk", "data.format=xlsx"),
            "data.encoding: is for csv, tsv, json, jsonl, fasttext or text, but the source is xlsx",
        ),
        (("data.sheet=2", "data.source=a.CSV.gz"), "data.sheet: is for xlsx, but the source is csv; remove it"),
        (("data.revision=v1", "data.source=a.tab"), "data.revision: is for hub, but the source is tsv"),
        (("data.subset=a", "data.source={train: a.csv, test: b.json}"), "but the source is csv and json"),
        (("data.danmu.utc_offset=9", "data.source=owner/name"), "data.danmu: does nothing without"),
        (("data.splits.fold=2",), "data.splits.fold: chooses one of data.splits.folds, which is not set"),
        (("data.splits.folds=5", "data.splits.fold=5"), "data.splits.fold: folds count from 0: the last of 5 is 4"),
        (("data.splits.folds=5", "data.splits.by_time=day"), "data.splits.by_time: cannot go with folds"),
        (("data.splits.near_duplicates=group", "data.columns.group=video"), "already what stays together"),
        (("data.splits.near_duplicates=group", "data.splits.by_time=day"), "would date a text by one"),
        (("data.dedupe=near", "data.columns.document=meeting"), "near compares single rows"),
    ],
)
def test_data_keys_that_cannot_go_together_are_refused(errors: Errors, overrides: tuple[str, ...], said: str) -> None:
    lines = errors("", *overrides)
    assert len(lines) == 1
    assert said in lines[0]


@pytest.mark.parametrize(
    ("segments", "more", "said"),
    [
        ("{by: turns, stride: 4}", (), "data.segments.stride: is for by: tokens, but by is turns"),
        ("{by: packed, minutes: 4}", (), "data.segments.minutes: is for by: minutes, but by is packed"),
        ("{by: head, seed: 4}", (), "data.segments.seed: is for by: random_sentences, but by is head"),
        ("{max_tokens: 4}", (), "data.segments.max_tokens: cuts nothing with by: document"),
        ("{by: minutes}", (), "data.segments.by: minutes needs data.segments.minutes"),
        ("{by: tokens, max_tokens: 8, stride: 8}", (), "data.segments.stride: 8 tokens shared of 8 never end"),
        (
            "{by: tokens, max_tokens: 80}",
            ("model.max_length=64",),
            "80 tokens are more than the 64 that the model reads",
        ),
        (
            "{by: packed}",
            ("model={method: tfidf}",),
            "data.segments.by: packed needs data.segments.max_tokens: model.method tfidf reads texts of any length",
        ),
        ("{by: turns, aggregation: median}", (), "data.segments.aggregation: median is for scores"),
        (
            "{by: turns, aggregation: vote}",
            ("labels.task=regression",),
            "data.segments.aggregation: vote is for labels, but labels.task is regression",
        ),
        (
            "{by: packed}",
            ("data.cleaning=[{speakers: {style: field}}]",),
            "data.cleaning[0].speakers.style: field is for segments that are turns, but data.segments.by is packed",
        ),
        ("{by: turn}", (), "did you mean turns?"),
    ],
)
def test_a_cut_that_cannot_work_is_refused(errors: Errors, segments: str, more: tuple[str, ...], said: str) -> None:
    lines = errors("", f"data.segments={segments}", *more)
    assert len(lines) == 1, lines
    assert said in lines[0]


@pytest.mark.parametrize(
    ("segments", "more"),
    [
        ("{by: tokens, stride: 16}", ()),
        ("{by: turns, aggregation: vote}", ("model={method: tfidf}",)),
        ("{by: minutes, minutes: 5, aggregation: median}", ("labels.task=regression",)),
        ("{by: random_sentences, max_tokens: 64, seed: 7}", ("model.max_length=64",)),
    ],
)
def test_a_cut_that_works_is_taken(minimal: Callable[..., LoadedRecipe], segments: str, more: tuple[str, ...]) -> None:
    assert minimal("", f"data.segments={segments}", *more).recipe.data.segments.by != "document"
