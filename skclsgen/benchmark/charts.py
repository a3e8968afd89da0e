"""Pictures of the measurements."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

__all__ = ["draw_ratios", "draw_scaling"]

#: Ours, and what it is compared with.
COLOURS = ("#c8553d", "#8a94a6")
#: How keys of ratios end that are shares or costs, not "times faster".
OTHER = ("_roof_share", "_over_fit", "_exponent", "_gib", "_loss", "_gain")


def draw_ratios(ratios: Mapping[str, float | None], file: Path) -> None:
    """Save bars of how many times faster we are."""
    shown = {k: v for k, v in ratios.items() if v is not None and not k.endswith(OTHER)}
    if not shown:
        return
    figure = Figure(figsize=(8, 0.9 + 0.36 * len(shown)), layout="constrained")
    axes = figure.subplots()
    names = [name.replace("_", " ") for name in shown]
    bars = axes.barh(names, list(shown.values()), color=COLOURS[0])
    axes.bar_label(bars, fmt=" %.1f x")
    axes.axvline(1, color=COLOURS[1], linestyle="--", linewidth=1)
    axes.set(xlabel="times faster than the usual path", xlim=(0, 1.15 * max(shown.values())))
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=130)


def draw_scaling(curves: Mapping[str, list[dict[str, Any]]], file: Path) -> None:
    """Save time and peak memory against rows and against tokens."""
    figure = Figure(figsize=(10, 7), layout="constrained")
    axes = figure.subplots(2, len(curves), squeeze=False)
    for column, (name, points) in enumerate(curves.items()):
        size = [point[name] for point in points]
        for row, (key, label, scale) in enumerate(
            (("seconds", "seconds of fit", 1), ("peak_bytes", "peak memory, GiB", 2**30))
        ):
            panel = axes[row, column]
            found = [point[key] / scale for point in points]
            panel.plot(size, found, "o-", color=COLOURS[0])
            if key == "seconds":
                line = {"linestyle": "--", "color": COLOURS[1], "linewidth": 1}
                panel.plot([0, size[-1]], [0, found[-1]], label="in proportion", **line)
                panel.legend(frameon=False)
            panel.set(xlabel=name.replace("_", " "), ylabel=label, ylim=(0, 1.08 * max(found)))
            panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=130)
