"""Classifiers that put their question zero-shot or, on request, after a few training rows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from sklearn.utils import check_random_state

from .. import inputs
from ..backbone import DEFAULT_MODEL
from ..prompt import PromptEncoder
from ..text_estimator import unchanged_on_error
from .examples import ShownExample, draw_balanced, example_ids
from .prompted import PromptedClassifier

__all__ = ["FewShotClassifier"]


class FewShotClassifier(PromptedClassifier):
    """Base class of classifiers that may show training rows in the prompt.

    Attributes
    ----------
    examples_ : list of ShownExample
        The rows shown, in their order.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        examples: int = 0,
        label_names: Mapping[Any, str] | None = None,
        max_length: int | None = None,
        device: str = "auto",
        dtype: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            model,
            label_names=label_names,
            max_length=max_length,
            device=device,
            dtype=dtype,
            verbose=verbose,
        )
        self.examples = examples
        self.random_state = random_state

    def fit(self, X: Any, y: Any, explanations: Any = None) -> Self:
        """Note the labels, and draw the examples.

        Parameters
        ----------
        X : list, tuple, array or Series of str, or DataFrame, of length n_samples
            Texts or records.
        y : array-like of shape (n_samples,)
            Labels of any type, at least two.
        explanations : sequence of str or None, of length n_samples, default=None
            Reasons, shown after the examples' labels.

        Returns
        -------
        FewShotClassifier
            Fitted.

        Raises
        ------
        ValueError
            If an argument or parameter cannot be used, as where so many examples leave no room for
            their texts; see :mod:`skclsgen.exceptions`.
        """
        with unchanged_on_error(self):
            texts, labels = self._begin_fit(X, y)
            reasons = inputs.check_explanations(explanations, len(texts))
            rng = check_random_state(self.random_state)
            rows = draw_balanced(labels, self.examples, rng) if self.examples else []
            self.examples_ = [
                ShownExample(texts[row], int(labels[row]), reasons[row] if reasons else None)
                for row in rows
            ]
            self._learn(texts, labels)
            if self.examples:
                self._question()  # or that there is no room would show in predictions only
        return self

    def _with_examples(self, encoder: PromptEncoder) -> PromptEncoder:
        if not self.examples_:
            return encoder
        shown = example_ids(encoder, self.examples_, encoder.room // 2)
        return encoder.with_longer_prefix(shown)
