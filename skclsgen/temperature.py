"""Temperature scaling: one number that makes probabilities less sure of themselves, or more."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import Any, Self

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from . import inputs
from .exceptions import FallbackWarning
from .labels import class_indices
from .text_estimator import TextEstimator

__all__ = ["TemperatureScaled", "best_temperature"]

#: Temperatures that are looked at, as natural logarithms: a fiftieth to fifty.
LOG_TEMPERATURES = (-np.log(50.0), np.log(50.0))


def best_temperature(
    logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None
) -> float:
    """Return what logits are best divided by: the lowest log-loss.

    Parameters
    ----------
    logits : ndarray of shape (rows, classes)
    labels : ndarray of shape (rows,), int
        Class indices.
    weights : ndarray of shape (rows,), optional
        Of the rows.

    Returns
    -------
    float
        Between 1/50 and 50; 1 where no other is better.

    Examples
    --------
    >>> logits = np.array([[3.0, 0.0]] * 4)
    >>> round(3 / best_temperature(logits, np.array([0, 0, 0, 1])), 3)  # log-odds of 3 to 1
    1.099
    """

    def loss(log_temperature: float) -> float:
        table = log_softmax(logits / np.exp(log_temperature), axis=1)
        return -float(np.average(table[np.arange(len(labels)), labels], weights=weights))

    found = minimize_scalar(loss, bounds=LOG_TEMPERATURES, method="bounded")
    # The search itself never tries its bounds.
    best = min((float(found.x), *LOG_TEMPERATURES), key=loss)
    return 1.0 if loss(0.0) - loss(best) < 1e-12 else float(np.exp(best))


class TemperatureScaled(TextEstimator):
    """A classifier whose logits are divided by a temperature, 1 until it is calibrated.

    Attributes
    ----------
    temperature_ : float
        What logits are divided by.
    """

    classes_: np.ndarray
    temperature_: float = 1.0

    @abstractmethod
    def _logits(self, texts: list[str]) -> np.ndarray:
        """Class logits before scaling, shape (texts, classes)."""

    def calibrate(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Choose the temperature at which the log-loss on held-out rows is lowest [1]_.

        A network that has seen its training rows several times is too sure of itself. Dividing
        all logits by one number mends that, and changes no prediction, no order of texts by their
        probability (for two classes), and no word of an explanation. ``fit`` sets it back to 1.

        Parameters
        ----------
        X : list, tuple, array or Series of str, or DataFrame, of length n_samples
            Texts or records that ``fit`` has not seen; a few hundred are enough.
        y : array-like of shape (n_samples,)
            Their labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows.

        Returns
        -------
        CLSGenClassifier
            The same, with a new ``temperature_`` in [1/50, 50]: above 1 where it was too sure.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        InvalidTextError, InvalidLabelsError
            If texts or labels cannot be used, or ``fit`` has not seen a label.

        Warns
        -----
        FallbackWarning
            If all rows are classified right: they do not tell how sure to be, and the temperature
            is 1.

        References
        ----------
        .. [1] Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017,
           https://arxiv.org/abs/1706.04599, section 4.2

        Examples
        --------
        >>> from skclsgen import CLSGenClassifier
        >>> clf = CLSGenClassifier(epochs=0).fit(["Fire!", "Thanks."], ["urgent", "routine"])
        >>> held_out = ["Help!", "No hurry.", "Any news?", "It burns!"]
        >>> clf = clf.calibrate(held_out, ["urgent", "routine", "urgent", "routine"])
        >>> clf.temperature_ > 1  # half of them are wrong, so nothing is sure
        True
        """
        texts = self._check_texts(X)
        classes, own = inputs.check_labels(y, len(texts))
        known = class_indices(classes.tolist(), self.classes_, len(classes), name="y")
        labels = np.array(known)[own]
        weights = inputs.check_weights(sample_weight, len(labels))
        logits = self._logits(texts)
        if (logits.argmax(axis=1) == labels)[weights > 0].all():
            warnings.warn(
                f"all {int((weights > 0).sum())} rows are classified right, so they do not tell "
                "how sure to be; temperature_ is 1, so calibrate on more rows, or harder ones.",
                FallbackWarning,
                stacklevel=2,
            )
            self.temperature_ = 1.0
        else:
            self.temperature_ = best_temperature(logits, labels, weights)
        return self

    def _scaled_logits(self, X: Any) -> np.ndarray:
        """Class logits of every text, shape (texts, classes), float64."""
        return self._logits(self._check_texts(X)) / self.temperature_
