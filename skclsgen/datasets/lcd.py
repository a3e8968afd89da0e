"""LCD: who dies within weeks of leaving hospital, from the discharge note."""

from __future__ import annotations

import hashlib
import json
import operator
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from functools import reduce
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ..exceptions import DatasetError
from ..optional import require
from .labelled_texts import LabelledTexts

__all__ = ["benchmark_text", "load_lcd", "note_key"]

SPLITS = ("train", "dev", "test")
LABELS = {"0": "survived", "1": "died"}
COLUMNS = ["note_id", "subject_id", "text"]

#: Notes read at a time; discharge.csv has 331,793 in 3.3 GB.
CHUNK = 5000

#: Part of the benchmark's keys.
SALT = "Landmark Center 401 park drive"
CHARACTERS = str.maketrans({"\n": " <cr> ", "\r": " <cr> ", "\t": " ", '"': ""})


def load_lcd(
    notes: str | os.PathLike[str],
    labels: str | os.PathLike[str],
    split: str = "test",
    *,
    days: int = 30,
    verbose: int = 0,
) -> LabelledTexts:
    r"""Load the LCD benchmark [1]_ from your own copy of MIMIC-IV-Note.

    The notes may be had by those who signed PhysioNet's data use agreement only, which also binds
    what you do with what this function returns. The public label file names notes by keys that
    can be computed from a note, but lead back to none.

    Parameters
    ----------
    notes : str or path
        ``discharge.csv`` or ``discharge.csv.gz`` of MIMIC-IV-Note 2.2,
        https://physionet.org/content/mimic-iv-note/2.2/. It is read in pieces, which takes some
        minutes.
    labels : str or path
        ``out_hospital_mortality_<days>/labels.json`` of
        https://github.com/Machine-Learning-for-Medical-Language/long-clinical-doc.
    split : {"test", "dev", "train", "all"}, default="test"
        7,568, 7,505, 34,759 and all 49,832 notes.
    days : {30, 60, 90}, default=30
        Days after discharge within which death counts.
    verbose : int, default=0
        Show a progress bar from 1 up.

    Returns
    -------
    LabelledTexts
        Column ``discharge_note``, worded as in the benchmark; labels ``"died"`` and
        ``"survived"``; groups are patients (``subject_id``).

    Raises
    ------
    DatasetError
        If a file is missing or of another shape, or notes named by the labels are not there.
    OptionalDependencyError
        If pandas is not installed.
    ValueError
        If ``split`` is none of the four.

    References
    ----------
    .. [1] Yoon, Chen, Gao, Zhao, Dligach, Bitterman, Afshar, Miller (2025). LCD benchmark: long
       clinical document benchmark on mortality prediction for language models. JAMIA 32(2).
       https://doi.org/10.1093/jamia/ocae287

    Examples
    --------
    >>> import tempfile
    >>> here = Path(tempfile.mkdtemp())
    >>> _ = (here / "discharge.csv").write_text("note_id,subject_id,text\n1-DS-2,1,Went home.\n")
    >>> entry = {"data_type": "test", "out_hospital_mortality_30": 0}
    >>> known = {note_key("1-DS-2", "Went home."): entry}
    >>> _ = (here / "labels.json").write_text(json.dumps(known))
    >>> rows = load_lcd(here / "discharge.csv", here / "labels.json")
    >>> rows.texts, rows.labels
    (['discharge_note: Went home.'], ['survived'])
    """
    if split not in (*SPLITS, "all"):
        raise ValueError(f"split={split!r} is none of {', '.join(map(repr, SPLITS))}, 'all'.")
    require("load_lcd", "pandas", "pandas")
    import pandas as pd

    source = Path(notes).expanduser()
    if not source.is_file():
        raise DatasetError(
            f"notes={str(source)!r} is not a file; give the discharge.csv or discharge.csv.gz of "
            "your copy of MIMIC-IV-Note."
        )
    wanted = _labels(Path(labels).expanduser(), split, days)
    found: dict[str, tuple[str, str]] = {}
    with tqdm(desc="discharge notes", unit="note", disable=verbose < 1) as bar:
        for note_id, patient, note in _notes(source):
            bar.update()
            text = benchmark_text(note)
            key = note_key(note_id, text)
            if key in wanted:
                found[key] = (patient, text)
                if len(found) == len(wanted):
                    break
    if len(found) < len(wanted):
        raise DatasetError(
            f"notes={str(source)!r} has {len(found)} of the {len(wanted)} notes that labels names "
            f"for split={split!r}; {len(wanted) - len(found)} are missing. Give the unchanged "
            "discharge.csv of MIMIC-IV-Note 2.2."
        )
    return LabelledTexts(
        pd.DataFrame({"discharge_note": [text for _, text in found.values()]}, dtype=str),
        [wanted[key] for key in found],
        None,
        [patient for patient, _ in found.values()],
    )


def benchmark_text(note: str) -> str:
    r"""Word a note as the benchmark does: line ends as ``<cr>``, no quotes, no blanked-out parts.

    Examples
    --------
    >>> benchmark_text('Name:  ___ \nHe said "fine".')
    'Name: <cr> He said fine.'
    """
    plain = note.replace("&#039;", "'").translate(CHARACTERS)
    return " ".join(re.sub(r"_{2,}\s*", "", plain).split())


def note_key(note_id: str, text: str) -> str:
    """Return the key by which the benchmark's label file calls a note.

    The SHA-256 of the note's id, of its text and of a constant, joined by exclusive or; of that
    the first 30 hexadecimal digits behind ``0x``.

    Parameters
    ----------
    note_id : str
        Such as ``"10000000-DS-1"``.
    text : str
        As :func:`benchmark_text` words it.

    Examples
    --------
    >>> note_key("1-DS-2", "Went home.")
    '0x2a636365da77f885a868c5bc3fa1ea'
    """
    digests = (hashlib.sha256(part.encode()).digest() for part in (note_id, text, SALT))
    return hex(reduce(operator.xor, (int.from_bytes(digest, "big") for digest in digests)))[:32]


def _notes(file: Path) -> Iterator[tuple[str, str, str]]:
    """Read id, patient and text of one note after another."""
    import pandas as pd

    options: dict[str, Any] = {"usecols": COLUMNS, "dtype": str, "keep_default_na": False}
    try:
        with pd.read_csv(file, chunksize=CHUNK, **options) as chunks:
            for chunk in chunks:
                whole = chunk.fillna("")  # cells of rows cut short
                yield from zip(*(whole[column] for column in COLUMNS), strict=True)
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise DatasetError(
            f"notes={str(file)!r} cannot be read as a CSV file with the columns "
            f"{', '.join(COLUMNS)} ({error}); give the discharge.csv of MIMIC-IV-Note."
        ) from error


def _labels(file: Path, split: str, days: int) -> dict[str, str]:
    """Read the labels of a split, by the keys of their notes."""
    field = f"out_hospital_mortality_{days}"
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
        chosen = {
            key: LABELS[str(entry[field])]
            for key, entry in _items(entries)
            if split in ("all", entry["data_type"])
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"labels={str(file)!r} is not a label file of the benchmark for days={days} "
            f"({type(error).__name__}: {error}); give {field}/labels.json."
        ) from error
    if not chosen:
        raise DatasetError(
            f"labels={str(file)!r} has no notes of split={split!r}; give {field}/labels.json."
        )
    return chosen


def _items(entries: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not isinstance(entries, dict):
        raise TypeError(f"a {type(entries).__name__}, not an object")
    yield from entries.items()
