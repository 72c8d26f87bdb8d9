"""The outputs of a head that was tuned elsewhere are read as the labels that they stand for, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from categorize import load_predictor
from categorize.errors import UserError
from categorize.labels import Label, LabelRules, LabelSet
from categorize.methods.head.model import build_head, load_trained_head
from tests.recipes import SeqclsRecipe

Tiny = Callable[..., Path]
TEXTS = ["good movie", "bad 讨厌", "fine text label"]


def label_set(*names: str, aliases: bool = False) -> LabelSet:
    labels = tuple(Label(name, aliases=(name.upper(),) if aliases else ()) for name in names)
    return LabelSet("single_label", labels, rules=LabelRules(unknown="other", other=names[0]))


def tuned(tiny: Tiny, folder: Path, names: list[str], architecture: str = "bert") -> Path:
    """A classifier as a hub holds it, whose config names its outputs; each output has a bias that tells it apart."""
    import transformers as t

    base = tiny(architecture)
    config = t.AutoConfig.from_pretrained(base, num_labels=len(names))
    config.id2label, config.label2id = dict(enumerate(names)), {name: i for i, name in enumerate(names)}
    model = t.AutoModelForSequenceClassification.from_pretrained(base, config=config)
    last = [module for module in model.modules() if isinstance(module, torch.nn.Linear)][-1]
    with torch.no_grad():
        last.weight.normal_(generator=torch.Generator().manual_seed(0))
    model.save_pretrained(folder)
    t.AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


def by_label(source: Path, wanted: LabelSet) -> tuple[dict[str, Any], list[str]]:
    """Probabilities of the texts by upper-cased label, and the notes."""
    predictor = load_predictor(str(source), label_set=wanted)
    assert set(predictor.label_set.names) == set(wanted.names)
    found = predictor.probabilities(predictor.input_spec.rows_from_texts(TEXTS)).probabilities
    assert found is not None
    return {name.upper(): found[:, i] for i, name in enumerate(predictor.label_set.names)}, predictor.notes


@pytest.mark.parametrize("architecture", ["bert", "roberta", "t5", "qwen2"])
def test_outputs_are_matched_to_labels_by_their_spelling(tiny: Tiny, tmp_path: Path, architecture: str) -> None:
    source = tuned(tiny, tmp_path / "tuned", ["BAD", "FINE", "GOOD"], architecture)
    expected, notes = by_label(source, label_set("BAD", "FINE", "GOOD"))
    assert notes == [] and min(np.ptp(list(expected.values()), axis=0)) > 0.01, "the outputs differ"
    found, notes = by_label(source, label_set("good", "bad", "fine", aliases=True))
    for name, probabilities in expected.items():
        np.testing.assert_allclose(found[name], probabilities, atol=1e-6)
    assert notes == ["the head's rows follow their labels: it had the order BAD, FINE, GOOD"]


def test_outputs_that_are_not_the_labels_are_refused_with_both_orders(tiny: Tiny, tmp_path: Path) -> None:
    source = tuned(tiny, tmp_path / "tuned", ["NEGATIVE", "POSITIVE"])
    for wanted, shown in (
        (label_set("Positive", "Negative"), "outputs are NEGATIVE, POSITIVE, the labels Positive, Negative"),
        (label_set("POSITIVE", "NEGATIVE", "NEUTRAL"), "NEGATIVE, POSITIVE, the labels POSITIVE, NEGATIVE, NEUTRAL"),
        (LabelSet("regression", (Label("score"),)), "outputs are NEGATIVE, POSITIVE, the labels score"),
    ):
        with pytest.raises(UserError, match=shown) as error:
            load_predictor(str(source), label_set=wanted)
        assert "\n" not in str(error.value) and "aliases" in str(error.value)


def test_outputs_without_names_are_read_by_position_and_this_is_said(tiny: Tiny, tmp_path: Path) -> None:
    source = tuned(tiny, tmp_path / "tuned", ["LABEL_0", "LABEL_1"])
    first, notes = by_label(source, label_set("yes", "no"))
    assert notes == [
        "the head's outputs have no names and are read in the order of the labels: LABEL_0 is yes, LABEL_1 is no"
    ]
    second, _ = by_label(source, label_set("no", "yes"))
    np.testing.assert_allclose(first["YES"], second["NO"])
    named, notes = by_label(source, label_set("LABEL_1", "LABEL_0"))  # these are names after all
    np.testing.assert_allclose(named["LABEL_0"], first["YES"])
    assert "follow their labels" in notes[0]
    with pytest.raises(UserError, match="outputs are LABEL_0, LABEL_1, the labels a, b, c"):
        load_predictor(str(source), label_set=label_set("a", "b", "c"))


def test_the_outputs_of_an_adapter_are_read_in_an_order_that_is_said(tiny: Tiny, tmp_path: Path) -> None:
    import transformers as t
    from peft import LoraConfig, get_peft_model

    for names, wanted, order in (
        (["LABEL_0", "LABEL_1"], ("b", "a"), "b, a"),
        (["a", "b"], ("b", "a"), "a, b"),  # those of its base
    ):
        base = tuned(tiny, tmp_path / f"base {order}", names)
        model = t.AutoModelForSequenceClassification.from_pretrained(base)
        get_peft_model(model, LoraConfig(task_type="SEQ_CLS")).save_pretrained(tmp_path / f"adapter {order}")
        predictor = load_predictor(str(tmp_path / f"adapter {order}"), label_set=label_set(*wanted))
        assert predictor.notes[1] == f"the adapter's outputs have no names and are read in the order {order}"
        plain = load_predictor(str(base), label_set=label_set(*order.split(", ")))
        expected, found = plain.predict_texts(TEXTS).probabilities, predictor.predict_texts(TEXTS).probabilities
        assert expected is not None and found is not None
        np.testing.assert_allclose(found, expected, atol=1e-6)
    with pytest.raises(UserError, match="its head is for another number of labels than 3") as error:
        load_predictor(str(tmp_path / "adapter a, b"), label_set=label_set("a", "b", "c"))
    assert "\n" not in str(error.value)


def recipe(source: Path, **sections: Any) -> SeqclsRecipe:
    model = {"name_or_path": str(source), "max_length": 32}
    return SeqclsRecipe.model_validate(
        {"kind": "seqcls", "name": "x", "data": {"source": "x"}, "model": model, **sections}
    )


@pytest.mark.parametrize("architecture", ["bert", "roberta", "modernbert", "qwen2"])
def test_training_goes_on_from_a_head_whose_rows_follow_their_labels(
    tiny: Tiny, tmp_path: Path, architecture: str
) -> None:
    source = tuned(tiny, tmp_path / "tuned", ["a", "b", "c"], architecture)
    ids = torch.tensor([[5, 6, 7, 8]])
    heads = [build_head(recipe(source), label_set(*names)) for names in ("abc", "cab")]
    with torch.no_grad():
        same, moved = (head.model.eval()(input_ids=ids).logits for head in heads)
    torch.testing.assert_close(moved, same[:, [2, 0, 1]])
    assert heads[0].note is None and heads[1].note == "the head's rows follow their labels: it had the order a, b, c"
    # What is saved names its outputs in the new order, and is read so.
    heads[1].model.save_pretrained(tmp_path / "again")
    heads[1].tokenizer.save_pretrained(tmp_path / "again")
    again = load_trained_head(str(tmp_path / "again"), label_set(*"cab"), heads[1].settings)
    with torch.no_grad():
        torch.testing.assert_close(again.model(input_ids=ids).logits, moved)


def test_a_head_for_other_labels_is_made_anew_and_said_to_be(tiny: Tiny, tmp_path: Path) -> None:
    source = tuned(tiny, tmp_path / "tuned", ["a", "b", "c"])
    old = build_head(recipe(source), label_set(*"abc")).model.classifier.weight
    for names in ("xyz", "abx", "ab"):
        head = build_head(recipe(source, adapter={"type": "lora"} if names == "xyz" else None), label_set(*names))
        assert head.note == f"new output layer: the head's outputs are a, b, c, the labels {', '.join(names)}"
        new = next(
            weight
            for name, weight in head.model.named_parameters()
            if name.endswith("classifier.weight") or "modules_to_save" in name
        )
        assert new.shape[0] == len(names) and new.std() < 0.1 < old.std()
        if len(names) == 3:
            assert not torch.isclose(new, old).any()
    assert build_head(recipe(tiny("bert")), label_set(*"xy")).note is None, "a base without a head is what it was"
