"""One run: fit an arm, read its probabilities, and, of the joint model, what it writes."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import numpy as np

from ...backbone import load_base_model
from ...datasets import LabelledTexts
from ..measure import environment, now, timed
from ..settings import forget
from .arms import ARMS, Arm
from .cohorts import Cohort, draw
from .settings import EvidenceSettings
from .writing import judge_writing

__all__ = ["run_arm"]


def run_arm(name: str, settings: EvidenceSettings, cohort: Cohort, seed: int) -> dict[str, Any]:
    """Fit an arm on a cohort and keep everything that scores are made of.

    Parameters
    ----------
    name : str
        One of :data:`~skclsgen.benchmark.evidence.arms.ARMS`.
    settings : EvidenceSettings
    cohort : Cohort
        Drawn with the same seed.
    seed : int

    Returns
    -------
    dict
        Probabilities of the positive label on ``development`` and ``test`` rows (the first ones,
        where few must do), seconds, where they were made and with which weights, and what the arm
        says about itself; for joint models also ``writing``.
    """
    arm = ARMS[name]
    train = cohort.train
    if arm.slow and settings.slow_train_rows is not None:
        train = draw(train, settings.slow_train_rows, seed)
    fingerprint = None
    if arm.kind != "words":
        base = load_base_model(settings.model)
        forget(base)  # or an arm would profit from the one before
        fingerprint = base.info.fingerprint
    state = {
        "started": now(),
        "load_before": os.getloadavg()[0],
        # Now, or sources edited meanwhile would be taken for those of the run.
        "environment": environment(),
        "fingerprint": fingerprint,
        "memory": settings.memory is not None,
    }
    clf = arm.make(settings, seed)
    fit_seconds, _ = timed(lambda: _fit(arm, clf, train))
    development, test = (
        _given(arm, part.take(range(_rows(arm, settings, part))))
        for part in (cohort.development, cohort.test)
    )
    column = np.asarray(clf.classes_).tolist().index(cohort.positive)
    found, unread = {}, {}
    predict_seconds = 0.0
    for part, shown in (("development", development), ("test", test)):
        seconds, proba = timed(partial(clf.predict_proba, shown))
        found[part] = [round(float(p), 12) for p in proba[:, column]]
        unread[part] = getattr(clf, "n_unparsed_", None)
        predict_seconds += seconds
    result = state | {
        "train_rows": len(train),
        "proba": found,
        "unparsed": unread,
        "fit_seconds": fit_seconds,
        "predict_seconds": predict_seconds,
        "rationale_report": getattr(clf, "rationale_report_", None),
    }
    if arm.writes:
        result["writing"] = judge_writing(clf, settings, cohort, seed)
    return result


def _fit(arm: Arm, clf: Any, train: LabelledTexts) -> Any:
    further: dict[str, Any] = {}
    if arm.explained:
        further["explanations"] = train.reasons
    if arm.groups:  # or what was learnt by heart would be chosen, and is judged by other sources
        further[arm.groups] = train.groups
    return clf.fit(_given(arm, train), train.labels, **further)


def _given(arm: Arm, part: LabelledTexts) -> Any:
    """What an arm is shown of rows."""
    return part.records if arm.records else part.texts


def _rows(arm: Arm, settings: EvidenceSettings, part: LabelledTexts) -> int:
    """How many of a part's rows, the first ones, an arm is asked about."""
    return min(len(part), settings.few_rows) if arm.few_rows else len(part)
