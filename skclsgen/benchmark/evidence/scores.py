"""From probabilities to scores with intervals, and to comparisons with the joint model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...metrics import (
    apply_temperature,
    best_threshold,
    delong_test,
    fit_temperature,
    holm,
    probability_scores,
    resampling_weights,
    smooth_ece_null,
    weighted_auroc,
)
from .arms import ARMS, JOINT
from .cohorts import Cohort

__all__ = ["MARGIN", "Scored", "compare", "score"]

#: Resamples of rows and of seeds.
REPEATS = 5000
#: How much lower than classification-only tuning the joint model's AUROC may be.
MARGIN = 0.01


@dataclass(frozen=True)
class Scored:
    """One arm's scores.

    Attributes
    ----------
    by_seed : dict of int to dict of str to float
        Of every seed, by metric; ``raw_*`` before temperature scaling, ``smooth_ece_by_chance``
        what calibrated probabilities stay below in 97.5% of cases.
    proba : dict of int to ndarray of shape (test rows,)
        Scaled probabilities of the positive label.
    raw : dict of int to ndarray of shape (test rows,)
        As the arm gave them.
    auroc : tuple of float
        Mean over seeds, and its 95% interval over rows.
    """

    by_seed: dict[int, dict[str, float]]
    proba: dict[int, np.ndarray]
    raw: dict[int, np.ndarray]
    auroc: tuple[float, float, float]

    def mean(self, metric: str) -> float:
        """Mean over seeds."""
        return float(np.mean([own[metric] for own in self.by_seed.values()]))

    def deviation(self, metric: str) -> float:
        """Standard deviation over seeds; NaN for a single one."""
        values = [own[metric] for own in self.by_seed.values()]
        return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def score(runs: Mapping[str, Mapping[int, Mapping[str, Any]]], cohort: Cohort) -> dict[str, Scored]:
    """Score every arm.

    Temperature and threshold are chosen on development rows, for all arms alike.

    Parameters
    ----------
    runs : mapping of arm to mapping of seed to run
        As :func:`~skclsgen.benchmark.evidence.run.run_arm` returns them.
    cohort : Cohort
        Of any seed: its development and test rows are the same for all.
    """
    development, test = cohort.targets(cohort.development), cohort.targets(cohort.test)
    weights = resampling_weights(cohort.test.groups, REPEATS, random_state=0)
    scored = {}
    for arm, own in runs.items():
        by_seed, scaled, raw = {}, {}, {}
        for seed, run in own.items():
            known, found = (np.array(run["proba"][part]) for part in ("development", "test"))
            gold = development[: len(known)]
            temperature = fit_temperature(gold, known)
            scaled[seed], raw[seed] = apply_temperature(found, temperature), found
            threshold = best_threshold(gold, apply_temperature(known, temperature))
            target = test[: len(found)]
            values = probability_scores(target, scaled[seed], threshold)
            before = probability_scores(target, found, 0.5)
            values |= {
                f"raw_{name}": before[name] for name in ("brier", "log_loss", "d2", "smooth_ece")
            }
            _, chance = smooth_ece_null(scaled[seed], random_state=0)
            values |= {"smooth_ece_by_chance": chance}
            by_seed[seed] = values | {"temperature": temperature, "threshold": threshold}
        rows = len(next(iter(scaled.values())))
        drawn = np.mean(
            [weighted_auroc(test[:rows], p, weights[:, :rows]) for p in scaled.values()], axis=0
        )
        low, high = np.nanquantile(drawn, [0.025, 0.975])
        mean = float(np.mean([one["auroc"] for one in by_seed.values()]))
        scored[arm] = Scored(by_seed, scaled, raw, (mean, float(low), float(high)))
    return scored


def compare(scored: Mapping[str, Scored], cohort: Cohort) -> list[dict[str, Any]]:
    """Compare the joint model's AUROC with every arm's.

    Rows and seeds are resampled together, rows in whole groups, the same for both arms: the
    interval holds for other test rows and other fits. Holm's adjustment is over all arms. An arm
    that was run on fewer rows or seeds is compared on those.

    Returns
    -------
    list of dict
        ``a``, ``b``, ``metric``, ``difference`` (a minus b), ``low``, ``high``, ``p``,
        ``p_adjusted``, ``p_delong`` (of the first seed, by DeLong's test), ``rows``, ``seeds``; for
        classification-only tuning ``p_inferior`` too, of being worse by :data:`MARGIN` or more.
    """
    test, groups = cohort.targets(cohort.test), cohort.test.groups
    weights = resampling_weights(groups, REPEATS, random_state=0)
    joint, found = scored[JOINT], []
    for arm, other in scored.items():
        if arm == JOINT:
            continue
        rows = min(len(next(iter(one.proba.values()))) for one in (joint, other))
        seeds = sorted(joint.proba) if not ARMS[arm].seeds else sorted(other.proba)
        seeds = [seed for seed in seeds if seed in joint.proba]
        pairs = [
            (joint.proba[seed][:rows], other.proba.get(seed, other.proba[min(other.proba)])[:rows])
            for seed in seeds
        ]
        differences, drawn = _differences(test[:rows], pairs, weights[:, :rows])
        low, high = np.quantile(drawn, [0.025, 0.975])
        beyond = min((drawn <= 0).sum(), (drawn >= 0).sum())
        entry: dict[str, Any] = {
            "a": JOINT,
            "b": arm,
            "metric": "auroc",
            "difference": float(np.mean(differences)),
            "low": float(low),
            "high": float(high),
            "p": float(min(1.0, 2 * (beyond + 1) / (len(drawn) + 1))),
            "p_delong": delong_test(test[:rows], *pairs[0], groups=groups[:rows]).p_value,
            "rows": rows,
            "seeds": len(seeds),
        }
        if arm == "classification":
            inferior = (drawn <= -MARGIN).sum()
            entry |= {"p_inferior": float((inferior + 1) / (len(drawn) + 1)), "margin": MARGIN}
        found.append(entry)
    for entry, adjusted in zip(found, holm([entry["p"] for entry in found]), strict=True):
        entry["p_adjusted"] = float(adjusted)
    return found


def _differences(
    targets: np.ndarray, pairs: Sequence[tuple[np.ndarray, np.ndarray]], weights: np.ndarray
) -> tuple[list[float], np.ndarray]:
    """Differences in AUROC by seed, and their mean over resampled rows and seeds."""
    once = np.ones((1, len(targets)), dtype=int)
    each = [
        float((weighted_auroc(targets, a, once) - weighted_auroc(targets, b, once))[0])
        for a, b in pairs
    ]
    tables = np.array(
        [
            weighted_auroc(targets, a, weights) - weighted_auroc(targets, b, weights)
            for a, b in pairs
        ]
    )
    rng = np.random.default_rng(1)
    seeds = rng.integers(len(pairs), size=(weights.shape[0], len(pairs)))
    drawn = np.take_along_axis(tables.T, seeds, axis=1).mean(axis=1)
    return each, drawn[np.isfinite(drawn)]
