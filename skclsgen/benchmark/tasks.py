"""The tasks that are measured: texts, labels and, where people wrote some, explanations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from ..datasets import LabelledTexts, fetch_clinifact, fetch_esnli, load_messages

__all__ = ["Task", "load_task"]


@dataclass(frozen=True)
class Task:
    """Texts to learn from and texts to judge by, of two classes.

    Attributes
    ----------
    name : str
    texts, test_texts : list of str
    labels, test_labels : list of str
    explanations : list of str, or None
        Why each training text has its label.
    """

    name: str
    texts: list[str]
    labels: list[str]
    explanations: list[str] | None
    test_texts: list[str]
    test_labels: list[str]

    @property
    def classes(self) -> list[str]:
        """The two labels, sorted."""
        return sorted(set(self.labels))

    def targets(self, test: bool = False) -> np.ndarray:
        """Return 1 for the second class, shape (rows,), int64."""
        labels = self.test_labels if test else self.labels
        return np.array([self.classes.index(label) for label in labels])

    def head(self, rows: int, test_rows: int) -> Task:
        """Return the task with fewer rows."""
        return replace(
            self,
            texts=self.texts[:rows],
            labels=self.labels[:rows],
            explanations=None if self.explanations is None else self.explanations[:rows],
            test_texts=self.test_texts[:test_rows],
            test_labels=self.test_labels[:test_rows],
        )

    def part(self, share: float, seed: int) -> Task:
        """Return the task with a random share of the rows to learn from; all of them from 1 up."""
        if share >= 1:
            return self
        rows = np.random.default_rng(seed).permutation(len(self.texts))
        kept = rows[: round(share * len(rows))].tolist()
        return replace(
            self,
            texts=[self.texts[row] for row in kept],
            labels=[self.labels[row] for row in kept],
            explanations=self.explanations and [self.explanations[row] for row in kept],
        )

    def unlike(self, other_rows: int, seed: int) -> list[str]:
        """Return ``other_rows`` test texts, drawn with replacement, each made a new text."""
        rng = np.random.default_rng(seed)
        drawn = rng.integers(len(self.test_texts), size=other_rows)
        return [f"{self.test_texts[row]} ({number})" for number, row in enumerate(drawn)]


def load_task(name: str, data: Path | None, seed: int = 0) -> Task:
    """Read a task.

    Parameters
    ----------
    name : {"esnli", "clinifact", "messages"}
        e-SNLI, entailment against contradiction, 800 development and 500 test rows
        (https://github.com/OanaMariaCamburu/e-SNLI); CliniFact, does the abstract support the
        claim, 400 of the 1,260 training rows (on all of them the usual path would train for
        hours) and all test rows (https://github.com/ds4dh/CliniFact); the bundled
        messages.
    data : Path or None
        Folder with ``esnli/`` and ``clinifact/``, as :func:`~skclsgen.datasets.fetch_esnli` and
        :func:`~skclsgen.datasets.fetch_clinifact` read them; None fetches them.
    seed : int, default=0
        Draws the rows to learn from.

    Raises
    ------
    DatasetError
        If the data are not there, or not to be had.
    """
    if name == "messages":
        return _messages()
    return (_esnli if name == "esnli" else _clinifact)(data, seed)


def _messages() -> Task:
    messages = load_messages()
    return Task(
        "messages",
        list(messages.train.texts),
        list(messages.train.labels),
        list(messages.train.explanations),
        list(messages.test.texts),
        list(messages.test.labels),
    )


def _esnli(data: Path | None, seed: int) -> Task:
    def draw(split: str, rows: int, state: int) -> LabelledTexts:
        return _some(fetch_esnli(split, folder=data and data / "esnli"), rows, state)

    return _task("esnli", draw("dev", 800, seed), draw("test", 500, 0))


def _clinifact(data: Path | None, seed: int) -> Task:
    folder = data and data / "clinifact"
    train, test = (fetch_clinifact(split, folder=folder) for split in ("train", "test"))
    return _task("clinifact", _some(train, 400, seed), test)


def _some(rows: LabelledTexts, number: int, seed: int) -> LabelledTexts:
    chosen = pd.Series(range(len(rows))).sample(min(number, len(rows)), random_state=seed)
    return rows.take(chosen.tolist())


def _task(name: str, train: LabelledTexts, test: LabelledTexts) -> Task:
    reasons = None if train.reasons is None else [reason or "" for reason in train.reasons]
    return Task(name, train.texts, train.labels, reasons, test.texts, test.labels)
