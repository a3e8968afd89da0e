"""Data sets: a small one bundled with the package."""

from .messages import Messages, TextSplit, load_messages

__all__ = ["Messages", "TextSplit", "load_messages"]
