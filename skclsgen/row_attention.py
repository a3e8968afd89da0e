"""Attention among packed rows one after the other: whatever their length, on any device."""

from __future__ import annotations

import torch
from torch.nn.functional import scaled_dot_product_attention

from .packing import PackedRows

__all__ = ["plain_attention", "row_by_row"]


def row_by_row(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float,
    window: int | None,
    softcap: float | None,
    rows: PackedRows,
) -> torch.Tensor:
    """Attend within each packed row, to a prompt and its continuation in calls of their own.

    Parameters
    ----------
    query : tensor of shape (1, heads, tokens, width)
    key, value : tensor of shape (1, key heads, prefix + tokens, width)
    scaling : float
        Multiplies the scores.
    window : int or None
        How many keys a query may look at, itself included.
    softcap : float or None
        Of :func:`plain_attention`; the fused kernel has none.
    rows : PackedRows

    Returns
    -------
    tensor of shape (tokens, heads, width)
    """
    before, parts = rows.prefix, []
    for (start, stop), row in zip(rows.spans(), rows.rows, strict=True):
        keys, values = (
            torch.cat([t[:, :, :before], t[:, :, before + start : before + stop]], dim=2)
            for t in (key, value)
        )
        if softcap is None:
            # Not enable_gqa: of CUDA's kernels that take a mask, only the one that makes a table of
            # all queries and keys knows it.
            shared = query.shape[1] // key.shape[1]
            keys, values = (t.repeat_interleave(shared, dim=1) for t in (keys, values))
        first = 0
        for part in filter(None, row):  # never a prompt with its continuation
            block = query[:, :, start + first : start + first + len(part)]
            first += len(part)
            span = keys[:, :, : before + first], values[:, :, : before + first]
            mask = _causal(len(part), before + first, window, query.device)
            if softcap is not None:
                parts.append(plain_attention(block, *span, mask, scaling, softcap))
            else:
                parts.append(
                    scaled_dot_product_attention(block, *span, attn_mask=mask, scale=scaling)
                )
    return torch.cat(parts, dim=2)[0].transpose(0, 1)


def _causal(queries: int, keys: int, window: int | None, device: torch.device) -> torch.Tensor:
    """Boolean mask of the last ``queries`` of ``keys`` positions; True where one may look."""
    place = torch.arange(keys, device=device)
    own = place[keys - queries :, None]
    seen = place <= own
    return seen if window is None else seen & (place > own - window)


def plain_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float,
    softcap: float | None,
) -> torch.Tensor:
    """Attention by its definition; heads that share keys are multiplied with them together.

    Parameters
    ----------
    query : tensor of shape (rows, heads, tokens, width)
    key, value : tensor of shape (rows, key heads, keys, width)
    mask : tensor of bool or None
        True where a query may look; None to let it look everywhere.
    scaling : float
        Multiplies the scores.
    softcap : float or None
        Scores ``s`` become ``softcap * tanh(s / softcap)``, as in Gemma 2.

    Returns
    -------
    tensor of shape (rows, heads, tokens, width)
    """
    rows, heads, tokens, width = query.shape
    groups, keys = key.shape[1], key.shape[2]
    grouped = (query * scaling).reshape(rows, groups, -1, width)
    scores = grouped @ key.transpose(2, 3)
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if mask is not None:
        scores = scores.view(rows, heads, tokens, keys).masked_fill(~mask, -torch.inf)
    weights = scores.softmax(dim=-1)  # exponents and sums are float32 or wider in any case
    out = weights.view(rows, groups, -1, keys) @ value
    return out.view(rows, heads, tokens, value.shape[-1])
