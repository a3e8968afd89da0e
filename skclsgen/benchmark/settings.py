"""What the measurements of speed are run on, and how often."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ..backbone import DEFAULT_MODEL, BaseModel, load_base_model
from ..classifier import CLSGenClassifier
from ..model_source import convert_gguf
from .journal import Journal
from .measure import environment
from .tasks import Task, load_task
from .usual import UsualClassifier

__all__ = ["Settings", "folder_of", "forget"]

#: Fields of the settings that name files.
PATHS = ("data", "journal_file")
#: Fields that say how many runs there are, and nothing about each of them.
HOW_OFTEN = ("repeats", "our_epochs")


@dataclass(frozen=True)
class Settings:
    """What is measured, and how often.

    Attributes
    ----------
    model : str
        Base model of all paths.
    data : Path or None
        Folder with ``esnli/`` and ``clinifact/``.
    repeats : int
        Turns of every path.
    rows, test_rows : int
        Most rows to learn from, and to judge by.
    predicted, explained : int
        Texts to predict and to explain.
    folded : int
        Rows that are cross-validated.
    rank : int
        Of both paths.
    usual_batch_size, usual_epochs : int
        Of the usual path.
    our_epochs : tuple of float
        Passes over the rows to try, in this order, until the usual path's AUROC is reached; less
        than one is one pass over a random part of the rows.
    journal_file : Path or None
        Where every run is noted as soon as it ends; None notes it nowhere.
    """

    model: str = DEFAULT_MODEL
    data: Path | None = None
    repeats: int = 3
    rows: int = 10_000
    test_rows: int = 10_000
    predicted: int = 200
    explained: int = 500
    folded: int = 200
    rank: int = 16
    usual_batch_size: int = 8
    usual_epochs: int = 3
    our_epochs: tuple[float, ...] = (0.5, 1, 2, 3)
    journal_file: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values; of paths only the last part."""
        files = {key: path and path.name for key, path in asdict(self).items() if key in PATHS}
        return asdict(self) | files

    def journal(self, name: str) -> Journal:
        """Return where the runs of a measurement are kept."""
        same = {k: v for k, v in self.to_dict().items() if k not in {*PATHS, *HOW_OFTEN}}
        machine = {k: v for k, v in environment().items() if k not in {"sources", "time"}}
        return Journal(self.journal_file, {"measurement": name} | machine | same)

    def task(self, name: str, seed: int = 0) -> Task:
        """Return a task, cut to size."""
        return load_task(name, self.data, seed).head(self.rows, self.test_rows)

    def classifier(self, **parameters: Any) -> CLSGenClassifier:
        """Return our path, with its defaults."""
        return CLSGenClassifier(self.model, lora_r=self.rank, **parameters)

    def usual(
        self, dtype: torch.dtype, seed: int, rows_at_once: int | None = None
    ) -> UsualClassifier:
        """Return the usual path, loaded."""
        usual = UsualClassifier(
            folder_of(load_base_model(self.model)),
            dtype,
            rank=self.rank,
            batch_size=self.usual_batch_size,
            seed=seed,
            epochs=self.usual_epochs,
            rows_at_once=rows_at_once,
        )
        usual.build()
        return usual


def folder_of(base: BaseModel) -> Path:
    """Return the folder that transformers can load a base model from."""
    if base.info.source in ("gguf", "embedded"):
        return convert_gguf(Path(base.info.path), base.info.fingerprint)
    return Path(base.info.path)


def forget(base: BaseModel) -> None:
    """Empty what a process has read and written before, so that a run starts cold."""
    base.trunk_cache.clear()
    base.rationales.clear()
    base.own_words.clear()
    base.own_states.clear()
