"""Keys and values with room behind them, so that a step of generation copies none of the others.

transformers' ``DynamicLayer`` makes a new tensor of all keys at every token. Here, layers hand out
their whole buffers, whose empty places the attention mask hides: tensors without gaps, which
products of many small matrices take as they are. Written for generation; no gradients.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.nn.functional import pad
from transformers import Cache
from transformers.cache_utils import DynamicLayer

__all__ = ["ROOM", "roomy_cache"]

#: Tokens that buffers grow by: more would be computed in vain, fewer would be copied for often.
ROOM = 16


def roomy_cache(
    layers: Iterable[tuple[torch.Tensor, torch.Tensor]], tokens: int | None = None
) -> Cache:
    """Return a cache that holds every layer's keys and values, and can be added to in place.

    Parameters
    ----------
    layers : iterable of (tensor, tensor), each of shape (rows, heads, places, width)
        Where there is room in them, it will be written to.
    tokens : int, optional
        How many places are taken; by default all.
    """
    return Cache(layers=[RoomyLayer(keys, values, tokens) for keys, values in layers])


class RoomyLayer(DynamicLayer):
    """One layer's keys and values, at the front of buffers that are longer.

    Parameters
    ----------
    keys, values : tensor of shape (rows, heads, places, width)
        What is there already.
    tokens : int, optional
        How many of the places are taken; by default all.
    """

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, tokens: int | None = None) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values
        self._length = keys.shape[2] if tokens is None else tokens

    def _capacity(self, tokens: int) -> int:
        """Length of the buffers once ``tokens`` more have come."""
        needed, present = self._length + tokens, self.keys.shape[2]
        return present if needed <= present else needed + ROOM - 1

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add tokens, and return the buffers."""
        tokens = key_states.shape[2]
        missing = self._capacity(tokens) - self.keys.shape[2]
        if missing:
            # Zeros: a place that is hidden counts nothing, but not if it held a NaN.
            self.keys, self.values = (pad(t, (0, 0, 0, missing)) for t in (self.keys, self.values))
        for buffer, states in ((self.keys, key_states), (self.values, value_states)):
            buffer[:, :, self._length : self._length + tokens] = states
        self._length += tokens
        return self.keys, self.values

    def get_seq_length(self) -> int:
        """Return the number of tokens held."""
        return self._length

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return how many places a mask has to cover, and from where."""
        return self._capacity(query_length), 0
