"""Customer messages, to be escalated to a human now or not; written for this project."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from importlib.resources import files

__all__ = ["Messages", "TextSplit", "load_messages"]


@dataclass(frozen=True)
class TextSplit:
    """Rows of one split; all fields have the same length.

    Attributes
    ----------
    texts : list of str
        The messages.
    labels : list of str
        ``"escalate"`` or ``"routine"``.
    explanations : list of str
        One sentence each: why the message has its label.
    groups : list of str
        The situation that a message is about; some situations have two messages.
    """

    texts: list[str]
    labels: list[str]
    explanations: list[str]
    groups: list[str]

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def reasons(self) -> list[str]:
        """The explanations, as ``fit(..., explanations=)`` takes them; of any data set here."""
        return self.explanations


@dataclass(frozen=True)
class Messages:
    """The training and test split of :func:`load_messages`."""

    train: TextSplit
    test: TextSplit


def load_messages() -> Messages:
    """Load 840 short customer messages labelled *escalate to a human now* or *routine*.

    A message is to be escalated if waiting, or an automatic reply, would do harm: danger or loss
    going on now, a deadline within hours, somebody cut off from something essential, a person in
    distress. The messages come from ten walks of life (banking, parcels, pharmacies, travel,
    software, housing and so on) and were written one by one for this package, in two rounds; the
    second round put the words typical of one label into messages of the other. Of the 920 written,
    the 40 of each label that a bag-of-words model found easiest were left out, so that single
    words give little away. Both labels are equally frequent.

    Returns
    -------
    Messages
        ``train`` (599 rows) and ``test`` (241 rows). Messages about the same situation are in the
        same split.

    Examples
    --------
    >>> from skclsgen.datasets import load_messages
    >>> messages = load_messages()
    >>> len(messages.train), len(messages.test)
    (599, 241)
    >>> sorted(set(messages.test.labels))
    ['escalate', 'routine']
    """
    text = (files(__package__) / "messages.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    splits = {}
    for name in ("train", "test"):
        chosen = [row for row in rows if row["split"] == name]
        splits[name] = TextSplit(
            [row["text"] for row in chosen],
            [row["label"] for row in chosen],
            [row["reason"] for row in chosen],
            [row["scenario"] for row in chosen],
        )
    return Messages(**splits)
