"""Attention among packed rows in one call of torch's variable-length kernel, on a GPU.

The kernel needs half precision and a recent GPU, and what it supports differs by torch version, so
it is tried on a few tokens first and only used where it agrees with attention by its definition.

See https://docs.pytorch.org/docs/stable/nn.attention.varlen.html
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import accumulate, chain
from typing import Any, cast

import torch

from .out_of_memory import is_out_of_memory
from .packing import PackedRows
from .row_attention import row_by_row

__all__ = ["Layout", "make_layout", "varlen_attention", "varlen_works"]

logger = logging.getLogger(__name__)

#: Results of the kernel, in half precision, may differ from the definition's by this share.
TOLERANCE = 0.02


@dataclass(frozen=True)
class Layout:
    """Where rows lie, as the kernel wants to know it.

    Attributes
    ----------
    keys : tensor of shape (keys,), int64
        For every row, where the prefix's keys and its own lie.
    query_starts, key_starts : tensor of shape (rows + 1,), int32
        First query and first key of every row, and the end.
    most_queries, most_keys : int
        Of any row.
    """

    keys: torch.Tensor
    query_starts: torch.Tensor
    key_starts: torch.Tensor
    most_queries: int
    most_keys: int


def make_layout(rows: PackedRows) -> Layout:
    """Return the layout of packed rows.

    Examples
    --------
    >>> rows = PackedRows([([5, 6], [7]), ([8], [])], prefix=2, device=torch.device("cpu"))
    >>> layout = make_layout(rows)
    >>> layout.keys.tolist(), layout.query_starts.tolist(), layout.key_starts.tolist()
    ([0, 1, 2, 3, 4, 0, 1, 5], [0, 3, 4], [0, 5, 8])
    """

    def starts(lengths: list[int]) -> torch.Tensor:
        return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=rows.device)

    before, lengths = rows.prefix, rows.lengths
    with_prefix = [before + length for length in lengths]
    keys = chain.from_iterable(
        chain(range(before), range(before + start, before + stop)) for start, stop in rows.spans()
    )
    return Layout(
        torch.tensor(list(keys), device=rows.device),
        starts(lengths),
        starts(with_prefix),
        max(lengths),
        max(with_prefix),
    )


def varlen_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float,
    window: int | None,
    layout: Layout,
) -> torch.Tensor:
    """Attend within each packed row.

    Parameters
    ----------
    query : tensor of shape (heads, tokens, width)
    key, value : tensor of shape (key heads, prefix + tokens, width)
    scaling : float
        Multiplies the scores.
    window : int or None
        How many keys a query may look at, itself included.
    layout : Layout
        Of these rows, from :func:`make_layout`.

    Returns
    -------
    tensor of shape (tokens, heads, width)
        Differentiable. On a GPU the last bits of gradients may differ from run to run unless
        ``torch.use_deterministic_algorithms`` is on.
    """
    from torch.nn.attention.varlen import varlen_attn  # torch has it from 2.10 on

    shared: dict[str, Any] = {"enable_gqa": True} if _takes_shared_heads(varlen_attn) else {}
    if not shared:  # torch before 2.12: every query head gets keys of its own
        copies = query.shape[0] // key.shape[0]
        key, value = (t.repeat_interleave(copies, dim=0) for t in (key, value))
    keys, values = (t.transpose(0, 1).index_select(0, layout.keys) for t in (key, value))
    out = varlen_attn(
        query.transpose(0, 1).contiguous(),
        keys,
        values,
        layout.query_starts,
        layout.key_starts,
        layout.most_queries,
        layout.most_keys,
        scale=scaling,
        window_size=(-1 if window is None else window - 1, 0),
        **shared,
    )
    return cast(torch.Tensor, out)


@cache
def _takes_shared_heads(kernel: Callable[..., object]) -> bool:
    """Tell whether a kernel lets several query heads share keys."""
    return "enable_gqa" in inspect.signature(kernel).parameters


@lru_cache(maxsize=32)
def varlen_works(
    device: torch.device,
    dtype: torch.dtype,
    heads: int,
    key_heads: int,
    width: int,
    windowed: bool,
) -> bool:
    """Tell whether the kernel runs on two short rows, forward and back, and agrees.

    Parameters
    ----------
    device, dtype
        Of queries, keys and values.
    heads, key_heads, width : int
        Their shape.
    windowed : bool
        Whether queries look back a limited way.
    """
    window = 3 if windowed else None
    rows = PackedRows([(range(5), ()), (range(2), range(2))], 4, device)
    generator = torch.Generator("cpu").manual_seed(0)
    shapes = (1, heads, 9, width), (1, key_heads, 13, width), (1, key_heads, 13, width)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            query, key, value = inputs = [
                torch.randn(shape, generator=generator, device=generator.device)
                .to(device, dtype)
                .requires_grad_()
                for shape in shapes
            ]
            exact = [t.detach().float().requires_grad_() for t in inputs]
            layout = make_layout(rows)
            found = varlen_attention(query[0], key[0], value[0], 0.2, window, layout)
            expected = row_by_row(exact[0], exact[1], exact[2], 0.2, window, None, rows)
            gradients = torch.autograd.grad(found.float().square().sum(), inputs)
            wanted = torch.autograd.grad(expected.square().sum(), exact)
    except (ImportError, RuntimeError, TypeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        logger.info("the variable-length kernel cannot be used: %s", error)
        return False
    pairs = zip([found, *gradients], [expected, *wanted], strict=True)
    apart = max(float(((a - b).norm() / b.norm()).detach()) for a, b in pairs)
    logger.info("the variable-length kernel is %.3g from the definition", apart)
    return apart <= TOLERANCE
