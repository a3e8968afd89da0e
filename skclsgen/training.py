"""Batches, and the loop over epochs."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import get_cosine_schedule_with_warmup

from .anchor import Anchor, anchored
from .dual_head import DualHead
from .early_stopping import EarlyStopping
from .example import Example
from .exceptions import TrainingDivergedError
from .optimizer import MasterAdamW
from .reading import trunk_states
from .replay import PASSAGES, Passage, Replay

__all__ = [
    "History",
    "TrainingSettings",
    "mean_loss",
    "train",
]

logger = logging.getLogger(__name__)

#: Share of all steps over which the learning rate rises.
WARMUP = 0.1
#: Batches' worth of rows sorted by length together: a batch's are alike, yet every epoch mixes.
BATCHES_SORTED_TOGETHER = 8
#: Share of the trunk's store that a fit fills; more would push out what was just stored.
FILL = 0.9
#: Tokens whose activations are held at a time; a longer batch is run in parts.
MICRO_BATCH_TOKENS = 4096


@dataclass(frozen=True)
class TrainingSettings:
    """How to train; the names are those of :class:`~skclsgen.CLSGenClassifier`.

    ``classification_weight`` is 0 only for models that learn to write and nothing else; ``anchor``
    holds explanations to the base model that wrote them.
    """

    epochs: int
    learning_rate: float
    weight_decay: float
    batch_size: int
    explanation_weight: float
    n_iter_no_change: int
    seed: int
    verbose: int
    classification_weight: float = 1.0
    language_weight: float = 0.0
    anchor: bool = False


@dataclass
class History:
    """What training reports, one value per epoch; losses in nats."""

    loss: list[float] = field(default_factory=list)
    classification_loss: list[float] = field(default_factory=list)
    explanation_loss: list[float] = field(default_factory=list)
    language_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)


def train(
    net: DualHead,
    examples: Sequence[Example],
    validation: Sequence[Example],
    settings: TrainingSettings,
) -> History:
    """Fit adapters and head in place.

    Parameters
    ----------
    net : DualHead
        Trained in place.
    examples : sequence of Example
        Training rows; weights should average 1.
    validation : sequence of Example
        Rows for early stopping; none to run every epoch.
    settings : TrainingSettings
        Hyper-parameters.

    Returns
    -------
    History
        Mean losses per epoch.
    """
    history = History()
    if not settings.epochs:
        return history
    rng = np.random.default_rng(settings.seed)
    steps = math.ceil(len(examples) / settings.batch_size) * settings.epochs
    optimizer = MasterAdamW(net, settings.learning_rate, settings.weight_decay)
    # From 0: the first step moves nothing but the means of gradients that AdamW divides by. Without
    # it, short fits of tiny models got worse.
    schedule = get_cosine_schedule_with_warmup(optimizer.adamw, round(WARMUP * steps), steps)
    stopping = EarlyStopping(settings.n_iter_no_change, net.trained_state)
    _fill_trunk_cache(net, [*examples, *validation], settings.verbose)
    if settings.anchor:
        examples = anchored(net, examples, settings.verbose)
    replay = _replay(net, examples, settings)
    bar = tqdm(total=steps, desc="training", unit="batch", disable=settings.verbose < 1)
    with bar:
        for epoch in range(settings.epochs):
            net.train()
            sums = np.zeros(4)
            for batch in shuffled_batches(examples, settings.batch_size, rng):
                sums += _train_step(net, batch, replay, optimizer, settings)
                _check_finite(sums[0], "loss", epoch, settings)
                schedule.step()
                bar.update()
            loss, classification, explanation, language = (sums / len(examples)).tolist()
            # The last step's update no longer shows in any loss.
            _check_finite(optimizer.norm(), "size of the weights", epoch, settings)
            history.loss.append(loss)
            history.classification_loss.append(classification)
            history.explanation_loss.append(explanation)
            if replay:
                history.language_loss.append(language)
            bar.set_postfix(epoch=epoch + 1, loss=f"{loss:.3f}")
            if validation:
                held_out = mean_loss(net, validation, settings.batch_size)
                _check_finite(held_out, "validation loss", epoch, settings)
                history.validation_loss.append(held_out)
                bar.set_postfix(epoch=epoch + 1, loss=f"{loss:.3f}", validation=f"{held_out:.3f}")
                if stopping.should_stop(held_out):
                    break
    if stopping.best_state is not None:
        net.load_trained_state(stopping.best_state)
    net.eval()
    return history


def _check_finite(value: float, what: str, epoch: int, settings: TrainingSettings) -> None:
    if not math.isfinite(value):
        raise TrainingDivergedError(
            f"the {what} became {value} in epoch {epoch + 1}; lower learning_rate (now "
            f"{settings.learning_rate:g}), or use dtype='float32'."
        )


def _replay(
    net: DualHead, examples: Sequence[Example], settings: TrainingSettings
) -> Replay | None:
    """Return what keeps the language, if the network is to learn to write at all."""
    if not settings.language_weight or not any(example.continuation for example in examples):
        return None
    with tqdm(total=PASSAGES, desc="own words", unit="text", disable=settings.verbose < 1) as bar:
        return Replay(net, settings.seed, bar.update)


def _train_step(
    net: DualHead,
    batch: Sequence[Example],
    replay: Replay | None,
    optimizer: MasterAdamW,
    settings: TrainingSettings,
) -> np.ndarray:
    """Take one optimiser step; return what its rows add to the total and to each loss."""
    sums = np.zeros(4)
    passage = None if replay is None else replay.draw()
    for part in micro_batches(batch):
        classification, explanation, language = batch_losses(net, part, passage)
        joint = (
            settings.classification_weight * classification
            + settings.explanation_weight * explanation
        )
        (joint.sum() / len(batch) + settings.language_weight * language).backward()
        parts = [joint.sum(), classification.sum(), explanation.sum(), len(batch) * language]
        sums += torch.stack(parts).detach().cpu().double().numpy()
        passage = None  # once a step
    optimizer.step()
    return sums


def micro_batches(batch: Sequence[Example]) -> Iterator[Sequence[Example]]:
    """Cut a batch into parts of bounded memory; their gradients add up to the batch's."""
    part: list[Example] = []
    for example in batch:
        if part and sum(map(len, part)) + len(example) > MICRO_BATCH_TOKENS:
            yield part
            part = []
        part.append(example)
    yield part


def batch_losses(
    net: DualHead, batch: Sequence[Example], passage: Passage | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weighted classification and explanation loss of each row, and the language loss."""
    own = [example.row for example in batch]
    # What the store has no room for is run again, so as not to push out what others reuse.
    stored = trunk_states(net, own, store=False) if net.depth else []
    if passage is not None and passage.trunk is not None:
        stored = [*stored, passage.trunk]
    rows = net.pack(own if passage is None else [*own, passage.row])
    classes = torch.tensor([e.label for e in batch], device=rows.device)
    trunk = torch.cat(stored) if net.depth else None
    base_states = None if passage is None else passage.base_states
    anchor = Anchor.of(batch, rows.device)
    classification, explanation, language = net.losses(rows, trunk, classes, base_states, anchor)
    weights = torch.tensor(
        [(e.classification_weight, e.explanation_weight) for e in batch],
        device=rows.device,
        dtype=classification.dtype,
    )
    return classification * weights[:, 0], explanation * weights[:, 1], language


@torch.no_grad()
def mean_loss(net: DualHead, examples: Sequence[Example], batch_size: int) -> float:
    """Mean weighted classification loss over ``examples``, in nats."""
    net.eval()
    total = 0.0
    ordered = sorted(examples, key=lambda e: -len(e))
    for start in range(0, len(ordered), batch_size):
        for part in micro_batches(ordered[start : start + batch_size]):
            total += float(batch_losses(net, part)[0].sum())
    return total / len(examples)


def shuffled_batches(
    examples: Sequence[Example], size: int, rng: np.random.Generator
) -> Iterator[list[Example]]:
    """Yield every example once, in random batches of similar length."""
    order = rng.permutation(len(examples))
    pool = size * BATCHES_SORTED_TOGETHER
    batches = []
    for start in range(0, len(order), pool):
        chunk = sorted(order[start : start + pool], key=lambda i: len(examples[i]))
        batches += [chunk[i : i + size] for i in range(0, len(chunk), size)]
    for index in rng.permutation(len(batches)):
        yield [examples[i] for i in batches[index]]


def _fill_trunk_cache(net: DualHead, examples: Sequence[Example], verbose: int) -> None:
    """Compute the frozen activations of every row before the first epoch."""
    if not net.depth:
        return
    width = net.lm.get_input_embeddings().get_parameter("weight").shape[1]
    room = FILL * net.base.trunk_cache.capacity / (width * net.base.dtype.itemsize)
    total = np.cumsum([len(example) for example in examples])
    rows = [example.row for example in examples[: int(np.searchsorted(total, room))]]
    different = {(tuple(prompt), tuple(continuation)) for prompt, continuation in rows}
    with tqdm(total=len(different), desc="reading", unit="text", disable=verbose < 1) as bar:
        trunk_states(net, rows, progress=bar.update)
