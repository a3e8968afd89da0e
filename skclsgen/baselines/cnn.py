"""A convolutional network over words, trained from nothing."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from ..devices import resolve_device
from ..early_stopping import EarlyStopping
from ..exceptions import TrainingDivergedError
from ..labels import check_class_labels
from ..parameters import Bound, check_number
from ..randomness import draw_seed, seeded
from ..text_inputs import check_texts
from .cnn_network import ConvolutionalNetwork, batches, numbers, split, vocabulary
from .network_classifier import NetworkClassifier
from .regression import WORD_PATTERN

__all__ = ["SentenceCNN"]

BOUNDS = {
    "embedding_width": Bound(1, whole=True),
    "n_filters": Bound(1, whole=True),
    "dropout": Bound(0, high=0.99),
    "max_norm": Bound(0, open=True),
    "epochs": Bound(1, whole=True),
    "learning_rate": Bound(0, open=True),
    "batch_size": Bound(1, whole=True),
    "max_words": Bound(1, whole=True),
    "validation_fraction": Bound(0, high=0.99),
    "n_iter_no_change": Bound(1, whole=True),
    "verbose": Bound(0, whole=True),
}


class SentenceCNN(NetworkClassifier):
    """Kim's convolutional network over words, the variant with random embeddings (CNN-rand) [1]_.

    As in the paper: filters of three widths, their maxima over the text, dropout, a linear layer
    whose weights for a class are kept within a Euclidean length, batches of 50, early stopping.
    Unlike there: AdamW instead of Adadelta, and embeddings of 128 instead of 300 numbers.
    Words and punctuation marks of the training texts are known, in lower case; others count for
    nothing.

    Parameters
    ----------
    embedding_width : int, default=128
        Numbers per word.
    filter_widths : tuple of int, default=(3, 4, 5)
        Words that a filter looks at.
    n_filters : int, default=100
        Filters of each width.
    dropout : float, default=0.5
        Share of the maxima that is left out in training, in [0, 0.99].
    max_norm : float, default=3.0
        Longest vector of output weights of a class.
    epochs : int, default=30
        Most passes over the training texts.
    learning_rate : float, default=1e-3
        Of AdamW.
    batch_size : int, default=50
        Texts per step.
    max_words : int, default=1000
        Words of a text that are read, from its beginning.
    validation_fraction : float, default=0.1
        Share of the texts held out, stratified, to choose the epoch by log-loss. 0 holds out
        nothing, and so do data with too few rows for one of each class in both parts: then all
        epochs are run and the last one stays.
    n_iter_no_change : int, default=5
        Epochs without improvement before stopping.
    device : str, default="auto"
        Where to compute; ``"auto"`` is the accelerator if there is one.
    random_state : int, RandomState instance or None, default=None
        Fixes initial values, dropout, the order of the texts and the held-out part.
    verbose : int, default=0
        Show a progress bar from 1 up.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    vocabulary_ : dict of str to int
        Row of the embeddings of each known word, from 1; the most frequent come first.
    history_ : dict of str to list of float
        ``loss`` per epoch in nats; ``validation_loss`` where rows were held out.
    n_iter_ : int
        Epochs run.

    References
    ----------
    .. [1] Kim, "Convolutional Neural Networks for Sentence Classification", EMNLP 2014,
       https://aclanthology.org/D14-1181

    Examples
    --------
    >>> from skclsgen.baselines import SentenceCNN
    >>> texts = ["smoke is rising", "any news on my parcel", "it is smoke", "thanks for the news"]
    >>> clf = SentenceCNN(random_state=0).fit(texts, ["urgent", "routine"] * 2)
    >>> clf.predict(["smoke again", "no news"])
    array(['urgent', 'routine'], dtype='<U7')
    """

    classes_: np.ndarray

    def __init__(
        self,
        embedding_width: int = 128,
        *,
        filter_widths: Sequence[int] = (3, 4, 5),
        n_filters: int = 100,
        dropout: float = 0.5,
        max_norm: float = 3.0,
        epochs: int = 30,
        learning_rate: float = 1e-3,
        batch_size: int = 50,
        max_words: int = 1000,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.embedding_width = embedding_width
        self.filter_widths = filter_widths
        self.n_filters = n_filters
        self.dropout = dropout
        self.max_norm = max_norm
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_words = max_words
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    # --- fitting ---------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any, groups: Any = None) -> SentenceCNN:
        """Train the network.

        Parameters
        ----------
        X : list, tuple, array or Series of str, or DataFrame, of length n_samples
            Texts or records.
        y : array-like of shape (n_samples,)
            Labels of any type, at least two.
        groups : array-like of shape (n_samples,), default=None
            Sources of the rows: none is both trained on and held out.

        Returns
        -------
        SentenceCNN
            Fitted.

        Raises
        ------
        ValueError
            If an argument or parameter cannot be used; see :mod:`skclsgen.exceptions`.
        TrainingDivergedError
            If the loss is no longer finite.
        """
        self._check_parameters()
        texts = check_texts(X)
        classes, labels = check_class_labels(y, len(texts), type(self).__name__)
        device = resolve_device(self.device)
        rng = np.random.default_rng(draw_seed(self.random_state))
        training, held_out = split(labels, self.validation_fraction, rng, groups)
        words = [self._words(text) for text in texts]
        known = vocabulary([words[row] for row in training])
        ids = numbers(words, known)
        with seeded(int(rng.integers(2**31))):
            network = ConvolutionalNetwork(
                len(known) + 1,
                len(classes),
                self.embedding_width,
                self.filter_widths,
                self.n_filters,
                self.dropout,
            ).to(device)
            history = self._train(network, ids, labels, training, held_out, rng)
        self.history_, self.n_iter_ = history, len(history["loss"])
        self.classes_, self.vocabulary_, self._network = classes, known, network.eval()
        self._keep_column_names(X)
        return self

    def _check_parameters(self) -> None:
        for name, bound in BOUNDS.items():
            check_number(name, getattr(self, name), bound)
        if isinstance(self.filter_widths, (str, bytes)) or not hasattr(
            self.filter_widths, "__len__"
        ):
            raise ValueError(
                f"filter_widths={self.filter_widths!r} must be a sequence of numbers of words, "
                "such as (3, 4, 5)."
            )
        if not len(self.filter_widths):
            raise ValueError("filter_widths is empty; give at least one width, such as (3,).")
        for width in self.filter_widths:
            check_number("filter_widths", width, Bound(1, whole=True))

    def _train(
        self,
        network: ConvolutionalNetwork,
        ids: Sequence[Sequence[int]],
        labels: np.ndarray,
        training: np.ndarray,
        held_out: np.ndarray,
        rng: np.random.Generator,
    ) -> dict[str, list[float]]:
        """Fit in place; return the losses per epoch, in nats."""
        optimizer = torch.optim.AdamW(network.parameters(), lr=self.learning_rate)
        history: dict[str, list[float]] = {"loss": []}
        stopping = EarlyStopping(
            self.n_iter_no_change,
            lambda: {name: own.clone() for name, own in network.state_dict().items()},
        )
        with tqdm(total=self.epochs, desc="training", disable=self.verbose < 1) as bar:
            for epoch in range(self.epochs):
                loss = self._epoch(network, optimizer, ids, labels, rng.permutation(training))
                if not math.isfinite(loss):
                    raise TrainingDivergedError(
                        f"the loss became {loss} in epoch {epoch + 1}; lower learning_rate (now "
                        f"{self.learning_rate:g})."
                    )
                history["loss"].append(loss)
                bar.update()
                if not len(held_out):
                    continue
                logits = torch.from_numpy(self._logits(network, [ids[r] for r in held_out]))
                found = float(
                    nn.functional.cross_entropy(logits, torch.from_numpy(labels[held_out]))
                )
                history.setdefault("validation_loss", []).append(found)
                if stopping.should_stop(found):
                    break
        if stopping.best_state is not None:
            network.load_state_dict(stopping.best_state)
        return history

    def _epoch(
        self,
        network: ConvolutionalNetwork,
        optimizer: torch.optim.Optimizer,
        ids: Sequence[Sequence[int]],
        labels: np.ndarray,
        order: np.ndarray,
    ) -> float:
        """Take a step for every batch; return the mean loss, in nats."""
        network.train()
        total = 0.0
        for rows, words, lengths in batches(network, ids, order, self.batch_size):
            logits = network(words, lengths)
            targets = torch.from_numpy(labels[rows]).to(logits.device)
            loss = nn.functional.cross_entropy(logits, targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            network.clip_output(self.max_norm)
            total += float(loss.detach()) * len(rows)
        return total / len(order)

    # --- predicting ------------------------------------------------------------------------------

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of every class.

        Parameters
        ----------
        X : list, tuple, array or Series of str, or DataFrame, of length n_samples

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64
            Columns in the order of ``classes_``; rows sum to 1.

        Raises
        ------
        NotFittedError, InvalidTextError
            As :meth:`skclsgen.CLSGenClassifier.predict_proba`.
        """
        ids = numbers([self._words(text) for text in self._check_texts(X)], self.vocabulary_)
        network = self._network.to(resolve_device(self.device))
        return torch.softmax(torch.from_numpy(self._logits(network, ids)), dim=1).numpy()

    @torch.no_grad()
    def _logits(self, network: ConvolutionalNetwork, ids: Sequence[Sequence[int]]) -> np.ndarray:
        """Logits of shape (texts, classes), float64."""
        network.eval()
        found = np.empty((len(ids), network.output.out_features))
        by_length = np.argsort([len(text) for text in ids], kind="stable")
        for rows, words, lengths in batches(network, ids, by_length, self.batch_size):
            found[rows] = network(words, lengths).cpu().double().numpy()
        return found

    # --- reading ---------------------------------------------------------------------------------

    def _words(self, text: str) -> list[str]:
        return re.findall(WORD_PATTERN, text.lower())[: self.max_words]
