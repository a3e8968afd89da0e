"""Attention among packed rows by its definition, pieces of similar size together.

Many small matrix products cost more in calls than in arithmetic, and autograd would keep several
float32 tables per row. Here, each row is cut into blocks of queries, which look at no more keys
than come before their end; blocks of one size form a group, each group is attended to in one
product, and the backward pass needs one table in the model's own dtype, made anew where tables
are large. Outside training, sizes are rounded up by block, not by batch, so that a row's arithmetic
does not depend on its neighbours.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import torch

from .packing import PackedRows

__all__ = ["Plan", "grouped_attention", "make_plan"]

#: Queries and keys of a group are brought up to multiples of this: few sizes, little waste.
SIZE_MULTIPLE = 32
#: Most queries of a block. Smaller ones skip more of the keys that come later, and their tables
#: stay in a CPU's cache; larger ones need fewer calls.
BLOCK = 128
#: In training, a group is given up for a larger one that it fills with no more than this many
#: useless pairs of query and key: a group costs some twenty calls a layer, there and back.
WASTED_PAIRS = 2**14
#: Up to this many pairs of query and key, tables are kept for the backward pass (38 MB a layer of
#: the embedded model); beyond, they are made anew, so that memory grows with tokens, not pairs.
KEPT_PAIRS = 2**21


@dataclass(frozen=True)
class Block:
    """Tokens of a row that attend together.

    Attributes
    ----------
    start : int
        Where the row starts.
    first, stop : int
        Its first token, and the end of its tokens.
    """

    start: int
    first: int
    stop: int


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
    bias : tensor of shape (blocks, 1, 1, queries, keys)
        Minus infinity where a query must not look, else 0. (Adding takes a twentieth of the time
        of ``masked_fill_``.)
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
    key_outputs : tensor of shape (key heads * tokens,), int64
        Where each (key head, token) lies in its row's last block, among all groups' (blocks, key
        heads, keys). Empty if no gradients are needed.
    more_key_outputs : list of (tensor, tensor), int64
        For the last block but one, and so on: the (key head, token) that it has, and where.
    """

    groups: list[Group]
    outputs: torch.Tensor
    key_outputs: torch.Tensor
    more_key_outputs: list[tuple[torch.Tensor, torch.Tensor]]


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
        How far back a query may look.
    dtype : torch.dtype
        Of queries and keys.
    separate : bool
        True to attend to a prompt and its continuation in products of their own, so that the
        prompt's arithmetic is that of the prompt alone; False where gradients are needed.
    """
    sized: Sized = defaultdict(list)
    for block in _blocks(rows, separate):
        size = block.stop - block.first, rows.prefix + block.stop - block.start
        sized[_up(size[0]), _up(size[1])].append(block)
    if not separate:
        sized = _merged(sized)
    groups = [
        _group(blocks, size, rows, (heads, key_heads), window, dtype)
        for size, blocks in sized.items()
    ]
    last, more = (torch.empty(0), []) if separate else _key_outputs(sized, rows, key_heads)
    return Plan(groups, _outputs(sized, rows, heads), last, more)


def _up(size: int) -> int:
    return -(-size // SIZE_MULTIPLE) * SIZE_MULTIPLE


def _blocks(rows: PackedRows, separate: bool) -> Iterable[Block]:
    """Cut rows into blocks; never a prompt with its continuation if they are separate."""
    for (start, stop), (prompt, _) in zip(rows.spans(), rows.rows, strict=True):
        middle = start + len(prompt) if separate else stop
        for low, high in ((start, middle), (middle, stop)):
            for first in range(low, high, BLOCK):
                yield Block(start, first, min(first + BLOCK, high))


def _merged(sized: Sized) -> Sized:
    """Give up groups that a larger one takes in with little waste."""
    merged: Sized = {}
    for (queries, keys), blocks in sorted(sized.items(), reverse=True):
        room = [
            size
            for size in merged
            if keys <= size[1]
            and (size[0] * size[1] - queries * keys) * len(blocks) <= WASTED_PAIRS
        ]
        merged.setdefault(min(room, default=(queries, keys)), []).extend(blocks)
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
    query, key = (torch.arange(n) for n in size)
    start, first, stop = torch.tensor([(b.start, b.first, b.stop) for b in blocks]).T[:, :, None]
    where = (first + query).clamp(max=tokens - 1)[:, None]
    lookup = torch.where(key < rows.prefix, key, start + key)
    lookup = lookup.clamp(max=tokens + rows.prefix - 1)[:, None]
    distance = (first - start + rows.prefix + query)[:, :, None] - key
    hidden = distance < 0 if window is None else (distance < 0) | (distance >= window)
    present = (first + query < stop)[:, :, None]
    # What is no query looks everywhere: a softmax over nothing would be no number.
    bias = torch.zeros(hidden.shape, dtype=dtype).masked_fill_(hidden & present, -torch.inf)
    head, key_head = (torch.arange(n)[:, None] for n in heads)
    return Group(
        (head * tokens + where).flatten(),
        (key_head * (tokens + rows.prefix) + lookup).flatten(),
        bias[:, None, None],
        present[:, None, None].to(dtype),
    )


def _outputs(sized: Sized, rows: PackedRows, heads: int) -> torch.Tensor:
    """Where each (token, head) lies among all groups' (blocks, heads, queries)."""
    outputs = torch.empty(sum(rows.lengths), heads, dtype=torch.long)
    head, base = torch.arange(heads), 0
    for (queries, _), blocks in sized.items():
        for block in blocks:
            own = torch.arange(block.stop - block.first)[:, None]
            outputs[block.first : block.stop] = base + head * queries + own
            base += heads * queries
    return outputs.flatten()


def _key_outputs(
    sized: Sized, rows: PackedRows, key_heads: int
) -> tuple[torch.Tensor, list[tuple[torch.Tensor, torch.Tensor]]]:
    """Where each (key head, token) lies in its row's last block, and in those before."""
    places, base = {}, 0
    for (_, keys), blocks in sized.items():
        for block in blocks:
            places[block.first] = base, keys
            base += key_heads * keys
    head, tokens = torch.arange(key_heads)[:, None], sum(rows.lengths)
    last = torch.empty(key_heads, tokens, dtype=torch.long)
    more: dict[int, list[torch.Tensor]] = defaultdict(list)
    for start, stop in rows.spans():
        for age, first in enumerate(range(start, stop, BLOCK)[::-1]):
            base, keys = places[first]
            own = torch.arange(min(first + BLOCK, stop) - start)
            found = base + head * keys + rows.prefix + own
            if age == 0:
                last[:, start:stop] = found
            else:
                numbers = head * tokens + start + own
                more[age].append(torch.stack([numbers.flatten(), found.flatten()]))
    joined = (torch.cat(pairs, dim=1) for pairs in more.values())
    return last.flatten(), [(numbers, found) for numbers, found in joined]


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
        Of these rows, from :func:`make_plan`; made for gradients if any is needed.

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
        parts, kept, needed = [], [], any(ctx.needs_input_grad[:3])
        keep = needed and sum(group.bias.numel() for group in plan.groups) <= KEPT_PAIRS
        scaled = query * scaling
        for group in plan.groups:
            queries, keys, values = _gather(group, scaled, key, value)
            weights = _weights(group, queries, keys)
            parts.append((weights @ values).view(-1, value.shape[-1]))
            if keep:
                kept.append(weights)
        joined = torch.cat(parts).index_select(0, plan.outputs)
        out = joined.view(query.shape[1], query.shape[0], value.shape[-1])
        if needed:
            ctx.save_for_backward(scaled, key, value, out, *kept)
            ctx.scaling, ctx.plan = scaling, plan
        return out

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        scaled, key, value, out, *kept = ctx.saved_tensors
        (tokens, heads, _), plan = out.shape, ctx.plan
        # The mean of a query's weights' gradients, weighted by themselves, is known from its
        # output (https://arxiv.org/abs/2205.14135, appendix B.2): no pass over a table.
        means = (grad_outputs[0] * out).sum(dim=-1, keepdim=True)
        gradient, means = (
            t.transpose(0, 1).reshape(-1, t.shape[-1]) for t in (grad_outputs[0], means)
        )
        parts: list[tuple[torch.Tensor, ...]] = []
        for group, table in zip_longest(plan.groups, kept):
            queries, keys, values = _gather(group, scaled, key, value)
            weights = _weights(group, queries, keys) if table is None else table
            upper, mean = (_present(group, t, key.shape[0]) for t in (gradient, means))
            by_score = (upper @ values.transpose(2, 3)).sub_(mean).mul_(weights)
            by_query = by_score @ keys
            by_key = by_score.transpose(2, 3) @ queries
            by_value = weights.transpose(2, 3) @ upper
            parts.append(tuple(t.reshape(-1, t.shape[-1]) for t in (by_query, by_key, by_value)))
        by_query, by_key, by_value = (torch.cat(part) for part in zip(*parts, strict=True))
        by_query = by_query.index_select(0, plan.outputs).mul_(ctx.scaling)
        full = []
        for found, like in ((by_key, key), (by_value, value)):
            gradient = like.new_zeros(like.shape)
            gradient[:, key.shape[1] - tokens :] = _summed(found, plan).view(len(key), tokens, -1)
            full.append(gradient)
        return by_query.view(tokens, heads, -1).transpose(0, 1), *full, None, None


def _weights(group: Group, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """How much each query looks at each key; (blocks, key heads, shared heads x queries, keys)."""
    scores = queries @ keys.transpose(2, 3)
    blocks, *_, n_queries, n_keys = group.bias.shape
    scores.view(blocks, scores.shape[1], -1, n_queries, n_keys).add_(group.bias)
    return scores.softmax(dim=-1)  # a CPU's exponents and sums are float32, whatever the dtype


def _present(group: Group, values: torch.Tensor, key_heads: int) -> torch.Tensor:
    """Each query's values, 0 where there is none; (blocks, key heads, shared x queries, width)."""
    blocks, *_, queries, _ = group.present.shape
    found = values.index_select(0, group.queries)
    found = found.view(blocks, key_heads, -1, queries, values.shape[-1])
    return found.mul_(group.present).flatten(2, 3)


def _summed(found: torch.Tensor, plan: Plan) -> torch.Tensor:
    """Add up keys' gradients from all blocks; shape (key heads * tokens, width)."""
    total = found.index_select(0, plan.key_outputs)
    if not plan.more_key_outputs:
        return total
    wide = total.to(torch.promote_types(found.dtype, torch.float32))
    for numbers, places in plan.more_key_outputs:
        wide.index_add_(0, numbers, found.index_select(0, places).to(wide.dtype))
    return wide.to(found.dtype)


def _gather(
    group: Group, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries (blocks, key heads, shared heads x queries, width), keys and values likewise."""
    blocks, key_heads = len(group.bias), key.shape[0]
    queries = query.reshape(-1, query.shape[-1]).index_select(0, group.queries)
    keys, values = (
        t.reshape(-1, t.shape[-1])
        .index_select(0, group.keys)
        .view(blocks, key_heads, -1, t.shape[-1])
        for t in (key, value)
    )
    return queries.view(blocks, key_heads, -1, query.shape[-1]), keys, values
