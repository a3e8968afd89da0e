"""The words of labels, and which class a label means."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from .exceptions import FallbackWarning, InvalidLabelsError
from .inputs import check_labels
from .text_inputs import as_text, check_encodable

__all__ = ["check_class_labels", "class_indices", "label_words", "warn_of_labels_alike"]


def label_words(classes: np.ndarray, names: Any) -> list[str]:
    """Words the model reads and writes for each class.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        As in ``classes_``.
    names : mapping of class to str, or None
        The caller's ``label_names``.

    Returns
    -------
    list of str
        In the order of ``classes``.

    Raises
    ------
    InvalidLabelsError
        If a class has no words, or something else, two classes have the same, or they have a lone
        surrogate. Words for labels that do not occur are allowed: folds may lack a class.
    """
    if names is not None and not isinstance(names, Mapping):
        raise InvalidLabelsError(
            f"label_names is {type(names).__name__!r}; pass a dictionary from label to words."
        )
    given = dict(names.items()) if names is not None else {}
    absent = [value for value in classes.tolist() if given and value not in given]
    if absent:
        raise InvalidLabelsError(
            f"label_names has no words for the labels {absent}; give every label its words."
        )
    strange = [value for value in classes.tolist() if not isinstance(given.get(value, ""), str)]
    if strange:
        raise InvalidLabelsError(
            f"label_names has {given[strange[0]]!r} for the label {strange[0]!r}; give its words "
            "as a string."
        )
    words = [" ".join(as_text(given.get(value, value)).split()) for value in classes.tolist()]
    for value, word in zip(classes.tolist(), words, strict=True):
        if not word:
            raise InvalidLabelsError(
                f"the label {value!r} has no visible words; name it in label_names."
            )
        check_encodable(word, f"{word!r}, the name of the label {value!r},", InvalidLabelsError)
        if words.count(word) > 1:
            raise InvalidLabelsError(
                f"label_names or the labels themselves give the same words {word!r} to several "
                "labels; give each label words of its own in label_names."
            )
    return words


def check_class_labels(y: Any, n_rows: int, estimator: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes in ``y`` and each row's class index; at least two classes are needed.

    Parameters
    ----------
    y : array-like of shape (n_rows,)
        Labels of any type.
    n_rows : int
        Number of rows that need a label.
    estimator : str
        Who asks, for the message.

    Returns
    -------
    classes : ndarray of shape (n_classes,)
    indices : ndarray of shape (n_rows,), int64

    Raises
    ------
    InvalidLabelsError
        If there is one class only, and as :func:`~skclsgen.inputs.check_labels` does.

    Examples
    --------
    >>> check_class_labels(["b", "a", "b"], 3, "SentenceCNN")
    (array(['a', 'b'], dtype='<U1'), array([1, 0, 1]))
    """
    classes, indices = check_labels(y, n_rows, estimator)
    if len(classes) < 2:
        raise InvalidLabelsError(
            f"y has one class only ({classes[0]!r}); {estimator} needs texts of at least two "
            "classes."
        )
    return classes, indices


def class_indices(
    labels: Any, classes: np.ndarray, n_texts: int, name: str = "labels"
) -> list[int]:
    """Return the class index of one label for all texts, or of one label per text.

    Parameters
    ----------
    labels : label, or array-like of shape (n_texts,)
    classes : ndarray of shape (n_classes,)
    n_texts : int
    name : str, default="labels"
        How the messages call the argument.

    Raises
    ------
    InvalidLabelsError
        If a label is not among ``classes``, or their number is not ``n_texts``.
    """
    try:
        dimensions = np.ndim(labels)
    except ValueError:
        raise InvalidLabelsError(
            f"{name} holds sequences of several lengths; pass one label per text, or a single one "
            "for all."
        ) from None
    if dimensions > 1:
        raise InvalidLabelsError(
            f"{name} has {dimensions} dimensions; pass one label per text, or a single one for all."
        )
    if isinstance(labels, np.ndarray) and not dimensions:
        labels = labels[()]  # the label itself
    values = list(labels) if dimensions else [labels] * n_texts
    if len(values) != n_texts:
        raise InvalidLabelsError(
            f"X has {n_texts} texts but {name} has {len(values)}; pass one label per text, or a "
            "single one for all."
        )
    index = {value: i for i, value in enumerate(classes.tolist())}
    unknown = [v for v in values if not isinstance(v, Hashable) or v not in index]
    if unknown:
        raise InvalidLabelsError(
            f"{name} has {unknown[0]!r}, which fit has not seen; use one of {list(index)}."
        )
    return [index[value] for value in values]


def warn_of_labels_alike(verbalizers: Sequence[Sequence[int]], label_words: Sequence[str]) -> None:
    """Warn if two classes start with the same head row, as 12 and 21 where digits are tokens.

    Parameters
    ----------
    verbalizers : sequence of sequences of int
        Per class, token ids whose LM-head rows are averaged.
    label_words : sequence of str
        Words of each class.
    """
    seen: dict[frozenset[tuple[int, float]], str] = {}
    for ids, words in zip(verbalizers, label_words, strict=True):
        shares = frozenset((index, count / len(ids)) for index, count in Counter(ids).items())
        other = seen.setdefault(shares, words)
        if other != words:
            warnings.warn(
                f"the labels {other!r} and {words!r} are made of the same tokens, so the "
                "classification head starts without telling them apart: with epochs=0 they are "
                "always equally likely; give them other words with label_names.",
                FallbackWarning,
                stacklevel=2,
            )
            return
