"""What estimators of texts have in common: their tags, and the columns of records."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from .text_inputs import check_same_columns, check_texts, column_names

__all__ = ["TextClassifier", "TextEstimator", "unchanged_on_error"]


@contextmanager
def unchanged_on_error(estimator: BaseEstimator) -> Iterator[None]:
    """Give an estimator back the attributes it had, if what is done meanwhile fails."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


class TextEstimator(BaseEstimator):
    """Takes texts, or records, and then always with the columns that ``fit`` saw.

    Attributes
    ----------
    n_features_in_ : int
        Number of columns; only after a fit on records.
    feature_names_in_ : ndarray of shape (n_columns,)
        Names of the columns; only after a fit on records.
    """

    def _check_texts(self, X: Any) -> list[str]:
        """Return what is to be predicted as texts.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        InvalidTextError
            If they cannot be used, or have other columns than those ``fit`` saw.
        """
        check_is_fitted(self)
        check_same_columns(X, getattr(self, "feature_names_in_", None))
        return check_texts(X)

    def _keep_column_names(self, X: Any) -> None:
        for name in ("feature_names_in_", "n_features_in_"):
            self.__dict__.pop(name, None)
        columns = column_names(X)
        if columns is not None:
            self.feature_names_in_ = np.array(columns, dtype=object)
            self.n_features_in_ = len(columns)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags


class TextClassifier(ClassifierMixin, TextEstimator):
    """Takes the most probable class of every text.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    """

    classes_: np.ndarray

    @abstractmethod
    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of every class, in the order of ``classes_``."""

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of every text.

        Parameters
        ----------
        X : list, tuple, array or Series of str, or DataFrame, of length n_samples

        Returns
        -------
        ndarray of shape (n_samples,)
            Of the same type as the labels given to ``fit``.
        """
        chosen = self.predict_proba(X).argmax(axis=1)  # first: it says if nothing is fitted
        return self.classes_[chosen]

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of the probabilities.

        Parameters
        ----------
        X : list, tuple, array or Series of str, or DataFrame, of length n_samples

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64
            In nats; columns in the order of ``classes_``.
        """
        with np.errstate(divide="ignore"):  # of 0, it is minus infinity
            return np.log(self.predict_proba(X))
