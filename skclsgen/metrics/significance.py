"""Whether a difference is one: bootstrap, permutation, non-inferiority, Holm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student
from sklearn.utils import check_random_state

from ..inputs import check_groups
from .targets import check_level, check_repeats

__all__ = [
    "Comparison",
    "holm",
    "non_inferior",
    "paired_bootstrap",
    "permutation_test",
]

#: Numbers of a table of random signs that are dealt with at a time.
CHUNK = 2**22
#: What numbers that are the same differ by, as a share of them.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Comparison:
    """A difference, and what is known about it.

    Attributes
    ----------
    difference : float
    low, high : float
        Ends of its confidence interval.
    p_value : float
        Of no difference, unless the function says otherwise.
    """

    difference: float
    low: float
    high: float
    p_value: float


def paired_bootstrap(
    statistic: Callable[..., float],
    *arrays: Any,
    groups: Any = None,
    repeats: int = 2000,
    level: float = 0.95,
    random_state: int | np.random.RandomState | None = None,
) -> Comparison:
    """Interval and p-value of any difference, by drawing rows (or whole groups) again [1]_.

    Parameters
    ----------
    statistic : callable
        Takes the arrays, their rows drawn again, and returns a difference. Resamples for which it
        is NaN (as AUROC is with one class) do not count.
    *arrays : array-like of shape (rows, ...)
    groups : array-like of shape (rows,), optional
        Sources of the rows. With fewer than about twenty, intervals are too narrow and p-values too
        small; of means :func:`permutation_test` is then the better test.
    repeats : int, default=2000
    level : float, default=0.95
    random_state : int, RandomState instance or None, default=None
        Fixes the draws.

    Returns
    -------
    Comparison
        Percentile interval; the p-value is twice the smaller share of resamples on either side of
        0, one added to both counts. Of a single row or group nothing is known: the interval is
        infinite and the p-value NaN.

    Raises
    ------
    ValueError
        If the arrays' lengths differ or are 0, ``repeats`` is below 1, ``level`` is not between 0
        and 1, or the statistic is NaN for every resample.

    References
    ----------
    .. [1] Efron, Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 13 and 16

    Examples
    --------
    >>> a, b = np.arange(20.0), np.arange(20.0) - 1
    >>> paired_bootstrap(lambda a, b: float((a - b).mean()), a, b, random_state=0).low
    1.0
    """
    tables = [np.asarray(array) for array in arrays]
    check_level(level)
    check_repeats(repeats)
    if not tables or len({len(table) for table in tables}) > 1 or not len(tables[0]):
        raise ValueError(
            f"arrays have {[len(table) for table in tables]} rows; pass at least one, all of the "
            "same length, at least 1."
        )
    given = float(statistic(*tables))
    index = check_groups(groups, len(tables[0]))
    if index.max() == 0:
        return Comparison(given, float("-inf"), float("inf"), float("nan"))
    order = np.argsort(index, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(index))[:-1])
    rng = check_random_state(random_state)
    drawn = np.empty(repeats)
    for turn in range(repeats):
        rows = np.concatenate([members[g] for g in rng.randint(len(members), size=len(members))])
        drawn[turn] = statistic(*(table[rows] for table in tables))
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        raise ValueError("statistic is NaN for every resample; use more rows.")
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    smaller = min((drawn <= 0).sum(), (drawn >= 0).sum())
    p_value = min(1.0, 2 * (smaller + 1) / (len(drawn) + 1))
    return Comparison(given, float(low), float(high), float(p_value))


def permutation_test(
    values_a: Any,
    values_b: Any,
    groups: Any = None,
    repeats: int = 10_000,
    level: float = 0.95,
    random_state: int | np.random.RandomState | None = None,
) -> Comparison:
    """Test whether paired values have the same mean, by exchanging them within pairs [1]_.

    All exchanges are tried if there are no more than ``repeats``, else that many at random, the
    given one counting among them. Groups are exchanged as a whole.

    Parameters
    ----------
    values_a, values_b : array-like of shape (rows,)
    groups : array-like of shape (rows,), optional
        Sources of the rows.
    repeats : int, default=10000
    level : float, default=0.95
        Of the interval, which is Student's over groups.
    random_state : int, RandomState instance or None, default=None
        Fixes the exchanges.

    Returns
    -------
    Comparison
        Of the mean of a minus the mean of b; two-sided.

    Raises
    ------
    ValueError
        If the values' shapes differ, there are none, some are not finite, ``repeats`` is below 1,
        or ``level`` is not between 0 and 1.

    References
    ----------
    .. [1] Good, "Permutation, Parametric and Bootstrap Tests of Hypotheses", 2005, chapter 3

    Examples
    --------
    >>> permutation_test([1.0, 2.0, 4.0], [0.0, 0.0, 0.0]).p_value
    0.25
    """
    a, b = np.asarray(values_a, dtype=float), np.asarray(values_b, dtype=float)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(
            f"values_a and values_b have the shapes {a.shape} and {b.shape}; pass one value of "
            "each per row, at least one."
        )
    check_repeats(repeats)
    _check_finite(a - b, "values_a and values_b")
    difference, low, high, _, sums = _mean_and_interval(a - b, groups, level)
    if 2 ** min(len(sums), 62) <= repeats:
        signs = 1 - 2 * ((np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums))) & 1)
        found, extra = np.abs(signs @ sums), 0
    else:
        rng = check_random_state(random_state)
        step = max(1, CHUNK // len(sums))
        sizes = [min(step, repeats - start) for start in range(0, repeats, step)]
        drawn = (1 - 2 * rng.randint(2, size=(size, len(sums))) for size in sizes)
        found, extra = np.concatenate([np.abs(signs @ sums) for signs in drawn]), 1
    # Sums of the same numbers in another order differ by rounding.
    as_far = (found >= abs(sums.sum()) - 1e-12 * np.abs(sums).sum()).sum()
    p_value = float((as_far + extra) / (len(found) + extra))
    return Comparison(difference, low, high, p_value)


def non_inferior(
    differences: Any, margin: float, groups: Any = None, level: float = 0.95
) -> Comparison:
    """Test whether a cost rose by less than a margin.

    Not finding a rise proves nothing; finding that it is below a margin does [1]_.

    Parameters
    ----------
    differences : array-like of shape (rows,)
        New cost minus old; more is worse.
    margin : float, > 0
        The rise that would matter.
    groups : array-like of shape (rows,), optional
        Sources of the rows.
    level : float, default=0.95
        Of the interval, which is two-sided.

    Returns
    -------
    Comparison
        ``difference`` is the mean rise; ``p_value`` is one-sided, of a rise by ``margin`` or more.

    Raises
    ------
    ValueError
        If there are fewer than two differences (or groups), some are not finite, the margin is not
        above 0, or ``level`` is not between 0 and 1.

    References
    ----------
    .. [1] Wellek, "Testing Statistical Hypotheses of Equivalence and Noninferiority", 2010,
       chapter 2

    Examples
    --------
    >>> found = non_inferior([0.0, 0.01, -0.01, 0.02, 0.0, 0.01], margin=0.05)
    >>> round(found.difference, 3), found.p_value < 0.001
    (0.005, True)
    """
    rises = np.asarray(differences, dtype=float)
    if rises.ndim != 1 or len(rises) < 2 or not margin > 0:
        raise ValueError(
            f"differences has the shape {rises.shape} and margin is {margin}; pass at least two "
            "differences and a margin above 0."
        )
    _check_finite(rises, "differences")
    mean, low, high, deviation, sums = _mean_and_interval(rises, groups, level)
    if len(sums) < 2:
        raise ValueError("groups has a single one; a rise is judged by at least two.")
    if deviation <= ROUNDING * np.abs(rises).max():  # all are the same
        return Comparison(mean, low, high, float(mean >= margin * (1 - ROUNDING)))
    p_value = float(student.cdf((mean - margin) / deviation, len(sums) - 1))
    return Comparison(mean, low, high, p_value)


def _check_finite(values: np.ndarray, name: str) -> None:
    strange = int((~np.isfinite(values)).sum())
    if strange:
        raise ValueError(f"{name} have {strange} rows that are not finite; leave such rows out.")


def _mean_and_interval(
    values: np.ndarray, groups: Any, level: float
) -> tuple[float, float, float, float, np.ndarray]:
    """Mean over rows, its interval by Student over groups, its standard error, the groups' sums."""
    check_level(level)
    index = check_groups(groups, len(values))
    sums: np.ndarray = np.bincount(index, values)
    mean, n_groups = float(values.mean()), len(sums)
    if n_groups < 2:
        return mean, float("-inf"), float("inf"), float("inf"), sums
    residuals = sums - np.bincount(index) * mean
    deviation = float(np.sqrt((residuals**2).sum() * n_groups / (n_groups - 1)) / len(values))
    half = float(student.ppf((1 + level) / 2, n_groups - 1)) * deviation
    return mean, mean - half, mean + half, deviation, sums


def holm(p_values: Any) -> np.ndarray:
    """Adjust p-values for multiple tests, controlling the family-wise error rate [1]_.

    Parameters
    ----------
    p_values : array-like of shape (tests,)
        NaN stays NaN and does not count.

    Returns
    -------
    ndarray of shape (tests,), float64
        In the same order; at most 1.

    Raises
    ------
    ValueError
        If one is not between 0 and 1.

    References
    ----------
    .. [1] Holm, "A simple sequentially rejective multiple test procedure", 1979,
       https://www.jstor.org/stable/4615733

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    found = np.asarray(p_values, dtype=float)
    strange = found[(found < 0) | (found > 1)]
    if strange.size:
        raise ValueError(f"p_values has {strange[0]:g}, which is no share between 0 and 1.")
    adjusted = np.full(found.shape, np.nan)
    known = np.flatnonzero(~np.isnan(found))
    order = known[np.argsort(found[known], kind="stable")]
    scaled = found[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(scaled))
    return adjusted
