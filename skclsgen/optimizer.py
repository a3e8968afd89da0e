"""AdamW on a float32 master copy of low-precision parameters."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from .dual_head import DualHead

__all__ = ["UP_RATE", "MasterAdamW"]

#: Gradients longer than this are scaled down to it.
MAX_GRADIENT_NORM = 1.0
#: How much faster the adapters' up-projections learn than the rest. They start at zero, so the
#: down-projections have no gradient before they move (LoRA+, Hayou et al. 2024,
#: https://arxiv.org/abs/2402.12354).
UP_RATE = 16.0
#: What peft calls them.
UP = "lora_B"


class MasterAdamW:
    """AdamW on a float32 master copy of low-precision parameters.

    Updates of a bfloat16 parameter are often smaller than its spacing and would be lost; the
    master copy collects them. It is one vector per learning rate: hundreds of small tensors would
    cost hundreds of small operations each step.

    Parameters
    ----------
    net : DualHead
        Whose adapters and head are trained.
    learning_rate, weight_decay : float
        As in :class:`torch.optim.AdamW`. The adapters' up-projections learn :data:`UP_RATE` times
        as fast; the head is not decayed, since it starts at rows of the LM head and not at zero.
    """

    def __init__(self, net: DualHead, learning_rate: float, weight_decay: float) -> None:
        adapters = net.adapter_parameters().items()
        self.parts: list[list[nn.Parameter]] = []
        self.masters: list[nn.Parameter] = []
        groups = []
        for part, rate, decay in (
            ([p for n, p in adapters if UP not in n], learning_rate, weight_decay),
            ([p for n, p in adapters if UP in n], UP_RATE * learning_rate, weight_decay),
            (list(net.head.parameters()), learning_rate, 0.0),
        ):
            vector = parameters_to_vector(part).detach()
            master = nn.Parameter(vector.to(torch.promote_types(vector.dtype, torch.float32)))
            self.parts.append(part)
            self.masters.append(master)
            groups.append({"params": [master], "lr": rate, "weight_decay": decay})
        self.adamw = torch.optim.AdamW(groups, fused=True)

    @torch.no_grad()
    def norm(self) -> float:
        """Norm of all trained parameters; not finite if one of them is not."""
        return float(nn.utils.get_total_norm(self.masters))

    @torch.no_grad()
    def step(self) -> None:
        """Clip, update, copy back, and clear the gradients."""
        for part, master in zip(self.parts, self.masters, strict=True):
            gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in part]
            master.grad = parameters_to_vector(gradients).to(master.dtype)
        nn.utils.clip_grad_norm_(self.masters, MAX_GRADIENT_NORM)
        self.adamw.step()
        self.adamw.zero_grad()
        for part, master in zip(self.parts, self.masters, strict=True):
            vector_to_parameters(master.to(part[0].dtype, copy=True), part)
            for parameter in part:
                parameter.grad = None
