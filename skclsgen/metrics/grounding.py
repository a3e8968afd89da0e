"""Whether explanations speak of their own text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import regex
from sklearn.utils import check_random_state

from ..wording import is_unspaced, terms
from .targets import check_repeats, check_several

__all__ = ["groundedness", "groundedness_against_null", "groundedness_lift"]

#: Shorter words are mostly grammar.
_LETTERS = 4
_LETTER = regex.compile(r"[\p{L}\p{M}]")  # vowel signs count


def groundedness(explanation: str, source: str) -> float:
    """Share of an explanation's content words that stand in its source.

    Content words have four letters or more, or a digit. In scripts without spaces, pairs of
    characters are words.

    Parameters
    ----------
    explanation, source : str

    Returns
    -------
    float
        In [0, 1]; NaN without content words.

    Examples
    --------
    >>> groundedness("Smoke is rising quickly", "Smoke keeps rising")
    0.6666666666666666
    """
    return _share(_content(explanation), set(terms(source)))


def groundedness_lift(
    explanations: Sequence[str],
    sources: Sequence[str],
    repeats: int = 20,
    random_state: int | np.random.RandomState | None = None,
) -> np.ndarray:
    """By how much each explanation is better grounded in its own source than in others.

    An explanation of common words is grounded in any text; other texts' sources, drawn at random,
    are what it is held against.

    Parameters
    ----------
    explanations, sources : sequence of str, of length rows, at least two
    repeats : int, default=20
        Other sources for each explanation.
    random_state : int, RandomState instance or None, default=None
        Fixes the draws.

    Returns
    -------
    ndarray of shape (rows,), float64
        In [-1, 1]; NaN without content words.

    Raises
    ------
    ValueError
        If there are fewer than two rows, or not as many sources as explanations,
        or ``repeats`` is below 1.

    Examples
    --------
    >>> groundedness_lift(["smoke here", "rain again"], ["smoke!", "rain!"], random_state=0)
    array([0.5, 0.5])
    """
    own, null = _own_and_null(explanations, sources, repeats, random_state)
    return own - null


def groundedness_against_null(
    explanations: Sequence[str],
    sources: Sequence[str],
    repeats: int = 20,
    random_state: int | np.random.RandomState | None = None,
) -> dict[str, float]:
    """Mean groundedness, its null, and the lift; see :func:`groundedness_lift`.

    Parameters
    ----------
    explanations, sources : sequence of str, of length rows
        What was said, and the text it was said of.
    repeats : int, default=20
        Other texts that every explanation is held against for the null.
    random_state : int, RandomState instance or None, default=None
        Draws them.

    Returns
    -------
    dict of str to float
        ``groundedness``, ``null`` and ``lift``, over explanations with content words.

    Raises
    ------
    ValueError
        If the numbers of explanations and sources differ, or are below two,
        or ``repeats`` is below 1.

    Examples
    --------
    >>> groundedness_against_null(["smoke here", "rain again"], ["smoke!", "rain!"])
    {'groundedness': 0.5, 'null': 0.0, 'lift': 0.5}
    """
    own, null = _own_and_null(explanations, sources, repeats, random_state)
    known = ~np.isnan(own)
    if not known.any():
        return dict.fromkeys(("groundedness", "null", "lift"), float("nan"))
    return {
        "groundedness": float(own[known].mean()),
        "null": float(null[known].mean()),
        "lift": float((own - null)[known].mean()),
    }


def _own_and_null(
    explanations: Sequence[str],
    sources: Sequence[str],
    repeats: int,
    random_state: int | np.random.RandomState | None,
) -> tuple[np.ndarray, np.ndarray]:
    check_several(explanations, "explanations")
    check_several(sources, "sources")
    rows = len(explanations)
    if rows != len(sources) or rows < 2:
        raise ValueError(
            f"there are {rows} explanations and {len(sources)} sources; pass one of each per row, "
            "at least two."
        )
    check_repeats(repeats)
    said = [_content(explanation) for explanation in explanations]
    met = [set(terms(source)) for source in sources]
    # Another row's source: 1 to rows - 1 places further on.
    steps = check_random_state(random_state).randint(1, rows, size=(rows, repeats))
    own = np.array([_share(said[row], met[row]) for row in range(rows)])
    null = np.array(
        [
            np.mean([_share(said[row], met[(row + step) % rows]) for step in steps[row]])
            for row in range(rows)
        ]
    )
    return own, null


def _content(text: str) -> list[str]:
    return [
        term
        for term in terms(text)
        if len(_LETTER.findall(term)) >= _LETTERS
        or any(map(str.isdigit, term))
        or is_unspaced(term)
    ]


def _share(said: Sequence[str], met: set[str]) -> float:
    return sum(word in met for word in said) / len(said) if said else float("nan")
