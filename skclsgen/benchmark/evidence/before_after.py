"""What the joint model writes, beside its base model: measures and tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...metrics import distinct_n, holm, non_inferior, permutation_test, repetition
from ...wording import ngrams, terms
from .writing import BASE, JOINT_WRITER, PEOPLE, ROW_MEASURES

__all__ = ["LANGUAGE_MARGIN", "language_test", "writing_tests"]

#: Exchanges of explanations by which variety is tested.
EXCHANGES = 2000

#: Measures that take two explanations, each read as far as the shorter one goes: longer ones have
#: more to repeat.
REPETITION, VARIETY = "repetition_at_equal_length", "distinct_2_at_equal_length"
#: By how much log-perplexity on general text may rise, in nats.
LANGUAGE_MARGIN = 0.05


def writing_tests(
    writing: Mapping[str, Any], groups: Sequence[str], other: str = BASE
) -> list[dict[str, Any]]:
    """Compare explanations before and after tuning, row by row.

    Parameters
    ----------
    writing : mapping
        The first seed's, as :func:`~skclsgen.benchmark.evidence.writing.judge_writing` returns it.
    groups : sequence of str
        Of the rows.
    other : str, default="base, forced label"
        The writer to compare with.

    Returns
    -------
    list of dict
        ``metric``, ``joint``, ``base`` (means over the rows that both have), ``people`` (None where
        they wrote nothing, or two explanations are compared), ``difference``, ``low``, ``high``
        (None for variety, which single rows do not have), ``p``, ``p_adjusted`` (Holm), ``rows``
        and ``more_is_better``.
    """
    ours, theirs = (writing["quality"][name] for name in (JOINT_WRITER, other))
    people = writing["quality"].get(PEOPLE)
    pairs = {metric: (ours["rows"][metric], theirs["rows"][metric]) for metric in ROW_MEASURES}
    cut = _at_equal_length(ours["reasons"], theirs["reasons"])
    pairs[REPETITION] = [repetition(a) for a in cut[0]], [repetition(b) for b in cut[1]]
    found = []
    for metric, pair in pairs.items():
        a, b = (np.array(values, dtype=float) for values in pair)
        both = np.isfinite(a) & np.isfinite(b)
        if both.sum() < 2:
            continue
        own_groups = np.asarray(groups)[: len(a)][both]
        test = permutation_test(a[both], b[both], groups=own_groups, random_state=0)
        found.append(
            {
                "metric": metric,
                "joint": float(a[both].mean()),
                "base": float(b[both].mean()),
                "people": None if people is None else _mean(people["rows"].get(metric, [])),
                "difference": test.difference,
                "low": test.low,
                "high": test.high,
                "p": test.p_value,
                "rows": int(both.sum()),
                "more_is_better": ROW_MEASURES.get(metric, False),
            }
        )
    found.append(_variety_test(*cut, groups))
    for entry, adjusted in zip(found, holm([entry["p"] for entry in found]), strict=True):
        entry["p_adjusted"] = float(adjusted)
    return found


def _at_equal_length(ours: Sequence[str], theirs: Sequence[str]) -> tuple[list[str], list[str]]:
    """As many words of both explanations of a row as the shorter one has."""
    said = [(terms(a), terms(b)) for a, b in zip(ours, theirs, strict=True)]
    shorter = [min(len(a), len(b)) for a, b in said]
    first, second = (
        [" ".join(pair[writer][:most]) for pair, most in zip(said, shorter, strict=True)]
        for writer in (0, 1)
    )
    return first, second


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _variety_test(
    ours: Sequence[str], theirs: Sequence[str], groups: Sequence[str]
) -> dict[str, Any]:
    """Compare distinct-2 by exchanging the two writers' explanations, sources as a whole.

    Explanations of a row are of equal length, so both writers have as many pairs of words, however
    many rows are exchanged, and what counts is how many of them are different.
    """
    pairs = [(ngrams(terms(a), 2), ngrams(terms(b), 2)) for a, b in zip(ours, theirs, strict=True)]
    total = sum(len(a) for a, _ in pairs)
    _, sources = np.unique(np.asarray(groups)[: len(ours)], return_inverse=True)
    rng = np.random.default_rng(0)

    def different(writers: np.ndarray) -> int:
        return len(set().union(*(row[writer] for row, writer in zip(pairs, writers, strict=True))))

    def difference(exchanged: np.ndarray) -> int:
        return different(exchanged) - different(1 - exchanged)

    drawn = rng.integers(2, size=(EXCHANGES, sources.max() + 1))[:, sources]
    given = difference(np.zeros(len(pairs), dtype=int))
    as_far = sum(abs(difference(swaps)) >= abs(given) for swaps in drawn)
    return {
        "metric": VARIETY,
        "joint": distinct_n(ours),
        "base": distinct_n(theirs),
        "people": None,
        "difference": given / total if total else float("nan"),
        "low": None,
        "high": None,
        "p": (as_far + 1) / (EXCHANGES + 1) if total else float("nan"),
        "rows": len(pairs),
        "more_is_better": True,
    }


def language_test(writing: Mapping[str, Any]) -> dict[str, float]:
    """Whether log-perplexity on general text rose by less than the margin.

    Passages of a page are alike, so pages are what is independent.

    Returns
    -------
    dict of str to float
        ``base``, ``tuned`` (mean log-perplexities), ``change``, ``low``, ``high``, ``p`` of a rise
        by the margin or more, ``kl``, ``margin``.
    """
    base, tuned, kl = (np.array(writing["language"][name]) for name in ("base", "tuned", "kl"))
    pages = writing["language"]["pages"]
    test = non_inferior(tuned - base, LANGUAGE_MARGIN, groups=pages)
    return {
        "base": float(base.mean()),
        "tuned": float(tuned.mean()),
        "change": test.difference,
        "low": test.low,
        "high": test.high,
        "p": test.p_value,
        "kl": float(kl.mean()),
        "margin": LANGUAGE_MARGIN,
    }
