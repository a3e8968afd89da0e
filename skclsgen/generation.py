"""Prefill once, read the probabilities, and continue in words from the same cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import pad
from transformers import Cache, PreTrainedModel

from .dual_head import DualHead
from .module_tree import keys_and_values
from .packed_model import Caches, PackedModel
from .reading import batches_by_length, trunk_states
from .roomy_cache import roomy_cache

__all__ = [
    "Prefill",
    "batches_to_decode",
    "decode",
    "most_likely",
    "predict_logits",
    "prefill",
    "prefill_base",
    "sampler",
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

    def repeated(self, times: int) -> Prefill:
        """Return it with every row ``times`` times in a row; this one must not be used again."""
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

    The arithmetic is that of :func:`predict_logits`, so the probabilities agree exactly; the keys
    and values met on the way are kept besides.

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
    layers = [*_rows_by_layer(below, 0, net.depth), *_rows_by_layer(above, net.depth)]
    return net.class_logits(states[rows.decisions()]), _prefill(layers)


@torch.no_grad()
def prefill_base(model: PackedModel, prompts: Sequence[Sequence[int]]) -> Prefill:
    """Run a batch of prompts through a model without heads of ours."""
    _, caches = model.hidden_states(model.pack([(prompt, ()) for prompt in prompts]))
    return _prefill(_rows_by_layer(caches, 0))


def _rows_by_layer(
    caches: Caches, first: int, end: int | None = None
) -> list[list[tuple[torch.Tensor, ...]]]:
    """Keys and values of each layer's rows, those of the prefix in front."""
    layers: list[list[tuple[torch.Tensor, ...]]] = []
    for cache, part in caches:
        spans = [(part.prefix + start, part.prefix + stop) for start, stop in part.spans()]
        for number, pair in enumerate(keys_and_values(cache)[first:end]):
            if number == len(layers):
                layers.append([])
            layers[number] += [
                tuple(torch.cat([t[:, :, : part.prefix], t[:, :, a:b]], dim=2) for t in pair)
                for a, b in spans
            ]
    return layers


def _prefill(layers: Sequence[Sequence[tuple[torch.Tensor, ...]]]) -> Prefill:
    """Join rows of different lengths in one right-aligned cache.

    Keys carry their positions already, so they can be moved freely; with the padding in front,
    the distances that sliding windows count are the true ones.
    """
    lengths = [keys.shape[2] for keys, _ in layers[0]]
    width = max(lengths)
    cache = roomy_cache(
        (
            torch.cat([pad(keys, (0, 0, width - keys.shape[2], 0)) for keys, _ in rows]),
            torch.cat([pad(values, (0, 0, width - values.shape[2], 0)) for _, values in rows]),
        )
        for rows in layers
    )
    return Prefill(cache, torch.tensor(lengths, device=layers[0][0][0].device))


def batches_to_decode(prompts: Sequence[Sequence[int]], max_new_tokens: int) -> list[list[int]]:
    """Group numbers of prompts that are continued together, with room for their replies."""
    return batches_by_length([len(prompt) + max_new_tokens for prompt in prompts], DECODE_ROWS)


def most_likely(logits: torch.Tensor) -> torch.Tensor:
    """Return the most likely tokens, shape (rows,), of logits of shape (rows, vocabulary)."""
    return logits.max(dim=-1).indices  # argmax takes three times as long


@torch.no_grad()
def decode(
    lm: PreTrainedModel,
    start: Prefill,
    openings: Sequence[Sequence[int]],
    max_new_tokens: int,
    stop_ids: frozenset[int],
    progress: Callable[[int], object] = lambda finished: None,
    pick: Callable[[torch.Tensor], torch.Tensor] = most_likely,
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
    max_new_tokens : int
        Tokens generated after the opening, at most.
    stop_ids : frozenset of int
        Tokens that end a row; never the first one of a reply.
    progress : callable, optional
        Called with the number of rows that have just finished.
    pick : callable, optional
        Takes logits of shape (rows, vocabulary) and returns tokens of shape (rows,); by default the
        most likely ones; see :func:`sampler`.

    Returns
    -------
    list of list of int
        Per row, the generated tokens without the opening; the last one is a stop token unless
        ``max_new_tokens`` ended the row.
    """
    device, decoder, vocabulary = lm.device, lm.get_decoder(), lm.get_output_embeddings()
    replies: list[list[int]] = [[] for _ in openings]
    rows, unfinished = list(range(len(openings))), set(range(len(openings)))
    # What all rows open with is read at once, as far as the shortest opening goes.
    step = min(map(len, openings))
    tokens = torch.tensor([opening[:step] for opening in openings], device=device)
    position = start.lengths[:, None] + torch.arange(step, device=device)
    width = start.cache.get_seq_length()
    slots = torch.arange(width, device=device)
    mask = (slots >= width - start.lengths[:, None]).long()
    while True:
        mask = torch.cat([mask, mask.new_ones(tokens.shape)], dim=1)
        states = decoder(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=position,
            cache=start.cache,
            use_cache=True,
        ).last_hidden_state
        # What some families do to logits afterwards (scales, soft caps) leaves their order alone.
        logits = vocabulary(states[:, -1])
        first = [place for place, row in enumerate(rows) if step == len(openings[row])]
        chosen = _picked(logits, first, stop_ids, pick)
        before = len(unfinished)
        for place, row in enumerate(rows):
            if step < len(openings[row]):
                chosen[place] = openings[row][step]
            elif row in unfinished:
                replies[row].append(chosen[place])
                if chosen[place] in stop_ids or len(replies[row]) >= max_new_tokens:
                    unfinished.remove(row)
        progress(before - len(unfinished))
        if not unfinished:
            return replies
        step += 1
        tokens, position = torch.tensor(chosen, device=device)[:, None], position[:, -1:] + 1
        if len(unfinished) <= FULL * len(rows):
            kept = [place for place, row in enumerate(rows) if row in unfinished]
            rows = [rows[place] for place in kept]
            places = torch.tensor(kept, device=device)
            tokens, position, mask = tokens[places], position[places], mask[places]
            start.cache.batch_select_indices(places)


def _picked(
    logits: torch.Tensor,
    first: Sequence[int],
    stop_ids: frozenset[int],
    pick: Callable[[torch.Tensor], torch.Tensor],
) -> list[int]:
    """Each row's next token.

    A reply that ends before it begins helps nobody, so in the rows ``first``, which begin theirs,
    it is not a stop token.
    """
    chosen: list[int] = pick(logits).tolist()
    if any(chosen[row] in stop_ids for row in first):
        begun = logits[first]
        begun[:, list(stop_ids)] = -torch.inf
        for row, token in zip(first, pick(begun).tolist(), strict=True):
            chosen[row] = token
    return chosen


def sampler(
    temperature: float, generator: torch.Generator | None = None
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what draws tokens, for ``pick`` of :func:`decode`.

    Parameters
    ----------
    temperature : float, > 0
        Logits are divided by it.
    generator : torch.Generator, optional
        Where randomness comes from; by default torch's own.

    Examples
    --------
    >>> draw = sampler(0.01, torch.Generator().manual_seed(0))
    >>> draw(torch.tensor([[0.0, 3.0, 1.0], [2.0, 0.0, 1.0]])).tolist()
    [1, 0]
    """

    def draw(logits: torch.Tensor) -> torch.Tensor:
        shares = (logits.float() / temperature).softmax(dim=-1)
        return torch.multinomial(shares, 1, generator=generator)[:, 0]

    return draw
