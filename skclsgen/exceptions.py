"""Named errors and warnings; every message says what was found and what to do about it."""

from __future__ import annotations

__all__ = [
    "BaseModelMismatchError",
    "CLSGenError",
    "DatasetError",
    "FallbackWarning",
    "InvalidExplanationsError",
    "InvalidLabelsError",
    "InvalidTextError",
    "ModelNotFoundError",
    "OptionalDependencyError",
    "SavedModelError",
    "TrainingDivergedError",
    "TruncationWarning",
    "UnsupportedModelError",
    "VersionWarning",
]


class CLSGenError(Exception):
    """Base class of every error that skclsgen raises on purpose."""


class InvalidTextError(CLSGenError, ValueError):
    """``X`` is no non-empty collection of non-blank strings or records, or has no room."""


class InvalidLabelsError(CLSGenError, ValueError):
    """``y``, ``labels`` or the words given to the labels cannot be used."""


class InvalidExplanationsError(CLSGenError, ValueError):
    """``explanations`` does not hold one string or ``None`` per text."""


class ModelNotFoundError(CLSGenError, OSError):
    """The base model is found neither locally nor on the Hub, or cannot be read or converted."""


class UnsupportedModelError(CLSGenError, ValueError):
    """The base model was found but is not a causal language model this package can adapt."""


class OptionalDependencyError(CLSGenError, ImportError):
    """An option or function needs a package that is not installed."""


class SavedModelError(CLSGenError, OSError):
    """A saved classifier is missing, incomplete or was changed after it was saved."""


class BaseModelMismatchError(CLSGenError, ValueError):
    """The base model at hand is not the one the classifier was trained on."""


class DatasetError(CLSGenError, OSError):
    """A data set's file is missing, cannot be downloaded, or is not what it should be."""


class TrainingDivergedError(CLSGenError, ArithmeticError):
    """The loss became infinite or NaN."""


class TruncationWarning(UserWarning):
    """Texts lost their middle (``max_length``), or explanations their end (``max_new_tokens``)."""


class FallbackWarning(UserWarning):
    """Something asked for is unavailable; the message says what is used instead, and its cost."""


class VersionWarning(UserWarning):
    """A classifier was saved with other versions of skclsgen, torch or transformers."""
