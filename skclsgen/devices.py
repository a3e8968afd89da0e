"""What to compute on, and in which type."""

from __future__ import annotations

from functools import cache
from time import perf_counter
from typing import cast

import torch

__all__ = ["refuse_autocast", "resolve_device", "resolve_dtype"]

#: Instructions for products of bfloat16; without any, they are emulated and never faster.
BFLOAT16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "sve_bf16")

#: How much faster than float32 bfloat16 has to be to be worth its coarser numbers. What has been
#: seen of CPUs lies far from it on both sides (0.5 and 2.7), so that noise decides nowhere.
WORTHWHILE = 1.2

#: Tokens, and widths of a small model's feed-forward part, of the products that are timed.
TIMED_SHAPE = (512, 576, 1536)


def resolve_device(device: str | torch.device) -> torch.device:
    """Turn ``"auto"`` into the accelerator at hand or the CPU.

    Raises
    ------
    ValueError
        If this machine has no such device.
    """
    if not isinstance(device, (str, torch.device)):
        raise ValueError(f"device={device!r} must be 'auto' or a device's name, such as 'cpu'.")
    if device == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        device = found if found is not None else "cpu"
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError):
        raise ValueError(
            f"device={str(device)!r} is not available on this machine; use 'auto' or 'cpu'."
        ) from None


def refuse_autocast(device: torch.device) -> None:
    """Raise where ``torch.autocast`` would change the types that are computed in.

    Raises
    ------
    RuntimeError
        If it is switched on for the device.
    """
    if torch.is_autocast_enabled(device.type):
        raise RuntimeError(
            f"torch.autocast is on for {device.type!r}, and skclsgen computes in the type of the "
            "parameter dtype; leave the autocast block, or switch it off within: "
            f"torch.autocast({device.type!r}, enabled=False)."
        )


def resolve_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """Turn ``"auto"`` or a name into the floating-point type to compute in.

    ``"auto"`` is bfloat16 where the hardware multiplies it faster than float32, and else float32.
    A CPU is asked by trying, once in a process: one with AVX512-BF16 but without AMX may take
    twice as long for bfloat16.

    Raises
    ------
    ValueError
        If that is no floating-point type, or not one of the device's.
    """
    if dtype != "auto":
        named = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
        if named not in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
            raise ValueError(
                f"dtype={dtype!r} is not a floating-point type to compute in; use 'auto', "
                "'float32', 'bfloat16', 'float16' or 'float64'."
            )
        if named == torch.float64 and device.type == "mps":
            raise ValueError(
                "dtype='float64' is not available on device='mps', Apple's GPUs; use 'float32', or "
                "device='cpu'."
            )
        return cast(torch.dtype, named)
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    if device.type == "cpu" and _bfloat16_gain() > WORTHWHILE:
        return torch.bfloat16
    return torch.float32


@cache
def _bfloat16_gain(repeats: int = 7) -> float:
    """How many times as fast as float32's this CPU's products of bfloat16 are; 0 if emulated."""
    able = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    if not any(able.get(name) for name in BFLOAT16_INSTRUCTIONS):
        return 0.0
    tokens, width, hidden = TIMED_SHAPE
    # Zeros, as drawing would move the state of torch's generator; a product takes as long.
    pairs = {
        dtype: [torch.zeros(n, width, dtype=dtype, device="cpu") for n in (tokens, hidden)]
        for dtype in (torch.float32, torch.bfloat16)
    }
    best = dict.fromkeys(pairs, float("inf"))
    for _ in range(repeats):  # in turns, and the best of each, whatever else the machine does
        for dtype, (rows, weights) in pairs.items():
            start = perf_counter()
            torch.nn.functional.linear(rows, weights)
            best[dtype] = min(best[dtype], perf_counter() - start)
    return best[torch.float32] / best[torch.bfloat16]
