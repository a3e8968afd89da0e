"""What the baselines have in common that put a question to the untuned base model."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy.special import softmax
from tqdm.auto import tqdm

from ..backbone import (
    DEFAULT_MODEL,
    BaseModel,
    load_base_model,
    on_release,
)
from ..clones import FamilyOfClones
from ..devices import resolve_device, resolve_dtype
from ..generation import batches_to_decode, decode, prefill_base
from ..labels import check_class_labels, label_words
from ..likelihood import choice_log_likelihoods
from ..model_source import find_base_model
from ..network_settings import TaskSettings
from ..packed_model import PackedModel
from ..parameters import Bound, check_model, check_number, model_location
from ..prompt import ANSWER_CUE, PromptEncoder, default_instruction
from ..sampling import most_likely, sampler
from ..text_estimator import TextClassifier, unchanged_on_error
from ..text_inputs import check_texts
from .beginnings import groups_that_begin_alike
from .questions import Asked

__all__ = ["PromptedClassifier", "Question"]

#: Tokens of the model's context that a prompt leaves free, at least.
ROOM_FOR_REPLY = 64

#: What the numeric parameters may be, of whichever baseline has them.
BOUNDS = {
    "examples": Bound(0, whole=True),
    "max_length": Bound(1, whole=True, none=True),
    "max_new_tokens": Bound(1, whole=True),
    "opponents": Bound(1, whole=True),
    "samples": Bound(1, whole=True),
    "temperature": Bound(0, open=True),
    "verbose": Bound(0, whole=True),
}


class Question:
    """One way to put texts to the base model.

    Parameters
    ----------
    base : BaseModel
    encoder : PromptEncoder
        Instruction, template and cue.

    Attributes
    ----------
    found : dict of tuple of str to ndarray
        What does not depend on the texts that are asked about, such as ratings of those that they
        are compared with: found out once, by the texts it is about.
    """

    def __init__(self, base: BaseModel, encoder: PromptEncoder) -> None:
        self.found: dict[tuple[str, ...], np.ndarray] = {}
        self.base = base
        self.encoder = encoder
        self.model = PackedModel(base, encoder.prefix_ids)

    def shortened(self, text: str, tokens: int) -> str:
        """Return the text's beginning, if it has more tokens; nothing if there is no room."""
        ids = self.encoder.plain_ids(text)
        kept = ids[: max(0, tokens)]
        return text if len(ids) == len(kept) else str(self.base.tokenizer.decode(kept))

    def choice_log_likelihoods(
        self, texts: Sequence[str], choices: Sequence[Sequence[int]], bar: tqdm[Any]
    ) -> np.ndarray:
        """Log-likelihood of each choice after every prompt, shape (texts, choices), in nats.

        What many prompts begin with, as pairs with the same first text do, is read once.
        """
        prompts = self.encoder.encode(texts)
        found = np.empty((len(prompts), len(choices)))
        # The cue's last token comes with the choices: the first of theirs is predicted from it.
        last = prompts[0][-1]
        after = [[last, *ids] for ids in choices]
        longest = max(map(len, after))
        for shared, rows in groups_that_begin_alike(prompts):
            known = tuple(prompts[rows[0]][:shared])
            model = self.model.with_prefix(self.model.prefix_ids + known) if known else self.model
            own = [prompts[row][shared:-1] for row in rows]
            for batch in batches_to_decode(own, len(model.prefix_ids) + longest, len(choices)):
                start = prefill_base(model, [own[place] for place in batch])
                scores = choice_log_likelihoods(model, start, after)
                found[[rows[place] for place in batch]] = scores.cpu().double().numpy()
                bar.update(len(batch))
        return found

    def replies(
        self,
        texts: Sequence[str],
        max_new_tokens: int,
        bar: tqdm[Any],
        samples: int = 1,
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
        until: str | None = None,
    ) -> list[list[str]]:
        """What the model says, ``samples`` times a text; greedily at temperature 0.

        A reply ends where ``until`` occurs in it.
        """
        prompts = self.encoder.encode(texts)
        shape = self.base.logit_shape
        pick = sampler(shape, temperature, generator) if temperature else most_likely
        extra_tokens = len(self.model.prefix_ids) + max_new_tokens
        found: dict[int, list[str]] = {}
        for batch in batches_to_decode(prompts, extra_tokens, samples):
            start = prefill_base(self.model, [prompts[row][:-1] for row in batch])
            openings = [[prompts[row][-1]] for row in batch for _ in range(samples)]
            words = decode(
                self.model.lm,
                start.repeated(samples) if samples > 1 else start,
                openings,
                max_new_tokens,
                self.base.stop_ids,
                pick=pick,
            )
            said = [self.encoder.words(ids, until) for ids in words]
            found |= {
                row: said[place * samples : (place + 1) * samples]
                for place, row in enumerate(batch)
            }
            bar.update(len(batch))
        return [found[row] for row in range(len(prompts))]


class PromptedClassifier(FamilyOfClones, TextClassifier):
    """Base class of classifiers that put a question to the untuned base model.

    ``fit`` checks and keeps the labels; subclasses learn more in ``_learn``.

    Parameters
    ----------
    model : str or path, default="HuggingFaceTB/SmolLM2-135M-Instruct"
        Base model, as for :class:`~skclsgen.CLSGenClassifier`.
    label_names : dict, default=None
        Words the model reads and writes for each label; by default the labels themselves.
    max_length : int, default=None
        Longest prompt in tokens; by default what the model's context holds.
    device, dtype : str, default="auto"
        As for :class:`~skclsgen.CLSGenClassifier`.
    verbose : int, default=0
        Show progress bars from 1 up.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    """

    classes_: np.ndarray

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        label_names: Mapping[Any, str] | None = None,
        max_length: int | None = None,
        device: str = "auto",
        dtype: str = "auto",
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.label_names = label_names
        self.max_length = max_length
        self.device = device
        self.dtype = dtype
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> PromptedClassifier:
        """Note the labels, and learn what little there is to learn.

        Parameters
        ----------
        X : list, tuple, array or Series of str, or DataFrame, of length n_samples
            Texts or records.
        y : array-like of shape (n_samples,)
            Labels of any type, at least two.

        Returns
        -------
        PromptedClassifier
            Fitted.

        Raises
        ------
        ValueError
            If an argument or parameter cannot be used; see :mod:`skclsgen.exceptions`.
        """
        with unchanged_on_error(self):
            self._learn(*self._begin_fit(X, y))
        return self

    def _begin_fit(self, X: Any, y: Any) -> tuple[list[str], np.ndarray]:
        """Check what is to be learnt from and note the labels; return texts and class indices."""
        self._check_parameters()
        texts = check_texts(X)
        classes, labels = check_class_labels(y, len(texts), type(self).__name__)
        words = label_words(classes, self.label_names)
        self.release()
        self.classes_, self._words = classes, words
        self._location = model_location(self.model)
        # Now, or a wrong name would show after the fit only.
        self._fingerprint = find_base_model(self._location).fingerprint
        self._keep_column_names(X)
        return texts, labels

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
        ValueError
            If a text, or a parameter that was set after ``fit``, cannot be used.
        """
        texts = self._check_texts(X)
        self._check_parameters()
        scores = self._scores(texts)
        return softmax(scores.astype(np.float64), axis=1)

    def release(self) -> None:
        """Forget what was prepared for asking the base model, which :func:`release_memory` does."""
        # In place: a failed fit gives the attribute back, and must not hold a model meanwhile.
        self._questions: dict[tuple[Any, ...], Question] = vars(self).get("_questions", {})
        self._questions.clear()

    # --- for subclasses --------------------------------------------------------------------------

    def _check_parameters(self) -> None:
        """Raise ``ValueError`` unless every parameter can be used."""
        check_model(self.model)
        resolve_dtype(self.dtype, resolve_device(self.device))
        for name, value in self.get_params(deep=False).items():
            if name in BOUNDS:
                check_number(name, value, BOUNDS[name])

    def _learn(self, texts: list[str], labels: np.ndarray) -> None:
        """Learn what the baseline learns: nothing."""

    @abstractmethod
    def _scores(self, texts: list[str]) -> np.ndarray:
        """Log-probabilities of the classes but for a constant, shape (texts, classes)."""

    def _question(self, asked: Asked | None = None) -> Question:
        """Return a way to ask; by default what :class:`~skclsgen.CLSGenClassifier` asks."""
        words = tuple(self._words)
        asked = Asked(default_instruction(words), ANSWER_CUE) if asked is None else asked
        instruction, cue, answers = asked.instruction, asked.cue, asked.answers or words
        # The estimator's own room for prompts, with as much left for a reply, or more.
        reply = max(ROOM_FOR_REPLY, getattr(self, "max_new_tokens", 0))
        key = asked, self.max_length, reply, self.device, self.dtype
        if key not in self._questions:
            base = self._base_model()
            room = TaskSettings(instruction, answers, self.max_length, reply).encoder(base)
            encoder = PromptEncoder(base.tokenizer, instruction, answers, room.max_length, cue)
            self._questions[key] = Question(base, self._with_examples(encoder))
            on_release(self)
        return self._questions[key]

    def _with_examples(self, encoder: PromptEncoder) -> PromptEncoder:
        """Return the encoder with what is shown before texts in its prefix: nothing."""
        return encoder

    def _base_model(self) -> BaseModel:
        """Load the base model, or find it where a clone of this estimator holds it."""
        lease = self._family_lease()
        settings = self._location, self.device, self.dtype
        if lease.settings != settings:  # or the two would be in memory together
            lease.release()
        base = load_base_model(
            self._location,
            device=self.device,
            dtype=self.dtype,
            fingerprint=self._fingerprint,
            verbose=self.verbose,
        )
        base.check_fingerprint(self._fingerprint)
        lease.base, lease.settings = base, settings
        return base

    def _bar(self, total: int, what: str) -> tqdm[Any]:
        return tqdm(total=total, desc=what, unit="text", disable=self.verbose < 1)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        return state | {"_questions": {}} if "_questions" in state else state
