"""How good probabilities of two classes are, and where to put a threshold."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    d2_log_loss_score,
    f1_score,
    log_loss,
    matthews_corrcoef,
    roc_auc_score,
)

from .calibration import smooth_ece
from .targets import check_binary

__all__ = ["best_threshold", "probability_scores"]


def best_threshold(y_true: Any, proba: Any, metric: str = "f1") -> float:
    """Return the threshold with the best F1 or Matthews correlation, for use on other rows.

    A row is positive from the threshold up. All ways to cut the sorted probabilities in two are
    tried; the threshold lies in the middle between the probabilities on either side, and of equally
    good cuts the lowest is taken.

    Parameters
    ----------
    y_true : array-like of shape (rows,)
        0 or 1, both present.
    proba : array-like of shape (rows,)
        Probabilities of 1.
    metric : {"f1", "mcc"}, default="f1"

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        If targets, probabilities or ``metric`` cannot be used.

    Examples
    --------
    >>> best_threshold([0, 0, 1, 1], [0.1, 0.3, 0.4, 0.9])
    0.35
    """
    if metric not in ("f1", "mcc"):
        raise ValueError(f"metric={metric!r} must be 'f1' or 'mcc'.")
    y, found = check_binary(y_true, proba, both=True)
    levels = np.unique(found)
    place = np.searchsorted(levels, found)
    # Positives and negatives at or above each level.
    hits = np.cumsum(np.bincount(place, y, len(levels))[::-1])[::-1]
    alarms = np.cumsum(np.bincount(place, 1 - y, len(levels))[::-1])[::-1]
    misses, passed = y.sum() - hits, (1 - y).sum() - alarms
    if metric == "f1":
        quality = 2 * hits / (2 * hits + alarms + misses)
    else:
        spread = (hits + alarms) * (hits + misses) * (passed + alarms) * (passed + misses)
        with np.errstate(invalid="ignore", divide="ignore"):
            quality = (hits * passed - alarms * misses) / np.sqrt(spread)
        quality = np.nan_to_num(quality)
    best = int(np.argmax(quality))
    below = levels[best - 1] if best else 0.0
    middle = (below + levels[best]) / 2
    # Between neighbours among floats there is no middle.
    return float(middle if middle > below else levels[best])


def probability_scores(y_true: Any, proba: Any, threshold: float = 0.5) -> dict[str, float]:
    """Return the usual scores of probabilities.

    Parameters
    ----------
    y_true : array-like of shape (rows,)
        0 or 1, both present.
    proba : array-like of shape (rows,)
        Probabilities of 1.
    threshold : float, default=0.5
        From which a row is positive, for F1 and Matthews correlation; see :func:`best_threshold`.

    Returns
    -------
    dict of str to float
        ``auroc``, ``auprc`` (average precision), ``brier``, ``log_loss`` (nats), ``d2`` (share of
        the log-loss of a constant that is saved), ``f1``, ``mcc``, ``smooth_ece``.

    Raises
    ------
    ValueError
        If targets or probabilities cannot be used.

    Examples
    --------
    >>> scores = probability_scores([0, 0, 1, 1], [0.1, 0.6, 0.7, 0.9])
    >>> scores["auroc"], round(scores["brier"], 4), round(scores["f1"], 4)
    (1.0, 0.1175, 0.8)
    """
    y, found = check_binary(y_true, proba, both=True)
    # Otherwise one sure mistake makes the log-loss infinite.
    tiny = np.finfo(float).eps
    clipped = found.clip(tiny, 1 - tiny)
    predicted = (found >= threshold).astype(int)
    return {
        "auroc": float(roc_auc_score(y, found)),
        "auprc": float(average_precision_score(y, found)),
        "brier": float(brier_score_loss(y, found)),
        "log_loss": float(log_loss(y, clipped)),
        "d2": float(d2_log_loss_score(y, clipped)),
        "f1": float(f1_score(y, predicted, zero_division=0.0)),
        "mcc": float(matthews_corrcoef(y, predicted)),
        "smooth_ece": smooth_ece(y, found),
    }
