"""What the loaders of public data sets return: records, labels, and what belongs to each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..text_inputs import check_texts

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LabelledTexts"]


@dataclass(frozen=True, eq=False, repr=False)
class LabelledTexts:
    """Rows of a data set; all fields have the same length.

    Attributes
    ----------
    records : pandas.DataFrame of shape (n_rows, n_columns), str
        What is classified; ``fit`` takes it as it is.
    labels : list of str
    explanations : list of list of str, or None
        What people wrote about why each row has its label: none, one or several per row. ``None``
        if nobody was asked.
    groups : list of str
        Rows of one group share a source; keep them on one side of a split.

    Raises
    ------
    ValueError
        If the fields differ in length.

    Examples
    --------
    >>> import pandas as pd
    >>> records = pd.DataFrame({"claim": ["Rest helps.", "Rest harms."]})
    >>> rows = LabelledTexts(records, ["supported", "unsupported"], None, ["a", "a"])
    >>> rows
    LabelledTexts(2 rows of claim; 1 groups; supported: 1, unsupported: 1)
    >>> rows.take([1]).texts
    ['claim: Rest harms.']
    >>> LabelledTexts(records, rows.labels, [["It does.", "So they say."], []], rows.groups).reasons
    ['It does.', None]
    """

    records: pd.DataFrame
    labels: list[str]
    explanations: list[list[str]] | None
    groups: list[str]

    def __post_init__(self) -> None:
        lengths = {"labels": len(self.labels), "groups": len(self.groups)}
        if self.explanations is not None:
            lengths["explanations"] = len(self.explanations)
        for name, length in lengths.items():
            if length != len(self):
                raise ValueError(
                    f"{name} has {length} entries but records has {len(self)} rows; give one per "
                    "row."
                )

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        counts = ", ".join(f"{x}: {self.labels.count(x)}" for x in sorted(set(self.labels)))
        columns = ", ".join(map(str, self.records.columns))
        groups = len(set(self.groups))
        return f"LabelledTexts({len(self)} rows of {columns}; {groups} groups; {counts})"

    @property
    def texts(self) -> list[str]:
        """The records as the model reads them, lines of ``column: value``."""
        return check_texts(self.records, "records")

    @property
    def reasons(self) -> list[str | None] | None:
        """The first explanation of each row, if any, as ``fit(..., explanations=)`` takes them."""
        if self.explanations is None:
            return None
        return [own[0] if own else None for own in self.explanations]

    def take(self, indices: Sequence[int] | np.ndarray) -> LabelledTexts:
        """Return some of the rows.

        Parameters
        ----------
        indices : array-like of int, or of bool of shape (n_rows,)
            Numbers of the rows in the order wanted, or which rows to keep.

        Returns
        -------
        LabelledTexts

        Raises
        ------
        ValueError
            If ``indices`` is neither.
        """
        rows = _row_numbers(indices, len(self))
        own = self.explanations
        return replace(
            self,
            records=self.records.iloc[rows].reset_index(drop=True),
            labels=[self.labels[row] for row in rows],
            explanations=None if own is None else [own[row] for row in rows],
            groups=[self.groups[row] for row in rows],
        )


def _row_numbers(indices: Any, n_rows: int) -> list[int]:
    chosen = np.asarray(indices)
    if chosen.dtype == bool and chosen.shape == (n_rows,):
        return np.flatnonzero(chosen).tolist()
    if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
        raise ValueError(
            f"indices has dtype {chosen.dtype} and shape {chosen.shape}; pass a list of row "
            f"numbers, or one boolean for each of the {n_rows} rows."
        )
    return chosen.astype(np.intp).tolist()
