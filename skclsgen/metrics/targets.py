"""Targets and probabilities of two classes, checked."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["check_binary", "check_groups"]


def check_binary(
    y_true: Any, proba: Any, *, both: bool = False, unit: bool = True
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

    Raises
    ------
    ValueError
        If shapes differ, targets are not 0 or 1, or probabilities are not in [0, 1].

    Examples
    --------
    >>> check_binary([True, False], [0.75, 0.5])
    (array([1, 0]), array([0.75, 0.5 ]))
    """
    y, found = np.asarray(y_true), np.asarray(proba, dtype=float)
    if y.ndim != 1 or y.shape != found.shape or not len(y):
        raise ValueError(
            f"y_true and proba have the shapes {y.shape} and {found.shape}; pass one number of "
            "each per row, at least one."
        )
    if not np.isin(y, (0, 1)).all():
        raise ValueError(f"y_true has the values {np.unique(y)[:5].tolist()}; it must be 0 or 1.")
    if not np.isfinite(found).all() or (unit and ((found < 0) | (found > 1)).any()):
        raise ValueError("proba has values that are no probabilities; they must lie in [0, 1].")
    y = y.astype(np.int64)
    if both and len(np.unique(y)) < 2:
        raise ValueError("y_true has one class only; rows of both are needed.")
    return y, found


def check_groups(groups: Any, rows: int) -> np.ndarray:
    """Return the number of each row's group, shape (rows,), int64; each its own without groups.

    Raises
    ------
    ValueError
        If there is not one group per row.

    Examples
    --------
    >>> check_groups(["b", "a", "b"], 3)
    array([1, 0, 1])
    """
    if groups is None:
        return np.arange(rows)
    found = np.asarray(groups)
    if found.shape != (rows,):
        raise ValueError(
            f"groups has the shape {found.shape} for {rows} rows; pass one group per row."
        )
    index: np.ndarray = np.unique(found, return_inverse=True)[1].astype(np.int64)
    return index
