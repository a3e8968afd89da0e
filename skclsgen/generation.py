"""Prefill once, read the probabilities, and continue in words from the same cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import Cache, PreTrainedModel

from .dual_head import DualHead
from .module_tree import keys_and_values
from .packed_model import Caches, PackedModel
from .packing import PackedRows, batches_by_length
from .reading import trunk_states
from .roomy_cache import ROOM, roomy_cache
from .sampling import Pick, Turn, most_likely

__all__ = [
    "Prefill",
    "batches_to_decode",
    "decode",
    "predict_logits",
    "prefill",
    "prefill_base",
]

#: Rows that are continued together. A step costs a CPU nearly the same for 32 rows as for one, as
#: long as it is calls that cost and not arithmetic.
DECODE_ROWS = 128
#: Finished rows are dropped when no more than this share of a batch goes on; dropping copies the
#: others' keys and values.
FULL = 7 / 8


@dataclass
class Prefill:
    """What one pass over a batch of prompts leaves behind.

    Attributes
    ----------
    cache : Cache
        Keys and values of all layers, right-aligned: row ``i`` fills the last ``lengths[i]`` slots.
    lengths : tensor of shape (rows,), int64
        Tokens of each prompt, with its prefix.
    """

    cache: Cache
    lengths: torch.Tensor

    def mask(self) -> torch.Tensor:
        """1 where a row has tokens, 0 in front of it, shape (rows, slots), int64."""
        width = self.cache.get_seq_length()
        slots = torch.arange(width, device=self.lengths.device)
        return (slots >= width - self.lengths[:, None]).long()

    def repeated(self, times: int) -> Prefill:
        """Return it with each row ``times`` times, side by side; this one is used up."""
        self.cache.batch_repeat_interleave(times)
        return Prefill(self.cache, self.lengths.repeat_interleave(times))


@torch.no_grad()
def predict_logits(net: DualHead, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
    """Class logits of a batch of prompts, shape (rows, classes); nothing is generated."""
    rows = net.pack([(prompt, ()) for prompt in prompts])
    trunk = torch.cat(trunk_states(net, rows.rows)) if net.depth else None
    states, _ = net.hidden_states(rows, trunk)
    return net.class_logits(states[rows.decisions()])


@torch.no_grad()
def prefill(net: DualHead, prompts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, Prefill]:
    """Run a batch of prompts once, for probabilities and for what generation continues from.

    The arithmetic is that of :func:`predict_logits`, so on a CPU the probabilities agree exactly;
    the keys and values met on the way are kept besides.

    Returns
    -------
    logits : tensor of shape (rows, classes)
        The classification head's.
    start : Prefill
        For :func:`decode`.
    """
    rows = net.pack([(prompt, ()) for prompt in prompts])
    trunk, below = net.trunk_states(rows) if net.depth else (None, [])
    states, above = net.hidden_states(rows, trunk)
    layers = [
        *_right_aligned(below, slice(net.depth)),
        *_right_aligned(above, slice(net.depth, None)),
    ]
    return net.class_logits(states[rows.decisions()]), _prefill(layers, rows)


@torch.no_grad()
def prefill_base(model: PackedModel, prompts: Sequence[Sequence[int]]) -> Prefill:
    """Run a batch of prompts through a model without heads of ours."""
    rows = model.pack([(prompt, ()) for prompt in prompts])
    _, caches = model.hidden_states(rows)
    return _prefill(_right_aligned(caches, slice(None)), rows)


def _prefill(layers: Iterable[tuple[torch.Tensor, torch.Tensor]], rows: PackedRows) -> Prefill:
    lengths = torch.tensor([rows.prefix + length for length in rows.lengths], device=rows.device)
    return Prefill(roomy_cache(layers, int(lengths.max())), lengths)


def _right_aligned(caches: Caches, layers: slice) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Keys and values of some layers, every row's at the end of what the longest one takes.

    Keys carry their positions already, so they can be moved freely; with the padding in front,
    the distances that sliding windows count are the true ones.
    """
    held = [(keys_and_values(cache)[layers], part) for cache, part in caches]
    for number in range(len(held[0][0]) if held else 0):
        keys, values = (
            _rows_apart([(pairs[number][which], part) for pairs, part in held]) for which in (0, 1)
        )
        yield keys, values


def _rows_apart(packed: Sequence[tuple[torch.Tensor, PackedRows]]) -> torch.Tensor:
    """Give every row a place of its own, the prefix in front of it and some room behind."""
    first, prefix = packed[0][0], packed[0][1].prefix
    lengths = [length for _, part in packed for length in part.lengths]
    end = prefix + max(lengths)
    # Zeros: a place that is hidden counts nothing, but not if it held a NaN.
    apart = first.new_zeros(len(lengths), first.shape[1], end + ROOM, first.shape[3])
    places = iter(apart)
    for tensor, part in packed:
        for start, stop in part.spans():
            own = next(places)[:, end - prefix - (stop - start) : end]
            own[:, :prefix] = tensor[0, :, :prefix]
            own[:, prefix:] = tensor[0, :, prefix + start : prefix + stop]
    return apart


def batches_to_decode(
    prompts: Sequence[Sequence[int]], extra_tokens: int, copies: int = 1
) -> list[list[int]]:
    """Group numbers of prompts that are continued together, so that memory stays bounded.

    Parameters
    ----------
    prompts : sequence of sequences of int
        Without the prefix that they share.
    extra_tokens : int
        Further tokens per prompt whose keys and values are kept: of the prefix and of the reply.
    copies : int, default=1
        How often each prompt is continued.
    """
    taken = [copies * (len(prompt) + extra_tokens) for prompt in prompts]
    return batches_by_length(taken, max(1, DECODE_ROWS // copies))


@torch.no_grad()
def decode(
    lm: PreTrainedModel,
    start: Prefill,
    openings: Sequence[Sequence[int]],
    max_new_tokens: int | Sequence[int],
    stop_ids: frozenset[int],
    progress: Callable[[int], object] = lambda finished: None,
    pick: Pick = most_likely,
) -> list[list[int]]:
    """Continue every row from its prefill, greedily unless told otherwise.

    Parameters
    ----------
    lm : transformers.PreTrainedModel
        The model the cache was computed with.
    start : Prefill
        Consumed: its cache grows and shrinks in place.
    openings : sequence of sequences of int, each at least one token
        Tokens each reply begins with, whatever the model would have said.
    max_new_tokens : int or sequence of int, at least 1
        Tokens generated after the opening, at most; one number for all rows or one for each.
    stop_ids : frozenset of int
        Tokens that end a row; never the first one of a reply.
    progress : callable, optional
        Called with the number of rows that have just finished.
    pick : callable, optional
        Takes logits of shape (rows, vocabulary) and the rows' turns and returns tokens of shape
        (rows,); by default the most likely ones; see :func:`sampler` and :func:`own_sampler`.

    Returns
    -------
    list of list of int
        Per row, the generated tokens without the opening; the last one is a stop token unless
        ``max_new_tokens`` ended the row.
    """
    device, decoder, vocabulary = lm.device, lm.get_decoder(), lm.get_output_embeddings()
    replies: list[list[int]] = [[] for _ in openings]
    rows, unfinished = list(range(len(openings))), set(range(len(openings)))
    limits = [max_new_tokens] * len(rows) if isinstance(max_new_tokens, int) else max_new_tokens
    # What all rows open with is read at once, as far as the shortest opening goes.
    step = min(map(len, openings))
    tokens = torch.tensor([opening[:step] for opening in openings], device=device)
    position = start.lengths[:, None] + torch.arange(step, device=device)
    # A finished row that others are waited for with stays there: not every model has places beyond.
    reach = [len(opening) + limit - 1 for opening, limit in zip(openings, limits, strict=True)]
    last = start.lengths[:, None] + torch.tensor(reach, device=device)[:, None]
    mask = start.mask()
    while True:
        mask = torch.cat([mask, mask.new_ones(tokens.shape)], dim=1)
        states = decoder(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=position,
            cache=start.cache,
            use_cache=True,
        ).last_hidden_state
        # Scale and soft cap keep the order of logits, so only samplers apply them.
        logits = vocabulary(states[:, -1])
        turns = [(row, step - len(openings[row])) for row in rows]
        chosen = _picked(logits, turns, stop_ids, pick)
        before = len(unfinished)
        for place, row in enumerate(rows):
            if step < len(openings[row]):
                chosen[place] = openings[row][step]
            elif row in unfinished:
                replies[row].append(chosen[place])
                if chosen[place] in stop_ids or len(replies[row]) >= limits[row]:
                    unfinished.remove(row)
        progress(before - len(unfinished))
        if not unfinished:
            return replies
        step += 1
        tokens = torch.tensor(chosen, device=device)[:, None]
        position = torch.minimum(position[:, -1:] + 1, last)
        if len(unfinished) <= FULL * len(rows):
            kept = [place for place, row in enumerate(rows) if row in unfinished]
            rows = [rows[place] for place in kept]
            places = torch.tensor(kept, device=device)
            tokens, position, mask = tokens[places], position[places], mask[places]
            last = last[places]
            start.cache.batch_select_indices(places)


def _picked(
    logits: torch.Tensor, turns: Sequence[Turn], stop_ids: frozenset[int], pick: Pick
) -> list[int]:
    """Each row's next token.

    A reply that ends before it begins helps nobody, so its first token is not a stop token.
    """
    chosen: list[int] = pick(logits, turns).tolist()
    first = [row for row, (_, place) in enumerate(turns) if place == 0]
    if any(chosen[row] in stop_ids for row in first):
        begun = logits[first]
        begun[:, list(stop_ids)] = -torch.inf
        again = pick(begun, [turns[row] for row in first]).tolist()
        for row, token in zip(first, again, strict=True):
            chosen[row] = token
    return chosen
