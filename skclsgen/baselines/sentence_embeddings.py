"""Classifiers on sentence embeddings: a frozen encoder, and one tuned on few texts (SetFit)."""

from __future__ import annotations

import math
import os
import tempfile
from typing import Any

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.utils import Tags
from tqdm.auto import tqdm
from transformers import PrinterCallback

from ..devices import resolve_device
from ..labels import check_class_labels
from ..parameters import Bound, check_number, model_location
from ..randomness import draw_seed
from ..text_estimator import TextClassifier, TextEstimator
from ..text_inputs import check_texts
from .columns import EachColumn
from .encoders import (
    LIBRARY,
    Progress,
    check_packages,
    embed,
    load_encoder,
    own_randomness,
    quiet_setfit,
    shared_encoder,
)
from .regression import regression_on

__all__ = ["SentenceEncoder", "SetFitClassifier", "sentence_embedding_regression"]

#: What numeric parameters may be.
BOUNDS = {
    "pairs_per_text": Bound(1, whole=True),
    "epochs": Bound(1, whole=True),
    "batch_size": Bound(1, whole=True),
    "learning_rate": Bound(0, open=True),
    "verbose": Bound(0, whole=True),
}


class SentenceEncoder(TransformerMixin, TextEstimator):
    """Turn texts into the embeddings of a pretrained sentence encoder [1]_.

    Needs the packages of ``pip install 'skclsgen[embeddings]'``. The default encoder reads the
    first 256 tokens of a text. Nothing is learnt; the encoder is loaded when it is first needed and
    is left out of pickles.

    Parameters
    ----------
    model : str or path, default=None
        Folder or Hub id of a sentence-transformers model; by default all-MiniLM-L6-v2, which comes
        with the extra and needs no network.
    batch_size : int, default=32
        Texts encoded at a time.
    device : str, default="auto"
        Where to compute; ``"auto"`` is the accelerator if there is one.

    References
    ----------
    .. [1] Reimers, Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks",
       EMNLP 2019, https://aclanthology.org/D19-1410

    Examples
    --------
    >>> from skclsgen.baselines import SentenceEncoder
    >>> SentenceEncoder().fit_transform(["Smoke is rising!", "Any news?"]).shape
    (2, 384)
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        batch_size: int = 32,
        device: str = "auto",
    ) -> None:
        self.model = model
        self.batch_size = batch_size
        self.device = device

    def fit(self, X: Any, y: Any = None) -> SentenceEncoder:
        """Check the texts; there is nothing to learn.

        Parameters
        ----------
        X : list, tuple, array or Series of str, or DataFrame, of length n_samples
            Texts or records.
        y : object, default=None
            Ignored.

        Returns
        -------
        SentenceEncoder

        Raises
        ------
        OptionalDependencyError
            If a package is not installed.
        ValueError
            If a text or parameter cannot be used.
        """
        check_number("batch_size", self.batch_size, BOUNDS["batch_size"])
        check_packages(type(self).__name__, self.model, LIBRARY)
        resolve_device(self.device)
        check_texts(X)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Embed the texts.

        Parameters
        ----------
        X : list, tuple, array or Series of str, or DataFrame, of length n_samples

        Returns
        -------
        ndarray of shape (n_samples, width), float32
            Rows have Euclidean length 1.
        """
        texts = check_texts(X)
        wanted = str(self.model), str(self.device)
        if getattr(self, "_loaded", (None,))[0] != wanted:
            check_packages(type(self).__name__, self.model, LIBRARY)
            self._loaded = wanted, shared_encoder(self.model, self.device)
        return embed(self._loaded[1], texts, self.batch_size)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("_loaded", None)
        return state

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags


def sentence_embedding_regression(
    model: str | os.PathLike[str] | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> Pipeline:
    """Return logistic regression on sentence embeddings, its penalty cross-validated.

    Columns of records are embedded one by one, and their absolute differences are features too
    (:class:`EachColumn`).

    Parameters
    ----------
    model : str or path, default=None
        As for :class:`SentenceEncoder`.
    random_state : int, RandomState instance or None, default=None
        Fixes the folds in which the penalty is chosen.

    Returns
    -------
    Pipeline
        Takes texts or records, as :class:`~skclsgen.CLSGenClassifier` does.

    Examples
    --------
    >>> from skclsgen.baselines import sentence_embedding_regression
    >>> clf = sentence_embedding_regression()
    >>> clf = clf.fit(["Smoke is rising!", "Any news?"], ["urgent", "routine"])
    >>> clf.predict(["The charger is on fire!"])
    array(['urgent'], dtype='<U7')
    """
    features = EachColumn(SentenceEncoder(model), differences=True)
    return regression_on(features, random_state=random_state)


class SetFitClassifier(TextClassifier):
    """SetFit: an encoder tuned on pairs of texts, and logistic regression on its embeddings [1]_.

    The encoder learns that two texts of the same class have cosine similarity 1 and two of
    different classes 0; the package ``setfit`` does it, with its defaults but for the parameters
    here. Needs the packages of ``pip install 'skclsgen[embeddings]'``. Made for tens of texts:
    time grows with the number of pairs, and listing the possible ones takes memory that grows with
    the square of the number of texts (about 1 GB for 10,000).

    A pickle holds the tuned weights as tensors on the CPU; the encoder's configuration and
    tokenizer are found again where ``model`` was when it was fitted.

    Parameters
    ----------
    model : str or path, default=None
        Encoder to start from, as for :class:`SentenceEncoder`.
    pairs_per_text : int, default=20
        Pairs in an epoch for every training text, half of them of the same class. (The paper's
        number of iterations R is half of it; it uses R = 20.)
    epochs : int, default=1
        Passes over the pairs.
    batch_size : int, default=16
        Pairs per step.
    learning_rate : float, default=2e-5
        Peak learning rate of the encoder's AdamW.
    random_state : int, RandomState instance or None, default=None
        Fixes the pairs, their order, and dropout.
    verbose : int, default=0
        Show a progress bar from 1 up.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    head_ : LogisticRegression
        On the embeddings; its labels are class indices.

    References
    ----------
    .. [1] Tunstall, Reimers, Jo, Bates, Korat, Wasserblat, Pereg, "Efficient Few-Shot Learning
       Without Prompts", 2022, https://arxiv.org/abs/2209.11055

    Examples
    --------
    >>> from skclsgen.baselines import SetFitClassifier
    >>> clf = SetFitClassifier(pairs_per_text=2, random_state=0)
    >>> clf = clf.fit(["Smoke is rising!", "Any news?"], ["urgent", "routine"])
    >>> clf.predict(["The charger is on fire!"])
    array(['urgent'], dtype='<U7')
    """

    classes_: np.ndarray

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        pairs_per_text: int = 20,
        epochs: int = 1,
        batch_size: int = 16,
        learning_rate: float = 2e-5,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.pairs_per_text = pairs_per_text
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> SetFitClassifier:
        """Tune the encoder, then fit the regression.

        Parameters
        ----------
        X : list, tuple, array or Series of str, or DataFrame, of length n_samples
            Texts or records.
        y : array-like of shape (n_samples,)
            Labels of any type, at least two.

        Returns
        -------
        SetFitClassifier
            Fitted.

        Raises
        ------
        OptionalDependencyError
            If a package is not installed.
        ValueError
            If an argument or parameter cannot be used; see :mod:`skclsgen.exceptions`.
        """
        self._check_parameters()
        texts = check_texts(X)
        classes, labels = check_class_labels(y, len(texts), type(self).__name__)
        check_packages(type(self).__name__, self.model, LIBRARY, "setfit")
        seed = draw_seed(self.random_state)
        # The package draws its pairs from a fixed seed; other rows first, other pairs.
        order = np.random.default_rng(seed).permutation(len(texts))
        location = None if self.model is None else model_location(self.model)
        encoder = load_encoder(location, "auto")
        self._tune(encoder, [texts[i] for i in order], labels[order].tolist(), seed)
        self._encoder, self._location = encoder, location
        self.__dict__.pop("_tuned", None)
        self.head_ = LogisticRegression().fit(self._features(encoder, texts), labels)
        self.classes_ = classes
        self._keep_column_names(X)
        return self

    def _check_parameters(self) -> None:
        for name, bound in BOUNDS.items():
            check_number(name, getattr(self, name), bound)

    def _tune(self, encoder: Any, texts: list[str], labels: list[int], seed: int) -> None:
        """Train the encoder in place on pairs of texts."""
        steps = self.epochs * math.ceil(self.pairs_per_text * len(texts) / self.batch_size)
        with (
            tqdm(total=steps, desc="pairs", unit="batch", disable=self.verbose < 1) as bar,
            tempfile.TemporaryDirectory() as scratch,
            own_randomness(seed),
            quiet_setfit() as setfit,
        ):
            arguments = setfit.TrainingArguments(
                output_dir=scratch,
                batch_size=self.batch_size,
                num_epochs=self.epochs,
                num_iterations=math.ceil(self.pairs_per_text / 2),
                # Without it, every possible pair would be made before some are chosen.
                max_steps=steps,
                body_learning_rate=self.learning_rate,
                seed=seed,
                report_to="none",
                logging_strategy="no",
                logging_first_step=False,
                save_strategy="no",
                show_progress_bar=False,
            )
            model = setfit.SetFitModel(model_body=encoder, model_head=LogisticRegression())
            trainer = setfit.Trainer(model=model, args=arguments, callbacks=[Progress(bar)])
            trainer.remove_callback(PrinterCallback)
            settings = trainer.st_trainer.args
            settings.dataloader_pin_memory = settings.device.type == "cuda"
            trainer.train_embeddings(texts, labels, args=arguments)

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
        texts = self._check_texts(X)
        return self.head_.predict_proba(self._features(self._live_encoder(), texts))

    def _features(self, encoder: Any, texts: list[str]) -> np.ndarray:
        """Return embeddings as float64: a probability near 0 must not be rounded to it."""
        return embed(encoder, texts, self.batch_size).astype(np.float64)

    def _live_encoder(self) -> Any:
        if "_tuned" in self.__dict__:
            check_packages(type(self).__name__, self._location, LIBRARY)
            encoder = load_encoder(self._location, "auto")
            encoder.load_state_dict(self._tuned)
            self._encoder = encoder
            del self._tuned
        return self._encoder

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        encoder = state.pop("_encoder", None)
        if encoder is not None:
            state["_tuned"] = {name: t.detach().cpu() for name, t in encoder.state_dict().items()}
        return state
