"""Low-rank adapters: where they sit, and a linear layer with its adapter as one operation.

peft computes base, down and up projection, scaling and sum one after the other, and autograd goes
back through each. The sums run over full-width activations, which on a CPU costs as much as a
fifth of the matrix products. Here they are part of the products.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral
from typing import Any, cast

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import Linear
from torch import nn
from torch.nn.functional import linear
from transformers.pytorch_utils import Conv1D

from .exceptions import UnsupportedModelError

__all__ = ["FusedLora", "LoraSettings", "add_adapters", "n_adapted_layers"]


@dataclass(frozen=True)
class LoraSettings:
    """Where and how large the low-rank adapters are.

    Attributes
    ----------
    layers : "all", float or int
        Adapted layers, counted from the top: all, a fraction in (0, 1], or a number.
    r : int
        Rank.
    alpha : float
        Scale; updates are multiplied by ``alpha / r``.
    dropout : float
        Probability of dropping an adapter's input in training.
    """

    layers: str | float | int
    r: int
    alpha: float
    dropout: float


def n_adapted_layers(layers: str | float | int, total: int) -> int:
    """Number of adapted layers out of ``total``, at least one.

    Examples
    --------
    >>> n_adapted_layers("all", 30), n_adapted_layers(2 / 3, 30), n_adapted_layers(10, 30)
    (30, 20, 10)
    """
    if isinstance(layers, str):
        return total
    wanted = layers if isinstance(layers, Integral) else round(layers * total)
    return max(1, min(total, int(wanted)))


def add_adapters(model: nn.Module, layers: Iterable[nn.Module], settings: LoraSettings) -> None:
    """Put adapters on all linear layers of some layers of a model.

    Parameters
    ----------
    model : torch.nn.Module
        Changed in place.
    layers : iterable of torch.nn.Module
        Those of its layers to adapt.
    settings : LoraSettings
        Rank, scale and dropout.

    Raises
    ------
    UnsupportedModelError
        If there is nothing to adapt.
    """
    linears = {
        id(module)
        for layer in layers
        for module in layer.modules()
        if isinstance(module, (nn.Linear, Conv1D))
    }
    names = [name for name, module in model.named_modules() if id(module) in linears]
    if not names:
        raise UnsupportedModelError(
            f"{type(model).__name__} has no linear layers to adapt; use another model."
        )
    config = LoraConfig(
        r=settings.r,
        lora_alpha=cast(int, settings.alpha),
        lora_dropout=settings.dropout,
        target_modules=names,
        fan_in_fan_out=isinstance(model.get_submodule(names[0]), Conv1D),
    )
    inject_adapter_in_model(config, model)
    _fuse(model)


def _fuse(model: nn.Module) -> None:
    """Replace peft's layers by fused ones, wherever they are of the plain kind."""
    found = [(name, module) for name, module in model.named_modules() if type(module) is Linear]
    for name, layer in found:
        (adapter,) = layer.active_adapters
        plain = type(layer.get_base_layer()) is nn.Linear
        if plain and isinstance(layer.lora_dropout[adapter], nn.Identity):
            model.set_submodule(name, FusedLora(layer))


class FusedLora(nn.Module):
    """Computes what a peft layer computes, ``x W' + b + scale (x A') B'``, in fewer steps.

    Parameters
    ----------
    layer : peft.tuners.lora.Linear
        With one adapter, on a plain ``torch.nn.Linear``, without dropout.
    """

    def __init__(self, layer: Linear) -> None:
        super().__init__()
        (name,) = layer.active_adapters
        self.base_layer = cast(nn.Linear, layer.get_base_layer())
        self.lora_A = cast(nn.Linear, layer.lora_A[name])
        self.lora_B = cast(nn.Linear, layer.lora_B[name])
        self.scaling = float(layer.scaling[name])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply layer and adapter to activations of shape (..., width)."""
        flat: torch.Tensor = _FusedLora.apply(
            x.reshape(-1, x.shape[-1]),
            self.base_layer.weight,
            self.base_layer.bias,
            self.lora_A.weight,
            self.lora_B.weight,
            self.scaling,
        )
        return flat.view(*x.shape[:-1], flat.shape[-1])


class _FusedLora(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        down: torch.Tensor,
        up: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        low = x @ down.T
        ctx.save_for_backward(x, weight, down, up, low)
        ctx.scaling = scaling
        return linear(x, weight, bias).addmm_(low, up.T, alpha=scaling)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, down, up, low = ctx.saved_tensors
        (gradient,) = grad_outputs
        grad_low = (gradient @ up).mul_(ctx.scaling)
        grad_up = (gradient.T @ low).mul_(ctx.scaling)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = (gradient @ weight).addmm_(grad_low, down)
        return grad_x, None, None, grad_low.T @ x, grad_up, None
