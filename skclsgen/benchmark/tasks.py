"""The tasks that are measured: texts, labels and, where people wrote some, explanations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from ..datasets import load_messages
from ..inputs import check_texts

__all__ = ["TASKS", "Task", "load_task"]

#: Names of the tasks; all but the bundled messages need ``--data``.
TASKS = ("esnli", "clinifact", "messages")


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
        e-SNLI, entailment against contradiction, 800 rows of ``dev.csv`` and 500 of ``test.csv``
        (https://github.com/OanaMariaCamburu/e-SNLI); CliniFact, does the abstract support the
        claim, 400 of the 1,260 rows of ``train.csv`` (on all of them the usual path would train
        for hours) and all of ``test.csv`` (https://github.com/ds4dh/CliniFact); the bundled
        messages.
    data : Path or None
        Folder with ``esnli/`` and ``clinifact/``.
    seed : int, default=0
        Draws the rows to learn from.

    Raises
    ------
    ValueError
        If the task needs ``data`` and there is none.
    """
    if name == "messages":
        return _messages()
    if data is None or not (data / name).is_dir():
        raise ValueError(
            f"--data={data} has no folder {name!r}; give the folder that holds it, or leave the "
            "measurement out with --only."
        )
    return (_esnli if name == "esnli" else _clinifact)(data / name, seed)


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


def _esnli(folder: Path, seed: int) -> Task:
    def draw(file: str, rows: int, state: int) -> pd.DataFrame:
        table = pd.read_csv(folder / file, keep_default_na=False)
        return table[table["label"].isin(["contradiction", "entailment"])].sample(
            rows, random_state=state
        )

    train, test = draw("dev.csv", 800, seed), draw("test.csv", 500, 0)
    columns = ["premise", "hypothesis"]
    return Task(
        "esnli",
        check_texts(train[columns]),
        train["label"].tolist(),
        train["explanation_1"].tolist(),
        check_texts(test[columns]),
        test["label"].tolist(),
    )


def _clinifact(folder: Path, seed: int) -> Task:
    def read(file: str, rows: int | None = None) -> tuple[list[str], list[str]]:
        table = pd.read_csv(folder / file, keep_default_na=False)
        if rows is not None:
            table = table.sample(min(rows, len(table)), random_state=seed)
        labels = np.where(table["label"] == 1, "supported", "unsupported").tolist()
        texts = table[["claim", "article_title", "article_abstract"]]
        return check_texts(texts), labels

    (texts, labels), (test_texts, test_labels) = read("train.csv", 400), read("test.csv")
    return Task("clinifact", texts, labels, None, test_texts, test_labels)
