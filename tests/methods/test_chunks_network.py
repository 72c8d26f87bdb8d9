"""The network of the chunks method: what a document is given depends on its chunks alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from categorize.labels import Label, LabelSet
from categorize.methods.chunks.aggregators import Attention, Lstm, Max, Mean, build_aggregator
from categorize.methods.chunks.model import load_encoder

Tiny = Callable[..., Path]
KINDS = ("attention", "label_attention", "mean", "max", "mlp", "lstm", "transformer")
ALL_KINDS = (*KINDS, "logsumexp")  # which joins logits, not vectors
ORDERED = ("lstm", "transformer")
SIZES = (3, 1, 6, 2)  # chunks of each document
LABELS = LabelSet("multi_label", tuple(Label(name) for name in "abc"))


def aggregator(kind: str) -> Any:
    torch.manual_seed(0)
    return build_aggregator(kind, 8, None, 1, 3).double().eval()


def documents() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(size, 8, generator=generator, dtype=torch.float64) for size in SIZES]


def padded(parts: list[torch.Tensor], filler: float) -> tuple[torch.Tensor, torch.Tensor]:
    most = max(len(part) for part in parts)
    vectors = torch.full((len(parts), most, 8), filler, dtype=torch.float64)
    mask = torch.zeros(len(parts), most, dtype=torch.bool)
    for i, part in enumerate(parts):
        vectors[i, : len(part)], mask[i, : len(part)] = part, True
    return vectors, mask


@pytest.mark.parametrize("kind", KINDS)
def test_a_document_alone_is_given_what_it_is_given_among_others(kind: str) -> None:
    joined = aggregator(kind)(*padded(documents(), 7.0))
    for document, found in zip(documents(), joined, strict=True):
        torch.testing.assert_close(found, aggregator(kind)(*padded([document], 0.0))[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_chunks_matters_to_those_that_read_in_order_alone(kind: str) -> None:
    document = documents()[2]
    there, back = (aggregator(kind)(*padded([one], 0.0)) for one in (document, document.flip(0)))
    assert torch.allclose(there, back, atol=1e-9) == (kind not in ORDERED)


def test_mean_maximum_and_gated_attention_are_those_of_their_definitions() -> None:
    attention = aggregator("attention")
    assert isinstance(attention, Attention)
    vectors, mask = padded(documents(), 7.0)
    for i, document in enumerate(documents()):
        torch.testing.assert_close(Mean(8)(vectors, mask)[i], document.mean(0))
        torch.testing.assert_close(Max(8)(vectors, mask)[i], document.max(0).values)
        # Ilse, Tomczak and Welling (2018), equations 7 and 9
        scores = torch.stack(
            [
                attention.score.weight[0]
                @ (
                    torch.tanh(attention.value.weight @ h + attention.value.bias)
                    * torch.sigmoid(attention.gate.weight @ h + attention.gate.bias)
                )
                for h in document
            ]
        )
        shares = scores.exp() / scores.exp().sum()
        torch.testing.assert_close(attention(vectors, mask)[i], (shares.unsqueeze(1) * document).sum(0))
        torch.testing.assert_close(attention.weights(vectors, mask)[i, : len(document)], shares)


def test_the_lstm_ends_at_the_last_and_at_the_first_chunk() -> None:
    lstm = aggregator("lstm")
    assert isinstance(lstm, Lstm)
    vectors, mask = padded(documents(), 7.0)
    for i, document in enumerate(documents()):
        states, _ = lstm.network(document.unsqueeze(0))
        expected = torch.cat([states[0, -1, :4], states[0, 0, 4:]])
        torch.testing.assert_close(lstm(vectors, mask)[i], expected)


def network(tiny: Tiny, architecture: str = "bert", kind: str = "attention", **options: Any) -> Any:
    torch.manual_seed(0)
    made = {"type": kind, "hidden_size": None, "layers": 1, "dropout": 0.0}
    settings = {"pooling": "mean", "aggregator": made, "chunk_batch": 32, **options}
    return load_encoder(str(tiny(architecture)), LABELS, settings, dtype=torch.float32)


def batch(pad: int, at: list[int]) -> dict[str, torch.Tensor]:
    """Chunks of unlike lengths of some of the documents."""
    generator = torch.Generator().manual_seed(2)
    chunks = [
        [
            torch.randint(5, 40, (int(n),), generator=generator)
            for n in torch.randint(2, 20, (size,), generator=generator)
        ]
        for size in SIZES
    ]
    flat = [chunk for i in at for chunk in chunks[i]]
    ids = torch.nn.utils.rnn.pad_sequence(flat, batch_first=True, padding_value=pad)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(one) for one in flat], batch_first=True)
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "document": torch.repeat_interleave(torch.arange(len(at)), torch.tensor([len(chunks[i]) for i in at])),
    }


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_padding_of_chunks_and_of_documents_changes_no_logit(tiny: Tiny, kind: str) -> None:
    model = network(tiny, kind=kind).model.eval()
    pad = model.config.pad_token_id
    together = model(**batch(pad, [0, 1, 2, 3])).logits
    alone = torch.cat([model(**batch(pad, [i])).logits for i in range(4)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)


def test_logits_of_chunks_are_joined_as_scipy_joins_them(tiny: Tiny) -> None:
    from scipy.special import logsumexp, softmax

    model = network(tiny, kind="logsumexp").model.eval()
    inputs = batch(model.config.pad_token_id, [2])
    with torch.no_grad():
        vectors = model.chunks(inputs["input_ids"], inputs["attention_mask"])
        # a document of one chunk has that chunk's logits
        each = torch.cat([model.documents(one.unsqueeze(0), torch.tensor([0])) for one in vectors]).numpy()
        assert model(**inputs).logits[0].numpy() == pytest.approx(logsumexp(each, axis=0), abs=1e-6)
        shares = model.weights(vectors, inputs["document"])[0].numpy()
    assert pytest.approx(softmax(each, axis=0), abs=1e-6) == shares.T


def test_chunks_read_in_several_passes_give_the_same_logits_and_gradients(tiny: Tiny) -> None:
    found = []
    for size in (32, 3):
        model = network(tiny, kind="lstm", chunk_batch=size).model.train()
        logits = model(**batch(model.config.pad_token_id, [0, 1, 2, 3])).logits
        logits.square().sum().backward()
        grads = [parameter.grad for parameter in model.parameters()]
        assert all(grad is not None for grad in grads)  # none that several processes would wait for
        found.append((logits, torch.cat([grad.flatten() for grad in grads])))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=1e-6)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "deberta", "modernbert", "qwen2"])
def test_a_saved_network_gives_the_same_logits(tiny: Tiny, tmp_path: Path, architecture: str) -> None:
    from categorize.methods.chunks.network import ChunkClassifier

    chunks = network(tiny, architecture, "label_attention")
    inputs = batch(chunks.model.config.pad_token_id, [0, 1, 2, 3])
    expected = chunks.model.eval()(**inputs).logits
    encoder = chunks.model.encoder.state_dict()
    chunks.model.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.glob("*.safetensors")] == ["model.safetensors"]
    loaded, told = ChunkClassifier.from_pretrained(tmp_path, output_loading_info=True)
    assert not told["missing_keys"] and not told["unexpected_keys"]
    assert torch.equal(loaded.eval()(**inputs).logits, expected)
    assert loaded.config.id2label == {0: "a", 1: "b", 2: "c"}
    # and the encoder was the checkpoint's, not one made anew
    from transformers import AutoModel

    original = AutoModel.from_pretrained(tiny(architecture)).state_dict()
    assert all(torch.equal(value, original[name]) for name, value in encoder.items())


def test_a_token_that_the_tokenizer_lacks_is_not_read(tiny: Tiny) -> None:
    from categorize.errors import UserError

    with pytest.raises(UserError, match=r"model\.pooling: cls: the tokenizer of .* has no such token; write mean"):
        network(tiny, "qwen2", pooling="cls")
    with pytest.raises(UserError, match=r"t5 is an encoder-decoder, which model.method chunks does not read"):
        network(tiny, "t5")


MEASURED = """
import sys, threading, time
import torch
from transformers import BertConfig, BertModel
from categorize.methods.chunks.network import ChunkClassifier, ChunksConfig

torch.set_num_threads(1)
small = dict(hidden_size=128, num_hidden_layers=2, num_attention_heads=4, intermediate_size=512, vocab_size=99)
encoder = BertConfig(**small)
aggregator = {"type": "attention", "hidden_size": 32, "layers": 1, "dropout": 0.0}
config = ChunksConfig(encoder_config=encoder.to_dict(), aggregator=aggregator, num_labels=2, chunk_batch=4)
network = ChunkClassifier(config, BertModel(encoder)).train(sys.argv[1] == "train")
ids = torch.randint(5, 99, (int(sys.argv[2]), 256))


def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096


def step(ids):
    document = torch.zeros(len(ids), dtype=torch.long)
    with torch.set_grad_enabled(network.training):
        logits = network(document, ids, torch.ones_like(ids)).logits
    if network.training:
        logits.sum().backward()


def watch():
    while going:
        most[0] = max(most[0], resident())
        time.sleep(0.002)


step(ids[:5])
most, before, going = [0], resident(), True
thread = threading.Thread(target=watch)
thread.start()
step(ids)
going = False
thread.join()
print(most[0] - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and the heap is given back by glibc")
@pytest.mark.parametrize("mode", ["train", "predict"])
def test_memory_does_not_grow_with_the_length_of_a_document(root: Path, mode: str) -> None:
    def peak(chunks: int) -> float:
        command = [sys.executable, "-c", MEASURED, mode, str(chunks)]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
        return int(done.stdout.split()[-1]) / 2**20

    few, many = peak(12), peak(120)  # 3,000 and 30,000 tokens; 234 MiB more where nothing is given back
    assert many - few < 100, (few, many)
