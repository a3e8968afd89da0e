"""Want of memory: told from other errors, since it says nothing about the model."""

from __future__ import annotations

import torch
from accelerate.utils.memory import should_reduce_batch_size

__all__ = ["is_out_of_memory"]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is about memory, on whatever device.

    Only some devices have a class of their own for it; of others it is a ``RuntimeError``.

    Examples
    --------
    >>> try:
    ...     torch.empty(10**15)
    ... except RuntimeError as error:
    ...     is_out_of_memory(error)
    True
    """
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, Exception) and should_reduce_batch_size(error)
