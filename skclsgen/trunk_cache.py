"""Stored activations of the frozen trunk, bounded in bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable

import torch

__all__ = ["DEFAULT_CAPACITY", "TrunkCache"]

#: Bytes of activations kept per base model (a 135M model needs about 1.2 kB a token).
DEFAULT_CAPACITY = 2 * 1024**3


class TrunkCache:
    """Least-recently-used store of trunk activations, keyed by depth and token ids.

    Activations below the first adapted layer depend on the tokens alone: not on labels, folds,
    epochs or hyper-parameters. All estimators on one base model therefore share one store.

    Parameters
    ----------
    capacity : int, default=2 GiB
        Upper bound of the bytes held; the entries unused for longest go first.

    Attributes
    ----------
    nbytes : int
        Bytes held now.
    hits, misses : int
        How often :meth:`get` found or missed an entry.

    Examples
    --------
    >>> import torch
    >>> from skclsgen.trunk_cache import TrunkCache
    >>> cache = TrunkCache()
    >>> cache.put((10, (1, 2, 3)), torch.zeros(3, 4))
    >>> cache.get((10, (1, 2, 3))).shape
    torch.Size([3, 4])
    >>> cache.get((10, (1, 2))) is None
    True
    """

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        self.capacity = capacity
        self.nbytes = 0
        self.hits = 0
        self.misses = 0
        self._entries: OrderedDict[Hashable, torch.Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> torch.Tensor | None:
        """Return the activations stored under ``key``, shape (tokens, width), or ``None``."""
        with self._lock:
            states = self._entries.get(key)
            if states is None:
                self.misses += 1
                return None
            self.hits += 1
            self._entries.move_to_end(key)
            return states

    def put(self, key: Hashable, states: torch.Tensor) -> None:
        """Store activations, dropping the oldest entries beyond the capacity."""
        if states.nbytes > self.capacity:
            return
        with self._lock:
            old = self._entries.pop(key, None)
            self.nbytes += states.nbytes - (old.nbytes if old is not None else 0)
            self._entries[key] = states
            while self.nbytes > self.capacity:
                _, dropped = self._entries.popitem(last=False)
                self.nbytes -= dropped.nbytes

    def clear(self) -> None:
        """Drop every entry; the counters go on."""
        with self._lock:
            self._entries.clear()
            self.nbytes = 0
