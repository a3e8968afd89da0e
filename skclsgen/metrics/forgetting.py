"""What fine-tuning did to the model's language: perplexity on general text, distance to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from tqdm.auto import tqdm

from ..packed_model import PackedModel
from ..packing import Row, batches_by_length
from ..parameters import Bound, check_number
from ..replay import start_of_text
from ..text_inputs import check_texts

__all__ = ["LanguageChange", "language_change"]

#: Tokens whose distributions over the vocabulary are in memory at a time, as numbers.
CHUNK = 2**24


@dataclass(frozen=True)
class LanguageChange:
    """How two models read the same texts; all arrays have one entry per text.

    Attributes
    ----------
    base, tuned : ndarray of shape (texts,), float64
        Mean negative log-likelihood of the text's tokens (its log-perplexity), in nats.
    kl : ndarray of shape (texts,), float64
        Mean Kullback-Leibler divergence of the tuned model's next-token distribution from the
        base model's, ``sum p_base log(p_base / p_tuned)``, in nats.
    tokens : ndarray of shape (texts,), int64
        Tokens predicted.
    """

    base: np.ndarray
    tuned: np.ndarray
    kl: np.ndarray
    tokens: np.ndarray

    @property
    def change(self) -> np.ndarray:
        """By how much the log-perplexity of each text rose, in nats."""
        return self.tuned - self.base


def language_change(
    clf: Any, texts: Sequence[str], *, max_length: int = 256, verbose: int = 0
) -> LanguageChange:
    """Compare a fitted classifier's language model with its base on texts that are not the task's.

    Neither instruction nor chat template is shown, only the text: what is measured is how much of
    the language is left, not how the prompt is answered. Judge it with
    :func:`~skclsgen.metrics.non_inferior` and a margin, not by a large p-value.

    Parameters
    ----------
    clf : CLSGenClassifier
        Fitted.
    texts : sequence of str
        General text; each at least two tokens.
    max_length : int, default=256
        Tokens read of each text, and no more than the model's context holds.
    verbose : int, default=0
        Show a progress bar from 1 up.

    Returns
    -------
    LanguageChange

    Raises
    ------
    InvalidTextError
        If there is no text, or one is blank.
    ValueError
        If a text is a single token, or ``max_length`` is below 2.

    Examples
    --------
    >>> from skclsgen import CLSGenClassifier
    >>> from skclsgen.metrics import language_change
    >>> clf = CLSGenClassifier(epochs=0).fit(["Smoke!", "Any news?"], ["urgent", "routine"])
    >>> change = language_change(clf, ["The capital of France is Paris."])
    >>> change.change.tolist(), change.kl.tolist()
    ([0.0], [0.0])
    """
    check_is_fitted(clf)
    check_number("max_length", max_length, Bound(2, whole=True))
    given = check_texts(texts, "texts")
    live = clf._network.live(verbose)
    prefix = start_of_text(live.base)
    room = min(max_length, live.base.context_length - len(prefix))
    ids = [live.encoder.plain_ids(text)[:room] for text in given]
    short = [row for row, own in enumerate(ids) if len(own) < 2]
    if short:
        raise ValueError(f"texts[{short[0]}] is a single token; give texts of several words.")
    rows: list[Row] = [(own[:1], own[1:]) for own in ids]
    base, tuned = PackedModel(live.base, prefix), live.net.with_prefix(prefix)
    found = np.empty((len(rows), 3))
    bar = tqdm(total=len(rows), desc="reading", unit="text", disable=verbose < 1)
    with bar:
        for batch in batches_by_length([len(own) for own in ids]):
            found[batch] = _compare(base, tuned, [rows[row] for row in batch])
            bar.update(len(batch))
    tokens = np.array([len(own) - 1 for own in ids])
    return LanguageChange(found[:, 0], found[:, 1], found[:, 2], tokens)


@torch.no_grad()
def _compare(base: PackedModel, tuned: PackedModel, rows: Sequence[Row]) -> np.ndarray:
    """Mean negative log-likelihoods and divergence of each row, shape (rows, 3)."""
    pack = base.pack(rows)
    row, place = pack.continuations()
    targets = pack.ids()[place]
    pairs = [model.hidden_states(pack)[0][place - 1] for model in (base, tuned)]
    step = max(1, CHUNK // base.lm.get_output_embeddings().get_parameter("weight").shape[0])
    values = []
    for before, after, target in zip(
        *(states.split(step) for states in pairs), targets.split(step), strict=True
    ):
        log_p, log_q = base.log_proba(before), tuned.log_proba(after)
        nll = [-table.gather(1, target[:, None])[:, 0] for table in (log_p, log_q)]
        kl = (log_p.exp() * (log_p - log_q)).sum(dim=1)
        values.append(torch.stack([*nll, kl], dim=1))
    table, row = torch.cat(values).cpu().double(), row.cpu()  # Apple's GPUs have no float64
    sums = table.new_zeros(len(rows), 3).index_add_(0, row, table)
    means: np.ndarray = (sums / torch.bincount(row)[:, None]).numpy()
    return means
