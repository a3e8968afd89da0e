"""Whether what the model writes agrees with what its classification head says."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from ..wording import PLAIN, words
from .targets import check_proba, check_same_kind

__all__ = [
    "alignment_scores",
    "flip_rate",
    "mask_labels",
    "stated_label",
    "stratified_alignment",
]

#: Words that deny a label named within so many words after them.
_DENIALS = frozenset({"not", "no", "never", "neither", "nor", "cannot", "without"})
_DENIED = 2
#: Signs after which nothing is denied by what stands before them.
_CLAUSE_SIGNS = ".;:,!?"
#: Signs around a word that belong to its sentence.
_SENTENCE_SIGNS = ".,;:!?\"'()[]{}<>*_`#\u2018\u2019\u201c\u201d\u00ab\u00bb\u2013\u2014\u2026"
#: Signs between words, beside blanks.
_BETWEEN = re.compile(r"[\s=|]+")
#: Endings that are taken off a label's word to find its relatives, longest first.
_ENDINGS = ("ations", "ation", "ments", "ment", "ions", "ory", "ion", "ing", "ed", "es", "e", "s")
#: What makes a label's word its opposite.
_DENYING = "un|non|dis|mis|in|im"
#: ASCII's, Unicode's, and the one that does not break.
_HYPHEN = "[-\u2010\u2011]"
#: Letters of a word that an ending must leave; shorter stems have too many strangers.
_STEM = 5


def stated_label(reply: str, label_words: Sequence[str]) -> int | None:
    """Return the label that a reply states.

    The label whose words the reply begins with, whatever the case; else the only one that is named
    anywhere. Words count as wholes ("non-toxic" does not name "toxic"), and where one label's words
    are part of another's ("supported", "not supported"), the longer name counts. A label that is
    denied by one of the two words before it, within its clause ("it is not supported" where the
    other label is "unsupported"), is not named: which of the others holds instead is for the reader
    to guess. Where labels have digits or differ in signs alone ("1" and "-1", "C" and "C++"), signs
    within and around words count too; those that sentences have, where labels cannot be told apart
    without them ("<5" and ">5").

    Parameters
    ----------
    reply : str
    label_words : sequence of str
        Words of each label.

    Returns
    -------
    int or None
        Index of the label; None if none or several are named, or labels differ in case alone.

    Examples
    --------
    >>> stated_label("Not supported. The trial ended early.", ["supported", "not supported"])
    1
    >>> stated_label("Perhaps red, perhaps blue.", ["red", "blue"]) is None
    True
    >>> stated_label("1. It went up.", ["-1", "1"])
    1
    >>> stated_label("It is not routine. Urgent.", ["urgent", "routine"])
    0
    """
    cut = _cut_for(label_words)
    if cut is None:
        return None
    # A sign by which labels are told apart ends no clause, or it would be lost.
    counting = "" if cut is words else "".join(label_words)
    signs = "".join(sign for sign in _CLAUSE_SIGNS if sign not in counting)
    clauses = re.split(rf"[{signs}]+(?=\s|$)", reply) if signs else [reply]
    said: list[str] = []
    begins: list[int] = []  # where each word's clause does
    for clause in map(cut, clauses):
        begins += [len(said)] * len(clause)
        said += clause
    labels = list(map(cut, label_words))
    names = sorted(enumerate(labels), key=lambda n: -len(n[1]))
    found, place = [], 0
    while place < len(said):
        for label, name in names:
            if name and said[place : place + len(name)] == name:
                if place == 0:
                    return label
                before = said[max(begins[place], place - _DENIED) : place]
                # Where "no" is a label, it denies nothing.
                if not any(_denies(word) and [word] not in labels for word in before):
                    found.append(label)
                place += len(name) - 1
                break
        place += 1
    return found[0] if len(set(found)) == 1 else None


def _cut_for(label_words: Sequence[str]) -> Callable[[str], list[str]] | None:
    """Return what cuts a text into words by which all labels can be told apart, if anything does.

    The fewer signs count, the better: those that stand around a word may be its sentence's.
    """
    whole = "".join(label_words)
    own = "".join(sign for sign in _SENTENCE_SIGNS if sign not in whole)
    ways: list[Callable[[str], list[str]]] = [
        partial(_words_and_signs, around=_SENTENCE_SIGNS),
        partial(_words_and_signs, around=own),
    ]
    if not re.search(r"\d", whole):  # of "0.95" words would make a 0 and a 95
        ways.insert(0, words)
    return next((cut for cut in ways if _told_apart([cut(name) for name in label_words])), None)


def _told_apart(names: Sequence[list[str]]) -> bool:
    return all(names) and len(set(map(tuple, names))) == len(names)


def _words_and_signs(text: str, around: str) -> list[str]:
    """Words between blanks, without the signs ``around`` them."""
    cut = filter(None, _BETWEEN.split(text.casefold().translate(PLAIN)))
    return [word.strip(around) or word for word in cut]


def _denies(word: str) -> bool:
    return word in _DENIALS or word.endswith("n't")


def mask_labels(text: str, label_words: Sequence[str], mask: str = "...") -> str:
    """Hide every label's words, and close relatives of labels of one word.

    What they are joined to by a hyphen, or by a prefix that denies ("unsupported", "non-toxic"), is
    hidden with them. Relatives are words that begin with the label's stem: the label, without a
    common English ending if it has one, where that is at least five letters ("entailment" hides
    "entails", "support" "supports"). A stem hides too much rather than too little.

    Parameters
    ----------
    text : str
    label_words : sequence of str
        Words of each label.
    mask : str, default="..."
        What stands in their place.

    Returns
    -------
    str
        The text, with ``mask`` wherever a label or relative stood, whatever the case.

    Examples
    --------
    >>> mask_labels("This entails it: ENTAILMENT.", ["entailment", "contradiction"])
    'This ... it: ....'
    """
    patterns = []
    for name in sorted(label_words, key=len, reverse=True):
        parts = name.split()
        if len(parts) == 1:
            stem = _stem(parts[0])
            patterns.append(re.escape(stem) + (r"\w*" if len(stem) >= _STEM else ""))
        elif parts:
            patterns.append(r"\s+".join(map(re.escape, parts)))
    if not patterns:
        return text
    ending = rf"(?:{_HYPHEN}\w+)*(?!\w)"
    whole = rf"(?<!\w)(?:\w+{_HYPHEN})*(?:{_DENYING})?(?:" + "|".join(patterns) + f"){ending}"
    return re.sub(whole, lambda _: mask, text, flags=re.IGNORECASE)


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.lower().endswith(ending) and len(word) - len(ending) >= _STEM:
            return word[: -len(ending)]
    return word


def alignment_scores(proba: Any, observed: Sequence[int | None]) -> dict[str, float]:
    """Agreement of a classification head with the labels that its explanations show.

    AUROC-Alignment and Cohen's kappa as Yoon et al. define them [1]_ [2]_. An explanation that
    shows no label counts as a class of its own, with which the head never agrees.

    Parameters
    ----------
    proba : array-like of shape (rows,) or (rows, classes)
        The head's probabilities; of two classes, those of class 1 will do.
    observed : sequence of int or None, of length rows
        Class that the text is seen to have.

    Returns
    -------
    dict of str to float
        ``auroc_alignment``: AUROC of ``proba`` for the observed labels, over texts that have one
        (NaN if all are the same), of several classes the mean over those observed, each against the
        rest; ``kappa`` of the head's most probable label (NaN if both sides have one and the same
        label throughout); ``agreement`` and ``unparseable``, shares of the rows.

    Raises
    ------
    ValueError
        If the numbers of rows differ or are 0, an observed label is no class, or ``proba`` are no
        probabilities.

    References
    ----------
    .. [1] Yoon et al., "CLSGen", 2026, https://arxiv.org/abs/2604.11801
    .. [2] Cohen, "A coefficient of agreement for nominal scales", 1960,
       https://doi.org/10.1177/001316446002000104

    Examples
    --------
    >>> scores = alignment_scores([0.9, 0.2, 0.8, 0.1], [1, 0, None, 0])
    >>> scores["auroc_alignment"], scores["agreement"], scores["unparseable"]
    (1.0, 0.75, 0.25)
    """
    found, seen = _checked(proba, observed)
    head = found.argmax(axis=1)  # of classes that are even the first, as `predict` has it
    known = seen >= 0
    # Of two classes, one column says it all.
    classes = [1] if found.shape[1] == 2 else np.unique(seen[known]).tolist()
    areas = [
        roc_auc_score(seen[known] == label, found[known, label])
        for label in classes
        if len(set(seen[known] == label)) == 2
    ]
    # Of one label on both sides there is no agreement beyond chance to speak of.
    told = len(set(seen) | set(head)) > 1
    return {
        "auroc_alignment": float(np.mean(areas)) if areas else np.nan,
        "kappa": float(cohen_kappa_score(head, seen)) if told else np.nan,
        "agreement": float((head == seen).mean()),
        "unparseable": float((~known).mean()),
    }


def _checked(proba: Any, observed: Sequence[int | None]) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of all classes, shape (rows, classes), and observed classes, -1 for none."""
    observed = list(observed)  # a Series would be looked up by its index
    found = np.asarray(proba, dtype=float)
    if found.ndim not in (1, 2) or len(found) != len(observed) or not observed:
        raise ValueError(
            f"proba has the shape {found.shape} but there are {len(observed)} observed labels; "
            "pass one of each per row, at least one."
        )
    check_proba(found)
    if found.ndim == 1:
        found = np.column_stack([1 - found, found])
    if not np.allclose(found.sum(axis=1), 1, atol=1e-3):
        raise ValueError("proba has rows that do not sum to 1; pass one column for each class.")
    strange = [label for label in observed if label not in (None, *range(found.shape[1]))]
    if strange:
        raise ValueError(
            f"observed holds {strange[0]!r}; pass a class from 0 to {found.shape[1] - 1}, or None, "
            "for each row."
        )
    return found, np.array([-1 if label is None else int(label) for label in observed])


def flip_rate(asked: Sequence[int], observed: Sequence[int | None]) -> float:
    """Share of texts that follow the label they were asked to explain.

    Parameters
    ----------
    asked : sequence of int
        Labels that were forced.
    observed : sequence of int or None
        What the texts say; None follows nothing.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        If the numbers of rows differ or are 0, or labels of different kinds are compared.

    Examples
    --------
    >>> flip_rate([1, 1, 0, 0], [1, None, 0, 1])
    0.5
    """
    if len(asked) != len(observed) or not len(asked):
        raise ValueError(
            f"asked has {len(asked)} labels and observed {len(observed)}; pass one of each per "
            "row, at least one."
        )
    check_same_kind(asked, [label for label in observed if label is not None])
    return float(np.mean([a == o for a, o in zip(asked, observed, strict=True)]))


def stratified_alignment(
    y_true: Any, proba: Any, observed: Sequence[int | None]
) -> dict[str, dict[str, float]]:
    """Agreement apart for rows where the head is right and where it is wrong.

    A text that merely knows the truth agrees with a head that is right, and not with one that is
    wrong; one that follows the head agrees with both.

    Parameters
    ----------
    y_true : array-like of shape (rows,)
        True classes, as numbers.
    proba : array-like of shape (rows,) or (rows, classes)
        The head's probabilities; of two classes, those of class 1 will do.
    observed : sequence of int or None, of length rows
        Class that the text is seen to have.

    Returns
    -------
    dict of str to dict of str to float
        ``right`` and ``wrong``, each with ``rows``, ``agreement`` and ``kappa`` (NaN without
        rows).

    Raises
    ------
    ValueError
        If the three differ in length, or hold anything else.

    Examples
    --------
    >>> found = stratified_alignment([1, 0, 1], [0.9, 0.1, 0.2], [1, 0, 1])
    >>> found["right"]["agreement"], found["wrong"]["agreement"]
    (1.0, 0.0)
    """
    observed = list(observed)
    found, _ = _checked(proba, observed)
    truth = np.asarray(y_true)
    strange = truth[~np.isin(truth, range(found.shape[1]))]
    if truth.shape != (len(found),) or len(strange):
        what = f"the values {strange[:5].tolist()}" if len(strange) else f"the shape {truth.shape}"
        raise ValueError(
            f"y_true has {what}; pass a class from 0 to {found.shape[1] - 1} for each of the "
            f"{len(found)} rows."
        )
    right = found.argmax(axis=1) == truth
    result = {}
    for name, chosen in (("right", right), ("wrong", ~right)):
        rows = np.flatnonzero(chosen).tolist()
        own = {"agreement": np.nan, "kappa": np.nan}
        if rows:
            scores = alignment_scores(found[rows], [observed[row] for row in rows])
            own = {key: scores[key] for key in own}
        result[name] = {"rows": float(len(rows))} | own
    return result
