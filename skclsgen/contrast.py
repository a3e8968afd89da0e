"""How likely a reason is, and how much likelier after its own label than after another one.

What the base model would say of either label explains neither. The difference of log-likelihoods is
the reason's pointwise mutual information with its label where two are as likely; that an
explanation should set a label against another is also what people expect (Jacovi et al. 2021,
https://arxiv.org/abs/2103.01378).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tqdm.auto import tqdm

from .backbone import BaseModel
from .likelihood import row_nll
from .packed_model import PackedModel
from .packing import Row
from .prompt import PromptEncoder

__all__ = ["Contrast", "label_contrasts"]

#: Most contrasts remembered per base model.
REMEMBERED = 100_000


class Contrast(NamedTuple):
    """What the base model finds of a reason.

    Attributes
    ----------
    nats : float
        Log-likelihood after the reason's label minus that after another one.
    nll : float
        Negative log-likelihood after its label, in nats, mean of its tokens.
    """

    nats: float
    nll: float


def label_contrasts(
    base: BaseModel,
    encoder: PromptEncoder,
    texts: Sequence[str],
    labels: Sequence[int],
    reasons: Sequence[str],
    *,
    max_new_tokens: int,
    verbose: int = 0,
) -> list[Contrast]:
    """Compare each reason's likelihood to the base model after its label and after another one.

    Parameters
    ----------
    base : BaseModel
        Judges; also remembers what it found, so that folds and repeated fits share it.
    encoder : PromptEncoder
        Of the prompts that are trained on.
    texts : sequence of str
    labels : sequence of int
        Index of the class that each reason is for.
    reasons : sequence of str
    max_new_tokens : int
        Tokens of a reason that are read.
    verbose : int, default=0
        Show a progress bar from 1 up.

    Returns
    -------
    list of Contrast
        Of several other labels it is one that differs from text to text, so that the time does not
        grow with them.
    """
    model = PackedModel(base, tuple(encoder.prefix_ids))
    rows = [
        _compared(encoder, prompt, label, encoder.reason_ids(reason)[:max_new_tokens])
        for prompt, label, reason in zip(
            encoder.encode(texts, warn=False), labels, reasons, strict=True
        )
    ]
    keys = [
        (model.prefix_ids, *((tuple(prompt), tuple(more)) for prompt, more in pair))
        for pair, _ in rows
    ]
    known = base.contrasts
    todo = list({key: row for row, key in enumerate(keys) if key not in known}.values())
    with tqdm(
        total=2 * len(todo), desc="contrasts", unit="text", disable=verbose < 1 or not todo
    ) as bar:
        nll = row_nll(model, [one for row in todo for one in rows[row][0]], bar.update)
    for place, row in enumerate(todo):
        own, other = (found[-rows[row][1] :] for found in nll[2 * place : 2 * place + 2])
        known[keys[row]] = Contrast(float(other.sum() - own.sum()), float(own.mean()))
    found = [known[key] for key in keys]
    while len(known) > REMEMBERED:
        known.pop(next(iter(known)))
    return found


def _compared(
    encoder: PromptEncoder, prompt: list[int], label: int, reason: list[int]
) -> tuple[tuple[Row, Row], int]:
    """The reason after its own label and after another one, and its length."""
    others = len(encoder.label_ids) - 1
    other = (label + 1 + sum(prompt) % others) % (others + 1)
    own, foreign = ((prompt, [*encoder.opening(index), *reason]) for index in (label, other))
    return (own, foreign), len(reason)
