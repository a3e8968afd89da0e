"""Confidence from several sampled replies: whether they agree, and in how many ways."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..backbone import DEFAULT_MODEL
from ..metrics.alignment import stated_label
from ..parameters import Bound, check_number
from ..randomness import draw_seed
from ..wording import terms
from .examples import PARAGRAPH
from .few_shot import FewShotClassifier

__all__ = ["SelfConsistency", "SemanticEntropy", "meanings"]

#: Explanations that share this part of their words mean the same.
ALIKE = 0.5
#: Replies that all mean different things still state a label.
LEAST_CONFIDENCE = 1e-9


class SampledReplies(FewShotClassifier):
    """Base class of classifiers that sample replies; a reply names a label and gives a reason."""

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        samples: int = 10,
        temperature: float = 1.0,
        max_new_tokens: int = 32,
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
        self.samples = samples
        self.temperature = temperature
        self.max_new_tokens = max_new_tokens

    def _learn(self, texts: list[str], labels: np.ndarray) -> None:
        self.n_unparsed_ = 0
        self._shares = np.bincount(labels, minlength=len(self._words)) / len(labels)
        self._seed = draw_seed(self.random_state)

    def _sample(self, texts: list[str]) -> list[list[tuple[int | None, str]]]:
        """Return each text's replies: the label stated, and the words."""
        question = self._question()
        generator = torch.Generator(question.base.device).manual_seed(self._seed)
        with self._bar(len(texts), "sampling replies") as bar:
            replies = question.replies(
                texts,
                self.max_new_tokens,
                bar,
                self.samples,
                self.temperature,
                generator,
                # A model may go on with an example of its own, above all without a chat template.
                until=PARAGRAPH if self.examples_ else None,
            )
        return [[(stated_label(one, self._words), one) for one in own] for own in replies]


class SelfConsistency(SampledReplies):
    """How many of several sampled replies state each label [1]_.

    A class's probability is its share of the votes, with one further vote that is cast in the
    training labels' shares; replies that state no label are no votes, and are counted.

    Unlike in the paper, where samples reason before they answer and the reasoning is
    marginalised out, a reply states its label first and its reason after it, as the main estimator
    does: here votes vary with the sampled label alone.

    One generator draws the replies to all texts of a call, batch by batch. So a text's probability
    depends on which texts it is asked with; the same call gives the same numbers.

    Parameters
    ----------
    model : str or path, default="HuggingFaceTB/SmolLM2-135M-Instruct"
        Base model, as for :class:`~skclsgen.CLSGenClassifier`.
    samples : int, default=10
        Replies per text.
    temperature : float, default=1.0
        Of sampling, > 0.
    max_new_tokens : int, default=32
        Longest reply in tokens.
    examples : int, default=0
        Training rows to show, as for :class:`LabelProbability`.
    label_names, max_length, device, dtype, verbose
        As for :class:`~skclsgen.CLSGenClassifier`.
    random_state : int, RandomState instance or None, default=None
        Draws the examples, and fixes the samples.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    examples_ : list of ShownExample
        The rows shown.
    n_unparsed_ : int
        Replies of the last prediction that stated no label.

    References
    ----------
    .. [1] Wang et al., "Self-Consistency Improves Chain of Thought Reasoning in Language Models",
       ICLR 2023, https://arxiv.org/abs/2203.11171

    Examples
    --------
    >>> from skclsgen.baselines import SelfConsistency
    >>> clf = SelfConsistency(samples=2, random_state=0)
    >>> clf = clf.fit(["Smoke is rising!", "Any news?"], ["urgent", "routine"])
    >>> clf.predict_proba(["The charger is on fire!"]).shape
    (1, 2)
    """

    def _scores(self, texts: list[str]) -> np.ndarray:
        votes = np.tile(self._shares, (len(texts), 1))
        self.n_unparsed_ = 0
        for row, replies in enumerate(self._sample(texts)):
            for label, _ in replies:
                if label is None:
                    self.n_unparsed_ += 1
                else:
                    votes[row, label] += 1
        return np.log(votes)


class SemanticEntropy(SampledReplies):
    """Confidence from how few different meanings several sampled replies have.

    Replies with the same label and much the same words count as one meaning. A reply that states
    no label counts as a meaning of its own. The entropy of the meanings' frequencies, as a share
    of its maximum, is the uncertainty about the label that most replies state. This is the
    discrete variant of Farquhar et al. [1]_, with overlap of words in place of their entailment
    model, and the most frequent label in place of a separate answer at low temperature.

    One generator draws the replies to all texts of a call, batch by batch. So a text's probability
    depends on which texts it is asked with; the same call gives the same numbers.

    Parameters
    ----------
    model : str or path, default="HuggingFaceTB/SmolLM2-135M-Instruct"
        Base model, as for :class:`~skclsgen.CLSGenClassifier`.
    samples : int, default=10
        Replies per text, at least two.
    temperature : float, default=1.0
        Of sampling, > 0.
    max_new_tokens : int, default=32
        Longest reply in tokens.
    examples : int, default=0
        Training rows to show, as for :class:`LabelProbability`.
    label_names, max_length, device, dtype, verbose
        As for :class:`~skclsgen.CLSGenClassifier`.
    random_state : int, RandomState instance or None, default=None
        Draws the examples, and fixes the samples.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    examples_ : list of ShownExample
        The rows shown.
    n_unparsed_ : int
        Replies of the last prediction that stated no label.

    References
    ----------
    .. [1] Farquhar, Kossen, Kuhn, Gal, "Detecting hallucinations in large language models using
       semantic entropy", Nature 630, 2024, https://doi.org/10.1038/s41586-024-07421-0

    Examples
    --------
    >>> from skclsgen.baselines import SemanticEntropy
    >>> clf = SemanticEntropy(samples=2, random_state=0)
    >>> clf = clf.fit(["Smoke is rising!", "Any news?"], ["urgent", "routine"])
    >>> clf.predict_proba(["The charger is on fire!"]).shape
    (1, 2)
    """

    def _check_parameters(self) -> None:
        super()._check_parameters()
        # A single reply agrees with itself whatever it says.
        check_number("samples", self.samples, Bound(2, whole=True))

    def _scores(self, texts: list[str]) -> np.ndarray:
        proba = np.tile(self._shares, (len(texts), 1))
        even = 1 / len(self._words)
        self.n_unparsed_ = 0
        for row, replies in enumerate(self._sample(texts)):
            stated = [(label, said) for label, said in replies if label is not None]
            self.n_unparsed_ += len(replies) - len(stated)
            if not stated:
                continue
            labels = [label for label, _ in stated]
            chosen = np.bincount(labels).argmax()
            alone = [1] * (len(replies) - len(stated))
            sizes = np.array([*map(len, meanings(stated)), *alone]) / len(replies)
            entropy = -float(sizes @ np.log(sizes)) / np.log(self.samples)
            confidence = max(1 - entropy, LEAST_CONFIDENCE)
            proba[row] = even * (1 - confidence)
            proba[row, chosen] = even + (1 - even) * confidence
        return np.log(proba.clip(min=np.finfo(float).tiny))


def meanings(replies: Sequence[tuple[int, str]]) -> list[list[int]]:
    """Group replies that state the same label in much the same words.

    A reply joins the first group whose first reply shares half of the words of both (Jaccard's
    index of their sets of words).

    Parameters
    ----------
    replies : sequence of (int, str)
        Labels and words.

    Returns
    -------
    list of list of int
        Numbers of the replies.

    Examples
    --------
    >>> meanings([(0, "it is on fire"), (1, "it is on fire"), (0, "fire, it is on fire")])
    [[0, 2], [1]]
    """
    groups: list[list[int]] = []
    sets = [set(terms(text)) for _, text in replies]
    for number, (label, _) in enumerate(replies):
        for group in groups:
            first = group[0]
            union = len(sets[first] | sets[number])
            alike = not union or len(sets[first] & sets[number]) >= ALIKE * union
            if replies[first][0] == label and alike:
                group.append(number)
                break
        else:
            groups.append([number])
    return groups
