"""From probabilities to scores with intervals, and to comparisons with the joint model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student

from ...metrics import (
    apply_temperature,
    best_threshold,
    delong_test,
    fit_temperature,
    holm,
    probability_scores,
    resampling_weights,
    smooth_ece_draws,
    weighted_auroc,
)
from .arms import ARMS, JOINT
from .cohorts import Cohort

__all__ = ["MARGIN", "Scored", "compare", "score"]

#: Resamples of rows.
REPEATS = 5000
#: How much lower than classification-only tuning the joint model's AUROC may be.
MARGIN = 0.01


@dataclass(frozen=True)
class Scored:
    """One arm's scores.

    Attributes
    ----------
    by_seed : dict of int to dict of str to float
        Of every seed, by metric; ``raw_*`` before temperature scaling.
    proba : dict of int to ndarray of shape (test rows,)
        Scaled probabilities of the positive label.
    raw : dict of int to ndarray of shape (test rows,)
        As the arm gave them. Ranks are told from these: scaling may bring neighbours to 0 or 1.
    resampled : dict of int to ndarray of shape (resamples,)
        AUROC on resampled rows.
    auroc : tuple of float
        Mean over seeds, and its 95% interval over rows.
    smooth_ece_by_chance : float
        What the mean over seeds of calibrated probabilities' smooth calibration error stays below
        in 97.5% of cases.
    """

    by_seed: dict[int, dict[str, float]]
    proba: dict[int, np.ndarray]
    raw: dict[int, np.ndarray]
    resampled: dict[int, np.ndarray]
    auroc: tuple[float, float, float]
    smooth_ece_by_chance: float

    def mean(self, metric: str) -> float:
        """Mean over seeds."""
        return float(np.mean([own[metric] for own in self.by_seed.values()]))

    def deviation(self, metric: str) -> float:
        """Standard deviation over seeds; NaN for a single one."""
        values = [own[metric] for own in self.by_seed.values()]
        return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def score(
    runs: Mapping[str, Mapping[int, Mapping[str, Any]]], cohorts: Mapping[int, Cohort]
) -> dict[str, Scored]:
    """Score every arm.

    Temperature and threshold are chosen on development rows, for all arms alike.

    Parameters
    ----------
    runs : mapping of arm to mapping of seed to run
        As :func:`~skclsgen.benchmark.evidence.run.run_arm` returns them.
    cohorts : mapping of seed to Cohort
    """
    weights = _weights(cohorts)
    same_rows = _one_test_set(cohorts)
    scored = {}
    for arm, own in runs.items():
        by_seed, scaled, raw, drawn, chance = {}, {}, {}, {}, []
        for seed, run in own.items():
            cohort = cohorts[seed]
            by_seed[seed], scaled[seed], raw[seed] = _score_run(run, cohort)
            rows = len(raw[seed])
            target = cohort.targets(cohort.test)[:rows]
            drawn[seed] = weighted_auroc(target, raw[seed], weights[seed][:, :rows])
            chance.append(smooth_ece_draws(scaled[seed], random_state=0 if same_rows else seed))
        low, high = np.nanquantile(np.mean([*drawn.values()], axis=0), [0.025, 0.975])
        mean = float(np.mean([one["auroc"] for one in by_seed.values()]))
        most = float(np.quantile(np.mean(chance, axis=0), 0.975))
        scored[arm] = Scored(by_seed, scaled, raw, drawn, (mean, float(low), float(high)), most)
    return scored


def _score_run(
    run: Mapping[str, Any], cohort: Cohort
) -> tuple[dict[str, float], np.ndarray, np.ndarray]:
    """Return a run's scores, and its test rows' probabilities, scaled and as they were."""
    known, found = (np.array(run["proba"][part]) for part in ("development", "test"))
    gold = cohort.targets(cohort.development)[: len(known)]
    target = cohort.targets(cohort.test)[: len(found)]
    temperature = fit_temperature(gold, known)
    scaled = apply_temperature(found, temperature)
    threshold = best_threshold(gold, apply_temperature(known, temperature))
    values = probability_scores(target, scaled, threshold)
    before = probability_scores(target, found, 0.5)
    values |= {name: before[name] for name in ("auroc", "auprc")}
    values |= {f"raw_{name}": before[name] for name in ("brier", "log_loss", "d2", "smooth_ece")}
    values |= {"temperature": temperature, "threshold": threshold}
    return values, scaled, found


def _one_test_set(cohorts: Mapping[int, Cohort]) -> bool:
    """Tell whether all seeds are judged by the same rows."""
    first, *others = (cohort.test.texts for cohort in cohorts.values())
    return all(texts == first for texts in others)


def _weights(cohorts: Mapping[int, Cohort]) -> dict[int, np.ndarray]:
    """Resamples of every seed's test rows: the same ones where the rows are the same."""
    if _one_test_set(cohorts):
        (first, *_) = cohorts.values()
        drawn = resampling_weights(first.test.groups, REPEATS, random_state=0)
        return dict.fromkeys(cohorts, drawn)
    return {
        seed: resampling_weights(cohort.test.groups, REPEATS, random_state=seed)
        for seed, cohort in cohorts.items()
    }


def compare(scored: Mapping[str, Scored], cohorts: Mapping[int, Cohort]) -> list[dict[str, Any]]:
    """Compare the joint model's AUROC with every arm's.

    Rows are resampled in whole groups, the same for both arms; what fits differ by is added, so
    that the interval holds for other test rows and other fits. An arm that was run on fewer rows or
    seeds is compared on those; of a single fit the interval holds for that fit only. Holm's
    adjustment is over all arms that share a seed with the joint model; others are left out.

    Returns
    -------
    list of dict
        ``a``, ``b``, ``metric``, ``difference`` (a minus b), ``low``, ``high``, ``p``,
        ``p_adjusted``, ``p_delong`` (of the first seed that both have, by DeLong's test), ``rows``
        (of a seed, at most), ``seeds``; for classification-only tuning ``p_inferior`` too, of being
        worse by :data:`MARGIN` or more.
    """
    weights = _weights(cohorts)
    found = [
        _against(arm, scored[JOINT], other, cohorts, weights)
        for arm, other in scored.items()
        if arm != JOINT and _seeds_in_common(arm, scored[JOINT], other, cohorts)
    ]
    for entry, adjusted in zip(found, holm([entry["p"] for entry in found]), strict=True):
        entry["p_adjusted"] = float(adjusted)
    return found


def _seeds_in_common(
    arm: str, joint: Scored, other: Scored, cohorts: Mapping[int, Cohort]
) -> dict[int, int]:
    """Seeds of the joint model's runs, each with the seed of the other arm's run to compare."""
    if _one_test_set(cohorts) and not ARMS[arm].seeds:
        # What does not depend on chance is run once for all seeds with the same rows.
        return dict.fromkeys(sorted(joint.raw), min(other.raw))
    return {seed: seed for seed in sorted(joint.raw) if seed in other.raw}


def _against(
    arm: str,
    joint: Scored,
    other: Scored,
    cohorts: Mapping[int, Cohort],
    weights: Mapping[int, np.ndarray],
) -> dict[str, Any]:
    """Compare the joint model with one arm."""
    pairs, given, drawn = {}, [], []
    for seed, their_seed in _seeds_in_common(arm, joint, other, cohorts).items():
        own, theirs = joint.raw[seed], other.raw[their_seed]
        rows = min(len(own), len(theirs))
        test = cohorts[seed].test.take(range(rows))
        target = cohorts[seed].targets(test)
        pairs[seed] = target, own[:rows], theirs[:rows], test.groups
        (a, a_drawn), (b, b_drawn) = (
            _auroc(scored, number, target, weights[seed])
            for scored, number in ((joint, seed), (other, their_seed))
        )
        given.append(a - b)
        drawn.append(a_drawn - b_drawn)
    means = _over_fits(np.array(given), np.array(drawn), own_rows=not _one_test_set(cohorts))
    low, high = np.quantile(means, [0.025, 0.975])
    beyond = min((means <= 0).sum(), (means >= 0).sum())
    target, ours, theirs, groups = pairs[min(pairs)]
    entry: dict[str, Any] = {
        "a": JOINT,
        "b": arm,
        "metric": "auroc",
        "difference": float(np.mean(given)),
        "low": float(low),
        "high": float(high),
        "p": float(min(1.0, 2 * (beyond + 1) / (len(means) + 1))),
        "p_delong": delong_test(target, ours, theirs, groups=groups).p_value,
        "rows": max(len(target) for target, *_ in pairs.values()),
        "seeds": len(pairs),
    }
    if arm == "classification":
        inferior = (means <= -MARGIN).sum()
        entry |= {"p_inferior": float((inferior + 1) / (len(means) + 1)), "margin": MARGIN}
    return entry


def _auroc(
    scored: Scored, seed: int, target: np.ndarray, weights: np.ndarray
) -> tuple[float, np.ndarray]:
    """AUROC on the first rows as they are, and resampled; of all rows it is known."""
    rows = len(target)
    if rows == len(scored.raw[seed]):
        return scored.by_seed[seed]["auroc"], scored.resampled[seed]
    proba = scored.raw[seed][:rows]
    as_they_are = weighted_auroc(target, proba, np.ones((1, rows)))
    return float(as_they_are[0]), weighted_auroc(target, proba, weights[:, :rows])


def _over_fits(given: np.ndarray, drawn: np.ndarray, own_rows: bool) -> np.ndarray:
    """Draws of the mean difference over other rows and other fits.

    A mean over few fits is as unsure as Student's t says of what they differ by; on top of that
    come the rows, which are the same for all. Where every fit is judged by rows of its own, what
    they differ by holds the rows' part already, and Student's t says it all.

    Parameters
    ----------
    given : ndarray of shape (fits,)
        Differences on the rows as they are.
    drawn : ndarray of shape (fits, resamples)
        The same on resampled rows.
    own_rows : bool
        Whether every fit is judged by rows of its own.
    """
    means = drawn.mean(axis=0)
    fits = len(given)
    error = np.sqrt(given.var(ddof=1) / fits) if fits > 1 else 0.0
    if fits > 1 and own_rows:
        evenly = (np.arange(len(means)) + 0.5) / len(means)
        means = given.mean() + error * student.ppf(evenly, fits - 1)
    elif fits > 1:
        means = means + error * np.random.default_rng(1).standard_t(fits - 1, size=means.shape)
    finite: np.ndarray = means[np.isfinite(means)]
    return finite
