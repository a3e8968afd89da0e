"""DeLong's variance of AUROC: an interval, and a test of two sets of scores of the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm, rankdata

from ..inputs import check_groups
from .significance import Comparison
from .targets import check_binary, check_level

__all__ = ["auroc_interval", "delong_test"]

#: A variance up to this share of what it is the difference of is rounding, and so is one up to this
#: size: two neighbours exchanged among ten million rows make a larger one.
RELATIVE, ABSOLUTE = 1e-13, 1e-29


def auroc_interval(
    y_true: Any, proba: Any, groups: Any = None, level: float = 0.95
) -> tuple[float, float, float]:
    """AUROC and its confidence interval, from DeLong's variance on the logit scale.

    The normal approximation wants more than a handful of rows (groups) of either class.

    Parameters
    ----------
    y_true : array-like of shape (rows,)
        0 or 1, both present.
    proba : array-like of shape (rows,)
        Scores; higher for 1.
    groups : array-like of shape (rows,), optional
        Sources of the rows; those of one source may depend on each other [2]_.
    level : float, default=0.95

    Returns
    -------
    tuple of float
        AUROC, and the ends of the interval. A perfect one, and that of scores that are all the
        same, has no width; where a class has a single row (group), or no row's (group's) scores
        stand out from the others', nothing is known: 0 to 1.

    Raises
    ------
    ValueError
        If shapes or values do not fit, a class is missing, or ``level`` is not between 0 and 1.

    References
    ----------
    .. [1] DeLong, DeLong, Clarke-Pearson, "Comparing the areas under two or more correlated
       receiver operating characteristic curves", 1988, https://doi.org/10.2307/2531595
    .. [2] Obuchowski, "Nonparametric analysis of clustered ROC curve data", 1997,
       https://doi.org/10.2307/2533958

    Examples
    --------
    >>> auroc, low, high = auroc_interval([0, 0, 0, 1, 1, 1], [0.1, 0.4, 0.5, 0.3, 0.8, 0.9])
    >>> round(auroc, 3), bool(0 < low < auroc < high < 1)
    (0.778, True)
    """
    check_level(level)
    (auroc,), variance = _delong(y_true, [proba], groups)
    constant = np.ptp(np.asarray(proba, dtype=float)) == 0
    if constant or (auroc in (0.0, 1.0) and variance is not None):
        return auroc, auroc, auroc
    if not variance:
        return auroc, 0.0, 1.0
    half = norm.ppf((1 + level) / 2) * variance**0.5 / (auroc * (1 - auroc))
    return auroc, float(expit(logit(auroc) - half)), float(expit(logit(auroc) + half))


def delong_test(
    y_true: Any, proba_a: Any, proba_b: Any, groups: Any = None, level: float = 0.95
) -> Comparison:
    """Test whether two sets of scores of the same rows have the same AUROC.

    DeLong et al. 1988; of clustered rows Obuchowski 1997, see :func:`auroc_interval`. Placements
    are found from ranks in O(n log n) (Sun, Xu, 2014, https://doi.org/10.1109/LSP.2014.2337313).

    Parameters
    ----------
    y_true : array-like of shape (rows,)
        0 or 1, both present.
    proba_a, proba_b : array-like of shape (rows,)
        Scores; higher for 1.
    groups : array-like of shape (rows,), optional
        Sources of the rows.
    level : float, default=0.95

    Returns
    -------
    Comparison
        Of AUROC of a minus AUROC of b; two-sided. Where nothing can be said (a class has a single
        row or group; one AUROC is perfect and the other's scores are all the same) the p-value is
        NaN and the interval goes from -1 to 1.

    Raises
    ------
    ValueError
        If shapes or values do not fit, a class is missing, or ``level`` is not between 0 and 1.

    Examples
    --------
    >>> found = delong_test([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], [0.1, 0.3, 0.2, 0.4])
    >>> round(found.difference, 2), found.p_value > 0.05
    (0.25, True)
    """
    check_level(level)
    (auroc_a, auroc_b), variance = _delong(y_true, [proba_a, proba_b], groups)
    difference = auroc_a - auroc_b
    if variance is None:
        return Comparison(difference, -1.0, 1.0, float("nan"))
    if not variance:
        if abs(difference) < 1e-9:  # the same order of rows
            return Comparison(difference, difference, difference, 1.0)
        # Perfect against constant, or the like: no spread from which to tell what chance does.
        return Comparison(difference, -1.0, 1.0, float("nan"))
    deviation = variance**0.5
    half = float(norm.ppf((1 + level) / 2)) * deviation
    p_value = 2 * float(norm.sf(abs(difference) / deviation))
    return Comparison(difference, difference - half, difference + half, p_value)


def _delong(y_true: Any, scores: Sequence[Any], groups: Any) -> tuple[list[float], float | None]:
    """AUROC of one or two sets of scores, and the variance of it, or of the first minus the second.

    There is no variance where a class has a single row, or all its rows are of one group.
    """
    aurocs, placed = [], []
    names = ["proba"] if len(scores) == 1 else ["proba_a", "proba_b"]
    for own, name in zip(scores, names, strict=True):
        y, found = check_binary(y_true, own, both=True, unit=False, name=name)
        placements = _placements(y == 1, found)
        aurocs.append(float(placements[y == 1].mean()))
        placed.append(placements - aurocs[-1])
    # Subtracted here, row by row, where what both have in common cancels exactly.
    centred = placed[0] - placed[1] if len(placed) > 1 else placed[0]
    positive = y == 1
    group = check_groups(groups, len(y))
    counts = [len(np.unique(group[of])) for of in (positive, ~positive)]
    if min(counts) < 2:
        return aurocs, None
    # Each group's sums over its positive and over its negative rows. Each class's part is scaled by
    # how many groups have such rows, what both share by how many there are at all (Obuchowski
    # 1997); of independent rows these are DeLong's own divisors.
    n_groups = int(group.max()) + 1
    over, under = (
        np.bincount(group[of], centred[of], minlength=n_groups) / of.sum()
        for of in (positive, ~positive)
    )
    apart = _unbiased(counts[0]) * (over @ over) + _unbiased(counts[1]) * (under @ under)
    variance = apart + 2 * _unbiased(n_groups) * (over @ under)
    return aurocs, float(variance) if variance > max(RELATIVE * apart, ABSOLUTE) else 0.0


def _unbiased(groups: int) -> float:
    """What a sum of squares over groups, centred by their own mean, must be multiplied by."""
    return groups / (groups - 1)


def _placements(positive: np.ndarray, found: np.ndarray) -> np.ndarray:
    """For each row, the share of the other class that it is on the right side of; ties half."""
    ones, zeros = positive.sum(), (~positive).sum()
    among_all = rankdata(found)
    own = np.empty(len(found))
    own[positive] = (among_all[positive] - rankdata(found[positive])) / zeros
    own[~positive] = 1 - (among_all[~positive] - rankdata(found[~positive])) / ones
    return own
