"""General text that is at hand without a network: what a model's language is judged by."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

__all__ = ["general_texts"]

#: Characters of a passage, at least.
LENGTH = 600
#: Passages taken.
PASSAGES = 120


@cache
def general_texts() -> tuple[str, ...]:
    """Return passages of expository English: Python's language reference, and data sets' histories.

    Both come with what the package needs in any case: ``pydoc_data.topics`` of the standard
    library, and the descriptions of scikit-learn's data sets.

    Examples
    --------
    >>> texts = general_texts()
    >>> len(texts) >= 100, min(map(len, texts)) >= 600
    (True, True)
    """
    from pydoc_data.topics import topics

    folder = files("sklearn.datasets.descr")
    pages = [
        page.read_text(encoding="utf-8") for page in folder.iterdir() if page.name[-4:] == ".rst"
    ]
    passages = [passage for page in sorted(pages) for passage in _passages(page)]
    for name in sorted(topics):
        passages += _passages(topics[name])[:2]
    step = max(1, len(passages) // PASSAGES)
    return tuple(passages[::step][:PASSAGES])


def _passages(page: str) -> list[str]:
    """Cut prose into passages; tables, grammars and code are left out."""
    prose = [
        " ".join(part.split())
        for part in re.split(r"\n\s*\n", page)
        if not re.search(r"::=|>>>|====|----|[|]\s", part) and len(part.split()) > 12
    ]
    passages, text = [], ""
    for part in prose:
        text = f"{text} {part}".strip()
        if len(text) >= LENGTH:
            passages.append(text)
            text = ""
    return passages
