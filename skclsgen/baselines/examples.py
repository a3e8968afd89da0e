"""Training rows shown in the prompt, as earlier turns of the conversation."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from ..exceptions import InvalidTextError, TruncationWarning
from ..prompt import PromptEncoder

__all__ = ["PARAGRAPH", "ShownExample", "draw_balanced", "example_ids"]

logger = logging.getLogger(__name__)

#: Between turns where there is no chat template.
PARAGRAPH = "\n\n"
#: Stand in for a reply and for the text after it while the chat template is rendered.
_REPLY, _NEXT = "\ue000reply\ue001", "\ue000next\ue001"


@dataclass(frozen=True)
class ShownExample:
    """One training row.

    Attributes
    ----------
    text : str
    label : int
        Index of its class.
    explanation : str or None
    """

    text: str
    label: int
    explanation: str | None = None


def draw_balanced(labels: np.ndarray, count: int, rng: np.random.RandomState) -> list[int]:
    """Draw rows, balanced over the classes as far as there are enough.

    Parameters
    ----------
    labels : ndarray of shape (rows,)
        Class indices.
    count : int
        Rows to draw; all of them if there are no more.
    rng : RandomState

    Returns
    -------
    list of int
        In turns of one row per class, each in random order.

    Examples
    --------
    >>> labels = np.array([0, 0, 0, 0, 1, 1])
    >>> sorted(labels[draw_balanced(labels, 4, np.random.RandomState(0))].tolist())
    [0, 0, 1, 1]
    """
    order = rng.permutation(len(labels))
    turn = np.empty(len(labels), dtype=int)
    for label in np.unique(labels):
        own = np.flatnonzero(labels[order] == label)
        turn[own] = np.arange(len(own))
    return [int(row) for row in order[np.argsort(turn, kind="stable")][:count]]


def example_ids(encoder: PromptEncoder, examples: Sequence[ShownExample], room: int) -> list[int]:
    """Return the tokens of examples, to stand between a prompt's beginning and its text.

    Every example reads as the prompt goes on: the text, the template's turn and the cue, the label
    and its reason, and the turn back. Long texts lose their middle, so that all have room.

    Parameters
    ----------
    encoder : PromptEncoder
        Of the prompt they are put in.
    examples : sequence of ShownExample
    room : int
        Most tokens of all examples together.

    Raises
    ------
    InvalidTextError
        If that leaves no room for the texts.

    Warns
    -----
    TruncationWarning
        Once, with the number of texts that lost their middle.
    """
    turn = encoder.template_ids(_turn_back(encoder.tokenizer, encoder.instruction))
    endings = [
        [
            *encoder.suffix_ids,
            *encoder.opening(example.label),
            *encoder.reason_ids(example.explanation or ""),
            *turn,
        ]
        for example in examples
    ]
    texts = [encoder.plain_ids(example.text) for example in examples]
    left = room - sum(map(len, endings))
    if left < len(texts):
        raise InvalidTextError(
            f"examples={len(examples)} leaves no room for their texts: their {room} tokens, half "
            f"of what the prompt may hold, are {room - left} of template, labels and reasons; show "
            "fewer examples or raise max_length."
        )
    longest = _fair_share([len(ids) for ids in texts], left)
    cut = sum(len(ids) > longest for ids in texts)
    if cut:
        warnings.warn(
            f"{cut} of {len(texts)} examples had texts of more than the {longest} tokens there is "
            "room for; their middle was cut out.",
            TruncationWarning,
            stacklevel=3,
        )
    shown = (
        [*encoder.without_middle(ids, longest), *rest]
        for ids, rest in zip(texts, endings, strict=True)
    )
    return [token for ids in shown for token in ids]


def _turn_back(tokenizer: PreTrainedTokenizerBase, instruction: str) -> str:
    """What the chat template puts between a reply and the text after it."""
    if not tokenizer.chat_template:
        return PARAGRAPH
    turns = [
        {"role": "user", "content": instruction},
        {"role": "assistant", "content": _REPLY},
        {"role": "user", "content": _NEXT},
    ]
    try:
        rendered = tokenizer.apply_chat_template(turns, tokenize=False, enable_thinking=False)
    except Exception as error:  # templates raise errors of their own
        logger.debug("chat template refused a second turn: %s", error)
        return PARAGRAPH
    _, reply, rest = str(rendered).partition(_REPLY)
    between, following, _ = rest.partition(_NEXT)
    return between if reply and following else PARAGRAPH


def _fair_share(lengths: Sequence[int], room: int) -> int:
    """Return where to cut, so that what is left of all lengths fits and no more is cut.

    Examples
    --------
    >>> _fair_share([2, 9, 7], 12)
    5
    """
    for done, length in enumerate(sorted(lengths)):
        share = room // (len(lengths) - done)
        if length > share:
            return share
        room -= length
    return max(lengths)
