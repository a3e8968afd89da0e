"""Training and prefill of well-known model sizes with random weights, for machines of any kind.

What a step costs depends on shapes alone, so nothing has to be downloaded. Without an accelerator
only the smallest is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ..backbone import BaseModel
from ..devices import resolve_device, resolve_dtype
from ..dual_head import DualHead
from ..example import Example
from ..generation import predict_logits
from ..lora import LoraSettings
from ..model_source import BaseModelInfo
from ..packing import Row, batches_by_length
from ..randomness import seeded
from ..reading import trunk_states
from ..training import TrainingSettings, train
from .measure import median, take_turns, timed
from .roof import forward_flops, matrix_rate, training_flops
from .settings import Settings

__all__ = ["SHAPES", "measure_shapes"]

#: Configurations of SmolLM2-135M, Llama-3.2-1B and Llama-3.1-8B, as their model cards give them.
SHAPES: dict[str, dict[str, Any]] = {
    "135M": {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "vocab_size": 49152,
        "tie_word_embeddings": True,
    },
    "1B": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "tie_word_embeddings": True,
    },
    "8B": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "tie_word_embeddings": False,
    },
}
#: Rows, and tokens of their prompts (on average) and continuations.
ROWS, PROMPT, CONTINUATION = 64, 460, 20
PREFIX = 22


def measure_shapes(
    settings: Settings,
    rows: int = ROWS,
    prompt: int = PROMPT,
) -> dict[str, Any]:
    """Tokens per second of training and prefill, and their shares of the matrix rate.

    Parameters
    ----------
    settings : Settings
        Repeats, batch size and rank.
    rows, prompt : int
        Rows, and average tokens of a prompt.
    """
    device = resolve_device("auto")
    dtype = resolve_dtype("auto", device)
    rate = matrix_rate(dtype, device)
    names = list(SHAPES)[:1] if device.type == "cpu" else list(SHAPES)
    runs: dict[str, list[dict[str, Any]]] = {}
    ratios: dict[str, float | None] = {}
    for name in names:
        net = _network(LlamaConfig(**SHAPES[name]), settings, device, dtype)
        paths = {
            f"{name} training": lambda turn, net=net: _training(net, settings, rows, prompt, turn),
            f"{name} prefill": lambda turn, net=net: _prefill(net, rows, prompt, turn),
        }
        found = take_turns(paths, settings.repeats)
        for path, turns in found.items():
            key = f"shape_{path.replace(' ', '_')}_roof_share"
            ratios[key] = median(turns, "flops_per_second") / rate
        runs |= found
    return {
        "runs": runs,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else str(device),
        "dtype": str(dtype),
        "matrix_flops_per_second": rate,
        "ratios": ratios,
    }


def _network(
    config: LlamaConfig, settings: Settings, device: torch.device, dtype: torch.dtype
) -> DualHead:
    with seeded(0), device:
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            lm = LlamaForCausalLM(config)
        finally:
            torch.set_default_dtype(before)
    words = Tokenizer(WordLevel({"a": 0}, unk_token="a"))
    info = BaseModelInfo("random", "random", "", None, "random")
    base = BaseModel(info, lm, PreTrainedTokenizerFast(tokenizer_object=words))
    lora = LoraSettings(settings.classifier().lora_layers, settings.rank, 2.0 * settings.rank, 0.0)
    return DualHead(base, range(1, 1 + PREFIX), [[100], [101]], lora)


def _rows(net: DualHead, rows: int, prompt: int, seed: int) -> list[Row]:
    """Random tokens; prompts from half to one and a half times the average length."""
    rng = np.random.default_rng(seed)
    vocabulary = net.lm.config.vocab_size
    lengths = rng.integers(prompt // 2, prompt + prompt // 2 + 1, size=rows)
    return [
        tuple(rng.integers(vocabulary, size=size).tolist() for size in (n, CONTINUATION))
        for n in lengths
    ]


def _training(
    net: DualHead, settings: Settings, rows: int, prompt: int, turn: int
) -> dict[str, Any]:
    """One epoch on a stored trunk."""
    found = _rows(net, rows, prompt, turn)
    examples = [Example(list(p), list(c), number % 2) for number, (p, c) in enumerate(found)]
    batch_size = settings.classifier().batch_size
    how = TrainingSettings(1, 1e-4, 0.0, batch_size, 0.5, 1, turn, 0)
    net.base.trunk_cache.clear()
    trunk_states(net, found)
    seconds, _ = timed(lambda: train(net, examples, [], how))
    work = training_flops(net.lm, net.depth, found, PREFIX)
    return _speed(seconds, found, work)


def _prefill(net: DualHead, rows: int, prompt: int, turn: int) -> dict[str, Any]:
    """Probabilities of texts never seen before."""
    net.eval()
    net.base.trunk_cache.clear()
    found: list[Row] = [(p, ()) for p, _ in _rows(net, rows, prompt, 1000 + turn)]

    def read() -> None:
        for batch in batches_by_length([len(p) for p, _ in found]):
            predict_logits(net, [found[row][0] for row in batch]).cpu()

    seconds, _ = timed(read)
    return _speed(seconds, found, forward_flops(net.lm, found, PREFIX))


def _speed(seconds: float, rows: Sequence[Row], work: int) -> dict[str, Any]:
    tokens = sum(len(prompt) + len(continuation) for prompt, continuation in rows)
    return {
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "flops_per_second": work / seconds,
    }
