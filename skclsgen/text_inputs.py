"""Turn what callers pass as texts, or as records with columns, into plain texts.

Every check raises before any expensive work, with one sentence that names the argument, what was
found and the remedy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .exceptions import InvalidTextError

__all__ = [
    "as_text",
    "check_encodable",
    "check_same_columns",
    "check_texts",
    "column_names",
    "is_missing",
    "rereadable",
]

#: What ``str()`` would write out as ``b'...'``.
BYTES = (bytes, bytearray)


def as_text(value: Any) -> str:
    """Return a value as a plain string: a string's subclass, such as an enum, as what it holds."""
    return str.__str__(value) if isinstance(value, str) else str(value)


def is_missing(value: Any) -> bool:
    """Tell ``None``, NaN and pandas' missing values from everything else."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))


def check_encodable(text: str, what: str, error: type[ValueError]) -> None:
    """Raise ``error`` if a text has half of a character, as when an emoji is cut in two."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise error(
            f"{what} has a lone surrogate, half of a character, which no tokenizer can read; "
            "replace it: text.encode('utf-8', 'replace').decode()."
        ) from None


def column_names(X: Any) -> list[str] | None:
    """Column names of a DataFrame of records, ``None`` for anything else.

    Raises
    ------
    InvalidTextError
        If ``X`` is a table of pyarrow, whose columns are no names and whose cells no strings.
    """
    if not hasattr(X, "columns") or len(getattr(X, "shape", ())) != 2:
        return None  # a Series has its labels as attributes, and one may be called "columns"
    if hasattr(X, "to_pylist"):
        raise InvalidTextError(
            f"X is a {type(X).__name__!r} of pyarrow; pass X.to_pandas(), a DataFrame."
        )
    return [str(name) for name in X.columns]


def rereadable(X: Any) -> Any:
    """Return ``X``, as a list if it is an iterator, which could be read only once."""
    return list(X) if isinstance(X, Iterator) else X


def check_texts(X: Any, name: str = "X") -> list[str]:
    """Return the texts in ``X`` as a list of strings.

    Parameters
    ----------
    X : list, tuple, array or Series of str, or DataFrame
        A DataFrame's rows are records; each becomes lines of ``column: value``.
    name : str
        How the messages call the argument.

    Returns
    -------
    list of str

    Raises
    ------
    InvalidTextError
        If ``X`` is no such collection or has no rows, or a row is not a string, is missing, is
        blank or has a lone surrogate.

    Examples
    --------
    >>> check_texts(("a claim", "another"))
    ['a claim', 'another']
    """
    if isinstance(X, (str, bytes)):
        raise InvalidTextError(f"{name} is a single string; put it in a list: [{name}].")
    if isinstance(X, Mapping):
        raise InvalidTextError(
            f"{name} is {type(X).__name__!r}, whose keys are no texts; pass the texts alone, such "
            f"as {name}['text'], or a DataFrame of records."
        )
    if isinstance(X, (set, frozenset)):
        raise InvalidTextError(
            f"{name} is {type(X).__name__!r}, which has no order; put the texts in a list."
        )
    columns = column_names(X)
    values = _records(X, columns, name) if columns is not None else _rows(X, name)
    if not values:
        raise InvalidTextError(f"{name} is empty (0 samples); pass at least one text.")
    for row, value in enumerate(values):
        if not isinstance(value, str):
            what = "missing (None or NaN)" if is_missing(value) else f"{type(value).__name__!r}"
            way = ".decode()" if isinstance(value, BYTES) else "str()"
            if isinstance(value, (Mapping, list, tuple)):
                raise InvalidTextError(
                    f"{name}[{row}] is {what}, not a string; pass records as pandas.DataFrame"
                    f"({name}), with a column for each of their parts."
                )
            raise InvalidTextError(
                f"{name}[{row}] is {what}, not a string; drop the row or convert it with {way}."
            )
        if not value.strip():
            raise InvalidTextError(
                f"{name}[{row}] is empty or white space; drop the row or give it a text."
            )
        check_encodable(value, f"{name}[{row}]", InvalidTextError)
    return list(map(as_text, values))


def _rows(X: Any, name: str) -> list[Any]:
    shape = getattr(X, "shape", None)
    if shape is not None and len(shape) == 2 and shape[1] == 1:
        X = np.asarray(X).ravel()
    elif shape is not None and len(shape) != 1:
        raise InvalidTextError(
            f"{name} has shape {tuple(shape)}; pass one text per row, or a DataFrame of records."
        )
    try:
        return list(X)
    except TypeError:
        raise InvalidTextError(
            f"{name} is {type(X).__name__!r}; pass a list, tuple, array or Series of strings, or "
            "a DataFrame of records."
        ) from None


def _records(X: Any, columns: Sequence[str], name: str) -> list[str]:
    if not columns or len(set(columns)) < len(columns):
        raise InvalidTextError(
            f"{name} has no columns or two of the same name ({', '.join(columns)}); give each "
            "column a name of its own."
        )
    values = [list(X[column]) for column in X.columns]
    for column, cells in zip(columns, values, strict=True):
        for row, cell in enumerate(cells):
            if is_missing(cell):
                raise InvalidTextError(
                    f"{name}[{column!r}] is missing (None or NaN) in row {row}; fill it, for "
                    "instance with an empty string."
                )
            if isinstance(cell, BYTES):
                raise InvalidTextError(
                    f"{name}[{column!r}] is {type(cell).__name__!r} in row {row}, not a string; "
                    "convert the column's cells with .decode()."
                )
    rows = zip(*values, strict=True)
    return [_record_text(columns, cells) for cells in rows]


def _record_text(columns: Sequence[str], cells: Sequence[Any]) -> str:
    texts = [as_text(cell).strip() for cell in cells]
    if not any(texts):
        return ""
    return "\n".join(f"{column}: {text}" for column, text in zip(columns, texts, strict=True))


def check_same_columns(X: Any, fitted: np.ndarray | None) -> None:
    """Raise ``InvalidTextError`` if records have other columns than those ``fit`` saw."""
    columns = column_names(X)
    if fitted is None and columns is None:
        return
    if fitted is None or columns is None or list(fitted) != columns:
        had = "texts" if fitted is None else f"records with the columns {list(fitted)}"
        has = "texts" if columns is None else f"records with the columns {columns}"
        raise InvalidTextError(f"X holds {has}, but fit was given {had}; pass the same here.")
