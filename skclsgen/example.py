"""Training rows as token ids."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .exceptions import TruncationWarning
from .inputs import TrainingRows
from .packing import Row
from .prompt import PromptEncoder
from .wording import Unfinished

__all__ = ["Example", "make_examples"]


@dataclass(frozen=True)
class Example:
    """One training row as token ids.

    Attributes
    ----------
    prompt : list of int
        Ends with the decision token.
    continuation : list of int
        Label words, explanation and end-of-text; empty for a row without an explanation.
    label : int
        Index of the gold class.
    reason : range
        Which tokens of the continuation are the explanation's, without the one that ends it.
    base_states : tensor of shape (explanation tokens, width) or None
        Hidden states that the base model predicts those from, where training is held to it.
    classification_weight, explanation_weight : float
        Weights of the row's two losses.
    """

    prompt: list[int]
    continuation: list[int]
    label: int
    classification_weight: float = 1.0
    explanation_weight: float = 1.0
    reason: range = range(0)
    base_states: torch.Tensor | None = None

    @property
    def row(self) -> Row:
        """Prompt and continuation, as the network packs them."""
        return self.prompt, self.continuation

    def __len__(self) -> int:
        return len(self.prompt) + len(self.continuation)


def make_examples(
    encoder: PromptEncoder,
    rows: TrainingRows,
    reasons: Sequence[str | None],
    max_new_tokens: int,
) -> list[Example]:
    """Encode training rows; weights are scaled to average 1, which keeps the step size.

    Parameters
    ----------
    encoder : PromptEncoder
        Of the task and base model.
    rows : TrainingRows
        Texts, class indices and weights.
    reasons : sequence of str or None
        One explanation or none per row.
    max_new_tokens : int
        Longest explanation, in tokens.
    """
    if not len(rows):
        return []
    both = rows.sample_weights * rows.class_weights
    continuations = [
        [] if reason is None else encoder.continuation(label, reason, max_new_tokens)
        for label, reason in zip(rows.labels.tolist(), reasons, strict=True)
    ]
    examples = [
        Example(
            prompt=prompt,
            continuation=continuation,
            label=label,
            classification_weight=classification_weight,
            explanation_weight=explanation_weight,
            reason=encoder.reason_tokens(label, continuation),
        )
        for prompt, continuation, label, classification_weight, explanation_weight in zip(
            encoder.encode(rows.texts),
            continuations,
            rows.labels.tolist(),
            (both / both.mean()).tolist(),
            (rows.sample_weights / rows.sample_weights.mean()).tolist(),
            strict=True,
        )
    ]
    cut = sum(
        encoder.is_cut(example.continuation) and not isinstance(reason, Unfinished)
        for example, reason in zip(examples, reasons, strict=True)
    )
    if cut:
        warnings.warn(
            f"{cut} of {len(examples)} explanations were longer than "
            f"max_new_tokens={max_new_tokens} tokens leave room for, with the one that ends a "
            "text, and were cut there; raise max_new_tokens.",
            TruncationWarning,
            stacklevel=2,
        )
    return examples
