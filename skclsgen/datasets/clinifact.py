"""CliniFact: does the abstract of a publication support a claim about a clinical trial."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..exceptions import DatasetError
from ..optional import require
from .download import fetch_file, local_file
from .labelled_texts import LabelledTexts
from .splits import grouped_components
from .tables import read_table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["fetch_clinifact"]

HOME = (
    "https://raw.githubusercontent.com/ds4dh/CliniFact/7b3501a610b2f64c3894122ae1e878f1552f30b0/"
    "data/processed/primary_outcome_publication_dataset/"
)

#: SHA-256 of each split's rows as :func:`_identity` writes them.
IDENTITIES = {
    "train": "daba0a082fa26f0eb389b254f4381f06a07fe7f154b4e410525faebfb172433f",
    "validation": "16deb86ef6988f63cca97cb44d1615e22799a2e4f18d276d2f05607211ead354",
    "test": "bc2a4bc73f18b2d29d31a6f837f81c6b2a53c62d050e012ddd6b21927e88cbb6",
}
LABELS = {"0": "inconclusive", "1": "supported", "2": "no information"}

IDENTIFIERS = ["index", "nctId", "PMID", "label"]
TEXTS = ["claim", "article_title", "article_abstract"]
#: What the public home has instead of the claim.
CLAIM_PARTS = [
    "intervention_group_title",
    "nonInferiorityTypes",
    "comparator_group_title",
    "outcome_title",
    "outcome_timeFrame",
]
#: How a claim words the kind of comparison.
COMPARISONS = {
    "Superiority": "superior",
    "Non-Inferiority": "non-inferior",
    "Equivalence": "equivalent",
    "Non-Inferiority or Equivalence": "non-inferior or equivalent",
    "Superiority or Other": "superior or other",
}


def fetch_clinifact(
    split: str = "train",
    *,
    binary: bool = True,
    folder: str | os.PathLike[str] | None = None,
    data_home: str | os.PathLike[str] | None = None,
    verbose: int = 0,
) -> LabelledTexts:
    r"""Load CliniFact: claims about clinical trials, each with a publication [1]_.

    The official splits share trials: 248 of the 394 test rows are about a trial that is also in
    ``"train"`` or ``"validation"``. To judge by what was never met, split ``"all"`` with
    :func:`leak_free_split`, or keep the test rows that :func:`rows_without_leak` finds.

    Parameters
    ----------
    split : {"train", "validation", "test", "all"}, default="train"
        1,260, 316, 394 and, in this order, all 1,970 rows.
    binary : bool, default=True
        Labels ``"supported"`` (the abstract supports the claim) and ``"unsupported"``; with
        False the latter is either ``"inconclusive"`` (the trial did not confirm the claim) or
        ``"no information"`` (the abstract does not say).
    folder : str or path, optional
        Local folder with the three files of the public home, or with ``train.csv``,
        ``validation.csv`` and ``test.csv`` that have the columns ``index``, ``nctId``, ``PMID``,
        ``claim``, ``article_title``, ``article_abstract`` and ``label``. Its files are taken as
        they are, and nothing is downloaded.
    data_home : str or path, optional
        Where downloads (6 MB) are kept; by default the user's cache folder.
    verbose : int, default=0
        Show a progress bar from 1 up.

    Returns
    -------
    LabelledTexts
        Columns ``claim``, ``article_title`` and ``article_abstract``. Groups join rows that share
        a trial or a publication, over all three splits, and bear the name of their first trial;
        so groups of different splits can be compared.

    Raises
    ------
    DatasetError
        If the files are neither there nor to be had, or are not as they should be.
    OptionalDependencyError
        If pandas is not installed.
    ValueError
        If ``split`` is none of the four.

    Notes
    -----
    Files come from one fixed commit of the public home. Nobody has published their SHA-256: which
    rows there are, in which order and with which label, is checked against a digest in this
    package; the files' own digests are recorded at the first download and checked from then on
    (see :func:`~skclsgen.datasets.download.fetch_file`), so a text changed before that would pass.

    References
    ----------
    .. [1] Zhang, Bornet, Yazdani, Khlebnikov, Milutinovic, Rouhizadeh, Amini, Teodoro (2025). A
       dataset for evaluating clinical research claims in large language models. Scientific Data
       12, 86. https://doi.org/10.1038/s41597-025-04417-x, data (MIT):
       https://github.com/ds4dh/CliniFact

    Examples
    --------
    >>> import tempfile
    >>> here = Path(tempfile.mkdtemp())
    >>> header = "index,nctId,PMID,claim,article_title,article_abstract,label"
    >>> for name, trial, label in [("train", 1, 1), ("validation", 2, 0), ("test", 1, 2)]:
    ...     row = f"7,NCT{trial},9{label},A is superior to B,A and B,We compared A and B.,{label}"
    ...     _ = (here / f"{name}.csv").write_text(f"{header}\n{row}\n")
    >>> rows = fetch_clinifact("all", folder=here)
    >>> rows.labels, rows.groups
    (['supported', 'unsupported', 'unsupported'], ['NCT1', 'NCT2', 'NCT1'])
    >>> fetch_clinifact("test", binary=False, folder=here).labels
    ['no information']
    """
    if split not in (*IDENTITIES, "all"):
        raise ValueError(
            f"split={split!r} is none of {', '.join(map(repr, IDENTITIES))}, 'all'; give one."
        )
    require("fetch_clinifact", "pandas", "pandas")
    import pandas as pd

    tables = [_read(name, folder, data_home, verbose) for name in IDENTITIES]
    table = pd.concat(tables, keys=list(IDENTITIES), names=["split"])
    components = grouped_components(table["nctId"].tolist(), table["PMID"].tolist())
    names = table["nctId"].where(table["nctId"] != "", table["PMID"])
    table["group"] = names.groupby(components).transform("min")
    if split != "all":
        table = table.loc[[split]]
    labels = table["label"].map(LABELS)
    if binary:
        labels = labels.where(labels == "supported", "unsupported")
    records = table[TEXTS].reset_index(drop=True)
    return LabelledTexts(records, labels.tolist(), None, table["group"].tolist())


def _read(
    name: str,
    folder: str | os.PathLike[str] | None,
    data_home: str | os.PathLike[str] | None,
    verbose: int,
) -> pd.DataFrame:
    """Read one split."""
    file = _file(name, folder, data_home, verbose)
    table = read_table(file, [*IDENTIFIERS, *TEXTS[1:]], ["claim", *CLAIM_PARTS])
    if "claim" not in table:
        table["claim"] = _claims(table, file)
    strange = sorted(set(table["label"]) - set(LABELS))
    if strange:
        raise DatasetError(f"{file} has the labels {strange}; those of CliniFact are 0, 1 and 2.")
    if folder is None and _identity(table) != IDENTITIES[name]:
        raise DatasetError(
            f"{file} does not hold the rows and labels of CliniFact's {name} split; delete it and "
            f"{file.name}.sha256 to download it anew."
        )
    return table


def _file(
    name: str,
    folder: str | os.PathLike[str] | None,
    data_home: str | os.PathLike[str] | None,
    verbose: int,
) -> Path:
    if folder is not None:
        return local_file(folder, [f"{name}.csv", f"{name}_set.csv"])
    return fetch_file(f"{HOME}{name}_set.csv", None, "clinifact", data_home, verbose=verbose)


def _identity(table: pd.DataFrame) -> str:
    """Digest of index, trial, publication and label of all rows, one comma-joined line each."""
    lines = (",".join(row) for row in zip(*(table[name] for name in IDENTIFIERS), strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _claims(table: pd.DataFrame, file: Path) -> list[str]:
    """Word the claims as the authors' training script does."""
    absent = [column for column in CLAIM_PARTS if column not in table]
    if absent:
        raise DatasetError(
            f"{file} has neither the column 'claim' nor {', '.join(map(repr, absent))}; give the "
            "file of the data set's home, unchanged."
        )
    claims = []
    for row in table[CLAIM_PARTS].itertuples(index=False, name=None):
        intervention, kind, comparator, outcome, time = row
        comparison = COMPARISONS.get(kind.strip("[]'\" "))  # a list of one, as text
        if comparison is None:
            raise DatasetError(
                f"{file} has the kind of comparison {kind}, which CliniFact does not; give the "
                "file of the data set's home, unchanged."
            )
        claims.append(
            f"{intervention} is {comparison} to {comparator} in terms of {outcome} {time}"
        )
    return claims
