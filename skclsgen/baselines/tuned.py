"""One head at a time: LoRA for the labels alone, and LoRA that only learns to write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..classifier import CLSGenClassifier
from ..explanation import Explanations
from ..fitted import FittedNetwork
from ..fitting import learn
from ..inputs import TrainingRows
from ..rationales import RationaleReport
from ..text_inputs import rereadable
from ..training import History

__all__ = ["GenerationOnly", "classification_only"]


def classification_only(**parameters: Any) -> CLSGenClassifier:
    """Return the main estimator without explanations: LoRA and a classification head.

    Explanations that ``fit`` is given all the same, as in a loop over estimators, count nothing.

    Parameters
    ----------
    **parameters
        Of :class:`~skclsgen.CLSGenClassifier`, but for ``rationales`` and ``explanation_weight``.

    Returns
    -------
    CLSGenClassifier
        Not fitted yet.

    Examples
    --------
    >>> from skclsgen.baselines import classification_only
    >>> classification_only(epochs=3)
    CLSGenClassifier(epochs=3, explanation_weight=0.0, rationales=None)
    """
    return CLSGenClassifier(**parameters, rationales=None, explanation_weight=0.0)


class GenerationOnly(CLSGenClassifier):
    """LoRA that learns to write ``" {label}. {explanation}"``, and nothing else.

    Probabilities are those of the labels' words after the prompt, scaled to sum to 1: generative
    fine-tuning as it is usually done. Rows without an explanation teach their label. Everything
    else, parameters included, is as in :class:`~skclsgen.CLSGenClassifier`, whose
    ``explanation_weight`` merely scales the loss here; ``early_stopping``, which looks at the
    classification loss, is refused.

    Examples
    --------
    >>> from skclsgen.baselines import GenerationOnly
    >>> clf = GenerationOnly(epochs=1, rationales=None, random_state=0)
    >>> clf = clf.fit(["Smoke is rising!", "Any news?"], ["urgent", "routine"])
    >>> clf.predict_proba(["The charger is on fire!"]).shape
    (1, 2)
    """

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, explanations: Any = None
    ) -> GenerationOnly:
        """Fit as :meth:`skclsgen.CLSGenClassifier.fit` does.

        Parameters
        ----------
        X, y, sample_weight, explanations
            As there.

        Returns
        -------
        GenerationOnly
            Fitted.

        Raises
        ------
        ValueError
            As there, and for ``early_stopping``, ``class_weight`` or no ``explanation_weight``.
        """
        for name, useless in (
            ("early_stopping", bool(self.early_stopping)),
            ("class_weight", self.class_weight is not None),
            ("explanation_weight", not self.explanation_weight),
        ):
            if useless:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} is of no use to GenerationOnly, which has no "
                    "classification loss; leave it at its default."
                )
        super().fit(X, y, sample_weight, explanations)
        return self

    def explain(
        self, X: Any, labels: Any = None, *, max_new_tokens: int | None = None
    ) -> Explanations:
        """Probabilities and reasons, as :meth:`skclsgen.CLSGenClassifier.explain` gives them.

        Parameters
        ----------
        X, labels, max_new_tokens
            As there.

        Returns
        -------
        Explanations
            Probabilities are those of :meth:`predict_proba`.
        """
        X = rereadable(X)
        self._check_asked(X, labels, max_new_tokens)  # before anything is read
        proba = self.predict_proba(X)
        predicted = self.classes_[proba.argmax(axis=1)].tolist()
        found = super().explain(
            X, predicted if labels is None else labels, max_new_tokens=max_new_tokens
        )
        column: Mapping[Any, int] = {label: i for i, label in enumerate(self.classes_.tolist())}
        return Explanations(
            [
                replace(reason, proba=float(own[column[reason.label]]), predicted=label)
                for reason, own, label in zip(found, proba, predicted, strict=True)
            ]
        )

    def _learn(self, network: FittedNetwork, rows: TrainingRows) -> tuple[History, RationaleReport]:
        return learn(self, network, rows, classification_weight=0.0)

    def _logits(self, texts: list[str]) -> np.ndarray:
        return self._ready().label_log_likelihoods(texts, self.verbose)
