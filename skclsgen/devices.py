"""What to compute on, and in which type."""

from __future__ import annotations

from typing import cast

import torch

__all__ = ["resolve_device", "resolve_dtype"]


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


def resolve_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """Turn ``"auto"`` or a name into the floating-point type to compute in."""
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
    if device.type == "cpu":
        # Emulated bfloat16 is slower than float32, so it takes instructions made for it.
        able = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        if able.get("avx512_bf16") or able.get("amx_bf16") or able.get("sve_bf16"):
            return torch.bfloat16
    return torch.float32
