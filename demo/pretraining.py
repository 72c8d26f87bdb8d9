"""Brief pretraining of the demo's tiny models on texts alone: masked language modelling, and next-token prediction.

One loop serves both. Texts are batched with their like in length, because short comments padded to the longest one
would spend most of the time on padding.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

IGNORED = -100  # the label that cross entropy skips


@dataclass(frozen=True)
class PretrainingSettings:
    """How long and how hard. `batch_tokens` counts padding; `learning_rate` is the peak, after `warmup_steps`."""

    epochs: int
    learning_rate: float
    batch_tokens: int
    warmup_steps: int = 30
    weight_decay: float = 0.01


@dataclass(frozen=True)
class PretrainingResult:
    """What a pretraining did: mean loss per predicted token (nats) over the first and the last tenth of the steps."""

    parameters: int
    steps: int
    loss_before: float
    loss_after: float
    seconds: float


# Turns padded ids and their attention mask, both [rows, length], into model inputs and labels of the same shape.
Objective = Callable[["torch.Tensor", "torch.Tensor", "torch.Generator"], tuple["torch.Tensor", "torch.Tensor"]]


def masked_objective(mask_id: int, special_ids: list[int], vocabulary: int, share: float = 0.2) -> Objective:
    """The masking of BERT (Devlin et al. 2019): of `share` of the tokens, 80% masked, 10% swapped, 10% kept.

    The first position, [CLS], is asked for one of the text's tokens, drawn at random. BERT's next-sentence task gave it
    something to sum up; masked tokens alone leave it blank, and a head that reads it learns nothing for epochs.
    """
    import torch

    def apply(
        ids: torch.Tensor, attention_mask: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        special = torch.isin(ids, torch.tensor(special_ids)) | (attention_mask == 0)
        chosen = (torch.rand(ids.shape, generator=generator) < share) & ~special
        fate = torch.rand(ids.shape, generator=generator)
        swapped = torch.randint(0, vocabulary, ids.shape, generator=generator)
        inputs = torch.where(chosen & (fate < 0.8), torch.full_like(ids, mask_id), ids)
        inputs = torch.where(chosen & (fate >= 0.9), swapped, inputs)
        labels = torch.where(chosen, ids, torch.full_like(ids, IGNORED))
        drawn = torch.rand(ids.shape, generator=generator).masked_fill(special, -1.0).argmax(dim=1, keepdim=True)
        labels[:, :1] = ids.gather(1, drawn).masked_fill(special.all(dim=1, keepdim=True), IGNORED)
        return inputs, labels

    return apply


def next_token_objective() -> Objective:
    """Next-token prediction; the model shifts the labels itself. Padding is not predicted, the end of a text is."""

    def apply(
        ids: torch.Tensor, attention_mask: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return ids, ids.masked_fill(attention_mask == 0, IGNORED)

    return apply


def batches(
    sequences: list[list[int]], batch_tokens: int, pad_id: int, generator: torch.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """One epoch of padded (ids, attention mask) batches of like lengths, in random order.

    A batch has at most `batch_tokens` ids, unless one text alone is longer.
    """
    import torch

    tie_breaks = torch.rand(len(sequences), generator=generator).tolist()
    order = sorted(range(len(sequences)), key=lambda row: (len(sequences[row]), tie_breaks[row]))
    groups: list[list[int]] = [[]]
    for row in order:  # ascending, so that the newest row sets the group's width
        if groups[-1] and (len(groups[-1]) + 1) * len(sequences[row]) > batch_tokens:
            groups.append([])
        groups[-1].append(row)
    for index in torch.randperm(len(groups), generator=generator).tolist():
        group = groups[index]
        width = len(sequences[group[-1]])
        ids = torch.full((len(group), width), pad_id, dtype=torch.long)
        attention_mask = torch.zeros_like(ids)
        for line, row in enumerate(group):
            ids[line, : len(sequences[row])] = torch.tensor(sequences[row])
            attention_mask[line, : len(sequences[row])] = 1
        yield ids, attention_mask


def pretrain(
    model: PreTrainedModel,
    sequences: list[list[int]],
    objective: Objective,
    settings: PretrainingSettings,
    *,
    pad_id: int,
    seed: int,
    progress: Callable[[str], None],
) -> PretrainingResult:
    """Train every weight of `model` on `sequences` (ids with special tokens) by AdamW with a cosine decay."""
    import torch

    started = time.perf_counter()
    counter = torch.Generator().manual_seed(seed)
    steps_per_epoch = sum(1 for _ in batches(sequences, settings.batch_tokens, pad_id, counter))
    total = steps_per_epoch * settings.epochs
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=settings.learning_rate,
        betas=(0.9, 0.98),
    )

    def rate(step: int) -> float:
        if step < settings.warmup_steps:
            return (step + 1) / settings.warmup_steps
        done = (step - settings.warmup_steps) / max(1, total - settings.warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    generator = torch.Generator().manual_seed(seed)
    losses: list[float] = []
    model.train()
    for epoch in range(settings.epochs):
        for ids, attention_mask in batches(sequences, settings.batch_tokens, pad_id, generator):
            inputs, labels = objective(ids, attention_mask, generator)
            loss = model(input_ids=inputs, attention_mask=attention_mask, labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(float(loss.detach()))
        seconds = time.perf_counter() - started
        recent = sum(losses[-steps_per_epoch:]) / min(len(losses), steps_per_epoch)
        progress(f"epoch {epoch + 1}/{settings.epochs}  loss {recent:.3f}  {seconds:.0f} s")
    model.eval()
    tenth = max(1, len(losses) // 10)
    return PretrainingResult(
        parameters=sum(p.numel() for p in model.parameters()),
        steps=len(losses),
        loss_before=losses[0],
        loss_after=sum(losses[-tenth:]) / tenth,
        seconds=time.perf_counter() - started,
    )
