"""P(True): how likely the base model finds it that a proposed label is true."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax

from .prompted import PromptedClassifier
from .questions import P_TRUE, proposal

__all__ = ["PTrue"]


class PTrue(PromptedClassifier):
    """Propose every label in turn, and ask whether it is true or false.

    A class's score is the probability of "true" against "false" after its proposal (Kadavath et
    al., section 3 [1]_); the classes' scores are scaled to sum to 1. Unlike there, where the
    model judges answers that it has sampled itself, the labels are imposed on it, each in turn.

    Parameters
    ----------
    model : str or path, default="HuggingFaceTB/SmolLM2-135M-Instruct"
        Base model, as for :class:`~skclsgen.CLSGenClassifier`.
    label_names, max_length, device, dtype, verbose
        As for :class:`~skclsgen.CLSGenClassifier`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.

    References
    ----------
    .. [1] Kadavath et al., "Language Models (Mostly) Know What They Know", 2022,
       https://arxiv.org/abs/2207.05221

    Examples
    --------
    >>> from skclsgen.baselines import PTrue
    >>> clf = PTrue().fit(["Smoke is rising!", "Any news?"], ["urgent", "routine"])
    >>> clf.predict_proba(["The charger is on fire!"]).shape
    (1, 2)
    """

    def _scores(self, texts: list[str]) -> np.ndarray:
        question = self._question(P_TRUE)
        verdicts = question.encoder.label_ids
        with self._bar(len(texts) * len(self._words), "P(True)") as bar:
            proposals = [proposal(text, words) for words in self._words for text in texts]
            found = question.choice_log_likelihoods(proposals, verdicts, bar)
        return log_softmax(found, axis=1)[:, 0].reshape(len(self._words), len(texts)).T
