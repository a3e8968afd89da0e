"""The rows that all arms learn from and are judged by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from ...datasets import (
    LabelledTexts,
    fetch_clinifact,
    fetch_esnli,
    load_messages,
)
from .settings import EvidenceSettings

__all__ = ["ALONE", "CROSS_VALIDATED", "DATASETS", "FOLDS", "Cohort", "draw", "load_cohort"]

#: e-SNLI test rows by which hyper-parameters were chosen or looked at while the package was made.
LOOKED_AT = 1500
#: Parts that CliniFact is dealt into where no source may be on two sides.
FOLDS = 5


@dataclass(frozen=True)
class Cohort:
    """Rows of two classes; no two parts share a group, unless the official split lets them.

    Attributes
    ----------
    train, development, test : LabelledTexts
    positive : str
        The label whose probability is judged.
    """

    train: LabelledTexts
    development: LabelledTexts
    test: LabelledTexts
    positive: str

    def digest(self) -> str:
        """Return a digest of all rows, to tell runs on other rows apart.

        Other rows come of other data, but also of another version of scikit-learn, which may deal
        folds in another way.
        """
        found = hashlib.sha256(self.positive.encode())
        for part in (self.train, self.development, self.test):
            rows = [part.texts, part.labels, part.explanations, part.groups]
            found.update(json.dumps(rows).encode())
        return found.hexdigest()[:12]

    def targets(self, part: LabelledTexts) -> np.ndarray:
        """Return 1 for the positive label, else 0, shape (rows,), int64."""
        return np.array([int(label == self.positive) for label in part.labels])

    def labels(self, targets: Iterable[int]) -> list[str]:
        """Turn 1 and 0 into the positive and the other label."""
        (other,) = set(self.train.labels) - {self.positive}
        return [self.positive if target else other for target in targets]

    def funnel(self) -> dict[str, dict[str, int]]:
        """Return how many rows of each label every part has."""
        parts = {"train": self.train, "development": self.development, "test": self.test}
        return {
            name: {label: part.labels.count(label) for label in sorted(set(part.labels))}
            for name, part in parts.items()
        }


def load_cohort(settings: EvidenceSettings, seed: int) -> Cohort:
    """Read a data set and cut it to size.

    Rows to develop and to judge by are the same for all seeds, and rows to learn from are drawn;
    but for data that are cross-validated, where every seed is a fold.

    Parameters
    ----------
    settings : EvidenceSettings
    seed : int
        Draws the rows to learn from, or is the number of the fold.
    """
    return DATASETS[settings.dataset](settings, seed)


def draw(part: LabelledTexts, rows: int, seed: int) -> LabelledTexts:
    """Return rows drawn at random, every label in its share; all of them if there are no more."""
    if len(part) <= rows:
        return part
    # Labels have their shares where those left out are enough for one of each.
    enough = len(part) - rows >= len(set(part.labels))
    chosen, _ = train_test_split(
        np.arange(len(part)),
        train_size=rows,
        stratify=part.labels if enough else None,
        random_state=seed,
    )
    return part.take(np.sort(chosen))


def _first_fold(part: LabelledTexts, folds: int) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers outside of the first of several folds without a source in common, and in it."""
    dealt = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    return next(dealt.split(part.labels, part.labels, part.groups))


def _outside(part: LabelledTexts, *others: LabelledTexts) -> LabelledTexts:
    """Leave out rows whose group is in another part."""
    taken = {group for other in others for group in other.groups}
    return part.take([row for row, group in enumerate(part.groups) if group not in taken])


def _esnli(settings: EvidenceSettings, seed: int) -> Cohort:
    folder = None if settings.data is None else settings.data / "esnli"
    test = fetch_esnli("test", folder=folder)
    if len(test) > 2 * LOOKED_AT:
        numbers = pd.Series(range(len(test)))
        seen = test.take(numbers.sample(LOOKED_AT, random_state=0).tolist())
        test = _outside(test, seen)
    test = draw(test, settings.test_rows, seed=1)
    rest = _outside(fetch_esnli("dev", folder=folder), test)
    development = draw(rest, settings.development_rows, seed=1)
    train = draw(_outside(rest, development), settings.train_rows, seed)
    return Cohort(train, development, test, "entailment")


def _clinifact(settings: EvidenceSettings, seed: int) -> Cohort:
    """By the official split, in which test rows share trials with rows to learn from."""
    folder = None if settings.data is None else settings.data / "clinifact"
    train, development, test = (
        fetch_clinifact(split, folder=folder) for split in ("train", "validation", "test")
    )
    return Cohort(
        draw(train, settings.train_rows, seed),
        draw(development, settings.development_rows, seed=1),
        draw(test, settings.test_rows, seed=1),
        "supported",
    )


def _clinifact_grouped(settings: EvidenceSettings, seed: int) -> Cohort:
    """By trial and publication: what is judged by was never met, and judged by once."""
    if seed >= FOLDS:
        raise ValueError(f"there are {FOLDS} folds, and every seed is one; give --seeds {FOLDS}.")
    folder = None if settings.data is None else settings.data / "clinifact"
    rows = fetch_clinifact("all", folder=folder)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    splits = list(folds.split(rows.labels, rows.labels, rows.groups))
    rest, test = (rows.take(part) for part in splits[seed])
    train, development = (rest.take(part) for part in _first_fold(rest, 5))
    return Cohort(
        draw(train, settings.train_rows, seed),
        draw(development, settings.development_rows, seed=1),
        draw(test, settings.test_rows, seed=1),
        "supported",
    )


def _messages(settings: EvidenceSettings, seed: int) -> Cohort:
    """The bundled messages: small, and at hand everywhere."""
    found = load_messages()
    parts = []
    for split in (found.train, found.test):
        records = pd.DataFrame({"message": split.texts})
        reasons = [[reason] for reason in split.explanations]
        parts.append(LabelledTexts(records, list(split.labels), reasons, list(split.groups)))
    rest, test = parts
    kept, held_out = _first_fold(rest, 4)
    return Cohort(
        draw(rest.take(kept), settings.train_rows, seed),
        draw(rest.take(held_out), settings.development_rows, seed=1),
        draw(test, settings.test_rows, seed=1),
        "escalate",
    )


#: Data sets by name.
DATASETS = {
    "esnli": _esnli,
    "clinifact": _clinifact,
    "clinifact-grouped": _clinifact_grouped,
    "messages": _messages,
}
#: The column that tells most by itself.
ALONE = {
    "esnli": "hypothesis",
    "clinifact": "article_abstract",
    "clinifact-grouped": "article_abstract",
    "messages": "message",
}
#: Those of which every seed is judged by rows of its own.
CROSS_VALIDATED = {"clinifact-grouped"}
