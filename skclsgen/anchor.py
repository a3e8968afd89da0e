"""Explanations that the base model wrote, held to all that it might have written there.

A few hundred of its explanations show what it may say, but not how often: whoever learns them word
for word soon begins every explanation alike, with whatever turn of phrase came up the most, and
fits differ in which one that is. So each word's target is half the word itself and half the base
model's own distribution (soft targets beside hard ones, Hinton et al. 2015,
https://arxiv.org/abs/1503.02531, with the untuned model as its own teacher). docs/evidence.md has
the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from tqdm.auto import tqdm

from .dual_head import DualHead
from .example import Example
from .packed_model import PackedModel
from .packing import batches_by_length

__all__ = ["Anchor", "anchored"]


@dataclass(frozen=True)
class Anchor:
    """Where a batch's explanations are held to the base model.

    Attributes
    ----------
    tokens : tensor of shape (held tokens,), int64
        Their places among all tokens of the batch's continuations.
    base_states : tensor of shape (held tokens, width)
        Hidden states that the base model predicts them from.
    """

    tokens: torch.Tensor
    base_states: torch.Tensor

    @classmethod
    def of(cls, batch: Sequence[Example], device: torch.device) -> Anchor | None:
        """Gather what :func:`anchored` found; None if it was not asked for any of the batch."""
        places: list[int] = []
        states, start = [], 0
        for example in batch:
            if example.base_states is not None:
                places += [start + own for own in example.reason]
                states.append(example.base_states.to(device))
            start += len(example.continuation)
        if not places:
            return None
        return cls(torch.tensor(places, device=device), torch.cat(states))


@torch.no_grad()
def anchored(net: DualHead, examples: Sequence[Example], verbose: int = 0) -> list[Example]:
    """Return the examples with what the base model predicts their explanations from.

    The end of an explanation is not held: the base model often goes on where it should stop.

    Parameters
    ----------
    net : DualHead
        In training.
    examples : sequence of Example
    verbose : int, default=0
        Show a progress bar from 1 up.
    """
    model = PackedModel(net.base, net.prefix_ids)
    found = list(examples)
    explained = [place for place, example in enumerate(examples) if example.reason]
    lengths = [len(examples[place]) for place in explained]
    silent = verbose < 1 or not explained
    with tqdm(total=len(explained), desc="anchors", unit="text", disable=silent) as bar:
        for batch in batches_by_length(lengths):
            places = [explained[i] for i in batch]
            states = model.predicting_states([examples[place].row for place in places])
            for place, own in zip(places, states, strict=True):
                reason = examples[place].reason
                # A copy, and beside the accelerator: a fit may have many.
                kept = own[reason.start : reason.stop].to("cpu", copy=True)
                found[place] = replace(examples[place], base_states=kept)
            bar.update(len(batch))
    return found
