"""Prefill once, read the probabilities, and continue in words from the same cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache, PreTrainedModel

from .dual_head import DualHead
from .module_tree import keys_and_values

__all__ = ["Prefill", "batches_by_length", "decode", "predict_logits", "prefill", "prefill_base"]

#: Rows decoded together: each step reads all weights once, however many rows share the reading.
DECODE_BATCH = 32
#: Tokens (with padding) predicted or prefilled together, which bounds memory.
BATCH_TOKENS = 2**14


@dataclass
class Prefill:
    """What one pass over a batch of prompts leaves behind.

    Attributes
    ----------
    cache : DynamicCache
        Keys and values of all layers, right-aligned: row ``i`` fills the last ``lengths[i]`` slots.
    lengths : tensor of shape (rows,), int64
        Tokens of each prompt, with its prefix.
    """

    cache: DynamicCache
    lengths: torch.Tensor


def batches_by_length(
    lengths: Sequence[int], rows: int = DECODE_BATCH, tokens: int = BATCH_TOKENS
) -> list[list[int]]:
    """Group row numbers into batches of rows of similar length, longest first.

    Parameters
    ----------
    lengths : sequence of int
        Tokens of each row.
    rows, tokens : int
        Most rows, and most tokens with padding, of a batch; a single row may be longer.

    Examples
    --------
    >>> batches_by_length([3, 9, 4, 8], rows=2)
    [[1, 3], [2, 0]]
    """
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        last = batches[-1] if batches else []
        if last and len(last) < rows and (len(last) + 1) * lengths[last[0]] <= tokens:
            last.append(row)
        else:
            batches.append([row])
    return batches


def pad_ids(rows: Sequence[Sequence[int]], device: torch.device) -> torch.Tensor:
    """Stack token ids of different lengths, padded on the right, shape (rows, tokens)."""
    tensors = [torch.tensor(row, dtype=torch.long) for row in rows]
    return pad_sequence(tensors, batch_first=True).to(device)


def trunk_key(net: DualHead, ids: Sequence[int]) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """Return what a row's trunk activations depend on, as a key for the store."""
    return net.depth, net.prefix_ids, tuple(ids)


def trunk_states(net: DualHead, ids: Sequence[int], store: bool = True) -> torch.Tensor:
    """Trunk activations of one row, shape (tokens, width), from the cache or computed.

    Rows are run one at a time. Nothing is wasted on padding, and a row's activations are the same
    to the last bit whichever rows it is asked for with, and so are what is trained on them and
    the probabilities: nothing depends on what this process did before.

    Parameters
    ----------
    net : DualHead
        Whose trunk.
    ids : sequence of int
        The row's tokens, behind the prefix.
    store : bool, default=True
        Keep what had to be computed.
    """
    cache, key = net.base.trunk_cache, trunk_key(net, ids)
    states = cache.get(key)
    if states is None:
        states = net.trunk_states(pad_ids([ids], net.base.device))[0]
        if store:
            cache.put(key, states)
    return states


@torch.no_grad()
def predict_logits(net: DualHead, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
    """Class logits of a batch of prompts, shape (rows, classes); nothing is generated."""
    trunk = None
    if net.depth:
        trunk = pad_sequence([trunk_states(net, p) for p in prompts], batch_first=True)
    states = net.hidden_states(pad_ids(prompts, net.base.device), trunk)
    return net.class_logits(_last(states, prompts))


@torch.no_grad()
def prefill(net: DualHead, prompts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, Prefill]:
    """Run a batch of prompts once, for probabilities and for what generation continues from.

    The arithmetic is that of :func:`predict_logits`, so the probabilities agree exactly; the keys
    and values met on the way are kept besides.

    Returns
    -------
    logits : tensor of shape (rows, classes)
        The classification head's.
    start : Prefill
        For :func:`decode`.
    """
    device = net.base.device
    lengths = torch.tensor([len(p) for p in prompts], device=device)
    input_ids = pad_ids(prompts, device)
    cache = net.prefix_cache(len(prompts))
    trunk, below = None, []
    if net.depth:
        below = [net.prefix_cache(1) for _ in prompts]
        rows = [
            net.trunk_states(pad_ids([p], device), c)[0]
            for p, c in zip(prompts, below, strict=True)
        ]
        trunk = pad_sequence(rows, batch_first=True)
    states = net.hidden_states(input_ids, trunk, cache)
    logits = net.class_logits(_last(states, prompts))
    lengths = lengths + len(net.prefix_ids)
    return logits, Prefill(_merge(below, net.depth, cache, lengths), lengths)


@torch.no_grad()
def prefill_base(lm: PreTrainedModel, prompts: Sequence[Sequence[int]]) -> Prefill:
    """Run a batch of prompts through a base model that has no heads of ours."""
    lengths = torch.tensor([len(p) for p in prompts], device=lm.device)
    cache = DynamicCache()
    lm.get_decoder()(input_ids=pad_ids(prompts, lm.device), past_key_values=cache, use_cache=True)
    return Prefill(_merge([], 0, cache, lengths), lengths)


def _last(states: torch.Tensor, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
    ends = torch.tensor([len(p) - 1 for p in prompts], device=states.device)
    return states[torch.arange(len(prompts), device=states.device), ends]


def _merge(
    below: Sequence[DynamicCache], depth: int, above: DynamicCache, lengths: torch.Tensor
) -> DynamicCache:
    """One right-aligned cache of all layers, out of the trunk's per row and the top's per batch.

    Keys carry their positions already, so they can be moved freely; with the padding in front,
    the distances that sliding windows count are the true ones.
    """
    width = int(lengths.max())
    merged = DynamicCache()
    shifts = (width - lengths).tolist()

    def aligned(tensor: torch.Tensor) -> torch.Tensor:
        moved = [row.roll(shift, dims=-2) for row, shift in zip(tensor, shifts, strict=True)]
        return torch.stack(moved)

    for layer, parts in enumerate(zip(*map(keys_and_values, below), strict=True)):
        if layer == depth:
            break
        keys, values = (
            torch.cat([pad(t, (0, 0, width - t.shape[-2], 0)) for t in tensors])
            for tensors in zip(*parts, strict=True)
        )
        merged.update(keys, values, layer)
    for layer, (keys, values) in enumerate(keys_and_values(above)):
        if layer >= depth:
            merged.update(aligned(keys), aligned(values), layer)
    return merged


@torch.no_grad()
def decode(
    lm: PreTrainedModel,
    start: Prefill,
    openings: Sequence[Sequence[int]],
    max_new_tokens: int,
    stop_ids: frozenset[int],
    progress: Callable[[int], object] = lambda finished: None,
) -> list[list[int]]:
    """Continue every row greedily from its prefill.

    Parameters
    ----------
    lm : transformers.PreTrainedModel
        The model the cache was computed with.
    start : Prefill
        Consumed: its cache grows and shrinks in place.
    openings : sequence of sequences of int, each at least one token
        Tokens each reply begins with, whatever the model would have said.
    max_new_tokens : int
        Tokens generated after the opening, at most.
    stop_ids : frozenset of int
        Tokens that end a row; never the first one of a reply.
    progress : callable, optional
        Called with the number of rows that have just finished.

    Returns
    -------
    list of list of int
        Per row, the generated tokens without the opening; the last one is a stop token unless
        ``max_new_tokens`` ended the row.
    """
    device = lm.device
    replies: list[list[int]] = [[] for _ in openings]
    active = list(range(len(openings)))
    width = start.cache.get_seq_length()
    slots = torch.arange(width, device=device)
    mask = (slots >= width - start.lengths[:, None]).long()
    position = start.lengths.clone()
    tokens = torch.tensor([opening[0] for opening in openings], device=device)
    step = 0
    while True:
        mask = torch.cat([mask, mask.new_ones(len(active), 1)], dim=1)
        logits = lm(
            input_ids=tokens[:, None],
            attention_mask=mask,
            position_ids=position[:, None],
            past_key_values=start.cache,
            use_cache=True,
        ).logits[:, -1]
        step += 1
        position = position + 1
        chosen = logits.argmax(dim=-1).tolist()
        # A reply that ends before it begins helps nobody: its first token is not a stop token.
        first = [p for p, row in enumerate(active) if step == len(openings[row])]
        if any(chosen[place] in stop_ids for place in first):
            logits[:, list(stop_ids)] = -torch.inf
            for place, token in zip(first, logits[first].argmax(dim=-1).tolist(), strict=True):
                chosen[place] = token
        keep = []
        for place, row in enumerate(active):
            if step < len(openings[row]):
                chosen[place] = openings[row][step]
                keep.append(place)
                continue
            replies[row].append(chosen[place])
            if chosen[place] not in stop_ids and len(replies[row]) < max_new_tokens:
                keep.append(place)
        if len(keep) < len(active):
            progress(len(active) - len(keep))
            if not keep:
                return replies
            kept = torch.tensor(keep, device=device)
            active = [active[place] for place in keep]
            mask, position = mask[kept], position[kept]
            start.cache.batch_select_indices(kept)
        tokens = torch.tensor([chosen[place] for place in keep], device=device)
