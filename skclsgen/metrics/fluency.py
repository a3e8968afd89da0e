"""How explanations read: repetition, variety, ease."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ..wording import ngrams, terms, words
from .targets import check_several

__all__ = ["distinct_n", "flesch_reading_ease", "fluency_scores", "repetition"]


def repetition(text: str, n: int = 3, length: int | None = None) -> float:
    """Share of a text's word n-grams that have come before in it.

    In scripts with few or no spaces between words (Chinese, Japanese, Thai, and Korean too), pairs
    of neighbouring characters stand for words.

    Parameters
    ----------
    text : str
    n : int, default=3
    length : int, optional
        Words that are looked at, the first ones: a longer text has more to repeat.

    Returns
    -------
    float
        In [0, 1); 0 for fewer than ``n`` words.

    Examples
    --------
    >>> repetition("the cat sat"), repetition("the cat sat the cat sat")
    (0.0, 0.25)
    >>> repetition("the cat sat the cat sat", length=3)
    0.0
    """
    grams = ngrams(terms(text)[:length], n)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def distinct_n(texts: Sequence[str], n: int = 2, length: int | None = None) -> float:
    """Variety of a set of texts: different word n-grams among all of them [1]_.

    Words are as for :func:`repetition`.
    The share is of n-grams, as is usual; Li et al. divide by the number of words.

    Longer sets have less to choose from, so sets are comparable at equal ``length`` only.

    Parameters
    ----------
    texts : sequence of str
    n : int, default=2
    length : int, optional
        Words that are looked at, the first ones of all texts together.

    Returns
    -------
    float
        In (0, 1]; NaN without n-grams.

    References
    ----------
    .. [1] Li et al., "A Diversity-Promoting Objective Function for Neural Conversation Models",
       2016, https://arxiv.org/abs/1510.03055

    Examples
    --------
    >>> distinct_n(["a b c", "a b d"])
    0.75
    """
    if isinstance(texts, str):
        check_several(texts, "texts")
    left = length
    grams: list[tuple[str, ...]] = []
    for text in texts:
        own = terms(text)[:left]
        grams += ngrams(own, n)
        if left is not None:
            left -= len(own)
            if not left:
                break
    return len(set(grams)) / len(grams) if grams else float("nan")


def flesch_reading_ease(text: str) -> float:
    """Flesch's reading ease: 206.835 - 1.015 words per sentence - 84.6 syllables per word [1]_.

    Syllables are counted as groups of vowels, without a silent last "e"; for English that is off
    by one in about every tenth word. A sentence that loops is rated very readable, so this number
    never stands alone.

    Parameters
    ----------
    text : str
        English.

    Returns
    -------
    float
        About 0 (hard) to 100 (easy); NaN without words.

    References
    ----------
    .. [1] Flesch, "A new readability yardstick", 1948, https://doi.org/10.1037/h0057532

    Examples
    --------
    >>> round(flesch_reading_ease("The cat sat on the mat."), 2)
    116.15
    """
    said = words(text)
    if not said:
        return float("nan")
    sentences = max(1, len([part for part in re.split(r"[.!?]+(?!\d)", text) if words(part)]))
    syllables = sum(map(_syllables, said))
    return 206.835 - 1.015 * len(said) / sentences - 84.6 * syllables / len(said)


def _syllables(word: str) -> int:
    count = len(re.findall(r"[aeiouy]+", word))
    silent = re.search(r"[^aeiouyl]e$|[aeiouy]le$|[^aeiouytd]ed$|[^aeiouyscxz]es$", word)
    return max(1, count - bool(silent))


def fluency_scores(
    texts: Sequence[str], ended: Sequence[bool] | None = None, length: int | None = None
) -> dict[str, float]:
    """Means over a set of texts.

    Parameters
    ----------
    texts : sequence of str
    ended : sequence of bool, optional
        Whether each text ended by itself.
    length : int, optional
        As for :func:`distinct_n`.

    Returns
    -------
    dict of str to float
        ``words``, ``repetition``, ``flesch`` (texts without words left out), ``distinct_2``,
        ``empty`` and, where it was given, ``ended``.

    Raises
    ------
    ValueError
        If there are no texts, or ``ended`` is of another length.

    Examples
    --------
    >>> fluency_scores(["the cat sat", ""])["empty"]
    0.5
    """
    check_several(texts, "texts")
    if ended is not None and len(ended) != len(texts):
        raise ValueError(
            f"ended has {len(ended)} entries for {len(texts)} texts; pass one for each text."
        )
    ease = [flesch_reading_ease(text) for text in texts]
    known = [value for value in ease if not np.isnan(value)]
    lengths = [len(words(text)) for text in texts]
    scores = {
        "words": float(np.mean(lengths)),
        "repetition": float(np.mean([repetition(text) for text in texts])),
        "flesch": float(np.mean(known)) if known else float("nan"),
        "distinct_2": distinct_n(texts, 2, length),
        "empty": float(np.mean([not own for own in lengths])),
    }
    return scores if ended is None else scores | {"ended": float(np.mean(ended))}
