"""Where training explanations come from when the caller has none, and which are kept.

The base model writes them (:mod:`skclsgen.self_written`), or a teacher does. Every candidate
passes a filter; what it drops is reported per class, and a dropped row keeps its classification
loss.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .backbone import BaseModel
from .contrast import label_contrasts
from .exceptions import FallbackWarning
from .inputs import TrainingRows, check_explanations
from .memory import Memory
from .prompt import PromptEncoder
from .self_written import QUOTING, self_explanations, self_quotations
from .wording import Unfinished, is_unspaced, ngrams, terms

__all__ = [
    "REASONS",
    "SELF_WRITTEN",
    "RationaleReport",
    "Teacher",
    "choose_rationales",
    "filter_rationale",
]

#: How the base model writes explanations by itself: it quotes, or it explains.
SELF_WRITTEN = ("self", "explain")

#: Why a candidate was dropped, in the order of the checks.
REASONS = ("empty", "repetitive", "other label", "ungrounded", "fits another label", "unlikely")

#: A function of the caller's that takes texts and the words of their labels, and returns a reason,
#: or None, for each.
Teacher = Callable[[list[str], list[str]], Sequence[str | None]]
#: A reason or None for every row, and why it was dropped or None.
Filtered = tuple[list[str | None], list[str | None]]

#: Fewest words of a reason, and smallest share of different ones among them.
MIN_WORDS, MIN_DISTINCT = 4, 0.5
#: Smallest share of words from the text among those of four letters or more (all, if there are
#: none), and largest share of runs of three words that have come before; of quotations and other
#: reasons, and of the base model's explanations: those are in its own words, and who learns from
#: what repeats itself does so even more.
QUOTED = {"min_grounded": 0.5, "max_repeated": 1.0}
EXPLAINED = {"min_grounded": 0.4, "max_repeated": 0.05}
#: By how much they must be likelier after their label than after another one, in nats.
MIN_CONTRAST = 2.0
#: The share of each label's that is kept, the likeliest: what speaks for one label only may be an
#: unusual turn of phrase, and who learns it uses nothing else.
LIKELIEST = 0.75
#: How often one is drawn, at most, until it passes: most of the first ones do not.
DRAWS = 3

#: Labels of so few letters that are written in capitals are looked for in capitals: a reason that
#: says "it" or "us" does not name the label "IT" or "US".
ACRONYM = 3


def filter_rationale(
    candidate: str | None,
    text: str,
    label: int,
    label_words: Sequence[str],
    *,
    min_grounded: float = QUOTED["min_grounded"],
    max_repeated: float = QUOTED["max_repeated"],
) -> str | None:
    """Return why a candidate must be dropped (one of :data:`REASONS`), or ``None`` to keep it.

    That is, as far as its words tell: of its longer ones the share ``min_grounded`` must be from
    the text, and of its runs of three at most the share ``max_repeated`` may have come before.

    Examples
    --------
    >>> filter_rationale("It says the power is out.", "Power is out!", 0, ["urgent", "calm"])
    >>> filter_rationale("It is calm here.", "Power is out!", 0, ["urgent", "calm"])
    'other label'
    >>> filter_rationale("It says the power is out.", "Power is out!", 0, ["HR", "IT"])
    """
    said = terms(candidate or "")
    if len(said) < MIN_WORDS:
        return "empty"
    runs = ngrams(said, 3)
    repeated = len(runs) - len(set(runs))
    if len(set(said)) < MIN_DISTINCT * len(said) or repeated > max_repeated * len(runs):
        return "repetitive"
    # Words around a quotation are not the reason's own.
    reason, own = (candidate or "").removeprefix(QUOTING), set(terms(label_words[label]))
    named = set(terms(reason))
    for other, name in enumerate(label_words):
        if other != label and _is_named(name, set(terms(name)) - own, reason, named):
            return "other label"
    source = set(terms(text))
    told = terms(reason)
    told = [word for word in told if len(word) > 3 or is_unspaced(word)] or told
    if sum(word in source for word in told) < min_grounded * len(told):
        return "ungrounded"
    return None


def _is_named(label: str, foreign: set[str], reason: str, named: set[str]) -> bool:
    """Whether a reason, of the words ``named``, has all of a label's that the true one has not."""
    if foreign and label.isupper() and len(label) <= ACRONYM:
        return re.search(rf"(?<!\w){re.escape(label)}(?!\w)", reason) is not None
    return bool(foreign) and foreign <= named


@dataclass(frozen=True)
class RationaleReport:
    """Where explanations came from and what became of them.

    Attributes
    ----------
    source : {"caller", "self", "explain", "teacher", "none"}
        Who wrote them; the base model if it is the value of ``rationales``.
    classes : list of dict
        For each class its number of ``rows``, how many are ``kept``, and ``dropped``: a count
        per reason.
    """

    source: str
    classes: list[dict[str, Any]]


def choose_rationales(
    base: BaseModel,
    encoder: PromptEncoder,
    rows: TrainingRows,
    label_words: Sequence[str],
    *,
    source: Literal["self", "explain"] | Teacher | None,
    max_new_tokens: int,
    memory: Memory | None = None,
    verbose: int = 0,
) -> tuple[list[str | None], RationaleReport]:
    """Return an explanation or ``None`` for every row, and the report.

    Parameters
    ----------
    base : BaseModel
        Writes the reasons if the caller gave none.
    encoder : PromptEncoder
        Of the prompts that are trained on.
    rows : TrainingRows
        Texts, labels and the caller's explanations.
    label_words : sequence of str
        Words of each class.
    source : {"self", "explain", None} or callable
        Where explanations come from if the caller gave none; a callable is a teacher.
    max_new_tokens, memory, verbose
        As for :func:`~skclsgen.self_written.self_quotations`.

    Raises
    ------
    InvalidExplanationsError
        If a teacher does not return one string or None per text.

    Warns
    -----
    FallbackWarning
        If most that a teacher wrote is dropped, or all that the base model explained.
    """
    reasons: list[str | None]
    if rows.reasons is not None or source is None:
        name = "none" if rows.reasons is None else "caller"
        reasons = rows.reasons or [None] * len(rows.texts)
        dropped = ["not given" if reason is None else None for reason in reasons]
    elif callable(source):
        name = "teacher"
        candidates = _taught(source, rows, label_words)
        reasons, dropped = _filtered(candidates, rows, label_words)
        _warn_if_most_are_dropped([d for c, d in zip(candidates, dropped, strict=True) if c])
    else:
        name = source
        write = _explained if source == "explain" else _quoted
        reasons, dropped = write(
            base,
            encoder,
            rows,
            label_words,
            max_new_tokens=max_new_tokens,
            memory=memory,
            verbose=verbose,
        )
    return reasons, RationaleReport(name, _counted(rows, dropped, len(label_words)))


def _filtered(
    candidates: Sequence[str | None],
    rows: TrainingRows,
    label_words: Sequence[str],
    bounds: Mapping[str, float] = QUOTED,
) -> Filtered:
    """Take away the candidates whose words tell against them."""
    dropped = [
        filter_rationale(candidate, text, label, label_words, **bounds)
        for candidate, text, label in zip(candidates, rows.texts, rows.labels.tolist(), strict=True)
    ]
    return [c if d is None else None for c, d in zip(candidates, dropped, strict=True)], dropped


def _quoted(
    base: BaseModel,
    encoder: PromptEncoder,
    rows: TrainingRows,
    label_words: Sequence[str],
    **given: Any,
) -> Filtered:
    """Have the base model quote what shows the label of every row."""
    longest = encoder.max_length
    candidates = self_quotations(
        base, rows.texts, rows.labels.tolist(), label_words, max_length=longest, **given
    )
    return _filtered(candidates, rows, label_words)


def _explained(
    base: BaseModel,
    encoder: PromptEncoder,
    rows: TrainingRows,
    label_words: Sequence[str],
    *,
    memory: Memory | None,
    **given: Any,
) -> Filtered:
    """Have the base model explain the label of every row until an explanation passes."""
    # From rows that have none the model learns to name the label: the others may be few.
    reasons: list[str | None] = [Unfinished("")] * len(rows)
    dropped: list[str | None] = [None] * len(rows)
    nll: dict[int, float] = {}
    left = list(range(len(rows)))
    for draw in range(DRAWS):
        own = rows.take(left)
        texts, labels = own.texts, own.labels.tolist()
        candidates = self_explanations(
            base, encoder, texts, labels, draw=draw, memory=memory, **given
        )
        kept, why = _filtered(candidates, own, label_words, EXPLAINED)
        found = _drop_what_fits_another_label(base, encoder, own, kept, why, **given)
        nll |= {left[place]: own_nll for place, own_nll in found.items()}  # by row of all
        for row, reason, cause in zip(left, kept, why, strict=True):
            dropped[row] = cause
            if reason is not None:
                reasons[row] = reason
        left = [row for row in left if dropped[row] is not None]
    for row in _least_likely(nll, rows.labels):
        reasons[row], dropped[row] = Unfinished(""), "unlikely"
    _warn_if_all_are_dropped(dropped)
    return reasons, dropped


def _counted(
    rows: TrainingRows, dropped: Sequence[str | None], n_classes: int
) -> list[dict[str, Any]]:
    """Count for every class what was kept, and why the rest was dropped."""
    counts = []
    for index in range(n_classes):
        why = [d for label, d in zip(rows.labels, dropped, strict=True) if label == index]
        lost = Counter(d for d in why if d is not None)
        counts.append(
            {"rows": len(why), "kept": len(why) - sum(lost.values()), "dropped": dict(lost)}
        )
    return counts


def _drop_what_fits_another_label(
    base: BaseModel,
    encoder: PromptEncoder,
    rows: TrainingRows,
    reasons: list[str | None],
    dropped: list[str | None],
    **given: Any,
) -> dict[int, float]:
    """Take away those reasons that could as well be of another label; return others' NLL."""
    left = {row: reason for row, reason in enumerate(reasons) if reason is not None}
    own = rows.take(left)
    contrasts = label_contrasts(
        base, encoder, own.texts, own.labels.tolist(), list(left.values()), **given
    )
    kept = {}
    for row, contrast in zip(left, contrasts, strict=True):
        if contrast.nats < MIN_CONTRAST:
            reasons[row], dropped[row] = None, "fits another label"
        else:
            kept[row] = contrast.nll
    return kept


def _least_likely(nll: Mapping[int, float], labels: np.ndarray) -> list[int]:
    """Return the rows whose reasons are the least likely ones of their label."""
    found = []
    for label in np.unique(labels):
        own = [row for row in nll if labels[row] == label]
        if own:
            bound = np.quantile([nll[row] for row in own], LIKELIEST)
            found += [row for row in own if nll[row] > bound]
    return found


def _warn_if_most_are_dropped(dropped: Sequence[str | None]) -> None:
    lost = [reason for reason in dropped if reason is not None]
    if 2 * len(lost) > len(dropped):
        _warn(
            f"{len(lost)} of the {len(dropped)} explanations that the callable rationales returned "
            f"are no quotations to learn from ({_told(lost)}) and are left out. Pass explanations "
            "to fit, which are taken as they are, or change the callable."
        )


def _warn_if_all_are_dropped(dropped: Sequence[str | None]) -> None:
    if None not in dropped:
        _warn(
            f"rationales='explain': for none of the {len(dropped)} texts did the base model write "
            f"an explanation to learn from in {DRAWS} tries ({_told(dropped)}), so that the model "
            "learns to name labels only. Pass explanations to fit, or use rationales='self'."
        )


def _warn(message: str) -> None:
    warnings.warn(message, FallbackWarning, stacklevel=3)


def _told(dropped: Sequence[str | None]) -> str:
    return ", ".join(f"{reason}: {count}" for reason, count in Counter(dropped).items())


def _taught(
    teacher: Teacher, rows: TrainingRows, label_words: Sequence[str]
) -> Sequence[str | None]:
    """Have a teacher explain every row's label."""
    written = teacher(list(rows.texts), [label_words[label] for label in rows.labels])
    found = check_explanations(written, len(rows), "what the callable rationales returned")
    return [None] * len(rows) if found is None else found
