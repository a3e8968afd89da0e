"""Whether an explanation helps a reader to foresee the model's decision."""

from __future__ import annotations

from typing import Any

import numpy as np

from .targets import check_same_kind

__all__ = ["las_terms", "leakage_adjusted_simulatability", "simulatability_gains"]


def leakage_adjusted_simulatability(
    targets: Any, from_text: Any, from_explanation: Any, from_both: Any
) -> dict[str, float]:
    """By how much explanations raise a simulator's accuracy, adjusted for leakage.

    A simulator is a classifier that predicts the model's decisions. An explanation *leaks* if the
    decision can be told from it alone; it then helps the simulator whether or not it explains
    anything. The gain is therefore averaged over leaking and over other explanations first, and
    then over the two (equation 1 of Hase et al. [1]_).

    Parameters
    ----------
    targets : array-like of shape (rows,)
        The model's decisions.
    from_text, from_explanation, from_both : array-like of shape (rows,)
        What a simulator takes them to be, shown the text, the explanation, or both.

    Returns
    -------
    dict of str to float
        ``las``; ``leaking`` and ``nonleaking``, the two groups' gains (NaN for an empty group:
        ``las`` is then the other's); ``share_leaking``.

    Raises
    ------
    ValueError
        If the lengths differ or are 0, or some labels are words and others numbers.

    References
    ----------
    .. [1] Hase, Zhang, Xie, Bansal, "Leakage-Adjusted Simulatability: Can Models Generate
       Non-Trivial Explanations of Their Behavior in Natural Language?", 2020,
       https://arxiv.org/abs/2010.04119

    Examples
    --------
    >>> shown = [0, 1, 0, 1], [1, 1, 1, 1], [1, 1, 0, 0]
    >>> found = leakage_adjusted_simulatability([1, 1, 0, 0], *shown)
    >>> found["leaking"], found["nonleaking"], found["las"]
    (0.5, 0.5, 0.5)
    """
    gains, leaks = _gains_and_leaks(targets, from_text, from_explanation, from_both)
    groups = {
        name: float(gains[chosen].mean()) if chosen.any() else np.nan
        for name, chosen in (("leaking", leaks), ("nonleaking", ~leaks))
    }
    las = float(np.nanmean(list(groups.values())))
    return {"las": las, **groups, "share_leaking": float(leaks.mean())}


def las_terms(targets: Any, from_text: Any, from_explanation: Any, from_both: Any) -> np.ndarray:
    """Each row's part of leakage-adjusted simulatability, for intervals and paired tests.

    How many rows leak is chance too, but the mean over the two groups takes that out again. So a
    row's part is ``las`` and, on top of it, by how much its gain exceeds that of its own group
    (leaking or not), as much as one row of the group counts: the linear part of ``las`` as a
    function of the rows (van der Vaart, "Asymptotic Statistics", 1998, chapter 20), whose spread is
    that of ``las``. Where a group has less than about twenty rows, tests are a little too ready to
    find differences.

    Parameters
    ----------
    targets, from_text, from_explanation, from_both : array-like of shape (rows,)
        As for :func:`leakage_adjusted_simulatability`.

    Returns
    -------
    ndarray of shape (rows,), float64
        Their mean is ``las``.

    Raises
    ------
    ValueError
        If the numbers of rows differ or are 0, or some are words and others numbers.

    Examples
    --------
    >>> las_terms([1, 1, 0, 0], [0, 1, 0, 0], [1, 1, 1, 1], [1, 1, 0, 0])
    array([ 0.75, -0.25,  0.25,  0.25])
    """
    gains, leaks = _gains_and_leaks(targets, from_text, from_explanation, from_both)
    own_groups = [chosen for chosen in (leaks, ~leaks) if chosen.any()]
    terms = np.full(len(gains), np.mean([gains[chosen].mean() for chosen in own_groups]))
    for chosen in own_groups:
        share = chosen.mean() * len(own_groups)
        terms[chosen] += (gains[chosen] - gains[chosen].mean()) / share
    return terms


def simulatability_gains(targets: Any, from_text: Any, from_both: Any) -> np.ndarray:
    """What explanations add to a simulator's hits, row by row, whether they leak or not.

    The plain measure that leakage is adjusted for in :func:`leakage_adjusted_simulatability`
    (Doshi-Velez, Kim, "Towards A Rigorous Science of Interpretable Machine Learning", 2017,
    https://arxiv.org/abs/1702.08608, call it forward simulation).

    Parameters
    ----------
    targets : array-like of shape (rows,)
        The model's decisions.
    from_text, from_both : array-like of shape (rows,)
        What a simulator takes them to be, shown the text, and shown text and explanation.

    Returns
    -------
    ndarray of shape (rows,), float64
        1 where the explanation made the guess right, -1 where it made it wrong, else 0.

    Raises
    ------
    ValueError
        If the numbers of rows differ or are 0, or some are words and others numbers.

    Examples
    --------
    >>> simulatability_gains([1, 1, 0], [0, 1, 0], [1, 1, 1])
    array([ 1.,  0., -1.])
    """
    return _gains_and_leaks(targets, from_text, from_text, from_both)[0]


def _gains_and_leaks(
    targets: Any, from_text: Any, from_explanation: Any, from_both: Any
) -> tuple[np.ndarray, np.ndarray]:
    """What the explanation adds in each row (-1, 0 or 1), and whether it leaks."""
    target, text, explanation, both = map(
        np.asarray, (targets, from_text, from_explanation, from_both)
    )
    shapes = {found.shape for found in (target, text, explanation, both)}
    if len(shapes) > 1 or target.ndim != 1 or not len(target):
        raise ValueError(
            f"targets and predictions have the shapes {sorted(shapes)}; pass one of each per row, "
            "at least one."
        )
    check_same_kind(target, text, explanation, both)
    gains = (both == target).astype(float) - (text == target)
    return gains, explanation == target
