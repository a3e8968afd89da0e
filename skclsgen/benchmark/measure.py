"""Fair timing: paths take turns within one process, and every raw number is kept."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch

from ..devices import resolve_device, resolve_dtype
from ..disk_store import replace_file
from .journal import Journal

__all__ = ["environment", "median", "now", "save_json", "sources", "take_turns", "timed"]

#: Libraries whose versions are recorded.
LIBRARIES = ("skclsgen", "torch", "transformers", "peft", "scikit-learn", "numpy")


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """Return how many seconds ``run`` took, and what it returned."""
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def take_turns(
    paths: Mapping[str, Callable[[int], dict[str, Any]]],
    repeats: int,
    journal: Journal | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Run every path ``repeats`` times, in turns, so that a slow minute hits them alike.

    Parameters
    ----------
    paths : mapping of str to callable
        Each takes the number of the turn (its seed) and returns what it measured.
    repeats : int
    journal : Journal, optional
        Runs found there are not run again; new ones are added.

    Returns
    -------
    dict of str to list of dict
    """
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in paths}
    for turn in range(repeats):
        for name, run in paths.items():
            result = journal.find(name, turn) if journal else None
            source = ""
            if result is None:
                state = {"load_before": os.getloadavg()[0], "started": now(), "sources": sources()}
                result = state | run(turn)
                if journal:
                    journal.add(name, turn, result)
            else:
                same = result.get("sources") == sources()
                source = " (from the journal)" if same else " (from the journal, other sources)"
            found[name].append(result)
            shown = {k: round(v, 3) for k, v in found[name][-1].items() if isinstance(v, float)}
            print(f"  turn {turn + 1}, {name}{source}: {shown}", flush=True)
    return found


@cache
def sources() -> str:
    """Return a digest of the package's sources, to tell runs of different code apart."""
    folder = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        digest.update(file.relative_to(folder).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def now() -> str:
    """Return the time of day in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def median(runs: list[dict[str, Any]], key: str) -> float:
    """Return the median of one measured number over runs."""
    return statistics.median(run[key] for run in runs)


def environment() -> dict[str, Any]:
    """Return versions, processor, threads and type, to be written beside results."""
    return {
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "python": sys.version.split()[0],
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "dtype": str(resolve_dtype("auto", resolve_device("auto"))),
        "sources": sources(),
        "time": now(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((li.split(":", 1)[1].strip() for li in lines if li.startswith("model name")), "")


def save_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` atomically: a killed run leaves the last whole file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    replace_file(file, json.dumps(content, indent=1).encode())
