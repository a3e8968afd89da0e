"""How the baselines word what they ask the base model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "CONTENT_FREE",
    "P_TRUE",
    "RELATIVE",
    "Asked",
    "answered",
    "pair",
    "proposal",
    "tournament",
    "verbalized",
]

#: Texts that say nothing about any label, as Zhao et al. have them (who use the empty one too).
CONTENT_FREE = ("N/A", "[MASK]", "-")


@dataclass(frozen=True)
class Asked:
    """A question.

    Attributes
    ----------
    instruction : str
        In front of what is asked about.
    cue : str
        How the reply begins.
    answers : tuple of str
        Between what the model chooses; empty where it replies in its own words.
    """

    instruction: str
    cue: str
    answers: tuple[str, ...] = ()


P_TRUE = Asked(
    "Say whether the proposed label of the text is true or false.",
    "The proposed label is",
    ("true", "false"),
)
RELATIVE = Asked("Say which of the two labels is surely right.", "Label", ("1", "2"))


def tournament(words: str) -> Asked:
    """Ask which of two texts is rather of the label with these words."""
    return Asked(
        f'Say which of the two texts is rather to be labelled "{words}".', "Text", ("1", "2")
    )


def verbalized(label_words: Sequence[str]) -> Asked:
    """Ask for a label and the probability that it is right."""
    return Asked(
        f"Guess whether the text is {' or '.join(label_words)}, and give the probability that your "
        "guess is right, from 0% to 100%. Reply with the guess and the probability only.",
        "Guess:",
    )


def proposal(text: str, words: str) -> str:
    """Return a text with a label that is proposed for it."""
    return f"{text}\n\nProposed label: {words}"


def pair(first: str, second: str) -> str:
    """Return two texts to choose from."""
    return f"1: {first}\n\n2: {second}"


def answered(words: str) -> str:
    """Return what stands after a text that was given an answer."""
    return f"\nLabel: {words}"
