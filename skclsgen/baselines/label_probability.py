"""The probability of the labels' words, with and without contextual calibration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import log_softmax, logsumexp

from ..backbone import DEFAULT_MODEL
from ..parameters import check_flag
from .few_shot import FewShotClassifier
from .questions import CONTENT_FREE

__all__ = ["LabelProbability"]


class LabelProbability(FewShotClassifier):
    """How likely the base model finds each label's words after the prompt.

    The prompt is that of :class:`~skclsgen.CLSGenClassifier`. With calibration, each label's
    probability is divided by what the model gives it for texts without content, as by ``W p`` with
    ``W = diag(p)^-1`` in Zhao et al. [1]_; the quotients are scaled to sum to 1. With
    ``examples=0`` the prompt is zero-shot, unlike there; with more, it shows training rows as
    earlier turns of the conversation, and what they make the model expect is divided out too.

    Parameters
    ----------
    model : str or path, default="HuggingFaceTB/SmolLM2-135M-Instruct"
        Base model, as for :class:`~skclsgen.CLSGenClassifier`.
    calibrate : bool, default=True
        Divide by the probabilities of texts without content.
    examples : int, default=0
        Training rows to show, balanced over the classes as far as rows allow; those with
        explanations show them. They are read once for all texts, and take half of the prompt at
        most.
    label_names, max_length, device, dtype, verbose
        As for :class:`~skclsgen.CLSGenClassifier`.
    random_state : int, RandomState instance or None, default=None
        Draws the examples.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    examples_ : list of ShownExample
        The rows shown (``text``, ``label`` as an index of ``classes_``, ``explanation``).

    References
    ----------
    .. [1] Zhao, Wallace, Feng, Klein, Singh, "Calibrate Before Use: Improving Few-Shot Performance
       of Language Models", ICML 2021, https://arxiv.org/abs/2102.09690

    Examples
    --------
    >>> from skclsgen.baselines import LabelProbability
    >>> clf = LabelProbability().fit(["Smoke is rising!", "Any news?"], ["urgent", "routine"])
    >>> clf.predict_proba(["The charger is on fire!"]).shape
    (1, 2)
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        calibrate: bool = True,
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
            examples=examples,
            label_names=label_names,
            max_length=max_length,
            device=device,
            dtype=dtype,
            random_state=random_state,
            verbose=verbose,
        )
        self.calibrate = calibrate

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_flag("calibrate", self.calibrate)

    def _scores(self, texts: list[str]) -> np.ndarray:
        found = self._log_proba(texts)
        if not self.calibrate:
            return found
        return found - self._expected()

    def _expected(self) -> np.ndarray:
        """Logarithm of the mean probabilities of texts without content, shape (classes,)."""
        known = self._question().found
        if (key := ("expected", *CONTENT_FREE)) not in known:
            neutral = self._log_proba(list(CONTENT_FREE))
            known[key] = logsumexp(neutral, axis=0) - np.log(len(neutral))
        return known[key]

    def _log_proba(self, texts: list[str]) -> np.ndarray:
        question = self._question()
        labels = [question.encoder.opening(label) for label in range(len(self._words))]
        with self._bar(len(texts), "label words") as bar:
            return log_softmax(question.choice_log_likelihoods(texts, labels, bar), axis=1)
