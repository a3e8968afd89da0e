"""Pictures of the evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from ...metrics import reliability_curve
from ..charts import COLOURS
from .arms import ARMS, JOINT
from .cohorts import Cohort
from .scores import Scored

__all__ = ["draw_forest", "draw_reliability", "draw_roc", "draw_writing"]

#: Of the best arms of each kind; none is like the joint model's red.
OTHERS = ("tab:blue", "tab:orange", "tab:green", "tab:purple")


def _save(figure: Figure, file: Path) -> None:
    figure.savefig(file, dpi=120)


def draw_forest(scored: Mapping[str, Scored], titles: Mapping[str, str], file: Path) -> None:
    """Save AUROC of every arm with its interval, best first, and every seed as a stroke."""
    order = sorted(scored, key=lambda arm: scored[arm].auroc[0])
    figure = Figure(figsize=(8, 1 + 0.34 * len(order)), layout="constrained")
    axes = figure.subplots()
    for place, arm in enumerate(order):
        mean, low, high = scored[arm].auroc
        colour = COLOURS[0] if arm == JOINT else COLOURS[1]
        axes.plot([low, high], [place, place], color=colour, linewidth=3, alpha=0.5)
        axes.plot(mean, place, "o", color=colour)
        seeds = [own["auroc"] for own in scored[arm].by_seed.values()]
        axes.plot(seeds, [place] * len(seeds), "|", color=colour, markersize=9)
        axes.annotate(
            f"{mean:.3f}",
            (max(high, *seeds), place),
            (5, -3),
            textcoords="offset points",
            fontsize=8,
        )
    axes.set_yticks(range(len(order)), [titles[arm] for arm in order])
    axes.axvline(0.5, color="black", linewidth=0.8, linestyle=":")
    axes.set_xlabel("test AUROC (bar: 95% over rows; strokes: seeds)")
    axes.margins(x=0.08)
    axes.spines[["top", "right"]].set_visible(False)
    _save(figure, file)


def draw_roc(
    scored: Mapping[str, Scored],
    titles: Mapping[str, str],
    cohorts: Mapping[int, Cohort],
    file: Path,
) -> None:
    """Save ROC curves of each arm's first seed: the joint model and the best of each kind."""
    figure = Figure(figsize=(5.4, 5.2), layout="constrained")
    axes = figure.subplots()
    axes.set_prop_cycle(color=OTHERS)
    for arm in _leaders(scored):
        seed, target, proba = _first(scored[arm].raw, cohorts)
        wrong, right, _ = roc_curve(target, proba)
        width = 2.2 if arm == JOINT else 1.2
        colour = COLOURS[0] if arm == JOINT else None
        label = f"{titles[arm]}: {scored[arm].by_seed[seed]['auroc']:.3f}"
        axes.plot(wrong, right, linewidth=width, label=label, color=colour)
    axes.plot([0, 1], [0, 1], ":", color="black", linewidth=0.8)
    axes.set(xlabel="false-positive rate", ylabel="true-positive rate", aspect="equal")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    _save(figure, file)


def draw_reliability(
    scored: Mapping[str, Scored],
    titles: Mapping[str, str],
    cohorts: Mapping[int, Cohort],
    file: Path,
) -> None:
    """Save reliability curves of each arm's first seed, before and after temperature scaling."""
    figure = Figure(figsize=(9.4, 4.8), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for panel, kind in zip(panels, ("raw", "proba"), strict=True):
        panel.set_prop_cycle(color=OTHERS)
        for arm in _leaders(scored):
            _, target, proba = _first(getattr(scored[arm], kind), cohorts)
            curve = reliability_curve(target, proba)
            colour = COLOURS[0] if arm == JOINT else None
            width = 2.2 if arm == JOINT else 1.2
            panel.plot(
                curve.proba,
                curve.observed,
                linewidth=width,
                label=titles[arm],
                color=colour,
            )
        panel.plot([0, 1], [0, 1], ":", color="black", linewidth=0.8)
        title = "as given" if kind == "raw" else "after temperature scaling"
        panel.set(xlabel="probability", title=title, xlim=(0, 1), ylim=(0, 1))
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("share that is so")
    panels[0].legend(frameon=False, fontsize=8)
    _save(figure, file)


def draw_writing(tests: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Save measures of explanations before and after tuning, and people's as a line."""
    shown = [test for test in tests if test["more_is_better"] is not None]
    figure = Figure(figsize=(2 * max(2, len(shown)), 3.2), layout="constrained")
    for panel, test in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        values = [test["base"], test["joint"]]
        bars = panel.bar(["before", "after"], values, color=COLOURS[::-1])
        panel.bar_label(bars, fmt="%.3f", fontsize=8, padding=2)
        if test["people"] is not None:
            panel.axhline(test["people"], color="black", linewidth=1, linestyle="--")
        arrow = "more is better" if test["more_is_better"] else "less is better"
        panel.set_title(f"{test['metric'].replace('_', ' ')}\n({arrow})", fontsize=9)
        panel.margins(y=0.18)
        panel.axhline(0, color="black", linewidth=0.6)
        panel.spines[["top", "right"]].set_visible(False)
    _save(figure, file)


def _first(
    found: Mapping[int, np.ndarray], cohorts: Mapping[int, Cohort]
) -> tuple[int, np.ndarray, np.ndarray]:
    """Return an arm's first seed, and what is so of its test rows beside what it says."""
    seed = min(found)
    cohort, proba = cohorts[seed], found[seed]
    return seed, cohort.targets(cohort.test)[: len(proba)], proba


def _leaders(scored: Mapping[str, Scored]) -> list[str]:
    """The joint model, and the best other arm of each kind."""
    best: dict[str, str] = {}
    for arm, own in scored.items():
        kind = ARMS[arm].kind
        if arm != JOINT and (kind not in best or own.auroc[0] > scored[best[kind]].auroc[0]):
            best[kind] = arm
    return [JOINT, *best.values()]
