"""Where the time of a run goes, by kind of operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.profiler import profile

__all__ = ["time_by_kind"]

PRODUCTS = ("aten::mm", "aten::addmm", "aten::addmm_", "aten::linear")
#: What attention does to its tables in place.
TABLES = ("aten::add_", "aten::sub_", "aten::mul_")
#: What each operation counts as; the first whose name begins like it.
KINDS = {
    "attention": (
        "aten::bmm",
        "aten::baddbmm",
        "aten::_softmax",
        "aten::index_select",
        "aten::index_add",
        "aten::scatter_add",
        "aten::_scaled_dot_product",
        "_GroupedAttention",
    ),
    "optimiser": ("Optimizer", "aten::_fused_adam", "aten::linalg_vector_norm", "aten::_foreach"),
    "norms, rotations, activations, sums": (
        "aten::add",
        "aten::mul",
        "aten::div",
        "aten::pow",
        "aten::mean",
        "aten::sum",
        "aten::rsqrt",
        "aten::silu",
        "aten::sigmoid",
        "aten::neg",
        "aten::exp",
        "aten::sub",
    ),
    "copies and casts": ("aten::copy_", "aten::cat", "aten::fill_", "aten::zero_"),
}


def time_by_kind(run: Callable[[], Any], rank: int) -> dict[str, float]:
    """Profile ``run`` and return each kind's share of the processor's time, largest first.

    Parameters
    ----------
    run : callable
        Long enough to mean something, short enough to be recorded: a few steps.
    rank : int
        Of the adapters; a matrix product with a side no longer than that is theirs.
    """
    with profile(record_shapes=True) as profiler:
        run()
    times: dict[str, float] = {}
    for event in profiler.key_averages(group_by_input_shape=True):
        kind = _kind(event.key, event.input_shapes, rank)
        times[kind] = times.get(kind, 0.0) + event.self_cpu_time_total
    total = sum(times.values())
    return {k: t / total for k, t in sorted(times.items(), key=lambda pair: -pair[1])}


def _kind(name: str, shapes: list[list[int]], rank: int) -> str:
    if name in PRODUCTS:
        sides = [side for shape in shapes for side in shape]
        return "adapters' products" if sides and min(sides) <= rank else "frozen layers' products"
    if name in TABLES and shapes and len(shapes[0]) >= 4:
        return "attention"
    for kind, names in KINDS.items():
        if name.startswith(names):
            return kind
    return "calls"
