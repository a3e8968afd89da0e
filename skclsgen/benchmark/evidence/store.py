"""Finished runs, one file each: a killed benchmark goes on, and several processes can share one."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..measure import save_json

__all__ = ["RunStore", "without_nan"]


class RunStore:
    """A folder of runs.

    Parameters
    ----------
    folder : Path
        Made where it is missing.
    heading : mapping of str to JSON value
        What the runs depend on; runs of another heading are not found, and are replaced.

    Examples
    --------
    >>> import tempfile
    >>> store = RunStore(Path(tempfile.mkdtemp()), {"rows": 800})
    >>> with store.claim("joint", 0) as mine:
    ...     store.save("joint", 0, {"auroc": 0.9})
    >>> mine, store.find("joint", 0)
    (True, {'auroc': 0.9})
    """

    def __init__(self, folder: Path, heading: Mapping[str, Any]) -> None:
        self.folder = folder
        self.heading = json.loads(json.dumps(heading))

    def find(self, arm: str, seed: int) -> dict[str, Any] | None:
        """Return a finished run, or None."""
        file = self._file(arm, seed)
        if not file.exists():
            return None
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            same = found["heading"] == self.heading
            return dict(found["result"]) if same else None
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{file} holds no finished run ({error!r}); remove it, or name another folder."
            ) from error

    def save(self, arm: str, seed: int, result: Mapping[str, Any]) -> None:
        """Write a finished run; a killed process leaves none or a whole one."""
        content = {"heading": self.heading, "result": without_nan(dict(result))}
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
    """Return a value with None for NaN, which JSON does not know, and keys as text.

    Examples
    --------
    >>> without_nan({0: [1.5, float("nan")]})
    {'0': [1.5, None]}
    """
    if isinstance(value, dict):
        return {str(key): without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_nan(inner) for inner in value]
    return None if isinstance(value, float) and value != value else value
