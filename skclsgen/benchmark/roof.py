"""How much arithmetic the work needs, and how fast the machine does nothing but that.

A linear layer of ``n`` weights costs ``2 n`` floating-point operations per token; going back
through it costs as much again for the gradient of its input, and, if it is frozen, nothing for
its weights. An adapter of rank ``r`` on a layer of ``a`` inputs and ``b`` outputs has
``r (a + b)`` weights, all trained: 2 per weight forward, 4 back. A token that looks at ``k``
keys costs ``4 k h d`` in each layer (``h`` heads of width ``d``; scores and sums), twice that
back. A token whose words are learned meets the vocabulary of ``v`` rows of width ``w``: ``2 v w``
forward and as much back. Norms, rotations and sums of rows are not counted.

The same counting, without adapters, is in Kaplan et al., "Scaling Laws for Neural Language
Models", 2020, https://arxiv.org/abs/2001.08361, section 2.1.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import torch
from torch import nn
from transformers import PreTrainedModel

from ..lora import FusedLora
from ..module_tree import decoder_layers
from ..packing import Row

__all__ = ["forward_flops", "matrix_rate", "training_flops"]

#: Rows and columns of the square matrices that are multiplied for the rate.
SIDE = 2048


def matrix_rate(dtype: torch.dtype, device: torch.device, repeats: int = 7) -> float:
    """Measure floating-point operations per second of a large matrix product, the median."""
    left, right = (torch.randn(SIDE, SIDE, device=device).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        (left @ right).sum().item()  # the sum makes an accelerator finish; 1/2048 of the work
        seconds.append(time.perf_counter() - start)
    return 2 * SIDE**3 / statistics.median(seconds[2:])


def _layer_flops(layer: nn.Module) -> tuple[int, int]:
    """Weights of a layer's linear parts, and of its adapters."""
    weights = {
        id(p): p.numel() for m in layer.modules() if isinstance(m, nn.Linear) for p in [m.weight]
    }
    low = {
        id(part.weight): part.weight.numel()
        for m in layer.modules()
        if isinstance(m, FusedLora)
        for part in (m.lora_A, m.lora_B)
    }
    return sum(weights.values()) - sum(low.values()), sum(low.values())


def _attention_flops(lm: PreTrainedModel, rows: Sequence[Row], prefix: int) -> int:
    """Scores and sums of one layer, forward, counting only keys that may be looked at."""
    config = lm.config.get_text_config()
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    keys = 0
    for prompt, continuation in rows:
        tokens = len(prompt) + len(continuation)
        keys += tokens * prefix + tokens * (tokens + 1) // 2
    return 4 * keys * config.num_attention_heads * width


def forward_flops(lm: PreTrainedModel, rows: Sequence[Row], prefix: int) -> int:
    """Operations of one pass through all layers, adapters included, without a vocabulary.

    Parameters
    ----------
    lm : transformers.PreTrainedModel
        With adapters.
    rows : sequence of (sequence of int, sequence of int)
        Prompts and continuations.
    prefix : int
        Tokens in front of each row that are looked at but not computed.
    """
    layers = decoder_layers(lm.get_decoder(), lm.config.get_text_config().num_hidden_layers)
    tokens = sum(len(prompt) + len(continuation) for prompt, continuation in rows)
    weights = sum(sum(_layer_flops(layer)) for layer in layers)
    return 2 * weights * tokens + len(layers) * _attention_flops(lm, rows, prefix)


def training_flops(lm: PreTrainedModel, depth: int, rows: Sequence[Row], prefix: int) -> int:
    """Operations of one pass forward and back through the layers above a stored trunk.

    Parameters
    ----------
    lm : transformers.PreTrainedModel
        With adapters.
    depth : int
        Layers of the trunk.
    rows, prefix
        As in :func:`forward_flops`.
    """
    config = lm.config.get_text_config()
    layers = decoder_layers(lm.get_decoder(), config.num_hidden_layers)[depth:]
    tokens = sum(len(prompt) + len(continuation) for prompt, continuation in rows)
    words = sum(len(continuation) for _, continuation in rows)
    total = 3 * len(layers) * _attention_flops(lm, rows, prefix)
    for layer in layers:
        frozen, adapters = _layer_flops(layer)
        total += (4 * frozen + 6 * adapters) * tokens
    return total + 4 * config.vocab_size * config.hidden_size * words
