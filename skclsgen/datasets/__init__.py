"""Data sets: a small one bundled with the package, loaders for public ones, splits."""

from .clinifact import fetch_clinifact
from .esnli import fetch_esnli
from .labelled_texts import LabelledTexts
from .lcd import load_lcd
from .messages import Messages, TextSplit, load_messages
from .splits import grouped_components, leak_free_split, rows_without_leak

__all__ = [
    "LabelledTexts",
    "Messages",
    "TextSplit",
    "fetch_clinifact",
    "fetch_esnli",
    "grouped_components",
    "leak_free_split",
    "load_lcd",
    "load_messages",
    "rows_without_leak",
]
