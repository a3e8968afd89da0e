"""Whether an explanation helps a reader to foresee the model's decision."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["las_terms", "leakage_adjusted_simulatability", "simulatability_gains"]


def leakage_adjusted_simulatability(
    targets: Any, from_text: Any, from_explanation: Any, from_both: Any
) -> dict[str, float]:
    """By how much explanations raise a simulator's accuracy, leaking ones and others alike.

    An explanation from which alone the model's decision can be told (it *leaks*) helps the
    simulator whether or not it explains anything. The gain is therefore averaged over leaking and
    over other explanations first, and then over the two (equation 1 of Hase et al. [1]_).

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
    """Each row's part of leakage-adjusted simulatability, for paired tests.

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
        If the numbers of rows differ or are 0.

    Examples
    --------
    >>> las_terms([1, 1, 0], [0, 1, 0], [1, 1, 1], [1, 1, 0]).mean()
    np.float64(0.25)
    """
    gains, leaks = _gains_and_leaks(targets, from_text, from_explanation, from_both)
    sizes = np.where(leaks, leaks.sum(), (~leaks).sum())
    groups = len(set(leaks.tolist()))
    terms: np.ndarray = gains * len(gains) / (groups * sizes)
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
        If the numbers of rows differ or are 0.

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
    gains = (both == target).astype(float) - (text == target)
    return gains, explanation == target
