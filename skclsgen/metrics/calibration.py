"""Whether probabilities mean what they say, and one number to mend them with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.fft import dct, idct
from scipy.special import softmax
from sklearn.utils import check_random_state

from ..temperature import best_temperature
from .targets import check_binary, check_level, check_proba, check_repeats

__all__ = [
    "ReliabilityCurve",
    "apply_temperature",
    "fit_temperature",
    "reliability_curve",
    "smooth_ece",
    "smooth_ece_draws",
    "smooth_ece_null",
]

#: Cells of the grid on [0, 1] that predictions are brought to.
GRID = 500
#: Of the interval that the kernel's width is found in: it is known to 1e-4 then.
HALVINGS = 14
#: A curve is drawn where the density is at least this share of its greatest.
MET = 0.02
#: Probabilities are clipped to this, or one certain mistake would have an infinite loss.
NEAREST = 1e-12


def smooth_ece(y_true: Any, proba: Any) -> float:
    """Smooth expected calibration error [1]_.

    Residuals ``y - p`` are smoothed over ``p`` by a Gaussian kernel reflected at 0 and 1; the error
    is the integral of their absolute value. The kernel's width is the one that equals the error, so
    there are no bins to choose. Predictions are brought to a grid of 500 cells.

    Parameters
    ----------
    y_true : array-like of shape (rows,)
        0 or 1.
    proba : array-like of shape (rows,)
        Probabilities of 1.

    Returns
    -------
    float
        In [0, 1]; 0 is best, but no finite sample reaches it, see :func:`smooth_ece_null`.

    Raises
    ------
    ValueError
        If targets or probabilities cannot be used.

    References
    ----------
    .. [1] Błasiok, Nakkiran, "Smooth ECE: Principled Reliability Diagrams via Kernel Smoothing",
       2023, https://arxiv.org/abs/2309.12236, definition 1 and section 4

    Examples
    --------
    >>> y = [0, 1] * 500
    >>> smooth_ece(y, [0.5] * 1000) < 0.001
    True
    >>> round(smooth_ece(y, [0.9] * 1000), 2)
    0.4
    """
    y, found = check_binary(y_true, proba)
    errors, _ = _errors_and_widths(_residuals(y, found))
    return float(errors)


def smooth_ece_null(
    proba: Any,
    level: float = 0.95,
    repeats: int = 200,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[float, float]:
    """Where the smooth calibration error lies if the probabilities are true.

    Parameters
    ----------
    proba : array-like of shape (rows,)
        Probabilities of 1.
    level : float, default=0.95
        Share of the simulated errors in the band.
    repeats : int, default=200
        Sets of labels drawn from the probabilities.
    random_state : int, RandomState instance or None, default=None
        Fixes the draws.

    Returns
    -------
    tuple of float
        Lower and upper end.

    Raises
    ------
    ValueError
        If ``proba`` are no probabilities, ``level`` is no share, or ``repeats`` is below 1.

    Examples
    --------
    >>> low, high = smooth_ece_null([0.3, 0.6, 0.8] * 100, random_state=0)
    >>> 0 < low < high < 0.1
    True
    """
    check_level(level)
    errors = smooth_ece_draws(proba, repeats, random_state)
    low, high = np.quantile(errors, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def smooth_ece_draws(
    proba: Any, repeats: int = 200, random_state: int | np.random.RandomState | None = None
) -> np.ndarray:
    """Smooth calibration errors of labels that are drawn from the probabilities themselves.

    Parameters
    ----------
    proba : array-like of shape (rows,)
        Probabilities of 1.
    repeats : int, default=200
        Sets of labels drawn.
    random_state : int, RandomState instance or None, default=None
        Fixes the draws.

    Returns
    -------
    ndarray of shape (repeats,), float64

    Raises
    ------
    ValueError
        If ``proba`` are no probabilities, or ``repeats`` is below 1.

    Examples
    --------
    >>> smooth_ece_draws([0.3, 0.6, 0.8] * 100, repeats=3, random_state=0).shape
    (3,)
    """
    check_repeats(repeats)
    found = np.asarray(proba, dtype=float)
    if found.ndim != 1 or not len(found):
        raise ValueError(
            f"proba has the shape {found.shape}; pass one probability of 1 per row, at least one."
        )
    check_proba(found)
    drawn = check_random_state(random_state).uniform(size=(repeats, len(found))) < found
    errors, _ = _errors_and_widths(np.stack([_residuals(labels, found) for labels in drawn]))
    return errors


@dataclass(frozen=True)
class ReliabilityCurve:
    """How often things came true, by the probability they were given.

    Attributes
    ----------
    proba : ndarray of shape (points,)
        From 0 to 1.
    observed : ndarray of shape (points,)
        Smoothed share of 1 among rows of about that probability, in [0, 1]; NaN where there are
        next to no rows.
    density : ndarray of shape (points,)
        Smoothed density of the probabilities.
    """

    proba: np.ndarray
    observed: np.ndarray
    density: np.ndarray


def reliability_curve(y_true: Any, proba: Any, points: int = 101) -> ReliabilityCurve:
    """Smoothed reliability diagram, with the kernel of :func:`smooth_ece`.

    Parameters
    ----------
    y_true : array-like of shape (rows,)
        0 or 1.
    proba : array-like of shape (rows,)
        Probabilities of 1.
    points : int, default=101
        At which the curve is given, evenly spread over [0, 1].

    Returns
    -------
    ReliabilityCurve

    Raises
    ------
    ValueError
        If shapes differ, targets are not 0 or 1, or probabilities are not in [0, 1].

    Examples
    --------
    >>> curve = reliability_curve([0, 1] * 100, [0.2, 0.8] * 100, points=3)
    >>> curve.proba.tolist(), bool(curve.observed[0] < 0.1 < 0.9 < curve.observed[2])
    ([0.0, 0.5, 1.0], True)
    """
    y, found = check_binary(y_true, proba)
    _, width = _errors_and_widths(_residuals(y, found))
    mass, ones = _on_grid(found, np.ones(len(y))), _on_grid(found, y.astype(float))
    smoothed = _smooth(dct([mass, ones]), width.clip(min=1 / GRID))
    at, grid = np.linspace(0, 1, points), (np.arange(GRID) + 0.5) / GRID
    density, ones_at = (np.interp(at, grid, values) for values in smoothed)
    # Where there is next to nothing, what the transform leaves is rounding.
    met = density >= MET * smoothed[0].max()
    observed = np.full(len(at), np.nan)
    observed[met] = (ones_at[met] / density[met]).clip(0, 1)
    return ReliabilityCurve(at, observed, density.clip(min=0) * GRID)


def _on_grid(found: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sum of ``values`` in each cell of the grid, over the number of rows, shape (GRID,)."""
    place = np.minimum((found * GRID).astype(int), GRID - 1)
    sums: np.ndarray = np.bincount(place, values, minlength=GRID) / len(found)
    return sums


def _residuals(y: np.ndarray, found: np.ndarray) -> np.ndarray:
    return _on_grid(found, y - found)


def _smooth(spectrum: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Smooth what lies on the grid by a Gaussian that is reflected at both ends.

    Cosines are what such a kernel leaves in shape: it multiplies each by a number. So it is their
    shares, the ``spectrum`` of shape (..., GRID), that are given, with a ``width`` for each.
    """
    frequency = np.pi * np.arange(GRID)
    smoothed: np.ndarray = idct(spectrum * np.exp(-((frequency * width[..., None]) ** 2) / 2))
    return smoothed


def _errors_and_widths(residuals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the errors of residuals (..., GRID) and the kernels' widths that equal them.

    The error falls as the kernel widens, so there is one such width; it is found by bisection.
    """
    spectra = dct(residuals)
    low, high = np.zeros(residuals.shape[:-1]), np.ones(residuals.shape[:-1])
    for _ in range(HALVINGS):
        widths = (low + high) / 2
        errors = np.abs(_smooth(spectra, widths)).sum(axis=-1)
        narrower = errors < widths
        low, high = np.where(narrower, low, widths), np.where(narrower, widths, high)
    return errors, (low + high) / 2


def fit_temperature(y_true: Any, proba: Any) -> float:
    """Temperature by which log-probabilities are best divided [1]_.

    Parameters
    ----------
    y_true : array-like of shape (rows,), int
        Class indices.
    proba : array-like of shape (rows,) or (rows, classes)
        Probabilities of class 1, or of every class; those below 1e-12 count as that.

    Returns
    -------
    float
        Above 1 where probabilities are too sure of themselves; between 1/50 and 50, the ends of
        which are reached where the rows leave nothing to learn, as when all are right.

    Raises
    ------
    ValueError
        If shapes or values do not fit.

    References
    ----------
    .. [1] Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", 2017,
       https://arxiv.org/abs/1706.04599, section 4.2

    Examples
    --------
    >>> 2 < fit_temperature([1] * 8 + [0] * 10 + [1] * 2, [0.99] * 10 + [0.01] * 10) < 4
    True
    """
    logits = _log_proba(proba)
    y = np.asarray(y_true)
    if y.shape != (len(logits),) or not len(y) or not np.isin(y, range(logits.shape[1])).all():
        raise ValueError(
            f"y_true has the shape {y.shape} for probabilities of {len(logits)} rows and "
            f"{logits.shape[1]} classes; pass one class index per row, at least one."
        )
    return best_temperature(logits, y.astype(int))


def apply_temperature(proba: Any, temperature: float) -> np.ndarray:
    """Divide log-probabilities by a temperature and scale them to sum to 1 again.

    Parameters
    ----------
    proba : array-like of shape (rows,) or (rows, classes)
        Probabilities of class 1, or of every class.
    temperature : float, > 0

    Returns
    -------
    ndarray of the same shape, float64

    Raises
    ------
    ValueError
        If shapes or values do not fit, or the temperature is not above 0.

    Examples
    --------
    >>> apply_temperature([0.5, 0.9], 2.0).round(3)
    array([0.5 , 0.75])
    """
    if not (temperature > 0 and np.isfinite(temperature)):
        raise ValueError(f"temperature is {temperature!r}; it must be a number above 0.")
    scaled: np.ndarray = softmax(_log_proba(proba) / temperature, axis=1)
    return scaled[:, 1] if np.ndim(proba) == 1 else scaled


def _log_proba(proba: Any) -> np.ndarray:
    found = np.asarray(proba, dtype=float)
    if found.ndim == 1:
        found = np.column_stack([1 - found, found])
    if found.ndim != 2 or found.shape[1] < 2:
        raise ValueError(
            f"proba has the shape {np.shape(proba)}; pass probabilities of class 1, or of every "
            "class, one row per text."
        )
    outside = found[~((found >= 0) & (found <= 1))]
    if len(outside):
        raise ValueError(f"proba holds {outside[0]}, which is outside [0, 1]; pass probabilities.")
    astray = np.flatnonzero(abs(found.sum(axis=1) - 1) > 1e-3)
    if len(astray):
        raise ValueError(
            f"proba sums to {found[astray[0]].sum():.3g} in row {astray[0]}; pass probabilities of "
            "all classes."
        )
    logs: np.ndarray = np.log(found.clip(min=NEAREST))
    return logs
