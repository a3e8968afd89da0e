"""Copies of a model's tree of modules that share its tensors, and parts to put into them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, TypeVar, cast

import torch
from torch import nn
from transformers import DynamicCache

from .exceptions import UnsupportedModelError

__all__ = ["Inject", "Skip", "Tap", "decoder_layers", "keys_and_values", "share_weights"]

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def share_weights(
    module: ModuleT,
    keep: Iterable[object] = (),
    replace: Mapping[nn.Module, nn.Module] | None = None,
) -> ModuleT:
    """Copy the tree of modules but none of its tensors.

    The copy can be given adapters or other layers without the original noticing, and costs no
    memory to speak of.

    Parameters
    ----------
    module : torch.nn.Module
        What to copy.
    keep : iterable of object
        Parts that the copy shares with the original.
    replace : mapping of module to module, optional
        Parts that the copy has others in place of.
    """
    # At the first forward pass bitsandbytes moves the scales of 8-bit weights here, from the
    # weights themselves, which are shared.
    layers = [m for m in module.modules() if type(m).__name__ == "Linear8bitLt"]
    scales = [m.state for m in layers if hasattr(m, "state")]  # peft's of that name have none
    # 4-bit weights have theirs on the module, too.
    states = [getattr(m, "quant_state", None) for m in module.modules()]
    scales += [state for state in states if state is not None]
    shared = chain(module.parameters(), module.buffers(), scales, keep)
    memo: dict[int, Any] = {id(part): part for part in shared}
    memo.update({id(old): new for old, new in (replace or {}).items()})
    return copy.deepcopy(module, memo)


class Skip(nn.Module):
    """Stands in for a decoder layer and hands its input on."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        # Some families look this up on the layer itself to choose its mask.
        self.attention_type = getattr(layer, "attention_type", None)

    def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """Return the input."""
        return hidden_states


class Tap(Skip):
    """Remembers what flows into the first adapted layer."""

    states: torch.Tensor

    def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """Keep the input in ``states`` and return it."""
        self.states = hidden_states
        return hidden_states


class Inject(Skip):
    """Replaces what flows into the first adapted layer by stored activations."""

    states: torch.Tensor

    def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """Return ``states`` instead of the input."""
        return self.states


def decoder_layers(decoder: nn.Module, n_layers: int) -> nn.ModuleList:
    """Return the list of transformer blocks of ``decoder``."""
    for child in decoder.children():
        if isinstance(child, nn.ModuleList) and len(child) == n_layers:
            return child
    raise UnsupportedModelError(
        f"{type(decoder).__name__} has no list of {n_layers} layers; use a causal decoder of "
        "transformers, such as Llama, Qwen, Mistral, Gemma, GPT-2 or Phi."
    )


def keys_and_values(cache: DynamicCache) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return what a cache holds of every layer, each of shape (rows, heads, tokens, width)."""
    found = [
        (getattr(layer, "keys", None), getattr(layer, "values", None)) for layer in cache.layers
    ]
    if not found or any(keys is None or values is None for keys, values in found):
        raise UnsupportedModelError(
            "the base model keeps something other than keys and values between tokens; use a "
            "causal decoder with attention in every layer."
        )
    return cast(list[tuple[torch.Tensor, torch.Tensor]], found)
