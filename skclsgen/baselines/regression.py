"""Logistic regression on features of the texts, its penalty chosen by cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from ..inputs import check_groups
from ..labels import check_class_labels
from ..parameters import Bound, check_number
from .columns import EachColumn, overlap_names, word_overlap

__all__ = [
    "WORD_PATTERN",
    "TunedLogisticRegression",
    "held_out_folds",
    "regression_on",
    "tfidf_regression",
]

#: A word, or a mark on its own: so every text that is not blank has at least one.
WORD_PATTERN = r"\w+|[^\w\s]"

#: Inverse strengths of the penalty to choose from.
CS = tuple(np.logspace(-2, 3, 6).tolist())
#: For classes too small to hold a row out of.
DEFAULT_C = 1.0
#: Steps of the solver. A weak penalty needs many.
MAX_ITER = 1000


def held_out_folds(
    labels: np.ndarray,
    groups: Any = None,
    n_folds: int = 5,
    random_state: int | np.random.RandomState | None = None,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Deal rows into stratified, shuffled folds, sources of rows as wholes.

    Parameters
    ----------
    labels : ndarray of shape (n_rows,), int64
        Class indices.
    groups : array-like of shape (n_rows,), default=None
        Sources of the rows: a source that is learnt from is not judged by.
    n_folds : int, default=5
        Folds; as many as the rarest class has rows (sources), if those are fewer.
    random_state : int, RandomState instance or None, default=None
        Fixes the folds.

    Returns
    -------
    list of (ndarray, ndarray)
        Rows to learn from, every class among them, and to judge by, for each fold; none if a class
        is too rare to be held out.

    Raises
    ------
    ValueError
        If there is not one group per row, or some are missing.

    Examples
    --------
    >>> folds = held_out_folds(np.array([0, 1, 0, 1]), groups=["a", "a", "b", "b"], random_state=0)
    >>> sorted(judged.tolist() for _, judged in folds)
    [[0, 1], [2, 3]]
    """
    sources = check_groups(groups, len(labels))
    n_classes = len(np.unique(labels))
    rarest = min(len(np.unique(sources[labels == label])) for label in np.unique(labels))
    n_folds = min(n_folds, rarest)
    if n_folds < 2:
        return []
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    folds = kind(n_folds, shuffle=True, random_state=random_state)
    found = folds.split(labels, labels, None if groups is None else sources)
    # All sources of a class may be in one fold, and then it cannot be learnt without.
    return [fold for fold in found if len(np.unique(labels[fold[0]])) == n_classes]


def _held_out_likelihood(clf: Any, X: Any, labels: np.ndarray) -> float:
    """Mean log-likelihood; scikit-learn's scorer wants every class in every fold."""
    return -float(log_loss(labels, clf.predict_proba(X), labels=clf.classes_))


class TunedLogisticRegression(ClassifierMixin, BaseEstimator):
    """Logistic regression whose penalty is chosen by stratified, shuffled cross-validation.

    The log-loss of the held-out rows decides, averaged over folds as scikit-learn does, since
    probabilities are what is wanted. Where the
    rarest class has fewer rows than there are folds, there are as many folds as it has rows; where
    it has a single one, nothing can be held out and ``C`` is 1.

    Parameters
    ----------
    Cs : sequence of float, default=(0.01, 0.1, 1, 10, 100, 1000)
        Inverse strengths of the squared penalty to choose from.
    n_folds : int, default=5
        Folds.
    random_state : int, RandomState instance or None, default=None
        Fixes the folds.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    C_ : float
        The inverse strength chosen.
    held_out_likelihood_ : float
        Mean log-likelihood of held-out rows with it, in nats, averaged over folds (of unequal size
        where sources are); NaN if nothing could be held out.
    regression_ : LogisticRegression
        Fitted with it on all rows; its labels are class indices.

    Examples
    --------
    >>> X = np.array([[-2.0], [-1.5], [-1.0], [1.0], [1.5], [2.0]])
    >>> clf = TunedLogisticRegression(random_state=0).fit(X, [False] * 3 + [True] * 3)
    >>> clf.predict([[-1.2], [1.2]])
    array([False,  True])
    """

    classes_: np.ndarray

    def __init__(
        self,
        Cs: Sequence[float] = CS,
        *,
        n_folds: int = 5,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.Cs = Cs
        self.n_folds = n_folds
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Any = None) -> TunedLogisticRegression:
        """Choose the penalty and fit with it.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            Labels of any type, at least two.
        groups : array-like of shape (n_samples,), default=None
            Sources of the rows, each held out as a whole.

        Returns
        -------
        TunedLogisticRegression
            Fitted.

        Raises
        ------
        InvalidLabelsError
            If the labels cannot be used, or are all the same.
        """
        check_number("n_folds", self.n_folds, Bound(2, whole=True))
        X = self._features(X, reset=True)
        classes, labels = check_class_labels(y, X.shape[0], type(self).__name__)
        folds = held_out_folds(labels, groups, self.n_folds, self.random_state)
        regression = LogisticRegression(C=DEFAULT_C, max_iter=MAX_ITER)
        if not folds:
            self.regression_ = regression.fit(X, labels)
            self.held_out_likelihood_ = float("nan")
        else:
            search = GridSearchCV(
                regression,
                {"C": list(self.Cs)},
                scoring=_held_out_likelihood,
                cv=folds,
                error_score="raise",
            )
            self.regression_ = search.fit(X, labels).best_estimator_
            self.held_out_likelihood_ = float(search.best_score_)
        self.C_ = float(self.regression_.C)
        self.classes_ = classes
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of every class.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64
            Columns in the order of ``classes_``; rows sum to 1.
        """
        check_is_fitted(self)
        return self.regression_.predict_proba(self._features(X))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of the probabilities.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64
            In nats; columns in the order of ``classes_``.
        """
        check_is_fitted(self)
        return self.regression_.predict_log_proba(self._features(X))

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of every row.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
            Of the same type as the labels given to ``fit``.
        """
        chosen = self.predict_proba(X).argmax(axis=1)
        return self.classes_[chosen]

    def _features(self, X: Any, reset: bool = False) -> Any:
        """Features as float64: of float32, a probability near 0 would be rounded to it."""
        return validate_data(
            self, X, accept_sparse="csr", dtype=np.float64, ensure_all_finite=False, reset=reset
        )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class SparseUnion(
    FeatureUnion,
    auto_wrap_output_keys=None,  # type: ignore[call-arg]  # scikit-learn's, which is not typed
):
    """Features side by side, always as an array or sparse matrix.

    Whatever ``set_config(transform_output=...)`` says: tables cannot hold sparse features.
    """


def regression_on(
    features: Any,
    *,
    n_folds: int = 5,
    random_state: int | np.random.RandomState | None = None,
) -> Pipeline:
    """Return logistic regression after a step that makes features.

    The step is fitted once, on all rows, and not again in every fold of the search for the
    penalty: such steps do not look at the labels.

    Parameters
    ----------
    features : transformer or "passthrough"
        Turns what the pipeline is given into an array or sparse matrix.
    n_folds, random_state
        As for :class:`TunedLogisticRegression`.

    Returns
    -------
    Pipeline
        Steps ``"features"`` and ``"regression"``; ``fit(X, y, regression__groups=groups)`` holds
        sources of rows out as wholes.

    Examples
    --------
    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> regression_on("passthrough", random_state=0).fit(X, ["a", "a", "b", "b"]).predict([[3.0]])
    array(['b'], dtype='<U1')
    """
    regression = TunedLogisticRegression(n_folds=n_folds, random_state=random_state)
    return Pipeline([("features", features), ("regression", regression)])


def tfidf_regression(
    ngram_range: tuple[int, int] = (1, 2),
    overlap: bool = False,
    random_state: int | np.random.RandomState | None = None,
) -> Pipeline:
    """Return logistic regression on TF-IDF of words and punctuation marks.

    Counts enter as ``1 + log(count)``. Words seen in one text only stay in: they are all there is
    in a small corpus, and the penalty holds them down in a large one. Columns of records have
    features of their own (:class:`EachColumn`).

    Parameters
    ----------
    ngram_range : tuple of two int, default=(1, 2)
        Shortest and longest run of words that counts as a feature.
    overlap : bool, default=False
        Add how much of a column's words stand in another (:func:`word_overlap`): what single words
        cannot tell where texts must be compared.
    random_state : int, RandomState instance or None, default=None
        Fixes the folds in which the penalty is chosen.

    Returns
    -------
    Pipeline
        Takes texts or records, as :class:`~skclsgen.CLSGenClassifier` does.

    References
    ----------
    .. [1] Wang, Manning, "Baselines and Bigrams: Simple, Good Sentiment and Topic Classification",
       ACL 2012, https://aclanthology.org/P12-2018

    Examples
    --------
    >>> clf = tfidf_regression().fit(["Smoke is rising!", "Any news?"], ["urgent", "routine"])
    >>> clf.predict(["The smoke!"])
    array(['urgent'], dtype='<U7')
    """
    tfidf = TfidfVectorizer(ngram_range=ngram_range, sublinear_tf=True, token_pattern=WORD_PATTERN)
    features: Any = EachColumn(tfidf)
    if overlap:
        compared = FunctionTransformer(word_overlap, feature_names_out=overlap_names)
        features = SparseUnion([("tfidf", features), ("overlap", compared)])
    return regression_on(features, random_state=random_state)
