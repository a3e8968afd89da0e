"""When to stop training, and which epoch's parameters were the best."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

__all__ = ["EarlyStopping"]

#: A smaller improvement of the validation loss, in nats, does not count.
TOLERANCE = 1e-4


class EarlyStopping:
    """Stop when the validation loss has not improved for some epochs; keep the best one's state.

    Parameters
    ----------
    patience : int
        Epochs without improvement after which training ends.
    state : callable
        Returns copies of the trained tensors by name.

    Attributes
    ----------
    best : float
        Lowest validation loss so far, in nats.
    best_state : dict of str to Tensor, or None
        Its epoch's tensors; None before any epoch was judged.

    Examples
    --------
    >>> stopping = EarlyStopping(2, dict)
    >>> [stopping.should_stop(loss) for loss in (0.9, 0.7, 0.8, 0.7)]
    [False, False, False, True]
    >>> stopping.best
    0.7
    """

    def __init__(self, patience: int, state: Callable[[], dict[str, torch.Tensor]]) -> None:
        self.patience = patience
        self.best = math.inf
        self.best_state: dict[str, torch.Tensor] | None = None
        self._state = state
        self._waited = 0

    def should_stop(self, loss: float) -> bool:
        """Take note of an epoch's loss; True if training should end."""
        if loss < self.best - TOLERANCE:
            self.best, self._waited = loss, 0
            self.best_state = self._state()
        else:
            self._waited += 1
        return self._waited >= self.patience
