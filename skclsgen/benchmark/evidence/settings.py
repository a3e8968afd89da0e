"""How much evidence is gathered, on what."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...model_source import DEFAULT_MODEL, find_base_model
from .prompts import prompts_digest

__all__ = ["EvidenceSettings"]

#: Fields that say where things are or how often they are done, and two that runs tell themselves.
NOT_OF_A_RUN = ("data", "memory", "seeds", "slow_train_rows", "few_rows")


@dataclass(frozen=True)
class EvidenceSettings:
    """What is compared, and on how many rows.

    Attributes
    ----------
    dataset : str
        One of :data:`~skclsgen.benchmark.evidence.cohorts.DATASETS`.
    model : str
        Base model of all arms that have one.
    data : Path or None
        Folder with ``esnli/`` and ``clinifact/``; None fetches them from their public homes.
    memory : Path or None
        Folder in which what is computed once about a text is kept for all tuned arms and seeds, as
        :class:`~skclsgen.CLSGenClassifier` has it; their times then leave that out.
    seeds : int
        Fits of every arm that depends on chance; of every arm, where data are cross-validated.
    train_rows, development_rows, test_rows : int
        Most rows to learn from, to choose thresholds and temperatures by, and to judge by.
    slow_train_rows : int or None
        Most rows to learn from of arms that learn too slowly for all of ``train_rows``; None is no
        such limit. Every run tells how many it had.
    few_rows : int
        Most development and test rows of arms that ask too much of each text. Every run tells how
        many it had.
    written_rows : int
        Test rows for which explanations are written and judged.
    passages : int
        Of general text, by which the language is judged.
    epochs : int
        Of every arm that is tuned: the same budget for all.
    samples, opponents, examples : int
        Replies sampled, texts compared with, and training rows shown, for each text, in arms that
        do so.
    """

    dataset: str
    model: str = DEFAULT_MODEL
    data: Path | None = None
    memory: Path | None = None
    seeds: int = 5
    train_rows: int = 800
    development_rows: int = 300
    test_rows: int = 2000
    slow_train_rows: int | None = None
    few_rows: int = 300
    written_rows: int = 500
    passages: int = 120
    epochs: int = 2
    samples: int = 5
    opponents: int = 4
    examples: int = 8

    def heading(self) -> dict[str, Any]:
        """Return what is asked of a run: settings, and the wording of the prompts.

        On which rows, the runs' folder adds; on which machine, with which versions, every run says
        of itself.
        """
        own = {key: value for key, value in asdict(self).items() if key not in NOT_OF_A_RUN}
        name = self.model
        if Path(name).exists():  # many folders are called "checkpoint-300"
            name = f"{Path(name).name} {find_base_model(name).fingerprint[:12]}"
        return own | {"model": name, "prompts": prompts_digest()}
