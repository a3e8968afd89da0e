"""Stored activations of the frozen trunk, bounded in bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict

import torch

__all__ = ["DEFAULT_CAPACITY", "TrunkCache", "TrunkKey"]

#: Number of frozen layers, ids of the shared prefix, ids of the prompt.
TrunkKey = tuple[int, tuple[int, ...], tuple[int, ...]]

#: Bytes of activations kept per base model (a 135M model needs about 1.2 kB a token).
DEFAULT_CAPACITY = 2 * 1024**3


class TrunkCache:
    """Least-recently-used store of trunk activations, keyed by depth and token ids.

    Activations below the first adapted layer depend on the tokens alone: not on labels, folds,
    epochs or hyper-parameters. All estimators on one base model therefore share one store. A
    prompt with a continuation serves the prompt alone too, since no token looks ahead.

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
    >>> key = (10, (0,), (1, 2, 3))
    >>> cache.put(key, (7,), torch.zeros(4, 8))
    >>> cache.get(key, (7,)).shape, cache.get(key, ()).shape
    (torch.Size([4, 8]), torch.Size([3, 8]))
    >>> cache.get(key, (9,)) is None
    True
    """

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        self.capacity = capacity
        self.nbytes = 0
        self.hits = 0
        self.misses = 0
        self._entries: OrderedDict[tuple[TrunkKey, tuple[int, ...]], torch.Tensor] = OrderedDict()
        self._latest: dict[TrunkKey, tuple[int, ...]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: TrunkKey, continuation: tuple[int, ...]) -> torch.Tensor | None:
        """Return the activations of a prompt and its continuation, or ``None``.

        Returns
        -------
        tensor of shape (tokens, width) or None
        """
        with self._lock:
            entry = key, continuation if continuation else self._latest.get(key, ())
            states = self._entries.get(entry)
            if states is None:
                self.misses += 1
                return None
            self.hits += 1
            self._entries.move_to_end(entry)
            return states[: len(key[-1]) + len(continuation)]

    def put(self, key: TrunkKey, continuation: tuple[int, ...], states: torch.Tensor) -> None:
        """Store activations, dropping the oldest entries beyond the capacity."""
        if states.nbytes > self.capacity:
            return
        with self._lock:
            self._drop((key, continuation))
            self._entries[key, continuation] = states
            self._latest[key] = continuation
            self.nbytes += states.nbytes
            while self.nbytes > self.capacity:
                self._drop(next(iter(self._entries)))

    def _drop(self, entry: tuple[TrunkKey, tuple[int, ...]]) -> None:
        if entry in self._entries:
            self.nbytes -= self._entries.pop(entry).nbytes
            key, continuation = entry
            if self._latest.get(key) == continuation:
                del self._latest[key]

    def clear(self) -> None:
        """Drop every entry; the counters go on."""
        with self._lock:
            self._entries.clear()
            self._latest.clear()
            self.nbytes = 0
