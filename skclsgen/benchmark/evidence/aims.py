"""What the evidence is to show, and whether it does."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .arms import ARMS
from .before_after import LANGUAGE_MARGIN, language_test
from .tables import p_value

__all__ = ["Aim", "judge_aims", "judge_words"]

#: The level at which a difference counts, after Holm's adjustment.
LEVEL = 0.05
#: Arms that the joint model's AUROC is to be above, by what an aim calls them.
ABOVE: dict[str, Collection[str]] = {
    "every prompting arm": [name for name, arm in ARMS.items() if arm.kind == "prompting"],
    "TF-IDF and the CNN": ["tfidf", "tfidf_overlap", "tfidf_alone", "cnn"],
    "the linear probe": ["probe"],
}
#: The least agreement with the head: who reads the label, how it is measured, how much.
AGREEMENT = (
    ("stated", "auroc_alignment", 0.98),
    ("stated", "kappa", 0.90),
    ("observer", "kappa", 0.70),
)
READERS = {"stated": "stated label", "observer": "masked observer"}
MISSING = "not measured"


@dataclass(frozen=True)
class Aim:
    """One thing that the evidence is to show.

    Attributes
    ----------
    name : str
        What is to hold.
    found : str
        What comes closest to breaking it, or breaks it.
    holds : bool
        False, too, of what was not measured.
    """

    name: str
    found: str
    holds: bool


def judge_aims(
    comparisons: Sequence[Mapping[str, Any]],
    writing: Iterable[Mapping[str, Any]],
    tests: Sequence[Mapping[str, Any]],
) -> list[Aim]:
    """Hold what was found about the joint model against what is to be shown.

    Parameters
    ----------
    comparisons : sequence of mapping
        From :func:`~skclsgen.benchmark.evidence.scores.compare`.
    writing, tests
        As for :func:`judge_words`.
    """
    by_arm = {entry["b"]: entry for entry in comparisons}
    return [
        *(_above(what, arms, by_arm) for what, arms in ABOVE.items()),
        _not_below(by_arm.get("classification")),
        *judge_words(writing, tests),
    ]


def judge_words(
    writing: Iterable[Mapping[str, Any]], tests: Sequence[Mapping[str, Any]]
) -> list[Aim]:
    """Hold what was found about a model's words against what is to be shown.

    Parameters
    ----------
    writing : iterable of mapping
        Of every seed, as :func:`~skclsgen.benchmark.evidence.writing.judge_writing` returns it.
    tests : sequence of mapping
        Of the first seed, from :func:`~skclsgen.benchmark.evidence.before_after.writing_tests`.

    Returns
    -------
    list of Aim
        A masked observer's agreement is asked for only where there is one: it learns from people's
        reasons.
    """
    writing = list(writing)
    agreements = [own["alignment"] for own in writing]
    return [
        *(
            _agrees(reader, metric, least, agreements)
            for reader, metric, least in AGREEMENT
            if reader == "stated" or any(reader in own for own in agreements)
        ),
        _no_worse(tests),
        _simulated_better(tests),
        _language_kept(writing),
    ]


def _above(what: str, arms: Collection[str], by_arm: Mapping[str, Mapping[str, Any]]) -> Aim:
    name = f"AUROC above {what}, adjusted p < {LEVEL}"
    if absent := [arm for arm in arms if arm not in by_arm]:
        return Aim(name, f"{MISSING}: {', '.join(absent)}", False)
    shown = [by_arm[arm]["difference"] > 0 and by_arm[arm]["p_adjusted"] < LEVEL for arm in arms]
    nearest = max((by_arm[arm] for arm in arms), key=_closeness)
    found = (
        f"shown for {sum(shown)} of {len(arms)}; {nearest['difference']:+.3f} to "
        f"{ARMS[nearest['b']].title}, p = {p_value(nearest['p_adjusted'])}"
    )
    return Aim(name, found, all(shown))


def _closeness(entry: Mapping[str, Any]) -> tuple[bool, float, float]:
    """How close an arm comes to the joint model: most where it is above."""
    return entry["difference"] <= 0, entry["p_adjusted"], -entry["difference"]


def _not_below(entry: Mapping[str, Any] | None) -> Aim:
    name = f"AUROC not 0.01 or more below classification-only LoRA, p < {LEVEL}"
    if entry is None:
        return Aim(name, MISSING, False)
    found = f"{entry['difference']:+.3f}, p = {p_value(entry['p_inferior'])}"
    return Aim(name, found, entry["p_inferior"] < LEVEL)


def _agrees(reader: str, metric: str, least: float, agreements: Sequence[Mapping[str, Any]]) -> Aim:
    shown = {"auroc_alignment": "AUROC-Alignment", "kappa": "kappa"}[metric]
    name = f"{READERS[reader]} and head: {shown} at least {least:.2f} on every seed"
    values = [own[reader][metric] for own in agreements]
    if not values or None in values:
        return Aim(name, MISSING, False)
    return Aim(name, f"{min(values):.3f} or more", min(values) >= least)


def _no_worse(tests: Sequence[Mapping[str, Any]]) -> Aim:
    name = f"no measure of explanations worse than the base model's, adjusted p < {LEVEL}"
    if not tests:
        return Aim(name, MISSING, False)
    worse = [
        test["metric"].replace("_", " ")
        for test in tests
        if test["more_is_better"] is not None
        and (test["difference"] > 0) != test["more_is_better"]
        and test["p_adjusted"] < LEVEL
    ]
    return Aim(name, f"worse: {', '.join(worse) or 'none'}", not worse)


def _simulated_better(tests: Sequence[Mapping[str, Any]]) -> Aim:
    name = f"simulatability better than the base model's, adjusted p < {LEVEL}"
    for test in tests:
        if test["metric"] == "simulatability":
            found = f"{test['difference']:+.3f}, p = {p_value(test['p_adjusted'])}"
            return Aim(name, found, test["difference"] > 0 and test["p_adjusted"] < LEVEL)
    return Aim(name, MISSING, False)


def _language_kept(writing: Sequence[Mapping[str, Any]]) -> Aim:
    name = f"log-perplexity of general text at most {LANGUAGE_MARGIN} nats up on every seed"
    if not writing:
        return Aim(name, MISSING, False)
    most = max(language_test(own)["high"] for own in writing)
    return Aim(name, f"95% interval ends at {most:+.3f} or less", most <= LANGUAGE_MARGIN)
