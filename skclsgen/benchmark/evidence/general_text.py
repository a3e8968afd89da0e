"""General text that is at hand without a network: what a model's language is judged by."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

__all__ = ["general_pages", "general_texts"]

#: Characters of a passage, at least.
LENGTH = 600
#: Passages taken.
PASSAGES = 120


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
    return tuple(passage for _, passage in _collected())


def general_pages() -> tuple[str, ...]:
    """Return the page that each of :func:`general_texts` comes from; a page's passages are alike.

    Examples
    --------
    >>> pages = general_pages()
    >>> len(pages) == len(general_texts()), 40 < len(set(pages)) < len(pages)
    (True, True)
    """
    return tuple(page for page, _ in _collected())


@cache
def _collected() -> tuple[tuple[str, str], ...]:
    """Pages' names and passages."""
    from pydoc_data.topics import topics

    folder = files("sklearn.datasets.descr")
    texts = {
        page.read_text(encoding="utf-8"): page.name
        for page in folder.iterdir()
        if page.name[-4:] == ".rst"
    }
    found = [(texts[text], passage) for text in sorted(texts) for passage in _passages(text)]
    for name in sorted(topics):
        found += [(name, passage) for passage in _passages(topics[name])[:2]]
    step = max(1, len(found) // PASSAGES)
    return tuple(found[::step][:PASSAGES])


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
