"""Reading what the base model replied."""

from __future__ import annotations

import re

from ..wording import words

__all__ = ["without_label"]


def without_label(reply: str, label: str) -> str:
    """Return a reply without the first place that names a label, so that only other numbers remain.

    Parameters
    ----------
    reply : str
    label : str
        Words of a label that the reply states. Without digits they are left where they are: then
        they are no number.

    Returns
    -------
    str
        Nothing, if the label is but a part of other numbers: then nothing states it.

    Examples
    --------
    >>> without_label("1, 0.8", "1"), without_label("Grade 2: 70%", "grade 2")
    (', 0.8', ': 70%')
    >>> without_label("0.9", "0"), without_label("urgent, 0.9", "urgent")
    ('', 'urgent, 0.9')
    """
    if not re.search(r"\d", label):
        return reply
    name = r"\W+".join(map(re.escape, words(label)))
    # "0" is a part of "0.9" and of "2.0", but not of "0." and of "Guess.0".
    alone = rf"(?<!\w)(?<!\d\.){name}(?!\w)(?!(?<=\d)\.\d)"
    rest, found = re.subn(alone, "", reply, count=1, flags=re.IGNORECASE)
    return rest if found else ""
