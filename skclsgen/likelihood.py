"""How likely a language model finds given words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from .generation import Prefill
from .packed_model import PackedModel
from .packing import Row, batches_by_length

__all__ = ["choice_log_likelihoods", "row_nll"]


@torch.no_grad()
def choice_log_likelihoods(
    model: PackedModel,
    start: Prefill,
    choices: Sequence[Sequence[int]],
) -> torch.Tensor:
    """Log-likelihoods of a few continuations of every row, out of one pass over the rows.

    Parameters
    ----------
    model : PackedModel
        With which the rows were run.
    start : Prefill
        Of rows without their last token; consumed.
    choices : sequence of sequences of int
        The rows' last token, which all of them share, and a continuation.

    Returns
    -------
    tensor of shape (rows, choices)
        Sums over the continuations' tokens, in nats; at least float32.
    """
    rows, longest = len(start.lengths), max(map(len, choices)) - 1
    device = start.lengths.device
    # Behind a shorter continuation comes filler, which nothing before it can see.
    padded = [[*ids, *[ids[-1]] * (longest + 1 - len(ids))] for ids in choices]
    tokens = torch.tensor(padded, device=device).repeat(rows, 1)
    several = start.repeated(len(choices))
    mask = several.mask()
    step = torch.arange(longest, device=device)
    states = model.lm.get_decoder()(
        input_ids=tokens[:, :-1],
        attention_mask=torch.cat([mask, mask.new_ones(len(tokens), longest)], dim=1),
        position_ids=several.lengths[:, None] + step,
        cache=several.cache,
        use_cache=True,
    ).last_hidden_state
    nll = model.token_nll(states.flatten(0, 1), tokens[:, 1:].flatten())
    lengths = torch.tensor([len(ids) - 1 for ids in choices], device=device).repeat(rows)
    counted = nll.view(len(tokens), longest).masked_fill(step >= lengths[:, None], 0)
    return -counted.sum(dim=1).view(rows, len(choices))


@torch.no_grad()
def row_nll(
    model: PackedModel,
    rows: Sequence[Row],
    progress: Callable[[int], object] = lambda rows: None,
) -> list[np.ndarray]:
    """Negative log-likelihood of every continuation token, row by row.

    Parameters
    ----------
    model : PackedModel
    rows : sequence of (sequence of int, sequence of int)
        Prompts (at least one token) and continuations.
    progress : callable, optional
        Called with the number of rows that have just been read.

    Returns
    -------
    list of ndarray of shape (continuation tokens,), float64
        In nats, in the order of ``rows``.
    """
    found: dict[int, np.ndarray] = {}
    for batch in batches_by_length([len(prompt) + len(more) for prompt, more in rows]):
        pack = model.pack([rows[i] for i in batch])
        states, _ = model.hidden_states(pack)
        _, place = pack.continuations()
        nll = model.token_nll(states[place - 1], pack.ids()[place]).cpu().double().numpy()
        ends = np.cumsum([len(rows[i][1]) for i in batch])
        found |= dict(zip(batch, np.split(nll, ends[:-1]), strict=True))
        progress(len(batch))
    return [found[i] for i in range(len(rows))]
