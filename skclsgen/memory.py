"""What is computed once about a text, kept in a folder for the next session.

The files are safetensors and JSON: nothing in them is ever executed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from .disk_store import DiskStore
from .trunk_cache import TrunkKey
from .wording import Unfinished

__all__ = ["Memory", "weights_digest"]

#: Numbers looked at in each tensor, about.
SAMPLED = 256


class Memory:
    """Trunk activations and self-written reasons of one base model, in a folder.

    Parameters
    ----------
    folder : path
        May be shared by base models and processes.
    model : str
        Fingerprint of the base model's weights, see :func:`weights_digest`.
    conditions : sequence of str
        What else activations depend on: type, device, versions.

    Examples
    --------
    >>> import tempfile, torch
    >>> memory = Memory(tempfile.mkdtemp(), "0a1b2c", ["bfloat16"])
    >>> key = (10, (0,), (1, 2, 3))
    >>> memory.keep_states(key, (7,), torch.zeros(4, 8))
    >>> memory.states(key, (7,)).shape, memory.states(key, ()).shape
    (torch.Size([4, 8]), torch.Size([3, 8]))
    >>> memory.states(key, (9,)) is None
    True
    """

    def __init__(
        self,
        folder: str | Path,
        model: str,
        conditions: Sequence[str] = (),
    ) -> None:
        self._store = _open(Path(folder) / "skclsgen" / model[:16])
        self._conditions = tuple(conditions)

    def states(self, key: TrunkKey, continuation: tuple[int, ...]) -> torch.Tensor | None:
        """Return the activations of a prompt and its continuation, or None.

        Returns
        -------
        tensor of shape (tokens, width) or None
            On the CPU.
        """
        content = self._store.find(self._name("states", *key))
        if content is None:
            return None
        try:
            found = load(content)
            states, followed = found["states"], tuple(found["continuation"].tolist())
            tokens = len(states)
        except (SafetensorError, KeyError, TypeError):  # damaged: as good as absent
            return None
        if continuation not in ((), followed) or tokens != len(key[-1]) + len(followed):
            return None
        return states[: len(key[-1]) + len(continuation)]

    def keep_states(
        self, key: TrunkKey, continuation: tuple[int, ...], states: torch.Tensor
    ) -> None:
        """Keep activations, in place of those with another continuation."""
        followed = torch.tensor(continuation, dtype=torch.long, device="cpu")
        content = save({"states": states.cpu().contiguous(), "continuation": followed})
        self._store.keep(self._name("states", *key), content)

    def reason(self, key: Sequence[Any]) -> str | None:
        """Return the reason kept under a key, or None."""
        content = self._store.find(self._name("reason", *key))
        try:
            found = None if content is None else json.loads(content)
        except (ValueError, RecursionError):
            return None
        match found:
            case str():
                return found
            case {"unfinished": str(text)}:
                return Unfinished(text)
        return None

    def keep_reason(self, key: Sequence[Any], reason: str) -> None:
        """Keep a reason."""
        found = {"unfinished": reason} if isinstance(reason, Unfinished) else reason
        self._store.keep(self._name("reason", *key), json.dumps(found).encode())

    def _name(self, *parts: Any) -> str:
        return hashlib.sha256(json.dumps([self._conditions, parts]).encode()).hexdigest()


@lru_cache(maxsize=16)
def _open(folder: Path) -> DiskStore:
    """Return the one store of a folder that this process has, so that files are counted once."""
    return DiskStore(folder)


def weights_digest(model: nn.Module) -> str:
    """Return a fingerprint of a few hundred numbers of every tensor of a model.

    What is kept on disk outlives the process, so that fine-tunes of one model must not be mixed up
    which differ in any of their layers.
    """
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        flat = tensor.detach().reshape(-1)
        some = flat[:: max(1, len(flat) // SAMPLED)].cpu().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(some.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
