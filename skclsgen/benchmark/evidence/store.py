"""Finished runs, one file each: a killed benchmark goes on, and several processes can share one."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..measure import save_json

__all__ = ["RunStore", "UnusableRunError", "without_nan"]


class UnusableRunError(ValueError):
    """What is kept is no finished run, or one of other settings or rows."""


class RunStore:
    """A folder of runs.

    Parameters
    ----------
    folder : Path
        Made where it is missing.
    headings : mapping of seed to mapping of str to JSON value
        What the runs of every seed depend on; runs of another heading are an error.

    Examples
    --------
    >>> import tempfile
    >>> store = RunStore(Path(tempfile.mkdtemp()), {0: {"epochs": 2}})
    >>> with store.claim("joint", 0) as mine:
    ...     store.save("joint", 0, {"auroc": 0.9})
    >>> mine, store.find("joint", 0)
    (True, {'auroc': 0.9})
    """

    def __init__(self, folder: Path, headings: Mapping[int, Mapping[str, Any]]) -> None:
        self.folder = folder
        self.headings = {
            seed: json.loads(json.dumps(heading)) for seed, heading in headings.items()
        }

    def find(self, arm: str, seed: int) -> dict[str, Any] | None:
        """Return a finished run, or None.

        Raises
        ------
        UnusableRunError
            If what is there is no finished run, or one of another heading: it may have taken hours,
            so it is neither used nor replaced.
        """
        file = self._file(arm, seed)
        if not file.exists():
            return None
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            heading, result = dict(found["heading"]), dict(found["result"])
        except (ValueError, KeyError, TypeError) as error:
            raise UnusableRunError(
                f"{file} holds no finished run ({error!r}); remove it, or name another folder."
            ) from error
        asked = self.headings[seed]
        other = [
            f"{key} {heading.get(key)!r} instead of {asked.get(key)!r}"
            for key in sorted(heading.keys() | asked.keys())
            if heading.get(key) != asked.get(key)
        ]
        if other:
            raise UnusableRunError(
                f"{file} is a run with {', '.join(other)}; name another folder with --work, or "
                "remove it."
            )
        return result

    def save(self, arm: str, seed: int, result: Mapping[str, Any]) -> None:
        """Write a finished run; a killed process leaves none or a whole one."""
        content = {"heading": self.headings[seed], "result": without_nan(dict(result))}
        save_json(self._file(arm, seed), content)

    @contextlib.contextmanager
    def claim(self, arm: str, seed: int) -> Iterator[bool]:
        """Tell whether this process may do a run, and keep others from it meanwhile.

        The system lets go of a claim when its process ends, however it ends.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._file(arm, seed).with_suffix(".lock"), timeout=0)
        try:
            lock.acquire()
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def _file(self, arm: str, seed: int) -> Path:
        return self.folder / f"{arm}-{seed}.json"


def without_nan(value: Any) -> Any:
    """Return a value with None for NaN and infinity, which JSON does not know, and keys as text.

    Examples
    --------
    >>> without_nan({0: [1.5, float("nan")]})
    {'0': [1.5, None]}
    """
    if isinstance(value, dict):
        return {str(key): without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
