"""What the joint model writes, beside its base model: measures and tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...metrics import holm, non_inferior, permutation_test
from .writing import ROW_MEASURES

__all__ = ["LANGUAGE_MARGIN", "language_test", "writing_tests"]

#: By how much log-perplexity on general text may rise, in nats.
LANGUAGE_MARGIN = 0.05


def writing_tests(
    writing: Mapping[str, Any], groups: Sequence[str], other: str = "base, forced label"
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
        ``metric``, ``joint``, ``base`` (means over the rows that both have), ``difference``,
        ``low``, ``high``, ``p``, ``p_adjusted`` (Holm), ``rows`` and ``more_is_better``.
    """
    ours, theirs = (writing["quality"][name]["rows"] for name in ("joint", other))
    found = []
    for metric, better in ROW_MEASURES.items():
        a, b = (np.array(own[metric], dtype=float) for own in (ours, theirs))
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
                "difference": test.difference,
                "low": test.low,
                "high": test.high,
                "p": test.p_value,
                "rows": int(both.sum()),
                "more_is_better": better,
            }
        )
    for entry, adjusted in zip(found, holm([entry["p"] for entry in found]), strict=True):
        entry["p_adjusted"] = float(adjusted)
    return found


def language_test(writing: Mapping[str, Any]) -> dict[str, float]:
    """Whether log-perplexity on general text rose by less than the margin.

    Returns
    -------
    dict of str to float
        ``base``, ``tuned`` (mean log-perplexities), ``change``, ``low``, ``high``, ``p`` of a rise
        by the margin or more, ``kl``, ``margin``.
    """
    base, tuned, kl = (np.array(writing["language"][name]) for name in ("base", "tuned", "kl"))
    test = non_inferior(tuned - base, LANGUAGE_MARGIN)
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
