"""Scores from comparisons: which of two texts is rather a label's, which answer is surer.

Every text meets the same few training texts, in both orders, and is rated as players are (Elo).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import chain, combinations
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.utils import check_random_state

from ..backbone import DEFAULT_MODEL
from .examples import draw_balanced
from .label_probability import LabelProbability
from .prompted import PromptedClassifier, Question
from .questions import RELATIVE, answered, pair, tournament

__all__ = ["PairwiseTournament", "RelativeConfidence", "elo_ratings"]

#: Points that make ten to one, and the most points a game moves, as in chess.
SCALE, STEP = 400.0, 32.0


def elo_ratings(wins: np.ndarray, opponents: np.ndarray, rounds: int = 1) -> np.ndarray:
    """Rate players that all met the same opponents, whose ratings stay what they are.

    After each game a player's rating moves by ``32 (w - 1 / (1 + 10^((R_o - R) / 400)))`` [1]_.

    Parameters
    ----------
    wins : ndarray of shape (players, opponents)
        Probability that the player won, in [0, 1].
    opponents : ndarray of shape (opponents,)
        Their ratings.
    rounds : int, default=1
        How often the games are gone through.

    Returns
    -------
    ndarray of shape (players,)
        From 0 up and down; 400 points more are odds of ten to one.

    References
    ----------
    .. [1] Elo, "The Rating of Chessplayers, Past and Present", 1978;
       https://en.wikipedia.org/wiki/Elo_rating_system

    Examples
    --------
    >>> elo_ratings(np.array([[1.0, 1.0], [0.5, 0.5]]), np.zeros(2)).round(1)
    array([31.3,  0. ])
    """
    ratings = np.zeros(len(wins))
    for _ in range(rounds):
        for game, opponent in enumerate(opponents):
            expected = expit((ratings - opponent) * np.log(10) / SCALE)
            ratings = ratings + STEP * (wins[:, game] - expected)
    return ratings


class PairwiseClassifier(PromptedClassifier):
    """Base class of classifiers that have the base model compare texts, two by two."""

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        opponents: int = 8,
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
        self.opponents = opponents
        self.random_state = random_state

    def _learn(self, texts: list[str], labels: np.ndarray) -> None:
        """Draw opponents, balanced over the classes as far as there are enough."""
        rows = draw_balanced(labels, self.opponents, check_random_state(self.random_state))
        self._opponents = [texts[row] for row in rows]

    def _ratings(
        self, question: Question, entries: Sequence[str], opponents: Sequence[str]
    ) -> np.ndarray:
        """Ratings of entries that each meet all opponents, shape (entries,)."""
        rated = self._rated(question, opponents)
        meetings = [(a, b) for a in entries for b in opponents]
        with self._bar(2 * len(meetings), "comparing") as bar:
            wins = _wins(question, meetings, bar).reshape(len(entries), len(opponents))
        return elo_ratings(wins, rated)

    def _rated(self, question: Question, opponents: Sequence[str]) -> np.ndarray:
        """Ratings of the opponents, who have met one another, shape (opponents,)."""
        if (key := ("ratings", *opponents)) not in question.found:
            wins = np.full((len(opponents), len(opponents)), 0.5)
            first, second = np.triu_indices(len(opponents), k=1)
            games = list(combinations(opponents, 2))
            if games:
                with self._bar(2 * len(games), "comparing opponents") as bar:
                    wins[first, second] = _wins(question, games, bar)
                wins[second, first] = 1 - wins[first, second]
            question.found[key] = elo_ratings(wins, np.zeros(len(opponents)))
        return question.found[key]


def _wins(question: Question, pairs: Sequence[tuple[str, str]], bar: Any) -> np.ndarray:
    """Probability that the model prefers the first of each pair, shape (pairs,).

    Each pair is shown in both orders, and the mean of the log-odds counts, so that a liking for
    what comes first cancels.
    """
    half = _half(question)
    short = {text: question.shortened(text, half) for text in {*chain.from_iterable(pairs)}}
    odds = np.zeros(len(pairs))
    for sign in (1, -1):
        shown = [pair(*(short[text] for text in both[::sign])) for both in pairs]
        found = question.choice_log_likelihoods(shown, question.encoder.label_ids, bar)
        odds += sign * (found[:, 0] - found[:, 1]) / 2
    return np.asarray(expit(odds))


def _half(question: Question) -> int:
    """Tokens of either text; a pair that is too long would lose one's end and the other's start."""
    return max(1, question.encoder.room // 2 - 16)


class PairwiseTournament(PairwiseClassifier):
    """Which of two texts is rather a label's, asked of each text and a few training texts.

    A class's score is the text's Elo rating in a tournament about that class; two classes have
    one tournament. The training texts' labels are used only to draw equally many opponents of
    each class.

    Parameters
    ----------
    model : str or path, default="HuggingFaceTB/SmolLM2-135M-Instruct"
        Base model, as for :class:`~skclsgen.CLSGenClassifier`.
    opponents : int, default=8
        Training texts that every text is compared with, in both orders.
    label_names, max_length, device, dtype, verbose
        As for :class:`~skclsgen.CLSGenClassifier`.
    random_state : int, RandomState instance or None, default=None
        Draws the opponents.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.

    See Also
    --------
    elo_ratings : How games become ratings.

    Examples
    --------
    >>> from skclsgen.baselines import PairwiseTournament
    >>> clf = PairwiseTournament(opponents=2, random_state=0)
    >>> clf = clf.fit(["Smoke is rising!", "Any news?"], ["urgent", "routine"])
    >>> clf.predict_proba(["The charger is on fire!"]).shape
    (1, 2)
    """

    def _scores(self, texts: list[str]) -> np.ndarray:
        scores = np.zeros((len(texts), len(self._words)))
        asked = range(1, 2) if len(self._words) == 2 else range(len(self._words))
        for label in asked:
            question = self._question(tournament(self._words[label]))
            ratings = self._ratings(question, texts, self._opponents)
            scores[:, label] = ratings * np.log(10) / SCALE
        return scores


class RelativeConfidence(PairwiseClassifier):
    """The base model's own labels, ranked by which of two it is surer of [1]_.

    Its label of a text is the most probable one by :class:`LabelProbability`. Each answer is
    compared with its answers to a few training texts; the Elo rating is the confidence.

    Parameters
    ----------
    model : str or path, default="HuggingFaceTB/SmolLM2-135M-Instruct"
        Base model, as for :class:`~skclsgen.CLSGenClassifier`.
    opponents : int, default=8
        Training texts whose answers every answer is compared with, in both orders.
    label_names, max_length, device, dtype, verbose
        As for :class:`~skclsgen.CLSGenClassifier`.
    random_state : int, RandomState instance or None, default=None
        Draws the opponents.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.

    References
    ----------
    .. [1] Shrivastava, Kumar, Liang, "Language Models Prefer What They Know: Relative Confidence
       Estimation via Confidence Preferences", 2025, https://arxiv.org/abs/2502.01126

    Examples
    --------
    >>> from skclsgen.baselines import RelativeConfidence
    >>> clf = RelativeConfidence(opponents=2, random_state=0)
    >>> clf = clf.fit(["Smoke is rising!", "Any news?"], ["urgent", "routine"])
    >>> clf.predict_proba(["The charger is on fire!"]).shape
    (1, 2)
    """

    def _learn(self, texts: list[str], labels: np.ndarray) -> None:
        super()._learn(texts, labels)
        self._answering = LabelProbability(
            self.model,
            label_names=self.label_names,
            max_length=self.max_length,
            device=self.device,
            dtype=self.dtype,
            verbose=self.verbose,
        ).fit(texts, self.classes_[labels])

    def _scores(self, texts: list[str]) -> np.ndarray:
        now = ("max_length", "device", "dtype", "verbose")  # what may be set after a fit, too
        self._answering.set_params(**{name: getattr(self, name) for name in now})
        question = self._question(RELATIVE)
        answers = self._answering.predict_proba(texts).argmax(axis=1)
        key = ("answers", *self._opponents)
        if key not in question.found:
            proba = self._answering.predict_proba(self._opponents)
            question.found[key] = proba.argmax(axis=1)
        own = question.found[key]
        ratings = self._ratings(
            question,
            self._answered(question, texts, answers),
            self._answered(question, self._opponents, own),
        )
        confidence = expit(ratings * np.log(10) / SCALE)
        even = 1 / len(self._words)
        proba = np.tile((even * (1 - confidence))[:, None], len(self._words))
        proba[np.arange(len(texts)), answers] = even + (1 - even) * confidence
        return np.log(proba)

    def _answered(self, question: Question, texts: Sequence[str], answers: np.ndarray) -> list[str]:
        """Texts with their answers, which are what is compared: a long text makes room for its."""
        endings = [answered(self._words[answer]) for answer in answers]
        return [
            question.shortened(text, _half(question) - 1 - len(question.encoder.plain_ids(ending)))
            + ending
            for text, ending in zip(texts, endings, strict=True)
        ]
