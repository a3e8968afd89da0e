"""What metrics are given, checked."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = [
    "check_binary",
    "check_level",
    "check_proba",
    "check_repeats",
    "check_same_kind",
    "check_several",
]


def check_binary(
    y_true: Any, proba: Any, *, both: bool = False, unit: bool = True, name: str = "proba"
) -> tuple[np.ndarray, np.ndarray]:
    """Return targets as integers and probabilities as float64.

    Parameters
    ----------
    y_true : array-like of shape (rows,)
    proba : array-like of shape (rows,)
    both : bool, default=False
        Whether both classes are needed.
    unit : bool, default=True
        Whether scores must lie in [0, 1].
    name : str, default="proba"
        What the caller calls its probabilities.

    Raises
    ------
    ValueError
        If shapes differ, targets are not 0 or 1, or probabilities are not finite or, with ``unit``,
        not in [0, 1].

    Examples
    --------
    >>> check_binary([True, False], [0.75, 0.5])
    (array([1, 0]), array([0.75, 0.5 ]))
    """
    y, found = np.asarray(y_true), np.asarray(proba, dtype=float)
    if y.ndim != 1 or y.shape != found.shape or not len(y):
        raise ValueError(
            f"y_true and {name} have the shapes {y.shape} and {found.shape}; pass one number of "
            "each per row, at least one."
        )
    strange = y[~np.isin(y, (0, 1))]  # not sorted: None has no place among numbers
    if len(strange):
        raise ValueError(f"y_true has the values {strange[:5].tolist()}; it must be 0 or 1.")
    check_proba(found, unit=unit, name=name)
    y = y.astype(np.int64)
    if both and len(np.unique(y)) < 2:
        raise ValueError("y_true has one class only; rows of both are needed.")
    return y, found


def check_proba(found: np.ndarray, *, unit: bool = True, name: str = "proba") -> None:
    """Refuse what are no probabilities, or no scores unless they must lie in [0, 1] (``unit``).

    Raises
    ------
    ValueError
        If there are any.

    Examples
    --------
    >>> check_proba(np.array([[0.2, 0.8]]))
    """
    if not np.isfinite(found).all():
        raise ValueError(f"{name} has values that are not finite; leave such rows out.")
    if unit and ((found < 0) | (found > 1)).any():
        raise ValueError(f"{name} has values that are no probabilities; they must lie in [0, 1].")


def check_level(level: float) -> None:
    """Refuse what is no confidence level.

    Raises
    ------
    ValueError
        If it does not lie between 0 and 1.

    Examples
    --------
    >>> check_level(0.95)
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level!r}; it is a share between 0 and 1, such as 0.95.")


def check_repeats(repeats: int) -> None:
    """Refuse to draw nothing.

    Raises
    ------
    ValueError
        If ``repeats`` is below 1.

    Examples
    --------
    >>> check_repeats(200)
    """
    if repeats < 1:
        raise ValueError(f"repeats is {repeats}; draw at least once.")


def check_same_kind(*labels: Any) -> None:
    """Refuse to compare labels that are words with labels that are numbers: none would ever agree.

    Raises
    ------
    ValueError
        If some are text and others are not.

    Examples
    --------
    >>> check_same_kind(["yes", "no"], ["no"], [])
    """
    kinds = {isinstance(label, str) for own in labels for label in np.asarray(own, dtype=object)}
    if len(kinds) > 1:
        raise ValueError(
            "labels that are compared are words on one side and numbers on the other; pass the "
            "same labels throughout."
        )


def check_several(texts: Any, name: str) -> None:
    """Refuse one text where several are wanted: its letters would be taken for them.

    Raises
    ------
    ValueError
        If it is a string, or empty.

    Examples
    --------
    >>> check_several(["one text"], "texts")
    """
    if isinstance(texts, str) or not len(texts):
        found = "a single string" if isinstance(texts, str) else "empty"
        raise ValueError(f"{name} is {found}; pass a list of at least one text.")
