"""AdamW on a float32 master copy, and when to stop."""

from __future__ import annotations

import math

import torch
from torch import nn

from .dual_head import DualHead

__all__ = ["EarlyStopping", "MasterAdamW"]

#: Gradients longer than this are scaled down to it.
MAX_GRADIENT_NORM = 1.0


class MasterAdamW:
    """AdamW on a float32 master copy of low-precision parameters.

    Updates of a bfloat16 parameter are often smaller than its spacing and would be lost; the
    master copy collects them. Parameters that are float32 anyway are their own master.

    Parameters
    ----------
    net : DualHead
        Whose adapters and head are trained.
    learning_rate, weight_decay : float
        As in :class:`torch.optim.AdamW`; the head is not decayed, since it starts at rows of the
        LM head and not at zero.
    """

    def __init__(self, net: DualHead, learning_rate: float, weight_decay: float) -> None:
        adapters, head = list(net.adapter_parameters().values()), list(net.head.parameters())
        self.parameters = [*adapters, *head]
        self.masters = [self._master(p) for p in self.parameters]
        groups = [
            {"params": self.masters[: len(adapters)], "weight_decay": weight_decay},
            {"params": self.masters[len(adapters) :], "weight_decay": 0.0},
        ]
        self.adamw = torch.optim.AdamW(groups, lr=learning_rate)

    @staticmethod
    def _master(parameter: nn.Parameter) -> nn.Parameter:
        wide = torch.promote_types(parameter.dtype, torch.float32)
        return parameter if parameter.dtype == wide else nn.Parameter(parameter.detach().to(wide))

    @torch.no_grad()
    def step(self) -> None:
        """Clip, update, copy back, and clear the gradients."""
        for parameter, master in zip(self.parameters, self.masters, strict=True):
            if master is not parameter and parameter.grad is not None:
                master.grad = parameter.grad.to(master.dtype)
                parameter.grad = None
        nn.utils.clip_grad_norm_(self.masters, MAX_GRADIENT_NORM)
        self.adamw.step()
        self.adamw.zero_grad()
        for parameter, master in zip(self.parameters, self.masters, strict=True):
            if master is not parameter:
                parameter.copy_(master)


class EarlyStopping:
    """Stop when the validation loss has not improved for some epochs, and go back to the best."""

    #: A smaller improvement does not count.
    TOLERANCE = 1e-4

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.best = math.inf
        self.waited = 0
        self._state: dict[str, torch.Tensor] | None = None

    def should_stop(self, loss: float, net: DualHead) -> bool:
        """Take note of an epoch's loss; True if training should end."""
        if loss < self.best - self.TOLERANCE:
            self.best, self.waited = loss, 0
            self._state = net.trained_state()
        else:
            self.waited += 1
        return self.waited >= self.patience

    def restore_best(self, net: DualHead) -> None:
        """Put the best epoch's parameters back, if epochs were compared at all."""
        if self._state is not None:
            net.load_trained_state(self._state)
        net.eval()
