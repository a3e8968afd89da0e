"""e-SNLI: does one sentence follow from another, and why, in people's own words."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils import check_random_state

from ..exceptions import DatasetError
from ..optional import require
from ..parameters import Bound, check_number
from .download import fetch_file, local_file
from .labelled_texts import LabelledTexts
from .tables import read_table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["fetch_esnli"]

HOME = "https://raw.githubusercontent.com/OanaMariaCamburu/e-SNLI/master/dataset/"

#: Files at the public home and their SHA-256, on which TensorFlow Datasets and Hugging Face
#: Datasets agree.
FILES = {
    "train": {
        "esnli_train_1.csv": "7311c7bc16ad9f6a9adcd116a62ef991e1803dc0d71e253ce66b975c2aba8ee5",
        "esnli_train_2.csv": "c8827fa2ba1ef5891f077d6fafbfc2fdb6cab1271968b74257e08d3b2b3cbacc",
    },
    "dev": {"esnli_dev.csv": "d7a656d196eea18fd827d6f5486b00f5d4cf469dbf13a252cc211495a186bcb4"},
    "test": {"esnli_test.csv": "9269aa8075dbfed0fa8a5012eb2ac9c18a92be139671f05df897f69092592927"},
}
LABELS = ("entailment", "neutral", "contradiction")
EXPLANATIONS = ("explanation_1", "explanation_2", "explanation_3")
#: What the public home calls its columns.
NAMES = {
    "Sentence1": "premise",
    "Sentence2": "hypothesis",
    "gold_label": "label",
    **{name.capitalize(): name for name in EXPLANATIONS},
}


def fetch_esnli(
    split: str = "test",
    *,
    labels: Sequence[str] = ("entailment", "contradiction"),
    folder: str | os.PathLike[str] | None = None,
    data_home: str | os.PathLike[str] | None = None,
    n_rows: int | None = None,
    random_state: int | np.random.RandomState | None = None,
    verbose: int = 0,
) -> LabelledTexts:
    r"""Load e-SNLI: pairs of sentences with a label and people's explanations of it [1]_.

    Parameters
    ----------
    split : {"test", "dev", "train"}, default="test"
        9,824, 9,842 and 549,367 rows. Rows of ``"dev"`` and ``"test"`` have three explanations,
        those of ``"train"`` one.
    labels : sequence of str, default=("entailment", "contradiction")
        Rows with these labels are kept; ``"neutral"`` is the third.
    folder : str or path, optional
        Local folder with the files of the public home, or with files named ``<split>.csv`` that
        have the columns ``premise``, ``hypothesis``, ``label`` and ``explanation_1`` to
        ``explanation_3``. Its files are taken as they are, and nothing is downloaded.
    data_home : str or path, optional
        Where downloads are kept; by default the user's cache folder. 15 MB for ``"dev"`` and
        ``"test"``, 190 MB for ``"train"``. Downloads are checked against published SHA-256.
    n_rows : int, optional
        Draw that many rows, without replacement; all by default.
    random_state : int, RandomState or None, default=None
        Draws the rows.
    verbose : int, default=0
        Show a progress bar from 1 up.

    Returns
    -------
    LabelledTexts
        Columns ``premise`` and ``hypothesis``, in the order of the file; rows with the same
        premise, which stem from one picture, form a group.

    Raises
    ------
    DatasetError
        If the files are neither there nor to be had, or are not as they should be.
    OptionalDependencyError
        If pandas is not installed.
    ValueError
        If ``split`` or ``labels`` has a name of no split or label, or ``n_rows`` is more than
        there are.

    References
    ----------
    .. [1] Camburu, Rocktäschel, Lukasiewicz, Blunsom (2018). e-SNLI: Natural Language Inference
       with Natural Language Explanations. NeurIPS 31. https://arxiv.org/abs/1812.01193, data
       (MIT): https://github.com/OanaMariaCamburu/e-SNLI

    Examples
    --------
    >>> import tempfile
    >>> here = Path(tempfile.mkdtemp())
    >>> header = "premise,hypothesis,label,explanation_1,explanation_2,explanation_3"
    >>> row = "A dog runs.,An animal moves.,entailment,A dog is an animal.,Running is moving.,"
    >>> _ = (here / "test.csv").write_text(f"{header}\n{row}\n")
    >>> rows = fetch_esnli("test", folder=here)
    >>> print(rows.texts[0])
    premise: A dog runs.
    hypothesis: An animal moves.
    >>> rows.labels, rows.explanations, rows.reasons
    (['entailment'], [['A dog is an animal.', 'Running is moving.']], ['A dog is an animal.'])

    To learn from them: ``clf.fit(rows.records, rows.labels, explanations=rows.reasons)``.
    """
    if split not in FILES:
        raise ValueError(f"split={split!r} is none of {', '.join(map(repr, FILES))}; give one.")
    wanted = [labels] if isinstance(labels, str) else list(labels)
    unknown = [label for label in wanted if label not in LABELS]
    if unknown or not wanted:
        raise ValueError(f"labels={labels!r} is to hold some of {LABELS} and nothing else.")
    if n_rows is not None:
        check_number("n_rows", n_rows, Bound(1, whole=True))
    require("fetch_esnli", "pandas", "pandas")
    table = _read(split, folder, data_home, verbose)
    rows = np.flatnonzero(table["label"].isin(wanted))
    if not len(rows):
        raise DatasetError(
            f"{split} has no rows with the labels {', '.join(wanted)}; ask for others, or give the "
            "file of the data set's home, unchanged."
        )
    if n_rows is not None:
        if n_rows > len(rows):
            raise ValueError(
                f"n_rows={n_rows}, but {split} has {len(rows)} rows with these labels; give a "
                "number from 1 to that."
            )
        rows = np.sort(check_random_state(random_state).permutation(rows)[:n_rows])
    return _labelled(table.iloc[rows].reset_index(drop=True))


def _read(
    split: str,
    folder: str | os.PathLike[str] | None,
    data_home: str | os.PathLike[str] | None,
    verbose: int,
) -> pd.DataFrame:
    import pandas as pd

    tables = [_table(file) for file in _files(split, folder, data_home, verbose)]
    return pd.concat(tables, ignore_index=True).fillna("")


def _table(file: Path) -> pd.DataFrame:
    needed = ["premise", "hypothesis", "label", EXPLANATIONS[0]]
    table = read_table(file, needed, EXPLANATIONS, NAMES).apply(lambda column: column.str.strip())
    strange = sorted(set(table["label"]) - set(LABELS))
    if strange:
        raise DatasetError(
            f"{file} has the labels {strange}, but those of e-SNLI are {', '.join(LABELS)}; give "
            "the file of the data set's home, unchanged."
        )
    return table


def _files(
    split: str,
    folder: str | os.PathLike[str] | None,
    data_home: str | os.PathLike[str] | None,
    verbose: int,
) -> list[Path]:
    if folder is None:
        return [
            fetch_file(HOME + name, sha256, "esnli", data_home, verbose=verbose)
            for name, sha256 in FILES[split].items()
        ]
    first, *others = FILES[split]
    found = local_file(folder, [f"{split}.csv", first])
    # A file of the split's own name is whole.
    return [found, *(local_file(folder, [name]) for name in others if found.name == first)]


def _labelled(table: pd.DataFrame) -> LabelledTexts:
    columns = [table[name] for name in EXPLANATIONS if name in table]
    return LabelledTexts(
        table[["premise", "hypothesis"]],
        table["label"].tolist(),
        [[text for text in cells if text] for cells in zip(*columns, strict=True)],
        table["premise"].tolist(),
    )
