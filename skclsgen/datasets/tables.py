"""Read the CSV files of public data sets, every cell as the words it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..exceptions import DatasetError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_table"]


def read_table(
    file: Path,
    needed: Sequence[str],
    optional: Sequence[str] = (),
    names: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    r"""Read some columns of a CSV file in UTF-8 as strings.

    Parameters
    ----------
    file : Path
    needed, optional : sequence of str
        Columns to read; without one of the needed ones the file is refused.
    names : mapping of str to str, optional
        What columns are called in the file, where that differs.

    Returns
    -------
    pandas.DataFrame
        Words such as "NA" stay words, and empty cells are empty strings.

    Raises
    ------
    DatasetError
        If the file is no CSV file, lacks a column, or has no rows.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "table.csv"
    >>> _ = file.write_text("Claim,size\nNA,3\n")
    >>> read_table(file, ["claim"], names={"Claim": "claim"}).to_dict("list")
    {'claim': ['NA']}
    """
    import pandas as pd

    renamed = dict(names or {})
    wanted = {*needed, *optional}
    try:
        table = pd.read_csv(
            file,
            dtype=str,
            keep_default_na=False,
            encoding="utf-8",
            usecols=lambda column: renamed.get(column, column) in wanted,
        ).rename(columns=renamed)
    except ValueError as error:  # what pandas raises for malformed CSV derives from it
        raise DatasetError(
            f"{file} cannot be read as a CSV file ({error}); download it anew."
        ) from error
    absent = [column for column in needed if column not in table]
    if absent:
        raise DatasetError(
            f"{file} has no column {', '.join(map(repr, absent))}; give the file of the data "
            "set's home, unchanged."
        )
    if table.empty:
        raise DatasetError(
            f"{file} has a header and no rows; give the file of the data set's home, unchanged."
        )
    return table.fillna("")  # cells of rows cut short
