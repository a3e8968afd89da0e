"""A text classifier you can decide with: probabilities and written explanations."""

from ._version import __version__
from .backbone import release_memory
from .classifier import CLSGenClassifier
from .explanation import Explanation, Explanations

__all__ = ["CLSGenClassifier", "Explanation", "Explanations", "__version__", "release_memory"]
