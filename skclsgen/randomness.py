"""Where random numbers come from."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import numpy as np
import torch
from sklearn.utils import check_random_state

__all__ = ["draw_seed", "seeded"]

#: Held by whoever draws from torch's generators, which all threads share.
_drawing = threading.RLock()


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw torch's random numbers from ``seed``, and leave the caller's as they were.

    One thread at a time; the others wait.
    """
    # Asking CUDA for its state would start it, which forked processes cannot do.
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    apple = torch.mps if torch.backends.mps.is_available() else None
    with _drawing, torch.random.fork_rng(devices):
        # Only what is put back afterwards: torch.manual_seed would also replace the seed that an
        # accelerator which has not started yet is going to start with.
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.manual_seed_all(seed)
        if apple is None:
            yield
            return
        before = apple.get_rng_state()
        apple.manual_seed(seed)
        try:
            yield
        finally:
            apple.set_rng_state(before)


def draw_seed(random_state: int | np.random.RandomState | None) -> int:
    """Draw a seed from what scikit-learn takes as ``random_state``."""
    return int(check_random_state(random_state).randint(2**31 - 1))
