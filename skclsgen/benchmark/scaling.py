"""How time and memory grow with rows and with tokens."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .measure import timed
from .speed import Settings

__all__ = ["growth", "measure_scaling"]

#: Rows of a fit, at e-SNLI's length; tokens of a text, at :data:`ROWS_OF_TOKENS` rows.
ROWS, TOKENS = (100, 300, 1000, 3000), (64, 256, 1024, 2048)
ROWS_OF_TOKENS = 16


def measure_scaling(
    settings: Settings, rows: Sequence[int] = ROWS, tokens: Sequence[int] = TOKENS
) -> dict[str, Any]:
    """Seconds and peak resident memory of one-epoch fits of growing size, labels only.

    Each fit has a process of its own, since a process's peak never falls.
    """
    runs: dict[str, list[dict[str, Any]]] = {"rows": [], "tokens_per_text": []}
    for number in rows:
        runs["rows"].append(_in_a_process(settings.model, number, 48))
    for number in tokens:
        runs["tokens_per_text"].append(_in_a_process(settings.model, ROWS_OF_TOKENS, number))
    return {"runs": runs, "ratios": growth(runs)}


def growth(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, float]:
    """Exponents of time (1 where it is proportional to size), and memory beside model and store.

    Parameters
    ----------
    runs : mapping of str to sequence of dict
        What was measured, by what grew.

    Returns
    -------
    dict of str to float
        ``{size}_exponent``, by least squares over logarithms, and ``peak_beside_store_gib``, the
        most that any run held beside the model and the stored activations.

    Examples
    --------
    >>> point = {"model_bytes": 2**30, "stored_bytes": 2**29, "peak_bytes": 2**31}
    >>> growth({"rows": [point | {"rows": n, "seconds": 2.0 * n} for n in (10, 20)]})
    {'rows_exponent': 1.0, 'peak_beside_store_gib': 0.5}
    """
    found = {}
    for name, points in runs.items():
        size, seconds = (np.log([point[key] for point in points]) for key in (name, "seconds"))
        found[f"{name}_exponent"] = round(float(np.polyfit(size, seconds, 1)[0]), 4)
    beside = (
        point["peak_bytes"] - point["model_bytes"] - point["stored_bytes"]
        for points in runs.values()
        for point in points
    )
    return found | {"peak_beside_store_gib": max(beside) / 2**30}


def _in_a_process(model: str, rows: int, tokens: int) -> dict[str, Any]:
    command = [sys.executable, "-m", __name__, model, str(rows), str(tokens)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    point: dict[str, Any] = json.loads(out.splitlines()[-1])
    print(f"  {rows} rows of {tokens} tokens: {point['seconds']:.1f} s", flush=True)
    return point


def _main() -> None:
    """Fit once in this process, and print what it took as JSON."""
    import resource

    from ..backbone import load_base_model

    model, rows, tokens = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    base = load_base_model(model)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    texts = [_text(number, tokens) for number in range(rows)]
    clf = Settings(model=model).classifier(epochs=1, rationales=None, random_state=0)
    seconds, _ = timed(lambda: clf.fit(texts, [number % 2 for number in range(rows)]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(
        json.dumps(
            {
                "rows": rows,
                "tokens_per_text": tokens,
                "seconds": seconds,
                "model_bytes": before,
                "peak_bytes": peak,
                "stored_bytes": base.trunk_cache.nbytes,
            }
        )
    )


def _text(number: int, tokens: int) -> str:
    """Return a text of about that many tokens, different for every number."""
    words = ("patient", "the", "study", "of", "showed", "a", "result", "and", "dose", "was")
    return " ".join([str(number), *(words[(number + i) % 10] for i in range(tokens - 4))])


if __name__ == "__main__":
    _main()
