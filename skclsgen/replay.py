"""Passages that the base model wrote unprompted, read again so that its language is kept.

Fine-tuning on a few hundred rows changes how a model reads everything else. No general text is at
hand then, so the base model's own samples stand in for it (data-free distillation, Liu et al. 2024,
https://arxiv.org/abs/2305.17888): the tuned model is held to the base model's next-token
distributions on them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .backbone import BaseModel
from .dual_head import DualHead
from .generation import Prefill, decode
from .module_tree import keys_and_values
from .packed_model import PackedModel
from .packing import Row
from .prompt import control_tokens
from .reading import trunk_states
from .roomy_cache import roomy_cache
from .sampling import sampler

__all__ = ["PASSAGES", "Passage", "Replay", "own_words", "start_of_text"]

#: Passages a base model writes, and tokens of each after its first one.
PASSAGES, TOKENS = 64, 31


def start_of_text(base: BaseModel) -> list[int]:
    """Return what stands in front of a text that is no prompt."""
    ids = base.tokenizer.bos_token_id, base.tokenizer.eos_token_id, 0
    return [next(index for index in ids if index is not None)]


@torch.no_grad()
def own_words(
    base: BaseModel, progress: Callable[[int], object] = lambda rows: None
) -> Sequence[Row]:
    """Return passages that the base model wrote, each after a first token drawn at random.

    Parameters
    ----------
    base : BaseModel
        Writes them, once: it remembers them.
    progress : callable, optional
        Called with the number of passages that have just been written.

    Returns
    -------
    sequence of (list of int, list of int)
        The first token, and those to be predicted.
    """
    if not base.own_words:
        control = set(control_tokens(base.tokenizer).values())
        known = base.lm.get_input_embeddings().get_parameter("weight").shape[0]
        plain = sorted(set(range(min(known, len(base.tokenizer)))) - control)
        first = np.random.default_rng(0).choice(plain, size=PASSAGES, replace=len(plain) < PASSAGES)
        model = PackedModel(base, start_of_text(base))
        kept = roomy_cache(keys_and_values(model.prefix_cache()))
        start = Prefill(kept, torch.tensor([len(model.prefix_ids)], device=base.device))
        said = decode(
            model.lm,
            start.repeated(PASSAGES),
            [[int(token)] for token in first],
            min(TOKENS, base.context_length - 2),
            base.stop_ids,
            progress,
            sampler(base.logit_shape, 1.0, torch.Generator(base.device).manual_seed(0)),
        )
        base.own_words = [([int(token)], own) for token, own in zip(first, said, strict=True)]
    return base.own_words


@dataclass(frozen=True)
class Passage:
    """The base model's own passages, after the prompts' shared prefix.

    Attributes
    ----------
    row : (list of int, list of int)
        The first token, and those to be predicted.
    trunk : tensor of shape (tokens, width) or None
        Stored trunk activations.
    base_states : tensor of shape (tokens to be predicted, width)
        Hidden states that the base model predicts them from.
    """

    row: Row
    trunk: torch.Tensor | None
    base_states: torch.Tensor


class Replay:
    """Passages to be read with every batch, in an order that ``seed`` draws.

    They stand after the prompts' own prefix, so that they are but one more row of the batch; what
    they keep, they keep of other text too (docs/method.md has the numbers).

    Parameters
    ----------
    net : DualHead
        In training.
    seed : int
    progress : callable, optional
        For :func:`own_words`.
    """

    def __init__(
        self, net: DualHead, seed: int, progress: Callable[[int], object] = lambda rows: None
    ) -> None:
        room = max(1, net.base.context_length - len(net.prefix_ids) - 1)
        rows = [(first, more[:room]) for first, more in own_words(net.base, progress)]
        trunk = trunk_states(net, rows) if net.depth else [None] * len(rows)
        self.passages = list(map(Passage, rows, trunk, _base_states(net, rows)))
        self._rng = np.random.default_rng(seed)
        self._order: list[int] = []

    def draw(self) -> Passage:
        """Return the next passage; every one once, before any comes again."""
        if not self._order:
            self._order = self._rng.permutation(len(self.passages)).tolist()
        return self.passages[self._order.pop()]


def _base_states(net: DualHead, rows: Sequence[Row]) -> Sequence[torch.Tensor]:
    """What the base model predicts the passages from: the same for folds and grid points."""
    known = net.base.own_states
    states = known.get(net.prefix_ids)
    if states is None:
        states = PackedModel(net.base, net.prefix_ids).predicting_states(rows)
        known.clear()
        known[net.prefix_ids] = states
    return states
