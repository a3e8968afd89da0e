"""Bootstrap of AUROC and of means over rows: one set of resampled rows for many models at once.

A resample is a vector of weights (how often each row was drawn), so that nothing is sorted twice.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from ..inputs import check_groups
from .targets import check_binary, check_repeats

__all__ = ["resampling_weights", "weighted_auroc"]

#: Numbers of a table of weights that are dealt with at a time: what a processor's cache holds.
CHUNK = 2**18


def resampling_weights(
    groups: Any, repeats: int = 2000, random_state: int | np.random.RandomState | None = None
) -> np.ndarray:
    """Draw groups of rows with replacement, and return how often each row was drawn.

    Rows that share a source (a premise, a clinical trial) are not independent; drawing whole
    groups keeps what they share (Field, Welsh, "Bootstrapping clustered data", 2007,
    https://doi.org/10.1111/j.1467-9868.2007.00593.x).

    Parameters
    ----------
    groups : array-like of shape (rows,)
        Group of each row; all different for the ordinary bootstrap.
    repeats : int, default=2000
        Resamples.
    random_state : int, RandomState instance or None, default=None
        Fixes the draws.

    Returns
    -------
    ndarray of shape (repeats, rows), int32

    Raises
    ------
    ValueError
        If there are no rows, groups are missing or not one per row, or ``repeats`` is below 1.

    Examples
    --------
    >>> weights = resampling_weights(["a", "a", "b"], repeats=4, random_state=0)
    >>> weights.shape, bool((weights[:, 0] == weights[:, 1]).all())
    ((4, 3), True)
    """
    check_repeats(repeats)
    rows = np.shape(groups)[0] if np.ndim(groups) else 0
    if not rows:
        raise ValueError("groups has no rows; pass the group of each, at least one.")
    index = check_groups(groups, rows)
    n_groups = int(index.max()) + 1
    rng = check_random_state(random_state)
    counts = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=repeats)
    drawn: np.ndarray = counts.astype(np.int32)[:, index]
    return drawn


def weighted_auroc(y_true: Any, scores: Any, weights: Any) -> np.ndarray:
    """AUROC of one set of scores under many weightings of the rows.

    The share of weighted pairs of a positive and a negative row whose scores are in that order,
    ties counting half: the Mann-Whitney form of AUROC (Hanley, McNeil, 1982,
    https://doi.org/10.1148/radiology.143.1.7063747).

    Parameters
    ----------
    y_true : array-like of shape (rows,)
        0 or 1.
    scores : array-like of shape (rows,)
        Higher for the positive class.
    weights : array-like of shape (repeats, rows)
        At least 0.

    Returns
    -------
    ndarray of shape (repeats,), float64
        NaN where one class has no weight.

    Raises
    ------
    ValueError
        If the shapes do not fit, targets are not 0 or 1, or scores or weights cannot be used.

    Examples
    --------
    >>> weighted_auroc([0, 1, 1], [0.2, 0.1, 0.9], [[1, 1, 1], [1, 0, 2]])
    array([0.5, 1. ])
    """
    y, found = check_binary(y_true, scores, unit=False, name="scores")
    table = np.asarray(weights)
    if table.ndim != 2 or table.shape[1:] != y.shape:
        raise ValueError(
            f"weights has the shape {table.shape} for {len(y)} rows; pass (repeats, rows)."
        )
    if not np.isfinite(table).all() or (table < 0).any():
        raise ValueError("weights has values that are no weights; they must be at least 0.")
    order = np.argsort(found, kind="stable")
    positive = y[order] == 1
    starts = np.flatnonzero(np.r_[True, np.diff(found[order]) > 0])  # of equal scores
    out = np.empty(len(table))
    step = max(1, CHUNK // max(1, len(y)))
    for first in range(0, len(table), step):
        part = table[first : first + step][:, order].astype(float)
        above = np.add.reduceat(np.where(positive, part, 0), starts, axis=1)
        below = np.add.reduceat(np.where(positive, 0, part), starts, axis=1)
        pairs = above.sum(axis=1) * below.sum(axis=1)
        ahead = (above * (below.cumsum(axis=1) - below / 2)).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            out[first : first + step] = ahead / pairs
    return out
