"""Read texts once: trunk activations out of the store, or computed and stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch

from .dual_head import DualHead
from .packing import Row, batches_by_length
from .trunk_cache import TrunkKey

__all__ = ["trunk_states"]

#: Tokens of the trunk run together: beyond, its activations leave a CPU's cache.
TRUNK_TOKENS = 2048
#: What activations are stored under: a prompt, and its continuation.
Entry = tuple[TrunkKey, tuple[int, ...]]


# Whatever mode the caller is in: what is kept here may be trained from later.
@torch.inference_mode(False)
@torch.no_grad()
def trunk_states(
    net: DualHead,
    rows: Sequence[Row],
    *,
    store: bool = True,
    progress: Callable[[int], object] = lambda rows: None,
) -> list[torch.Tensor]:
    """Trunk activations of rows, shape (tokens, width) each.

    On a CPU, a row's activations are the same to the last bit whichever rows it is asked for
    with, and so are what is trained on them and the probabilities: nothing depends on what this
    process did before. (Accelerators choose their kernels by the size of a batch, and so do MKL in
    float32, unless its environment has ``MKL_CBWR=AUTO,STRICT``, and oneDNN in bfloat16 on CPUs
    with AMX, unless it has ``ONEDNN_MAX_CPU_ISA=AVX512_CORE_FP16``.)

    Parameters
    ----------
    net : DualHead
        Whose trunk.
    rows : sequence of (sequence of int, sequence of int)
        Prompts and continuations.
    store : bool, default=True
        Keep in this process what had to be computed. (The network's memory on disk, if it has one,
        keeps it in any case.)
    progress : callable, optional
        Called with the number of different rows that have just been found or computed.
    """
    wanted = [
        ((net.depth, net.prefix_ids, tuple(prompt)), tuple(continuation))
        for prompt, continuation in rows
    ]
    found = {entry: _stored(net, entry, store) for entry in dict.fromkeys(wanted)}
    missing = [entry for entry, states in found.items() if states is None]
    progress(len(found) - len(missing))
    lengths = [len(key[-1]) + len(continuation) for key, continuation in missing]
    for batch in batches_by_length(lengths, max(1, len(lengths)), TRUNK_TOKENS):
        entries = [missing[i] for i in batch]
        pack = net.pack([(key[-1], continuation) for key, continuation in entries])
        states, _ = net.trunk_states(pack)
        for entry, own in zip(entries, states.split(pack.lengths), strict=True):
            if store:
                own = own.clone()  # a view would keep the whole batch in memory
                net.base.trunk_cache.put(*entry, own)
            if net.memory is not None:
                net.memory.keep_states(*entry, own)
            found[entry] = own
        progress(len(entries))
    return [cast(torch.Tensor, found[entry]) for entry in wanted]


def _stored(net: DualHead, entry: Entry, store: bool) -> torch.Tensor | None:
    """Look up an entry in this process, then on disk."""
    states = net.base.trunk_cache.get(*entry)
    if states is None and net.memory is not None:
        states = net.memory.states(*entry)
        if states is not None:
            states = states.to(net.base.device, copy=True)  # no view of a longer one
            if store:
                net.base.trunk_cache.put(*entry, states)
    return states
