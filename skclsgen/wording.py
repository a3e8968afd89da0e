"""A text's words, and what of them is compared between texts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import regex  # its \w, unlike the standard library's, knows vowel signs, and it knows scripts

__all__ = [
    "Unfinished",
    "is_unspaced",
    "ngrams",
    "terms",
    "whole_sentences",
    "without_last_word",
    "words",
]

# Hyphens and apostrophes bind: "non-toxic" does not name the label "toxic".
#: Apostrophes and hyphens as ASCII has them.
PLAIN = str.maketrans("\u2019\u2010\u2011", "'--")
_WORD = regex.compile(r"\w+(?:[-']\w+)*")

#: A character, with its marks, of the scripts that put no spaces between words, or few.
_UNSPACED = (
    r"[\p{Han}\p{Hangul}\p{scx=Hiragana}\p{scx=Katakana}"
    r"\p{Khmer}\p{Lao}\p{Myanmar}\p{Thai}]\p{M}*"
)
#: The last word where no space stands in front of it: a pair of characters. Hangul has spaces.
_LAST_PAIR = regex.compile(rf"(?:(?!\p{{Hangul}}){_UNSPACED}){{1,2}}\W*$")
_CHARACTER = regex.compile(_UNSPACED)
#: All up to the last mark that ends a sentence, with what closes behind it; a point within a number
#: or a name ends none.
_SENTENCES = regex.compile(
    r".*(?:[.!?\u061f\u06d4\u0964](?=[\p{Pe}\p{Pf}\"']*(?:\s|$))|[\u3002\uff01\uff1f])[\p{Pe}\p{Pf}\"']*"
)
_RUN = regex.compile(rf"(?:{_UNSPACED})+|(?:(?!{_UNSPACED}).)+")


def words(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation.

    Apostrophes are straight and hyphens ASCII's, whatever a text has.

    Examples
    --------
    >>> words("It's a Non-toxic thing.")
    ["it's", 'a', 'non-toxic', 'thing']
    """
    return _WORD.findall(text.casefold().translate(PLAIN))


def terms(text: str) -> list[str]:
    """Return what of a text is looked for in another: its words, whatever the script.

    Where a script does not tell where words end, pairs of neighbouring characters stand for them,
    as is usual in search without a dictionary [1]_.

    References
    ----------
    .. [1] Kwok, "Comparing representations in Chinese information retrieval", 1997,
       https://doi.org/10.1145/258525.258531

    Examples
    --------
    >>> terms("Power is out: 停电了")
    ['power', 'is', 'out', '停电', '电了']
    """
    return [term for word in words(text) for run in _RUN.findall(word) for term in _cut(run)]


def _cut(run: str) -> list[str]:
    characters = _CHARACTER.findall(run)
    return ["".join(pair) for pair in pairwise(characters)] or [run]


def without_last_word(text: str) -> str:
    """Return a text but for its last word, or pair of characters of a script without spaces.

    A single word stays.

    Examples
    --------
    >>> without_last_word("no power since no"), without_last_word("iPhone 停电了停")
    ('no power since', 'iPhone 停电')
    """
    found = _LAST_PAIR.search(text)
    return (text[: found.start()] if found else text.rpartition(" ")[0]) or text


class Unfinished(str):
    """What there is of a text that went on: nobody is to learn that it ends here."""

    __slots__ = ()


def whole_sentences(text: str) -> Unfinished:
    """Return a text on one line without the sentence at its end that is not whole.

    Examples
    --------
    >>> whole_sentences("It costs 3.5 pounds. The order was"), whole_sentences("The order was")
    ('It costs 3.5 pounds.', '')
    """
    found = _SENTENCES.match(text)
    return Unfinished(found.group() if found else "")


def ngrams(said: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """Return every n words that follow one another.

    Examples
    --------
    >>> ngrams(["a", "b", "c"], 2)
    [('a', 'b'), ('b', 'c')]
    """
    return [tuple(said[i : i + n]) for i in range(len(said) - n + 1)]


def is_unspaced(term: str) -> bool:
    """Whether a term is of a script without spaces, where few characters say much.

    Examples
    --------
    >>> is_unspaced("停电"), is_unspaced("power")
    (True, False)
    """
    return _CHARACTER.match(term) is not None
