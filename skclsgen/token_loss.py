"""Cross-entropy over a frozen vocabulary head, with its gradient taken on the way.

Autograd would keep several float32 tables of tokens x vocabulary and pass over them again. The
head is frozen, so all that training needs from it is the gradient of each token's loss with
respect to that token's hidden state: ``scale * (softmax - one_hot) @ weight``. It is computed
together with the loss, chunk by chunk, and nothing of the size of the vocabulary is kept.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .logit_shape import LogitShape

__all__ = ["frozen_head_kl", "frozen_head_nll", "log_proba"]

#: What most families do to their logits: nothing.
PLAIN = LogitShape()
#: Elements of a chunk's table of logits; 16 MB in float32, which stays in a CPU's cache.
CHUNK = 2**22


def frozen_head_nll(
    states: torch.Tensor,
    head: nn.Module,
    targets: torch.Tensor,
    shape: LogitShape = PLAIN,
) -> torch.Tensor:
    """Negative log-likelihood of each target token.

    Parameters
    ----------
    states : tensor of shape (tokens, width)
        Hidden states the tokens are predicted from.
    head : torch.nn.Module
        The LM head: a linear layer of floating-point weights. No gradient reaches it.
    targets : tensor of shape (tokens,), int64
    shape : LogitShape, optional
        Of the family's logits.

    Returns
    -------
    tensor of shape (tokens,)
        In nats, at least float32; differentiable with respect to ``states`` (once).
    """
    nll: torch.Tensor = _FrozenHeadNLL.apply(states, head, targets, shape)
    return nll


class _FrozenHeadNLL(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,
        head: nn.Module,
        targets: torch.Tensor,
        shape: LogitShape,
    ) -> torch.Tensor:
        weight = head.get_parameter("weight")
        rows = max(1, CHUNK // weight.shape[0])
        nll, gradient = [], []
        for chunk, target in zip(states.split(rows), targets.split(rows), strict=True):
            logits, slope = shape.apply(head(chunk))
            chosen = logits.gather(1, target[:, None])
            # In place: a further table costs more than the arithmetic on it.
            highest = logits.amax(dim=1, keepdim=True)
            table = logits.sub_(highest).exp_()
            total = table.sum(dim=1, keepdim=True)
            nll.append((total.log() + highest - chosen)[:, 0])
            if ctx.needs_input_grad[0]:
                gold = weight[target]
                if slope is not None:
                    table *= slope
                    gold = gold * slope.gather(1, target[:, None])
                mean = (table.to(weight.dtype) @ weight) / total
                gradient.append(((mean - gold) * shape.scale).to(states.dtype))
        if gradient:
            ctx.save_for_backward(torch.cat(gradient))
        return torch.cat(nll)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        scaled = gradient * grad_outputs[0][:, None].to(gradient.dtype)
        return scaled, None, None, None


def frozen_head_kl(
    states: torch.Tensor,
    base_states: torch.Tensor,
    head: nn.Module,
    shape: LogitShape = PLAIN,
) -> torch.Tensor:
    """Divergence of the next-token distributions of ``states`` from those of ``base_states``.

    ``sum p log(p / q)``, where ``p`` follows from ``base_states`` and ``q`` from ``states``.

    Parameters
    ----------
    states, base_states : tensor of shape (tokens, width)
        Hidden states; no gradient reaches ``base_states``.
    head : torch.nn.Module
        The LM head, as for :func:`frozen_head_nll`.
    shape : LogitShape, optional
        Of the family's logits.

    Returns
    -------
    tensor of shape (tokens,)
        In nats, at least float32; differentiable with respect to ``states`` (once).
    """
    kl: torch.Tensor = _FrozenHeadKL.apply(states, base_states, head, shape)
    return kl


class _FrozenHeadKL(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,
        base_states: torch.Tensor,
        head: nn.Module,
        shape: LogitShape,
    ) -> torch.Tensor:
        weight = head.get_parameter("weight")
        rows = max(1, CHUNK // weight.shape[0])
        kl, gradient = [], []
        for chunk, goal in zip(states.split(rows), base_states.split(rows), strict=True):
            (log_q, slope), (log_p, _) = (log_proba(head(own), shape) for own in (chunk, goal))
            p = log_p.exp()
            kl.append((p * (log_p - log_q)).sum(dim=1))
            if ctx.needs_input_grad[0]:
                table = log_q.exp_().sub_(p)
                if slope is not None:
                    table *= slope
                gradient.append((table.to(weight.dtype) @ weight * shape.scale).to(states.dtype))
        if gradient:
            ctx.save_for_backward(torch.cat(gradient))
        return torch.cat(kl)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad_outputs[0][:, None].to(gradient.dtype), None, None, None


def log_proba(logits: torch.Tensor, shape: LogitShape) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Log-probabilities of tokens, and the slope of what was done to their logits, if anything."""
    shaped, slope = shape.apply(logits)
    return shaped.log_softmax(dim=1), slope
