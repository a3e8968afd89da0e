"""Splits in which no source of rows is on both sides."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.utils import check_consistent_length, check_random_state

from ..inputs import check_groups
from ..text_inputs import is_missing

__all__ = ["grouped_components", "leak_free_split", "rows_without_leak"]

#: Most folds the rows are dealt into; shares are rounded to what that many allow.
MOST_FOLDS = 20


def grouped_components(*keys: Sequence[Hashable]) -> np.ndarray:
    """Number the groups of rows that are linked through shared keys.

    Two rows that agree in any key are in one group, and so are rows linked through others: if
    rows 0 and 1 share a trial, and 1 and 2 a publication, then all three are one group.

    Parameters
    ----------
    *keys : sequence of hashable, each of length n_rows
        For instance the trial and the publication of every row. ``None``, NaN and the empty
        string link nothing.

    Returns
    -------
    ndarray of shape (n_rows,), int64
        Groups from 0, in order of first appearance.

    Raises
    ------
    ValueError
        If there are no keys, or they differ in length.

    Examples
    --------
    >>> grouped_components(["t1", "t1", "t2", "t3"], ["p1", "p2", "p2", "p3"])
    array([0, 0, 0, 1])
    """
    if not keys:
        raise ValueError("grouped_components has no keys; pass at least one value per row.")
    check_consistent_length(*keys)
    n_rows = len(keys[0])
    if n_rows == 0:
        return np.zeros(0, dtype=np.int64)
    nodes: dict[tuple[int, Hashable], int] = {}  # rows are the nodes before these
    links = [
        (row, nodes.setdefault((number, value), n_rows + len(nodes)))
        for number, key in enumerate(keys)
        for row, value in enumerate(key)
        if not is_missing(value) and value != ""
    ]
    ends = np.array(links, dtype=np.int64).reshape(-1, 2).T
    size = n_rows + len(nodes)
    graph = coo_array((np.ones(len(links)), (ends[0], ends[1])), shape=(size, size))
    _, found = connected_components(graph, directed=False)
    _, first, group = np.unique(found[:n_rows], return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[group].astype(np.int64)


def leak_free_split(
    groups: Sequence[Any] | np.ndarray,
    labels: Sequence[Any] | np.ndarray,
    test_size: float = 0.25,
    validation_size: float = 0.0,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[np.ndarray, ...]:
    """Split rows so that no group is on two sides, labels in like shares on each.

    Rows are dealt into at most 20 folds by scikit-learn's ``StratifiedGroupKFold``, of which the
    nearest number, drawn at random, makes up each part; big groups may move the shares further.

    Parameters
    ----------
    groups, labels : array-like of shape (n_rows,)
    test_size : float, default=0.25
        Share of all rows, between 0 and 1.
    validation_size : float, default=0.0
        Share of all rows, at least 0; 0 for no such part.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    tuple of ndarray of int64
        Sorted row numbers: train, validation, test; only train and test if ``validation_size``
        is 0.

    Raises
    ------
    ValueError
        If the shares leave no room for one another, there are too few groups or rows of a label
        to fill every part, or groups or labels are missing, or not one of each per row.

    Examples
    --------
    >>> groups = [0, 0, 1, 1, 2, 2, 3, 3]
    >>> train, test = leak_free_split(groups, ["a", "b"] * 4, random_state=0)
    >>> len(train), len(test), {groups[row] for row in train} & {groups[row] for row in test}
    (6, 2, set())
    """
    if not 0 < test_size < 1 or not 0 <= validation_size < 1 - test_size:
        raise ValueError(
            f"test_size={test_size} and validation_size={validation_size} are not shares of the "
            "rows that leave some to train on; give shares whose sum is below 1."
        )
    group, label = check_groups(groups, len(labels)), np.asarray(labels)
    # As objects: among strings NaN would be the word "nan".
    if missing := sum(map(is_missing, np.asarray(labels, dtype=object).tolist())):
        raise ValueError(f"labels has {missing} missing values; leave such rows out.")
    n_groups, n_parts = len(np.unique(group)), 3 if validation_size else 2
    if n_groups < n_parts:
        raise ValueError(
            f"groups has {n_groups} different values, too few for {n_parts} parts; give rows "
            "from more sources."
        )
    rng = check_random_state(random_state)
    rest = np.arange(len(group))
    rest, test = _cut(rest, group, label, test_size, rng)
    if not validation_size:
        return rest, test
    train, validation = _cut(rest, group, label, validation_size / (1 - test_size), rng)
    return train, validation, test


def _cut(
    rows: np.ndarray,
    groups: np.ndarray,
    labels: np.ndarray,
    share: float,
    rng: np.random.RandomState,
) -> tuple[np.ndarray, np.ndarray]:
    """Part ``rows`` into those left and a share of them."""
    most_folds = min(MOST_FOLDS, len(np.unique(groups[rows])))
    ratio = Fraction(share).limit_denominator(most_folds)
    if ratio <= 0 or ratio >= 1:  # a share nearer to nothing, or to all, than to one fold
        ratio = Fraction(1 if ratio <= 0 else most_folds - 1, most_folds)
    most = np.unique(labels[rows], return_counts=True)[1].max()
    if most < ratio.denominator:
        raise ValueError(
            f"labels has at most {most} rows of a label, too few for a share of {share:g}; give "
            f"at least {ratio.denominator}, or a share such as 0.5."
        )
    folds = StratifiedGroupKFold(ratio.denominator, shuffle=True, random_state=rng)
    with warnings.catch_warnings():
        # Of a rare label not every fold can have a row, which is what the docstring says.
        warnings.filterwarnings("ignore", "The least populated class")
        dealt = [fold for _, fold in folds.split(rows, labels[rows], groups[rows])]
    cut = np.zeros(len(rows), dtype=bool)
    # At random: the biggest groups are dealt first, and would always be in the first folds.
    drawn = rng.permutation(len(dealt))[: ratio.numerator]
    cut[np.concatenate([dealt[fold] for fold in drawn])] = True
    if not cut.any() or cut.all():
        raise ValueError(
            f"groups are too few or too unequal for a share of {share:g}; give rows from more "
            "sources, or another share."
        )
    return rows[~cut], rows[cut]


def rows_without_leak(
    test_groups: Sequence[Hashable], *other_groups: Sequence[Hashable]
) -> np.ndarray:
    """Tell which test rows come from groups that occur nowhere else.

    Parameters
    ----------
    test_groups : sequence of hashable, of length n_rows
    *other_groups : sequence of hashable
        Groups of the rows to learn from and to choose by.

    Returns
    -------
    ndarray of shape (n_rows,), bool

    Examples
    --------
    >>> rows_without_leak(["a", "b", "c"], ["a", "d"], ["c"])
    array([False,  True, False])
    """
    taken = {group for groups in other_groups for group in groups}
    return np.array([group not in taken for group in test_groups], dtype=bool)
