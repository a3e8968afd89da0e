"""Whether what makes training fast changes what is learnt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.stats import t
from sklearn.metrics import roc_auc_score

from .measure import take_turns
from .speed import Settings

__all__ = ["SEEDS", "measure_quality"]

SEEDS = 5


def measure_quality(settings: Settings, seeds: int = SEEDS) -> dict[str, Any]:
    """AUROC and explanation loss of our path and of the plain one, seed by seed.

    The plain path is the model's own attention, one row at a time, nothing packed; everything
    else, drawn rows and initial values included, is the same, so that differences are paired.

    Parameters
    ----------
    settings : Settings
        Rows, and the folder of the data.
    seeds : int, default=5
        Fits of each path.
    """

    def path(attention: str) -> Callable[[int], dict[str, Any]]:
        def run(seed: int) -> dict[str, Any]:
            task = settings.task("esnli", seed)
            clf = settings.classifier(
                epochs=1, random_state=seed, attn_implementation=attention
            ).fit(task.texts, task.labels, explanations=task.explanations)
            proba = clf.predict_proba(task.test_texts)[:, 1]
            return {
                "auroc": float(roc_auc_score(task.targets(test=True), proba)),
                "explanation_loss": clf.history_["explanation_loss"][-1],
            }

        return run

    runs = take_turns(
        {"ours": path("auto"), "plain": path("sdpa")}, seeds, settings.journal("quality")
    )
    differences = {
        key: interval([a[key] - b[key] for a, b in zip(runs["ours"], runs["plain"], strict=True)])
        for key in ("auroc", "explanation_loss")
    }
    for key, (mean, low, high) in differences.items():
        print(f"  {key}, ours minus plain: {mean:+.4f} (95% from {low:+.4f} to {high:+.4f})")
    ratios = {f"quality_{key}_over_noise": over_noise(*d) for key, d in differences.items()}
    return {"runs": runs, "differences": differences, "ratios": ratios}


def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """Mean, and the ends of Student's confidence interval.

    Examples
    --------
    >>> mean, low, high = interval([1.0, 2.0, 3.0])
    >>> round(mean, 2), round(low, 2), round(high, 2)
    (2.0, -0.48, 4.48)
    """
    found = np.asarray(values, dtype=float)
    if len(found) < 2:
        return float(found.mean()), float("-inf"), float("inf")
    half = t.ppf((1 + level) / 2, len(found) - 1) * found.std(ddof=1) / len(found) ** 0.5
    return float(found.mean()), float(found.mean() - half), float(found.mean() + half)


def over_noise(mean: float, low: float, high: float) -> float:
    """Return how many half-widths of its interval a difference is away from 0.

    Examples
    --------
    >>> over_noise(0.5, 0.0, 1.0), over_noise(0.0, 0.0, 0.0)
    (1.0, 0.0)
    """
    if mean == 0:
        return 0.0
    return 2 * abs(mean) / (high - low) if high > low else float("inf")
