"""How time and memory grow with rows and with tokens."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from .measure import take_turns, timed
from .settings import Settings

__all__ = ["growth", "measure_scaling"]

#: Rows of a fit, at e-SNLI's length; tokens of a text, at :data:`ROWS_OF_TOKENS` rows.
ROWS, TOKENS = (100, 300, 1000, 3000), (64, 256, 1024, 2048)
ROWS_OF_TOKENS = 16
#: What a fit reports.
MEASURED = ("rows", "tokens_per_text", "seconds", "model_bytes", "peak_bytes", "stored_bytes")


def measure_scaling(
    settings: Settings, rows: Sequence[int] = ROWS, tokens: Sequence[int] = TOKENS
) -> dict[str, Any]:
    """Seconds and peak resident memory of one-epoch fits of growing size, labels only.

    Each fit has a process of its own, since a process's peak never falls.
    """
    sizes = [*((number, 48) for number in rows), *((ROWS_OF_TOKENS, number) for number in tokens)]
    found = take_turns(
        {f"{n} rows of {length} tokens": _fit_of(settings.model, n, length) for n, length in sizes},
        settings.repeats,
        settings.journal("scaling"),
    )
    points = [
        {key: statistics.median(run[key] for run in turns) for key in MEASURED}
        for turns in found.values()
    ]
    curves = {"rows": points[: len(rows)], "tokens_per_text": points[len(rows) :]}
    return {"runs": found, "curves": curves, "ratios": growth(curves)}


def growth(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, float | None]:
    """How fast time grows at the large end, and memory beside model and store.

    Parameters
    ----------
    curves : mapping of str to sequence of dict
        Medians by size, by what grows.

    Returns
    -------
    dict of str to float or None
        ``{what grows}_exponent``: with the last step in size, time grew like size to the power of
        this (1 is in proportion; None for a single size). ``peak_beside_store_gib``: the most that
        any fit held beside the model and the stored activations.

    Examples
    --------
    >>> point = {"model_bytes": 2**30, "stored_bytes": 2**29, "peak_bytes": 2**31}
    >>> curve = [point | {"rows": n, "seconds": s} for n, s in ((10, 8), (20, 10), (40, 20))]
    >>> growth({"rows": curve})
    {'rows_exponent': 1.0, 'peak_beside_store_gib': 0.5}
    """
    found: dict[str, float | None] = {}
    for name, points in curves.items():
        steps = [
            math.log(b["seconds"] / a["seconds"]) / math.log(b[name] / a[name])
            for a, b in pairwise(points)
        ]
        found[f"{name}_exponent"] = steps[-1] if steps else None
    beside = (
        point["peak_bytes"] - point["model_bytes"] - point["stored_bytes"]
        for points in curves.values()
        for point in points
    )
    return found | {"peak_beside_store_gib": max(beside) / 2**30}


def _fit_of(model: str, rows: int, tokens: int) -> Callable[[int], dict[str, Any]]:
    """Return what fits once, in a process of its own."""

    def run(turn: int) -> dict[str, Any]:
        command = [sys.executable, "-m", __name__, model, str(rows), str(tokens), str(turn)]
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        point: dict[str, Any] = json.loads(out.splitlines()[-1])
        return point

    return run


def _main() -> None:
    """Fit once in this process, and print what it took as JSON."""
    import resource

    from ..backbone import load_base_model

    model, (rows, tokens, seed) = sys.argv[1], map(int, sys.argv[2:])
    base = load_base_model(model)
    clf = Settings(model=model).classifier(epochs=1, rationales=None, random_state=seed)
    clf.fit([_text(-1, 16), _text(-2, 16)], [0, 1])  # kernels are made now
    held = sum(p.nbytes for p in base.lm.parameters())
    texts = [_text(number, tokens) for number in range(rows)]
    seconds, _ = timed(lambda: clf.fit(texts, [number % 2 for number in range(rows)]))
    measured = {
        "rows": rows,
        "tokens_per_text": tokens,
        "seconds": seconds,
        "model_bytes": held,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "stored_bytes": base.trunk_cache.nbytes,
    }
    print(json.dumps(measured))


def _text(number: int, tokens: int) -> str:
    """Return a text of about that many tokens, different for every number."""
    words = ("patient", "the", "study", "of", "showed", "a", "result", "and", "dose", "was")
    return " ".join([str(number), *(words[(number + i) % 10] for i in range(tokens - 4))])


if __name__ == "__main__":
    _main()
