"""A text's words."""

from __future__ import annotations

import re

__all__ = ["words"]

# Hyphens and apostrophes bind: "non-toxic" does not name the label "toxic".
_WORD = re.compile(r"\w+(?:[-']\w+)*")


def words(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation; apostrophes are straight.

    Examples
    --------
    >>> words("It's a Non-toxic thing.")
    ["it's", 'a', 'non-toxic', 'thing']
    """
    return _WORD.findall(text.casefold().replace("\u2019", "'"))
