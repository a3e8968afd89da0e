"""Prompts that begin alike: what they share need be read only once."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["groups_that_begin_alike"]

#: Shared tokens from which on a pass of its own for them is worth its while.
WORTHWHILE = 256


def groups_that_begin_alike(
    prompts: Sequence[Sequence[int]], worthwhile: int = WORTHWHILE
) -> list[tuple[int, list[int]]]:
    """Group numbers of prompts by what they begin with.

    Of a long text that is put to the model with every label, or with every opponent, only the end
    differs. A prompt joins the one before it, in sorted order, where the group then spares no fewer
    tokens than it did without.

    Parameters
    ----------
    prompts : sequence of sequences of int
        Token ids, at least two each.
    worthwhile : int
        Fewest tokens to share.

    Returns
    -------
    list of (int, list of int)
        How many tokens the prompts of a group share, two before the end of the shortest at most,
        and their numbers; a last group, which shares none, of all the others, if there are any.

    Examples
    --------
    >>> groups_that_begin_alike([[1, 2, 3, 4], [7, 8], [1, 2, 5, 6]], worthwhile=2)
    [(2, [0, 2]), (0, [1])]
    """
    groups: list[tuple[int, list[int]]] = []
    for number in sorted(range(len(prompts)), key=lambda row: list(prompts[row])):
        prompt = list(prompts[number])
        if groups:
            known, own = groups[-1]
            shared = min(known, _alike(prompts[own[0]], prompt), len(prompt) - 2)
            if shared >= worthwhile and len(own) * shared >= (len(own) - 1) * known:
                own.append(number)
                groups[-1] = shared, own
                continue
        groups.append((len(prompt) - 2, [number]))
    several = [(shared, own) for shared, own in groups if len(own) > 1]
    others = [own[0] for _, own in groups if len(own) == 1]
    return [*several, (0, others)] if others else several


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two prompts begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))
