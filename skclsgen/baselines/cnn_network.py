"""The network of :class:`~skclsgen.baselines.cnn.SentenceCNN`, and how texts are put to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from ..datasets import leak_free_split
from ..holdout import can_hold_out, hold_out
from ..inputs import check_groups

__all__ = ["NO_WORD", "ConvolutionalNetwork", "batches", "numbers", "split", "vocabulary"]

#: Row of the embeddings that stands for padding and for words not seen in training; stays zero.
NO_WORD = 0
#: Embeddings start uniform in plus or minus this.
EMBEDDING_RANGE = 0.25


class ConvolutionalNetwork(nn.Module):
    """Word embeddings, convolutions of several widths, maximum over time, and a linear layer.

    Parameters
    ----------
    n_words : int
        Rows of the embeddings, with row 0 for no word.
    n_classes : int
    embedding_width : int
    filter_widths : sequence of int
        Words that a filter looks at.
    n_filters : int
        Filters of each width.
    dropout : float
        On the maxima.
    """

    def __init__(
        self,
        n_words: int,
        n_classes: int,
        embedding_width: int,
        filter_widths: Sequence[int],
        n_filters: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(n_words, embedding_width, padding_idx=NO_WORD)
        with torch.no_grad():
            self.embeddings.weight[NO_WORD + 1 :].uniform_(-EMBEDDING_RANGE, EMBEDDING_RANGE)
        # A filter also sees texts that are shorter than it, and every word in each of its places.
        self.convolutions = nn.ModuleList(
            nn.Conv1d(embedding_width, n_filters, width, padding=width - 1)
            for width in filter_widths
        )
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(n_filters * len(filter_widths), n_classes)

    def forward(self, words: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Logits of shape (texts, classes).

        Parameters
        ----------
        words : tensor of shape (texts, longest), int64
            Rows of the embeddings, 0 after a text's end.
        lengths : tensor of shape (texts,), int64
        """
        embedded = self.embeddings(words).transpose(1, 2)
        maxima = []
        for convolution in self.convolutions:
            found = torch.relu(convolution(embedded))
            # Windows that lie wholly after a text are there because of longer ones in its batch.
            ends = lengths + found.shape[2] - words.shape[1]
            after = torch.arange(found.shape[2], device=words.device) >= ends[:, None]
            maxima.append(found.masked_fill(after[:, None], 0.0).amax(dim=2))
        return self.output(self.dropout(torch.cat(maxima, dim=1)))

    @torch.no_grad()
    def clip_output(self, max_norm: float) -> None:
        """Shorten the output weights of a class that are longer than ``max_norm``."""
        self.output.weight.copy_(torch.renorm(self.output.weight, p=2, dim=0, maxnorm=max_norm))


def vocabulary(texts: Sequence[Sequence[str]]) -> dict[str, int]:
    """Number the words from 1, the most frequent first.

    Examples
    --------
    >>> vocabulary([["no", "news"], ["news"]])
    {'news': 1, 'no': 2}
    """
    counts = Counter(word for words in texts for word in words)
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    return {word: row for row, word in enumerate(ordered, start=NO_WORD + 1)}


def split(
    labels: np.ndarray, fraction: float, rng: np.random.Generator, groups: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """Choose rows to train on and rows to hold out, none where rows are too few.

    Parameters
    ----------
    labels : ndarray of shape (n_rows,), int64
        Class indices.
    fraction : float
        Share to hold out.
    rng : numpy.random.Generator
    groups : array-like of shape (n_rows,), default=None
        Sources of the rows: none is on both sides.

    Returns
    -------
    training, held_out : ndarray of int
        Row numbers. Both parts have every class, or nothing is held out.

    Raises
    ------
    ValueError
        If there is not one group per row, or some are missing.

    Examples
    --------
    >>> training, held_out = split(np.array([0, 1] * 10), 0.1, np.random.default_rng(0))
    >>> len(training), len(held_out)
    (18, 2)
    """
    rows = np.arange(len(labels))
    sources = check_groups(groups, len(labels))
    if not can_hold_out(labels, fraction):
        return rows, rows[:0]
    seed = int(rng.integers(2**31))
    if groups is not None:
        try:
            training, held_out = leak_free_split(sources, labels, fraction, random_state=seed)
        except ValueError:  # too few sources, or rows of a label, for such a share
            return rows, rows[:0]
        classes = len(np.unique(labels))
        if min(len(np.unique(labels[part])) for part in (training, held_out)) < classes:
            return rows, rows[:0]
    else:
        training, held_out = map(np.array, hold_out(labels, fraction, seed))
    return training, held_out


def numbers(texts: Sequence[Sequence[str]], known: Mapping[str, int]) -> list[list[int]]:
    """Return the words' numbers; unknown words have that of none."""
    return [[known.get(word, NO_WORD) for word in words] for words in texts]


def batches(
    network: nn.Module, ids: Sequence[Sequence[int]], order: np.ndarray, size: int
) -> Iterator[tuple[np.ndarray, torch.Tensor, torch.Tensor]]:
    """Yield row numbers with their padded words and lengths, on the network's device."""
    device = next(network.parameters()).device
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        texts = [torch.tensor(ids[row], dtype=torch.int64) for row in rows]
        words = nn.utils.rnn.pad_sequence(texts, batch_first=True, padding_value=NO_WORD)
        lengths = torch.tensor([len(text) for text in texts])
        yield rows, words.to(device), lengths.to(device)
