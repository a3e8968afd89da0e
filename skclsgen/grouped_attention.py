"""Attention among packed rows by its definition, rows of similar length together.

Many small matrix products cost more in calls than in arithmetic, and autograd would keep several
float32 tables per row. Here, rows are gathered into groups of one size, each group is attended to
in one product, and the backward pass needs one table in the model's own dtype. Outside training,
sizes are rounded up by row, not by batch, so that a row's arithmetic does not depend on its
neighbours.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from .packing import PackedRows

__all__ = ["Plan", "grouped_attention", "make_plan"]

#: Queries and keys of a group are brought up to multiples of this: few sizes, little waste.
SIZE_MULTIPLE = 32
#: By numbers of queries and keys: where a row starts, its first and end of the tokens that attend.
Sized = dict[tuple[int, int], list[tuple[int, int, int]]]


@dataclass(frozen=True)
class Group:
    """Spans of one size.

    Attributes
    ----------
    queries : tensor of shape (spans * heads * queries,), int64
        Where each query lies among (heads, tokens).
    keys : tensor of shape (spans * key heads * keys,), int64
        Where each key lies among (key heads, prefix and tokens).
    hidden : tensor of shape (spans, 1, 1, queries, keys), bool
        True where a query must not look.
    padding : tensor of shape (spans, 1, 1, queries, 1), bool
        True where there is no query.
    """

    queries: torch.Tensor
    keys: torch.Tensor
    hidden: torch.Tensor
    padding: torch.Tensor


@dataclass(frozen=True)
class Plan:
    """How packed rows are gathered into groups and put back.

    Attributes
    ----------
    groups : list of Group
    outputs : tensor of shape (tokens * heads,), int64
        Where each (token, head) lies among all groups' (spans, heads, queries).
    key_outputs : tensor of shape (key heads * tokens,), int64
        Where each (key head, token) last lies among all groups' (spans, key heads, keys).
    """

    groups: list[Group]
    outputs: torch.Tensor
    key_outputs: torch.Tensor


def _up(size: int) -> int:
    return -(-size // SIZE_MULTIPLE) * SIZE_MULTIPLE


def make_plan(
    rows: PackedRows, heads: int, key_heads: int, window: int | None, separate: bool
) -> Plan:
    """Group the spans of ``rows`` that attend together.

    Parameters
    ----------
    rows : PackedRows
    heads, key_heads : int
        Of the attention layer.
    window : int or None
        How far back a query may look.
    separate : bool
        True to attend to a prompt and its continuation in products of their own, so that the
        prompt's arithmetic is that of the prompt alone; False for one product per row, which
        gradients need.
    """
    sized: Sized = defaultdict(list)
    for start, first, stop in _spans(rows, separate):
        size = _up(stop - first), _up(rows.prefix + stop - start)
        sized[size].append((start, first, stop))
    if not separate:
        sized = _merged(sized)
    tokens = sum(rows.lengths)
    outputs = torch.empty(tokens, heads, dtype=torch.long)
    key_outputs = torch.empty(key_heads, tokens, dtype=torch.long)
    head, key_head = torch.arange(heads)[:, None], torch.arange(key_heads)[:, None]
    groups = []
    base = key_base = 0
    for (n_queries, n_keys), spans in sized.items():
        query, key = torch.arange(n_queries), torch.arange(n_keys)
        start, first, stop = torch.tensor(spans).T[:, :, None]
        where = (first + query).clamp(max=tokens - 1)[:, None]
        lookup = torch.where(key < rows.prefix, key, start + key)
        lookup = lookup.clamp(max=tokens + rows.prefix - 1)[:, None]
        distance = (first - start + rows.prefix + query)[:, :, None] - key
        hidden = distance < 0 if window is None else (distance < 0) | (distance >= window)
        groups.append(
            Group(
                (head * tokens + where).flatten(),
                (key_head * (tokens + rows.prefix) + lookup).flatten(),
                hidden[:, None, None],
                (first + query >= stop)[:, None, None, :, None],
            )
        )
        for number, (row_start, low, high) in enumerate(spans):
            own = torch.arange(high - low)
            outputs[low:high] = base + (number * heads + head.T) * n_queries + own[:, None]
            own = torch.arange(high - row_start) + rows.prefix
            key_outputs[:, row_start:high] = (
                key_base + (number * key_heads + key_head) * n_keys + own
            )
        base += len(spans) * heads * n_queries
        key_base += len(spans) * key_heads * n_keys
    return Plan(groups, outputs.flatten(), key_outputs.flatten())


def _spans(rows: PackedRows, separate: bool) -> Iterable[tuple[int, int, int]]:
    """Yield where a row starts, and the first and end of its tokens that attend together."""
    for (start, stop), (prompt, _) in zip(rows.spans(), rows.rows, strict=True):
        middle = start + len(prompt)
        if separate and middle < stop:
            yield start, start, middle
            yield start, middle, stop
        else:
            yield start, start, stop


def _merged(sized: Sized) -> Sized:
    """Put all spans into one group where that at most doubles the tables.

    Each group costs some twenty calls a layer, as much as the arithmetic on a few short rows.
    """
    largest = max(queries for queries, _ in sized), max(keys for _, keys in sized)
    spans = [span for group in sized.values() for span in group]
    cells = sum(queries * keys * len(group) for (queries, keys), group in sized.items())
    return {largest: spans} if largest[0] * largest[1] * len(spans) <= 2 * cells else sized


def grouped_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float, plan: Plan
) -> torch.Tensor:
    """Attend within each packed row.

    Parameters
    ----------
    query : tensor of shape (heads, tokens, width)
    key, value : tensor of shape (key heads, prefix + tokens, width)
    scaling : float
        Multiplies the scores.
    plan : Plan
        Of these rows, from :func:`make_plan`.

    Returns
    -------
    tensor of shape (tokens, heads, width)
        Differentiable with respect to all three; the prefix's keys and values get no gradient.
    """
    out: torch.Tensor = _GroupedAttention.apply(query, key, value, scaling, plan)
    return out


class _GroupedAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scaling: float,
        plan: Plan,
    ) -> torch.Tensor:
        parts, kept = [], []
        wide = torch.promote_types(query.dtype, torch.float32)
        for group in plan.groups:
            queries, keys, values = _gather(group, query, key, value)
            scores = (queries @ keys.transpose(2, 3)).to(wide).mul_(scaling)
            spans, _, _, n_queries, n_keys = group.hidden.shape
            table = scores.view(spans, key.shape[0], -1, n_queries, n_keys)
            table.masked_fill_(group.hidden, -torch.inf)
            weights = scores.softmax(dim=-1).to(query.dtype)
            parts.append((weights @ values).view(-1, value.shape[-1]))
            kept.append(weights)
        if any(ctx.needs_input_grad[:3]):
            ctx.save_for_backward(query, key, value, *kept)
            ctx.scaling, ctx.plan = scaling, plan
        joined = torch.cat(parts).index_select(0, plan.outputs)
        return joined.view(query.shape[1], query.shape[0], value.shape[-1])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, *kept = ctx.saved_tensors
        (tokens, heads, width), plan = grad_outputs[0].shape, ctx.plan
        gradient = grad_outputs[0].transpose(0, 1).reshape(-1, width)
        parts: list[tuple[torch.Tensor, ...]] = []
        for group, weights in zip(plan.groups, kept, strict=True):
            queries, keys, values = _gather(group, query, key, value)
            upper = gradient.index_select(0, group.queries).view(*weights.shape[:3], width)
            upper.view(len(upper), upper.shape[1], -1, group.padding.shape[3], width).masked_fill_(
                group.padding, 0
            )
            by_weight = upper @ values.transpose(2, 3)
            by_weight -= (by_weight * weights).sum(dim=-1, keepdim=True)
            by_score = by_weight.mul_(weights).mul_(ctx.scaling)
            by_query = by_score @ keys
            by_key = by_score.transpose(2, 3) @ queries
            by_value = weights.transpose(2, 3) @ upper
            parts.append(tuple(t.reshape(-1, t.shape[-1]) for t in (by_query, by_key, by_value)))
        by_query, by_key, by_value = (torch.cat(part) for part in zip(*parts, strict=True))
        by_query = by_query.index_select(0, plan.outputs).view(tokens, heads, -1).transpose(0, 1)
        prefix = key.shape[1] - tokens
        full = []
        for found, like in ((by_key, key), (by_value, value)):
            gradient = like.new_zeros(like.shape)
            gradient[:, prefix:] = found.index_select(0, plan.key_outputs).view(
                key.shape[0], tokens, -1
            )
            full.append(gradient)
        return by_query, *full, None, None


def _gather(
    group: Group, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries (spans, key heads, shared heads x queries, width), keys and values likewise."""
    spans, key_heads = len(group.hidden), key.shape[0]
    queries = query.reshape(-1, query.shape[-1]).index_select(0, group.queries)
    keys, values = (
        t.reshape(-1, t.shape[-1])
        .index_select(0, group.keys)
        .view(spans, key_heads, -1, t.shape[-1])
        for t in (key, value)
    )
    return queries.view(spans, key_heads, -1, query.shape[-1]), keys, values
