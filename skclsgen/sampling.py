"""How the next token is chosen: the most likely one, or one that is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from .logit_shape import LogitShape

__all__ = ["Pick", "Turn", "most_likely", "own_sampler", "sampler"]

#: A row's number and the place of its next token in its reply, below 0 while its opening is read.
Turn = tuple[int, int]
#: Takes logits of shape (rows, vocabulary) and the rows' turns; returns tokens of shape (rows,).
Pick = Callable[[torch.Tensor, Sequence[Turn]], torch.Tensor]


def most_likely(logits: torch.Tensor, turns: Sequence[Turn] = ()) -> torch.Tensor:
    """Return the most likely tokens, shape (rows,), of logits of shape (rows, vocabulary)."""
    return logits.max(dim=-1).indices  # argmax takes three times as long


def sampler(
    shape: LogitShape, temperature: float, generator: torch.Generator | None = None
) -> Pick:
    """Return what draws tokens, for ``pick`` of :func:`~skclsgen.generation.decode`.

    Parameters
    ----------
    shape : LogitShape
        Of the model's logits.
    temperature : float, > 0
        Logits are divided by it.
    generator : torch.Generator, optional
        Where randomness comes from; by default torch's own.

    Examples
    --------
    >>> draw = sampler(LogitShape(), 0.01, torch.Generator().manual_seed(0))
    >>> draw(torch.tensor([[0.0, 3.0, 1.0], [2.0, 0.0, 1.0]])).tolist()
    [1, 0]
    """

    def draw(logits: torch.Tensor, turns: Sequence[Turn] = ()) -> torch.Tensor:
        shares = (shape.apply(logits)[0] / temperature).softmax(dim=-1)
        return torch.multinomial(shares, 1, generator=generator)[:, 0]

    return draw


def own_sampler(
    shape: LogitShape,
    temperature: float,
    seeds: Sequence[int],
    longest: int,
    stop_ids: frozenset[int],
) -> Pick:
    """Return what draws every row's tokens by random numbers of its own.

    What is drawn then depends neither on the rows that are continued with it nor on their order,
    but for rounding.

    Parameters
    ----------
    shape, temperature
        As for :func:`sampler`.
    seeds : sequence of int
        One for each row.
    longest : int
        Tokens of a reply, at most.
    stop_ids : frozenset of int
        Tokens that no reply begins with.

    Examples
    --------
    >>> draw = own_sampler(LogitShape(), 1.0, [3, 4], 2, frozenset())
    >>> logits = torch.zeros(2, 1000)
    >>> first = draw(logits, [(0, 1), (1, 1)])
    >>> bool((draw(logits, [(1, 1), (0, 1)]) == first.flip(0)).all())
    True
    """
    own = torch.stack(
        [torch.rand(longest, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    ).clamp(max=1 - 1e-6)  # or rounding might choose beyond the last token
    stops = torch.tensor(sorted(stop_ids), dtype=torch.long)

    def draw(logits: torch.Tensor, turns: Sequence[Turn]) -> torch.Tensor:
        rows, places = torch.tensor(turns).T
        scores = shape.apply(logits)[0] / temperature
        # Now, and not once a stop token was drawn: other rows would be drawn again with it.
        first = torch.nonzero(places == 0)
        scores[first.to(scores.device), stops.to(scores.device)] = -torch.inf
        reached = scores.softmax(dim=-1).cumsum(dim=-1)
        numbers = own[rows, places.clamp(0, longest - 1)].to(reached)[:, None]
        return torch.searchsorted(reached, numbers * reached[:, -1:], right=True)[:, 0]

    return draw
