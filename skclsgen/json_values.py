"""Parameters and fitted values as JSON, and back."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from .exceptions import SavedModelError

__all__ = ["decode_value", "encode_value"]


def encode_value(value: Any, name: str) -> Any:
    """Turn a parameter or fitted value into JSON that :func:`decode_value` reads back.

    Raises
    ------
    SavedModelError
        If the value has no faithful JSON form; ``name`` says which it was.
    """
    if isinstance(value, np.generic):
        return encode_value(value.item(), name)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.ndarray):
        values = [encode_value(v, name) for v in value.tolist()]
        return {"kind": "array", "dtype": value.dtype.str, "values": values}
    if isinstance(value, (list, tuple)):
        items = [encode_value(v, name) for v in value]
        return {"kind": type(value).__name__, "values": items}
    if isinstance(value, Mapping):
        pairs = [[encode_value(k, name), encode_value(v, name)] for k, v in value.items()]
        return {"kind": "dict", "values": pairs}
    if isinstance(value, (torch.dtype, torch.device)):
        return str(value).removeprefix("torch.")
    raise SavedModelError(
        f"{name}={value!r} cannot be saved as JSON; use a number, string, list or dictionary, or "
        "pickle the classifier."
    )


def decode_value(value: Any) -> Any:
    """Inverse of :func:`encode_value`.

    Examples
    --------
    >>> decode_value(encode_value({1: ("a", None)}, "x"))
    {1: ('a', None)}
    """
    if not isinstance(value, dict):
        return value
    if value["kind"] == "array":
        return np.array([decode_value(v) for v in value["values"]], dtype=value["dtype"])
    if value["kind"] == "dict":
        return {decode_value(k): decode_value(v) for k, v in value["values"]}
    items = [decode_value(v) for v in value["values"]]
    return tuple(items) if value["kind"] == "tuple" else items
