"""Runs written down as they end, so that hours of them survive a killed process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..disk_store import replace_file

__all__ = ["Journal"]


class Journal:
    """A file of finished runs, one JSON object a line.

    Parameters
    ----------
    file : Path or None
        Added to, and made where it is missing; without a file nothing is kept.
    heading : mapping of str to JSON value
        What the runs depend on. Runs written down under another heading are not found.

    Raises
    ------
    ValueError
        If a line of the file is no run.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "runs.jsonl"
    >>> Journal(file, {"rows": 800}).add("ours", 0, {"seconds": 1.5})
    >>> Journal(file, {"rows": 800}).find("ours", 0)
    {'seconds': 1.5}
    >>> Journal(file, {"rows": 900}).find("ours", 0) is None
    True
    """

    def __init__(self, file: Path | None, heading: Mapping[str, Any]) -> None:
        self.file = file
        self.heading = json.loads(json.dumps(heading))
        self._runs: dict[tuple[str, int], dict[str, Any]] = {}
        if file is None or not file.exists():
            return
        whole, newline, cut = file.read_text(encoding="utf-8").rpartition("\n")
        if cut:  # a run that was being written down when the process was killed
            replace_file(file, (whole + newline).encode())
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                run = json.loads(line)
                if run["heading"] == self.heading:
                    self._runs[run["path"], run["turn"]] = run["result"]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"line {number} of the journal {file} is no run that ended ({error!r}); "
                    "remove the line, or name another file."
                ) from error

    def find(self, path: str, turn: int) -> dict[str, Any] | None:
        """Return what a turn of a path measured, or None if it has not been run."""
        return self._runs.get((path, turn))

    def add(self, path: str, turn: int, result: dict[str, Any]) -> None:
        """Write down what a turn of a path measured."""
        self._runs[path, turn] = result
        if self.file is None:
            return
        run = {"heading": self.heading, "path": path, "turn": turn, "result": result}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(run) + "\n")
