"""Attention among packed rows by its definition, pieces of similar size together.

Many small matrix products cost more in calls than in arithmetic, and autograd would keep several
float32 tables per row. Here, each row is cut into blocks of queries, which look at no more keys
than come before their end; blocks of one size form a group, each group is attended to in one
product, and the backward pass needs one table in the model's own dtype, made anew where tables
are large. Outside training, sizes are rounded up by block, not by batch, so that a row's arithmetic
does not depend on its neighbours.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from .packing import PackedRows

__all__ = ["Plan", "grouped_attention", "make_plan"]

#: Queries and keys of a group are brought up to multiples of this: few sizes, little waste.
SIZE_MULTIPLE = 32
#: Most queries of a block. Smaller ones skip more of the keys that come later, and their tables
#: stay in a CPU's cache; larger ones need fewer calls.
BLOCK = 128
#: In training, a small group is merged into a larger one if that adds at most this many padded
#: pairs of query and key: each group costs some twenty calls per layer, forward and backward.
WASTED_PAIRS = 2**14
#: Up to this many bytes a layer, tables are kept for the backward pass; beyond, they are made anew,
#: so that memory grows with tokens and not with pairs of them.
KEPT_BYTES = 2**25


@dataclass(frozen=True)
class Block:
    """Tokens of a row that attend together.

    Attributes
    ----------
    start : int
        Where the row starts.
    first, stop : int
        Its first token, and the end of its tokens.
    low : int
        Leading keys, counted from the prefix's first, that none of them sees (outside the window).
    """

    start: int
    first: int
    stop: int
    low: int


#: Blocks by numbers of queries and of keys.
Sized = dict[tuple[int, int], list[Block]]


@dataclass(frozen=True)
class Group:
    """Blocks of one size.

    Attributes
    ----------
    queries : tensor of shape (blocks * heads * queries,), int64
        Where each query lies among (heads, tokens).
    keys : tensor of shape (blocks * key heads * keys,), int64
        Where each key lies among (key heads, prefix and tokens).
    bias : tensor of shape (blocks, 1, 1, queries, last keys)
        Minus infinity where a query must not look, else 0; of the last keys only, since all queries
        look at those before. (Adding takes a twentieth of the time of ``masked_fill_``.)
    present : tensor of shape (blocks, 1, 1, queries, 1)
        1 where there is a query, else 0.
    """

    queries: torch.Tensor
    keys: torch.Tensor
    bias: torch.Tensor
    present: torch.Tensor


@dataclass(frozen=True)
class Plan:
    """How packed rows are gathered into groups and put back.

    Attributes
    ----------
    groups : list of Group
    outputs : tensor of shape (tokens * heads,), int64
        Where each (token, head) lies among all groups' (blocks, heads, queries).
    pairs : int
        Of query and key, in all groups.
    """

    groups: list[Group]
    outputs: torch.Tensor
    pairs: int


def make_plan(
    rows: PackedRows,
    heads: int,
    key_heads: int,
    window: int | None,
    dtype: torch.dtype,
    separate: bool,
) -> Plan:
    """Group the blocks of ``rows`` that attend together.

    Parameters
    ----------
    rows : PackedRows
    heads, key_heads : int
        Of the attention layer.
    window : int or None
        How many keys a query may look at, itself included.
    dtype : torch.dtype
        Of queries and keys.
    separate : bool
        True to attend to a prompt and its continuation in products of their own, so that the
        prompt's arithmetic is that of the prompt alone, whatever its neighbours; False for fewer
        groups, in training.
    """
    sized: Sized = defaultdict(list)
    for block in _blocks(rows, window, separate):
        keys = rows.prefix + block.stop - block.start - block.low
        sized[_up(block.stop - block.first), _up(keys)].append(block)
    if not separate:
        sized = _merged(sized)
    groups = [
        _group(blocks, size, rows, (heads, key_heads), window, dtype)
        for size, blocks in sized.items()
    ]
    pairs = sum(len(blocks) * math.prod(size) for size, blocks in sized.items())
    return Plan(groups, _outputs(sized, rows, heads), pairs)


def _up(size: int) -> int:
    return -(-size // SIZE_MULTIPLE) * SIZE_MULTIPLE


def _blocks(rows: PackedRows, window: int | None, separate: bool) -> Iterable[Block]:
    """Cut rows into blocks; never a prompt with its continuation if they are separate."""
    for (start, stop), (prompt, _) in zip(rows.spans(), rows.rows, strict=True):
        middle = start + len(prompt) if separate else stop
        for begin, end in ((start, middle), (middle, stop)):
            for first in range(begin, end, BLOCK):
                before = rows.prefix + first - start
                low = 0 if window is None else max(0, before + 1 - window)
                yield Block(start, first, min(first + BLOCK, end), low)


def _merged(sized: Sized) -> Sized:
    """Give up groups that a larger one takes in with little waste."""
    merged: Sized = {}
    for size, blocks in sorted(sized.items(), reverse=True):
        room = [
            larger
            for larger in merged
            if size[1] <= larger[1]
            and (math.prod(larger) - math.prod(size)) * len(blocks) <= WASTED_PAIRS
        ]
        merged.setdefault(min(room, key=math.prod, default=size), []).extend(blocks)
    return merged


def _group(
    blocks: list[Block],
    size: tuple[int, int],
    rows: PackedRows,
    heads: tuple[int, int],
    window: int | None,
    dtype: torch.dtype,
) -> Group:
    tokens = sum(rows.lengths)
    device = rows.device
    query, key = (torch.arange(n, device=device) for n in size)
    fields = [(b.start, b.first, b.stop, b.low) for b in blocks]
    start, first, stop, low = torch.tensor(fields, device=device).T[:, :, None]
    where = (first + query).clamp(max=tokens - 1)[:, None]
    place = low + key  # in the row, its prefix included
    lookup = torch.where(place < rows.prefix, place, start + place)
    lookup = lookup.clamp(max=tokens + rows.prefix - 1)[:, None]
    before = first - start + rows.prefix
    seen_by_all = int((before - low).min()) + 1 if window is None else 0
    distance = (before + query)[:, :, None] - place[:, None, seen_by_all:]
    hidden = distance < 0 if window is None else (distance < 0) | (distance >= window)
    present = (first + query < stop)[:, :, None]
    # Padding queries look everywhere: a softmax over no keys would be NaN.
    bias = torch.zeros_like(hidden, dtype=dtype).masked_fill_(hidden & present, -torch.inf)
    head, key_head = (torch.arange(n, device=device)[:, None] for n in heads)
    return Group(
        (head * tokens + where).flatten(),
        (key_head * (tokens + rows.prefix) + lookup).flatten(),
        bias[:, None, None],
        present[:, None, None].to(dtype),
    )


def _outputs(sized: Sized, rows: PackedRows, heads: int) -> torch.Tensor:
    """Where each (token, head) lies among all groups' (blocks, heads, queries)."""
    outputs = torch.empty(sum(rows.lengths), heads, dtype=torch.long, device=rows.device)
    head, base = torch.arange(heads, device=rows.device), 0
    for (queries, _), blocks in sized.items():
        for block in blocks:
            own = torch.arange(block.stop - block.first, device=rows.device)[:, None]
            outputs[block.first : block.stop] = base + head * queries + own
            base += heads * queries
    return outputs.flatten()


def grouped_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float, plan: Plan
) -> torch.Tensor:
    """Attend within each packed row.

    Parameters
    ----------
    query : tensor of shape (heads, tokens, width)
    key, value : tensor of shape (key heads, prefix + tokens, width)
        The widths of keys and values may differ.
    scaling : float
        Multiplies the scores.
    plan : Plan
        Of these rows, from :func:`make_plan`.

    Returns
    -------
    tensor of shape (tokens, heads, width of values)
        Differentiable (once) with respect to all three.
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
        (heads, tokens, _), key_heads = query.shape, key.shape[0]
        flat = [t.reshape(-1, t.shape[-1]) for t in (query * scaling, key, value)]
        size = plan.pairs * heads * query.element_size()
        keep = any(ctx.needs_input_grad[:3]) and size <= KEPT_BYTES
        parts, kept = [], []
        for group in plan.groups:
            queries, keys, values = _gather(group, key_heads, *flat)
            scores = _scores(group, queries, keys)
            parts.append((_weights(scores) @ values).view(-1, value.shape[-1]))
            if keep:
                kept.append(scores)
        joined = torch.cat(parts).index_select(0, plan.outputs)
        out = joined.view(tokens, heads, value.shape[-1])
        ctx.save_for_backward(*flat, *kept)
        ctx.scaling, ctx.plan, ctx.key_heads = scaling, plan, key_heads
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        scaled, key, value, *kept = ctx.saved_tensors
        (grad_output,) = grad_outputs
        key_heads = ctx.key_heads
        tokens, heads, _ = grad_output.shape
        wide = torch.promote_types(value.dtype, torch.float32)
        grad_flat = grad_output.transpose(0, 1).reshape(-1, value.shape[-1])
        grad_query = []
        grad_key, grad_value = (torch.zeros_like(t, dtype=wide) for t in (key, value))
        for group, table in zip_longest(ctx.plan.groups, kept):
            queries, keys, values = _gather(group, key_heads, scaled, key, value)
            scores = _scores(group, queries, keys) if table is None else table
            grad_own = _where_present(group, key_heads, grad_flat)
            weights, grad_score = _weights_and_gradient(scores, grad_own @ values.transpose(2, 3))
            grad_query.append((grad_score @ keys).view(-1, key.shape[-1]))
            for total, found in (
                (grad_key, grad_score.transpose(2, 3) @ queries),
                (grad_value, weights.transpose(2, 3) @ grad_own),
            ):
                total.index_add_(0, group.keys, found.view(-1, found.shape[-1]).to(wide))
        joined = torch.cat(grad_query).index_select(0, ctx.plan.outputs).mul_(ctx.scaling)
        return (
            joined.view(tokens, heads, -1).transpose(0, 1),
            *(t.to(value.dtype).view(key_heads, -1, t.shape[-1]) for t in (grad_key, grad_value)),
            None,
            None,
        )


def _gather(
    group: Group, key_heads: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries (blocks, key heads, shared heads x queries, width), keys and values likewise."""
    indices = (group.queries, group.keys, group.keys)
    queries, keys, values = (
        t.index_select(0, index).view(len(group.bias), key_heads, -1, t.shape[-1])
        for t, index in zip((query, key, value), indices, strict=True)
    )
    return queries, keys, values


def _scores(group: Group, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Attention scores, shape (blocks, key heads, shared heads x queries, keys)."""
    scores = queries @ keys.transpose(2, 3)
    blocks, *_, n_queries, last = group.bias.shape
    table = scores.view(blocks, scores.shape[1], -1, n_queries, scores.shape[-1])
    table[..., scores.shape[-1] - last :].add_(group.bias)
    return scores


def _weights(scores: torch.Tensor) -> torch.Tensor:
    """How much each query looks at each key."""
    return scores.softmax(dim=-1)  # a CPU's exponents and sums are float32 or wider in any case


def _weights_and_gradient(
    scores: torch.Tensor, grad_weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights, and the gradient of the scores from that of the weights.

    By torch's own rule, which sums in float32 what was rounded: the gradients of a query's scores
    then sum to 0. Their mean taken from the query's output instead (https://arxiv.org/abs/2205.14135,
    appendix B.2) is off by a rounding, which the keys' common part makes large: the error of the
    queries' gradients was half as large again.
    """
    scores = scores.detach().requires_grad_()
    with torch.enable_grad():
        weights = _weights(scores)
    (grad_score,) = torch.autograd.grad(weights, scores, grad_weight)
    return weights.detach(), grad_score


def _where_present(group: Group, key_heads: int, values: torch.Tensor) -> torch.Tensor:
    """Each query's values, 0 where there is none; (blocks, key heads, shared x queries, width)."""
    found = values.index_select(0, group.queries)
    blocks, *_, queries, _ = group.present.shape
    found = found.view(blocks, key_heads, -1, queries, values.shape[-1])
    return found.mul_(group.present).flatten(2, 3)
