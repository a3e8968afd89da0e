"""Turn what callers pass beside the texts into class indices, weights, groups and explanations.

Every check raises before any expensive work, with one sentence that names the argument, what was
found and the remedy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from .exceptions import InvalidExplanationsError, InvalidLabelsError
from .text_inputs import check_encodable, is_missing

__all__ = [
    "TrainingRows",
    "check_explanations",
    "check_groups",
    "check_labels",
    "check_weights",
]


@dataclass(frozen=True)
class TrainingRows:
    """Checked training data; all fields have one entry per row.

    Attributes
    ----------
    texts : list of str
    labels : ndarray of shape (n_rows,), int64
        Class indices.
    reasons : list of str or None, or None
        The caller's explanations, if any were given.
    sample_weights, class_weights : ndarray of shape (n_rows,)
        Weights of the rows, and of their classes.
    """

    texts: list[str]
    labels: np.ndarray
    reasons: list[str | None] | None
    sample_weights: np.ndarray
    class_weights: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Iterable[int]) -> TrainingRows:
        """Return some of the rows."""
        chosen = list(indices)
        return TrainingRows(
            [self.texts[i] for i in chosen],
            self.labels[chosen],
            None if self.reasons is None else [self.reasons[i] for i in chosen],
            self.sample_weights[chosen],
            self.class_weights[chosen],
        )


def check_labels(
    y: Any, n_texts: int, estimator: str = "CLSGenClassifier"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted classes in ``y`` and the class index of every row.

    Parameters
    ----------
    y : array-like of shape (n_texts,)
        Strings, integers, booleans, or NumPy or pandas scalars.
    n_texts : int
        Number of texts that need a label.
    estimator : str, default="CLSGenClassifier"
        Who asks, for the message.

    Returns
    -------
    classes : ndarray of shape (n_classes,)
    indices : ndarray of shape (n_texts,), int64

    Raises
    ------
    InvalidLabelsError
        If there is no label for each text, one is missing or a date, or types cannot be sorted
        together.
    ValueError
        If ``y`` is not a classification target, or not one-dimensional.
    """
    if y is None:
        raise InvalidLabelsError(f"{estimator} requires y to be passed, but the target y is None.")
    try:
        found = np.asarray(y)  # or pandas' nullable integers would become floats
    except ValueError:
        raise InvalidLabelsError(
            "y holds sequences of several lengths; pass one label per text: several labels of one "
            "text need a classifier each."
        ) from None
    column = column_or_1d(found, warn=True)
    if len(column) != n_texts:
        raise InvalidLabelsError(
            f"X has {n_texts} texts but y has {len(column)} labels; pass one label per text."
        )
    # Among strings, NumPy turns NaN into "nan", so missing values are looked for in the objects.
    values = np.asarray(y, dtype=object).ravel().tolist()
    missing = [row for row, value in enumerate(values) if is_missing(value)]
    if missing:
        raise InvalidLabelsError(
            f"y contains NaN or None in {len(missing)} rows (the first is row {missing[0]}); "
            "drop those rows or label them."
        )
    if isinstance(values[0], (date, timedelta)) or column.dtype.kind in "mM":
        raise InvalidLabelsError(
            "y has dates or times, which are no labels; convert them to strings, for instance of "
            "their year."
        )
    try:
        sorted(values)
    except TypeError:
        types = sorted({type(value).__name__ for value in values})
        if len(types) == 1:
            raise InvalidLabelsError(
                f"y has labels of the type {types[0]}, which have no order; convert them to "
                "strings or integers, such as .name or .value of an Enum."
            ) from None
        raise InvalidLabelsError(
            f"y mixes labels of the types {', '.join(types)}, which cannot be told apart in "
            "order; convert them to one type."
        ) from None
    if column.dtype.kind == "T" or (column.dtype == object and not isinstance(values[0], str)):
        # Numbers and booleans have a type of their own; NumPy's StringDType is one that
        # scikit-learn does not know.
        column = column_or_1d(np.array(values))
    check_classification_targets(column)
    classes, indices = np.unique(column, return_inverse=True)
    return classes, indices.astype(np.int64)


def check_weights(sample_weight: Any, n_texts: int) -> np.ndarray:
    """Return one non-negative finite weight per text, all ones by default.

    Raises
    ------
    ValueError
        If their number differs from the number of texts, or one is negative or not finite.
    """
    if sample_weight is None:
        return np.ones(n_texts)
    try:
        weights = np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            "sample_weight has values that are no numbers; pass one weight per text (explanations "
            "are passed by name: explanations=...)."
        ) from None
    if weights.ndim == 0:
        weights = np.full(n_texts, float(weights))
    if weights.shape != (n_texts,):
        raise ValueError(
            f"sample_weight.shape == {weights.shape}, expected {(n_texts,)}; pass one weight per "
            "text."
        )
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError(
            "sample_weight contains negative or non-finite values; weights must be >= 0."
        )
    if not weights.any():
        raise ValueError("sample_weight is zero for every text; give some a positive weight.")
    return weights


def check_groups(groups: Any, rows: int) -> np.ndarray:
    """Return the number of each row's group, shape (rows,), int64; each its own without groups.

    Raises
    ------
    ValueError
        If there is not one group per row, or some are missing.

    Examples
    --------
    >>> check_groups(["b", "a", "b"], 3)
    array([1, 0, 1])
    """
    if groups is None:
        return np.arange(rows)
    found = np.asarray(groups)
    if found.shape != (rows,):
        raise ValueError(
            f"groups has the shape {found.shape} for {rows} rows; pass one group per row."
        )
    # As they are: among texts, NaN would be read as one more text.
    missing = sum(map(is_missing, np.asarray(groups, dtype=object).tolist()))
    if missing:
        raise ValueError(
            f"groups has {missing} missing values; give such rows a group of their own."
        )
    index: np.ndarray = np.unique(found, return_inverse=True)[1].astype(np.int64)
    return index


def check_explanations(
    explanations: Any, n_texts: int, name: str = "explanations"
) -> list[str | None] | None:
    """Return one explanation or ``None`` per text; blank strings count as ``None``.

    ``None`` instead of a sequence stays ``None``: no explanations were given at all.

    Raises
    ------
    InvalidExplanationsError
        If their number differs from the number of texts, one is not a string, or one has a lone
        surrogate.
    """
    if explanations is None:
        return None
    no_sequence = (str, bytes, Mapping, set, frozenset)
    if isinstance(explanations, no_sequence) or not hasattr(explanations, "__len__"):
        raise InvalidExplanationsError(
            f"{name} is {type(explanations).__name__!r}; pass one string or None per text."
        )
    if hasattr(explanations, "columns"):
        raise InvalidExplanationsError(
            f"{name} is a {type(explanations).__name__} with the columns "
            f"{list(explanations.columns)}; pass one of them, such as table[column]."
        )
    values = [None if is_missing(value) else value for value in list(explanations)]
    if len(values) != n_texts:
        raise InvalidExplanationsError(
            f"X has {n_texts} texts but {name} has {len(values)} rows; pass one string or None per "
            "text."
        )
    for row, value in enumerate(values):
        if value is not None and not isinstance(value, str):
            raise InvalidExplanationsError(
                f"{name}[{row}] is {type(value).__name__!r}; pass a string or None"
                + " (the loaders' data sets have them as .reasons)." * isinstance(value, list)
            )
        check_encodable(value or "", f"{name}[{row}]", InvalidExplanationsError)
    return [value if value is not None and value.strip() else None for value in values]
