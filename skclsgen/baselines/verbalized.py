"""Verbalized confidence: the base model says its label and how sure it is."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backbone import DEFAULT_MODEL
from ..metrics.alignment import stated_label
from .prompted import PromptedClassifier
from .questions import verbalized
from .replies import without_label

__all__ = ["VerbalizedConfidence", "VerbalizedReply", "stated_confidence"]

_LIST_MARK = re.compile(r"\A\s*\d+[.)]\s")
#: A number, and what makes it a share: a sign of percent, or what it is out of.
_NUMBER = re.compile(r"(?<![\w.])(\d+(?:[.,]\d+)?|\.\d+)\s*(%|percent|(?:/|out of)\s*(\d+))?", re.I)


@dataclass(frozen=True)
class VerbalizedReply:
    """What the model said about one text.

    Attributes
    ----------
    text : str
        Its words.
    label : int or None
        The class it named, None if it named none or several.
    confidence : float or None
        In [0, 1]; None if it gave no probability.
    """

    text: str
    label: int | None
    confidence: float | None


def stated_confidence(reply: str, label: str = "") -> float | None:
    """Return the number of a reply that can best be a probability.

    Percents and parts of a whole ("9 out of 10", "9/10") come first, then numbers up to 1, then
    larger ones, which are taken for percents; of several of a kind the first counts.

    Parameters
    ----------
    reply : str
    label : str, default=""
        Words of the label that the reply states, whose digits are no probability.

    Returns
    -------
    float or None
        In [0, 1]; None if there is no such number.

    Examples
    --------
    >>> stated_confidence("1. urgent, 85%"), stated_confidence("routine. Probability: 0.4")
    (0.85, 0.4)
    >>> stated_confidence("urgent, 9 out of 10"), stated_confidence("For 2 reasons: urgent, .8")
    (0.9, 0.8)
    >>> stated_confidence("urgent, 850") is None
    True
    >>> stated_confidence("dringend, 85,5 %")
    0.855
    >>> stated_confidence("1, 0.8", label="1")
    0.8
    """
    numbers = _NUMBER.findall(_LIST_MARK.sub("", without_label(reply, label), count=1))
    candidates = []
    for digits, share, whole in numbers:
        value = float(digits.replace(",", "."))
        bare = 0 if share else 1 if value <= 1 else 2
        if share or value > 1:
            out_of = float(whole or 100)
            value = value / out_of if out_of else np.inf
        if value <= 1:
            candidates.append((bare, value))
    return min(candidates, key=lambda candidate: candidate[0])[1] if candidates else None


class VerbalizedConfidence(PromptedClassifier):
    """Ask the base model for its guess and the probability that it is right.

    One greedy reply a text, as "Verb. 1S top-1" of Tian et al. [1]_. The stated probability goes
    to the stated label, the rest to the others in equal parts. A reply that cannot be read gets the
    training labels' shares, and is counted.

    Parameters
    ----------
    model : str or path, default="HuggingFaceTB/SmolLM2-135M-Instruct"
        Base model, as for :class:`~skclsgen.CLSGenClassifier`.
    max_new_tokens : int, default=24
        Longest reply in tokens.
    label_names, max_length, device, dtype, verbose
        As for :class:`~skclsgen.CLSGenClassifier`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    n_unparsed_ : int
        Texts of the last prediction whose reply could not be read.

    References
    ----------
    .. [1] Tian et al., "Just Ask for Calibration", EMNLP 2023, https://arxiv.org/abs/2305.14975

    Examples
    --------
    >>> from skclsgen.baselines import VerbalizedConfidence
    >>> clf = VerbalizedConfidence().fit(["Smoke is rising!", "Any news?"], ["urgent", "routine"])
    >>> clf.predict_proba(["The charger is on fire!"]).shape
    (1, 2)
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        max_new_tokens: int = 24,
        label_names: Mapping[Any, str] | None = None,
        max_length: int | None = None,
        device: str = "auto",
        dtype: str = "auto",
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
        self.max_new_tokens = max_new_tokens

    def ask(self, X: Any) -> list[VerbalizedReply]:
        """Return what the model says about each text.

        Parameters
        ----------
        X : list, tuple, array or Series of str, or DataFrame, of length n_samples

        Returns
        -------
        list of VerbalizedReply
            In the order of ``X``.
        """
        return self._ask(self._check_texts(X))

    def _ask(self, texts: list[str]) -> list[VerbalizedReply]:
        question = self._question(verbalized(self._words))
        with self._bar(len(texts), "verbalized confidence") as bar:
            replies = question.replies(texts, self.max_new_tokens, bar)
        return [self._read(reply) for (reply,) in replies]

    def _read(self, reply: str) -> VerbalizedReply:
        label = stated_label(reply, self._words)
        confidence = stated_confidence(reply, "" if label is None else self._words[label])
        return VerbalizedReply(reply, label, confidence)

    def _learn(self, texts: list[str], labels: np.ndarray) -> None:
        self.n_unparsed_ = 0
        self._shares = np.bincount(labels, minlength=len(self._words)) / len(labels)

    def _scores(self, texts: list[str]) -> np.ndarray:
        proba = np.tile(self._shares, (len(texts), 1))
        replies = self._ask(texts)
        self.n_unparsed_ = 0
        for row, reply in enumerate(replies):
            if reply.label is None or reply.confidence is None:
                self.n_unparsed_ += 1
                continue
            proba[row] = (1 - reply.confidence) / (len(self._words) - 1)
            proba[row, reply.label] = reply.confidence
        return np.log(proba.clip(min=np.finfo(float).tiny))
