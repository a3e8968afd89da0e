"""Rows held out of training, by which early stopping judges."""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import train_test_split

__all__ = ["can_hold_out", "check_validation_split", "hold_out"]


def can_hold_out(labels: np.ndarray, fraction: float) -> bool:
    """Tell whether :func:`hold_out` can give both parts a row of every class.

    The held-out part needs one so that its loss says something, the other to learn from.
    """
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    held_out = _rows_held_out(labels, fraction)
    return counts.min() >= 2 and min(held_out, len(labels) - held_out) >= len(counts)


def check_validation_split(labels: np.ndarray, fraction: float) -> None:
    """Raise ``ValueError`` unless :func:`can_hold_out` is true."""
    if not can_hold_out(labels, fraction):
        _, counts = np.unique(labels, return_counts=True)
        raise ValueError(
            f"early_stopping holds out {_rows_held_out(labels, fraction)} of {len(labels)} rows "
            f"(validation_fraction={fraction:g}), but held-out and other rows both need one of "
            f"each of the {len(counts)} classes, of which the rarest has {counts.min()} rows; "
            "change validation_fraction, add rows, or use early_stopping=False."
        )


def hold_out(labels: np.ndarray, fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Choose the rows to train on and those to hold out, stratified.

    Parameters
    ----------
    labels : ndarray of shape (n_rows,), int64
        Class indices that passed :func:`check_validation_split`.
    fraction : float
        Share to hold out.
    seed : int
        Draws the rows.

    Returns
    -------
    training, held_out : list of int
        Row numbers; both parts have every class.

    Examples
    --------
    >>> training, held_out = hold_out(np.array([0] * 36 + [1] * 4), 0.1, seed=0)
    >>> sum(row >= 36 for row in training), sum(row >= 36 for row in held_out)
    (3, 1)
    """
    training, held_out = train_test_split(
        range(len(labels)), test_size=float(fraction), stratify=labels, random_state=seed
    )
    # The share of a rare class may be rounded to none of its rows, or to all: then one changes
    # sides.
    for part, other in ((held_out, training), (training, held_out)):
        for label in np.setdiff1d(labels, labels[part]):
            row = next(row for row in other if labels[row] == label)
            other.remove(row)
            part.append(row)
    return training, held_out


def _rows_held_out(labels: np.ndarray, fraction: float) -> int:
    """How many rows :func:`~sklearn.model_selection.train_test_split` takes."""
    return int(np.ceil(fraction * len(labels)))
