"""Features of records: every column on its own, and columns compared."""

from __future__ import annotations

from itertools import combinations, permutations
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import TransformerMixin, clone
from sklearn.utils.validation import check_is_fitted

from ..parameters import check_flag
from ..text_estimator import TextEstimator
from ..text_inputs import as_text, check_texts, column_names
from ..wording import terms

__all__ = ["EachColumn", "overlap_names", "word_overlap"]

#: What is read in the place of a blank cell.
BLANK = "-"


class EachColumn(
    TransformerMixin,
    TextEstimator,
    auto_wrap_output_keys=None,  # type: ignore[call-arg]  # scikit-learn's, which is not typed
):
    """Features of each column of records side by side; plain texts are a single column.

    A word in a claim is not the same word in the text that the claim is about.

    Parameters
    ----------
    features : transformer
        Turns texts into an array or a sparse matrix; fitted anew for every column.
    differences : bool, default=False
        Add the absolute differences of the features of every two columns, as Sentence-BERT has them
        for pairs of sentences (Reimers, Gurevych, 2019, https://aclanthology.org/D19-1410). Needs
        features that mean the same in every column.

    Attributes
    ----------
    features_ : list of transformer
        Fitted, one for each column.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.feature_extraction.text import CountVectorizer
    >>> records = pd.DataFrame({"claim": ["rest helps"], "source": ["it helps to rest"]})
    >>> EachColumn(CountVectorizer()).fit_transform(records).toarray()
    array([[1, 1, 1, 1, 1, 1]])
    """

    def __init__(self, features: Any, differences: bool = False) -> None:
        self.features = features
        self.differences = differences

    def fit(self, X: Any, y: Any = None) -> EachColumn:
        """Fit the features of every column.

        Parameters
        ----------
        X : list, tuple, array or Series of str, or DataFrame, of length n_samples
            Texts or records.
        y : object, default=None
            Ignored.

        Returns
        -------
        EachColumn

        Raises
        ------
        ValueError
            If a text or ``differences`` cannot be used.
        """
        self._fit(X)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Fit the features of every column and return them; every text is read once.

        Parameters
        ----------
        X : list, tuple, array or Series of str, or DataFrame, of length n_samples
            Texts or records.
        y : object, default=None
            Ignored.

        Returns
        -------
        array or sparse matrix of shape (n_samples, n_features)

        Raises
        ------
        ValueError
            If a text or ``differences`` cannot be used.
        """
        return self._joined(self._fit(X))

    def _fit(self, X: Any) -> list[Any]:
        """Fit, and return the features of each column."""
        check_flag("differences", self.differences)
        columns = columns_of(X, check_texts(X))
        self._keep_column_names(X)
        self.features_ = [clone(self.features) for _ in columns]
        return [own.fit_transform(c) for own, c in zip(self.features_, columns, strict=True)]

    def transform(self, X: Any) -> Any:
        """Return the features.

        Parameters
        ----------
        X : list, tuple, array or Series of str, or DataFrame, of length n_samples

        Returns
        -------
        array or sparse matrix of shape (n_samples, n_features)
        """
        columns = columns_of(X, self._check_texts(X))
        return self._joined(
            [own.transform(column) for own, column in zip(self.features_, columns, strict=True)]
        )

    def _joined(self, found: list[Any]) -> Any:
        """Return the features of all columns side by side, and their differences if wanted."""
        if self.differences:
            found += [abs(a - b) for a, b in combinations(found, 2)]
        return sparse.hstack(found, "csr") if sparse.issparse(found[0]) else np.hstack(found)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the features' names, as far as ``features`` has some.

        Parameters
        ----------
        input_features : object, default=None
            Ignored.

        Returns
        -------
        ndarray of shape (n_features,), object
            Such as ``"claim__helps"``; of plain texts ``"text__helps"``.
        """
        check_is_fitted(self)
        own = [features.get_feature_names_out() for features in self.features_]
        columns = getattr(self, "feature_names_in_", ["text"])
        pairs = list(zip(columns, own, strict=True))
        if self.differences:
            pairs += [(f"{a}-{b}", names) for (a, names), (b, _) in combinations(pairs, 2)]
        found = [f"{column}__{name}" for column, names in pairs for name in names]
        return np.array(found, dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "features_")


def columns_of(X: Any, texts: list[str]) -> list[list[str]]:
    """Return every column's texts; without columns, ``texts``, which are ``X``, checked."""
    if column_names(X) is None:
        return [texts]
    return [[as_text(cell).strip() or BLANK for cell in X[column]] for column in X.columns]


def word_overlap(X: Any) -> np.ndarray:
    """Share of each column's words that stand in another one too.

    Parameters
    ----------
    X : list, tuple, array or Series of str, or DataFrame, of length n_samples

    Returns
    -------
    ndarray of shape (n_samples, n_columns * (n_columns - 1)), float64
        In [0, 1]; of two columns, the first one's words in the second, and the second one's in the
        first.

    Raises
    ------
    InvalidTextError
        If a text cannot be used.

    Examples
    --------
    >>> import pandas as pd
    >>> word_overlap(pd.DataFrame({"claim": ["Rest helps."], "source": ["It helps to rest."]}))
    array([[1. , 0.5]])
    """
    said = [[set(terms(cell)) for cell in column] for column in columns_of(X, check_texts(X))]
    shares = [
        [len(a & b) / max(1, len(a)) for a, b in zip(own, other, strict=True)]
        for own, other in permutations(said, 2)
    ]
    return np.array(shares).reshape(len(shares), len(said[0])).T


def overlap_names(transformer: Any, input_features: Any = None) -> list[str]:
    """Return the names of what :func:`word_overlap` gives, after a fitted transformer of it."""
    # scikit-learn notes names only if they are strings, and of plain texts not even a number.
    numbers = range(getattr(transformer, "n_features_in_", 1))
    columns = getattr(transformer, "feature_names_in_", numbers)
    return [f"{own} in {other}" for own, other in permutations(columns, 2)]
