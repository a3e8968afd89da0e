"""Attention among rows that lie end to end in one sequence, without padding.

transformers hands every layer's queries, keys and values to a function chosen by name. The one
registered here keeps rows apart while :func:`packed` is active, so that everything else in a model
(nine tenths of its arithmetic) runs on all rows at once and nothing is padded. Elsewhere it is the
usual fused attention.

On a CPU, outside training, the arithmetic of a row does not depend on its neighbours: each row, and
in it the prompt and the continuation, is cut into matrices whose sizes depend on that row alone.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import torch
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    DynamicCache,
    PretrainedConfig,
    PreTrainedModel,
)

from .exceptions import UnsupportedModelError
from .grouped_attention import grouped_attention, make_plan
from .module_tree import Skip, decoder_layers, share_weights
from .out_of_memory import is_out_of_memory
from .packing import PackedRows
from .row_attention import plain_attention, row_by_row
from .varlen_attention import make_layout, varlen_attention, varlen_works

__all__ = ["NAME", "can_pack", "forget_rows", "packed"]

logger = logging.getLogger(__name__)

#: What transformers knows the function by.
NAME = "skclsgen_packed"
#: Where attention in groups is faster than the fused kernel (docs/speed.md has the numbers).
GROUPED_DEVICES = {"cpu"}

_packed: ContextVar[PackedRows | None] = ContextVar("packed", default=None)
#: Where the windows go that layers ask for, while somebody wants to know.
_windows: ContextVar[list[int | None] | None] = ContextVar("windows", default=None)


@contextlib.contextmanager
def packed(rows: PackedRows) -> Iterator[None]:
    """Let models whose attention is :data:`NAME` treat their one row as these rows."""
    token = _packed.set(rows)
    try:
        yield
    finally:
        _packed.reset(token)


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attend; the arguments are those of transformers' ``AttentionInterface``.

    Parameters
    ----------
    module : torch.nn.Module
        The attention layer.
    query : tensor of shape (rows, heads, tokens, width)
    key, value : tensor of shape (rows, key heads, keys, width)
    attention_mask : tensor or None
        None while rows are packed.
    scaling, dropout, sliding_window, softcap
        As the layer asks for.

    Returns
    -------
    tensor of shape (rows, tokens, heads, width), None
    """
    if kwargs.get("s_aux") is not None:
        raise UnsupportedModelError(
            "attention sinks cannot be packed; rows must be run one by one."
        )
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    packing = _packed.get()
    if packing is not None:
        if (asked := _windows.get()) is not None:
            asked.append(sliding_window)
        found = _attend_packed(query, key, value, scaling, sliding_window, softcap, packing)
        return found[None], None
    # One query per row is too little work for the fused kernel of a CPU: 1.1 ms against 0.45
    # for 128 rows of 80 keys.
    single = query.shape[2] == 1 and query.device.type == "cpu"
    if softcap is not None or single:
        out = plain_attention(query, key, value, attention_mask, scaling, softcap)
        return out.transpose(1, 2), None
    fused = AttentionInterface()["sdpa"]
    fused_out: tuple[torch.Tensor, None] = fused(
        module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
    )
    return fused_out


def _attend_packed(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float,
    window: int | None,
    softcap: float | None,
    rows: PackedRows,
) -> torch.Tensor:
    """Attend in the fastest way there is; shape (tokens, heads, width)."""
    (_, heads, _, width), key_heads = query.shape, key.shape[1]
    if softcap is None and query.device.type in GROUPED_DEVICES:
        trained = any(t.requires_grad for t in (query, key, value))
        separate = not (torch.is_grad_enabled() and trained)
        plan = _plan(rows, heads, key_heads, window, query.dtype, separate)
        return grouped_attention(query[0], key[0], value[0], scaling, plan)
    if softcap is None and query.is_cuda and value.shape[-1] == width:
        shape = heads, key_heads, width
        if varlen_works(query.device, query.dtype, *shape, window is not None):
            layout = _layout(rows)
            return varlen_attention(query[0], key[0], value[0], scaling, window, layout)
    return row_by_row(query, key, value, scaling, window, softcap, rows)


# The same for every layer of a pass.
_plan = lru_cache(maxsize=4)(make_plan)
_layout = lru_cache(maxsize=8)(make_layout)


def forget_rows() -> None:
    """Let go of what is kept about rows from one layer to the next, on whatever device."""
    for kept in (_plan, _layout):
        kept.cache_clear()


def mask(*args: Any, **kwargs: Any) -> torch.Tensor | None:
    """Return no mask while rows are packed, else what the fused attention takes."""
    if _packed.get() is not None:
        return None
    made: torch.Tensor | None = AttentionMaskInterface()["sdpa"](
        *args, **kwargs | {"allow_is_causal_skip": False}
    )
    return made


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, mask)


#: Kinds of attention layers that :func:`attend` covers, as configurations name them.
KINDS = {"full_attention", "sliding_attention"}


@torch.no_grad()
def can_pack(lm: PreTrainedModel) -> bool:
    """Tell whether a model gives packed rows what it gives each of them alone.

    Parameters
    ----------
    lm : transformers.PreTrainedModel
        Any causal language model; it is not changed.
    """
    config = lm.config.get_text_config()
    kinds = getattr(config, "layer_types", None) or ["full_attention"]
    if not KINDS.issuperset(kinds):
        return False
    windows: list[int | None] = []
    ids = [i % config.vocab_size for i in range(3, 26)]
    prefix, rows = ids[:4], [(ids[4:14], ids[14:17]), (ids[17:], [])]
    pack = PackedRows(rows, len(prefix), lm.device)
    try:
        # One layer of each kind tells; rounding adds up over many.
        layers = decoder_layers(lm.get_decoder(), config.num_hidden_layers)
        upper = layers[1 + max(kinds.index(kind) for kind in set(kinds)) :]
        few = share_weights(lm.get_decoder(), replace={layer: Skip(layer) for layer in upper})
        alone = [
            few(input_ids=_row([*prefix, *prompt, *more], lm)).last_hidden_state[0, 4:]
            for prompt, more in rows
        ]
        few.set_attn_implementation(NAME)
        cache = DynamicCache()
        few(input_ids=_row(prefix, lm), cache=cache, use_cache=True)
        with packed(pack), _noting(windows):
            together = few(
                input_ids=pack.ids()[None],
                position_ids=pack.positions()[None],
                cache=cache,
                use_cache=True,
            ).last_hidden_state[0]
    except (TypeError, ValueError, AttributeError, LookupError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        logger.info("running packed rows failed: %s", error)
        return False
    if _has_window(config) and not any(windows):
        # It is in the mask alone, which packed rows have none of; they are too short to show it.
        return False
    # On the CPU: Apple's GPUs have no float64.
    expected, found = (t.cpu().double() for t in (torch.cat(alone), together))
    tolerance = torch.finfo(together.dtype).eps ** 0.5
    return bool((found - expected).norm() < tolerance * expected.norm())


@contextlib.contextmanager
def _noting(windows: list[int | None]) -> Iterator[None]:
    """Add to ``windows`` what every layer asks for."""
    token = _windows.set(windows)
    try:
        yield
    finally:
        _windows.reset(token)


def _has_window(config: PretrainedConfig) -> bool:
    """Tell whether layers may be meant to see less than the whole context.

    Some models have windows in layers whose kind is said to be another.
    """
    window = getattr(config, "sliding_window", None)
    longest = getattr(config, "max_position_embeddings", None)
    return bool(
        window
        and getattr(config, "use_sliding_window", True)
        and (longest is None or window < longest)
    )


def _row(ids: Sequence[int], lm: PreTrainedModel) -> torch.Tensor:
    return torch.tensor([ids], device=lm.device)
