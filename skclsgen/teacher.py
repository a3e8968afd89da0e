"""A teacher: the caller's own function that writes a reason for every training row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from .inputs import TrainingRows, check_explanations
from .rationales import RationaleReport, filter_rationale

__all__ = ["Teacher", "taught_rationales"]

#: Takes texts, and the words of their labels; returns a reason, or None, for each.
Teacher = Callable[[list[str], list[str]], Sequence[str | None]]


def taught_rationales(
    teacher: Teacher, rows: TrainingRows, label_words: Sequence[str]
) -> tuple[list[str | None], RationaleReport]:
    """Have a teacher explain every row's label, and filter what it writes.

    Parameters
    ----------
    teacher : callable
        Called once, with the texts and their labels' words.
    rows : TrainingRows
    label_words : sequence of str
        Words of each class.

    Returns
    -------
    list of str or None
        One reason per row that passed the filter of
        :func:`~skclsgen.rationales.filter_rationale`.
    RationaleReport

    Raises
    ------
    InvalidExplanationsError
        If the teacher does not return one string or None per text.

    Examples
    --------
    >>> import numpy as np
    >>> texts, words = ["The power is out!", "All is well."], ["calm", "urgent"]
    >>> rows = TrainingRows(texts, np.array([1, 0]), None, np.ones(2), np.ones(2))
    >>> def quote(texts, labels):
    ...     return [f'The text says "{text}"' for text in texts]
    >>> taught_rationales(quote, rows, words)[0][0]
    'The text says "The power is out!"'
    """
    names = [label_words[label] for label in rows.labels]
    written = teacher(list(rows.texts), names)
    found = check_explanations(written, len(names), "what the callable rationales returned")
    candidates = [None] * len(names) if found is None else found
    dropped = [
        filter_rationale(candidate, text, int(label), label_words)
        for candidate, text, label in zip(candidates, rows.texts, rows.labels, strict=True)
    ]
    reasons = [c if d is None else None for c, d in zip(candidates, dropped, strict=True)]
    classes = []
    for index in range(len(label_words)):
        why = [d for label, d in zip(rows.labels, dropped, strict=True) if label == index]
        lost = Counter(d for d in why if d is not None)
        classes.append({"rows": len(why), "kept": len(why) - lost.total(), "dropped": dict(lost)})
    return reasons, RationaleReport("teacher", classes)
