"""What the joint model writes, beside what its base model writes on the same prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...baselines import LinearProbe, classification_only
from ...classifier import CLSGenClassifier
from ...datasets import LabelledTexts
from ...metrics import (
    alignment_scores,
    distinct_n,
    explanation_log_perplexity,
    flesch_reading_ease,
    flip_rate,
    groundedness_lift,
    language_change,
    las_terms,
    leakage_adjusted_simulatability,
    mask_labels,
    overlap_scores,
    repetition,
    simulatability_gains,
    stated_label,
    stratified_alignment,
)
from ...wording import words
from .cohorts import Cohort
from .general_text import general_pages, general_texts
from .prompts import OBSERVER
from .settings import EvidenceSettings

__all__ = ["BASE", "JOINT_WRITER", "PEOPLE", "ROW_MEASURES", "judge_writing"]

#: Who writes: the tuned model, its base model made to explain the same labels, and people.
JOINT_WRITER, BASE, PEOPLE = "joint", "base, forced label", "people"
#: Words of each set of explanations by which its variety is judged.
DISTINCT_LENGTH = 2000
#: Measures of single explanations; True where more is better.
ROW_MEASURES = {
    "groundedness_lift": True,
    "simulatability": True,
    "leakage_adjusted_simulatability": True,
    "repetition": False,
    "base_nll": False,
    "ended": True,
    "words": None,
    "flesch": None,
}


@dataclass(frozen=True)
class Spoken:
    """Explanations of some texts.

    Attributes
    ----------
    rows : LabelledTexts
        What was explained.
    labels : list of int
        1 where the positive label was explained.
    reasons : list of str
    ended : list of bool
        Whether the model ended by itself.
    """

    rows: LabelledTexts
    labels: list[int]
    reasons: list[str]
    ended: list[bool]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def texts(self) -> list[str]:
        """Texts of the rows."""
        return self.rows.texts


def judge_writing(
    clf: CLSGenClassifier, settings: EvidenceSettings, cohort: Cohort, seed: int
) -> dict[str, Any]:
    """Have the joint model write, and judge it; on the first seed beside its base model and people.

    Parameters
    ----------
    clf : CLSGenClassifier
        Fitted on the cohort's rows.
    settings : EvidenceSettings
    cohort : Cohort
    seed : int

    Returns
    -------
    dict
        ``rows``, ``alignment``, ``language``; on the first seed ``quality`` by writer (``rows``,
        ``together``, ``reasons``) and ``samples``.
    """
    test = cohort.test.take(range(min(settings.written_rows, len(cohort.test))))
    spoken = _speak(clf, test, cohort.positive)
    change = language_change(clf, general_texts()[: settings.passages])
    found = {
        "rows": len(test),
        "alignment": _alignment(clf, settings, cohort, test, spoken, seed),
        "language": {
            "pages": general_pages()[: settings.passages],
            "base": change.base.tolist(),
            "tuned": change.tuned.tolist(),
            "kl": change.kl.tolist(),
        },
    }
    return found if seed else found | _beside_others(clf, settings, cohort, test, spoken)


def _beside_others(
    clf: CLSGenClassifier,
    settings: EvidenceSettings,
    cohort: Cohort,
    test: LabelledTexts,
    spoken: Spoken,
) -> dict[str, Any]:
    """Judge what the joint model, its base model and people wrote.

    The base model explains the labels that the joint model predicts (*forced*), so that the two are
    paired, and its own (*own*). People explained the true labels.
    """
    positive = cohort.positive
    parts = (cohort.development, test)
    joint = [_speak(clf, cohort.development, positive), spoken]
    base = CLSGenClassifier(settings.model, epochs=0, random_state=0)
    base.fit(cohort.train.texts, cohort.train.labels)
    writers = {
        JOINT_WRITER: joint,
        BASE: [
            _speak(base, part, positive, cohort.labels(own.labels))
            for part, own in zip(parts, joint, strict=True)
        ],
        "base, own label": [_speak(base, part, positive) for part in parts],
    }
    if None not in (cohort.development.explanations, test.explanations):
        writers[PEOPLE] = [_said_by_people(part, positive) for part in parts]
    simulator = Simulator(settings.model, layers=(0.75,), pooling=("last",), random_state=0)
    quality = {name: _quality(clf, cohort, own, simulator) for name, own in writers.items()}
    if test.explanations is not None:
        for name in quality.keys() - {PEOPLE}:
            reasons = quality[name]["reasons"]
            quality[name]["together"] |= overlap_scores(reasons, test.explanations)
    samples = [
        {
            "text": test.texts[row],
            "label": test.labels[row],
            **{name: own[1].reasons[row] for name, own in writers.items()},
            "explained": spoken.labels[row],
        }
        for row in range(min(8, len(test)))
    ]
    return {"quality": quality, "samples": samples}


def _said_by_people(part: LabelledTexts, positive: str) -> Spoken:
    """The first explanation that people gave of each row's true label."""
    reasons = [reason or "" for reason in part.reasons or []]
    labels = [int(label == positive) for label in part.labels]
    return Spoken(part, labels, reasons, [True] * len(reasons))


def _speak(
    clf: CLSGenClassifier, rows: LabelledTexts, positive: str, labels: list[str] | None = None
) -> Spoken:
    found = clf.explain(rows.texts, labels=labels)
    return Spoken(
        rows,
        [int(reason.label == positive) for reason in found],
        [reason.text for reason in found],
        [reason.complete for reason in found],
    )


# --- quality -------------------------------------------------------------------------------------


class Simulator(LinearProbe):
    """A probe that reads no texts twice: all writers explain the same ones."""

    def _features(
        self, texts: list[str], layers: tuple[float, ...], poolings: tuple[str, ...]
    ) -> dict[tuple[float, str], np.ndarray]:
        read = self.__dict__.setdefault("read", {})
        key = tuple(texts), layers, poolings
        if key not in read:
            read[key] = super()._features(texts, layers, poolings)
        return read[key]


def _quality(
    clf: CLSGenClassifier,
    cohort: Cohort,
    spoken: Sequence[Spoken],
    simulator: Simulator,
) -> dict[str, Any]:
    """Measures of every test row's explanation, and of all of them together."""
    development, judged = spoken
    gains, terms, las = _simulatability(simulator, development, judged)
    rows = {
        "groundedness_lift": groundedness_lift(judged.reasons, judged.texts, random_state=0),
        "simulatability": gains,
        "leakage_adjusted_simulatability": terms,
        "repetition": [repetition(reason) for reason in judged.reasons],
        "base_nll": explanation_log_perplexity(
            clf, judged.texts, cohort.labels(judged.labels), judged.reasons
        ).tolist(),
        "ended": judged.ended,
        "words": [len(words(reason)) for reason in judged.reasons],
        "flesch": [flesch_reading_ease(reason) for reason in judged.reasons],
    }
    together = {"distinct_2": distinct_n(judged.reasons, 2, DISTINCT_LENGTH)} | las
    numbers = {name: np.asarray(values, dtype=float) for name, values in rows.items()}
    kept = {
        name: [round(value, 6) for value in values.tolist()] for name, values in numbers.items()
    }
    return {"rows": kept, "together": together, "reasons": judged.reasons}


def _simulatability(
    simulator: Simulator, development: Spoken, judged: Spoken
) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Per-row gains, per-row terms and summary of LAS, by linear probes on the base model.

    They learn from explanations of development rows to predict what the writer said of test rows;
    there is nothing to learn where it said the same of all.
    """
    if len(set(development.labels)) < 2:
        unknown = np.full(len(judged), np.nan)
        return unknown, unknown, {"las": np.nan}
    said = ["yes" if label else "no" for label in development.labels]
    guesses = []
    for show in (_text_only, _reason_only, _both):
        # Or a penalty would be chosen that knows sources again, and test rows have others.
        simulator.fit(show(development), said, groups=development.rows.groups)
        guesses.append((simulator.predict(show(judged)) == "yes").astype(int))
    by_text, _, by_both = guesses
    return (
        simulatability_gains(judged.labels, by_text, by_both),
        las_terms(judged.labels, *guesses),
        leakage_adjusted_simulatability(judged.labels, *guesses),
    )


def _text_only(spoken: Spoken) -> list[str]:
    return spoken.texts


def _reason_only(spoken: Spoken) -> list[str]:
    return [reason or "-" for reason in spoken.reasons]


def _both(spoken: Spoken) -> list[str]:
    return [f"{a}\n\n{b}" for a, b in zip(spoken.texts, _reason_only(spoken), strict=True)]


# --- alignment -----------------------------------------------------------------------------------


def _alignment(
    clf: CLSGenClassifier,
    settings: EvidenceSettings,
    cohort: Cohort,
    test: LabelledTexts,
    spoken: Spoken,
    seed: int,
) -> dict[str, Any]:
    """Whether words and head agree: stated label, masked observer, forced flip."""
    classes = clf.classes_.tolist()
    column = classes.index(cohort.positive)
    proba = clf.predict_proba(test.texts)[:, column]
    label_words = [str(label) for label in classes]
    replies = clf._network.free_replies(test.texts, clf.max_new_tokens)
    # Of two classes; 1 for the positive one.
    stated = [
        None if label is None else int(label == column)
        for label in (stated_label(reply, label_words) for reply in replies)
    ]
    result: dict[str, Any] = {
        "stated": alignment_scores(proba, stated),
        "stated, stratified": stratified_alignment(cohort.targets(test), proba, stated),
    }
    observer = _observer(settings, cohort, label_words, seed)
    if observer is None:
        return result
    other = [1 - label for label in spoken.labels]
    flipped = _speak(clf, test, cohort.positive, cohort.labels(other))

    def seen(reasons: Sequence[str]) -> list[int]:
        masked = [mask_labels(reason, label_words) or "-" for reason in reasons]
        return [int(label == cohort.positive) for label in observer.predict(masked)]

    shown, against = seen(spoken.reasons), seen(flipped.reasons)
    free = seen([_reason_of(reply) for reply in replies])
    return result | {
        "observer": alignment_scores(proba, shown),
        "observer, stratified": stratified_alignment(cohort.targets(test), proba, shown),
        "observer of free replies": alignment_scores(proba, free),
        "flip_rate": flip_rate(other, against),
    }


def _observer(
    settings: EvidenceSettings, cohort: Cohort, label_words: Sequence[str], seed: int
) -> CLSGenClassifier | None:
    """Teach a reader to tell labels from people's explanations alone, label words masked."""
    reasons = cohort.train.reasons
    if reasons is None:
        return None
    masked = [mask_labels(reason or "", label_words) or "-" for reason in reasons]
    reader = classification_only(
        model=settings.model,
        epochs=settings.epochs,
        random_state=seed,
        instruction=OBSERVER,
    )
    return reader.fit(masked, cohort.train.labels)


def _reason_of(reply: str) -> str:
    """Return what follows the first full stop, after which a reason stands."""
    return reply.partition(".")[2].strip() or reply
