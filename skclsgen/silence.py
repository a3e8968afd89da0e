"""Keep transformers' bars and notices out of the user's output."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from unittest.mock import patch

import transformers
from tqdm.auto import tqdm

__all__ = ["quiet_transformers"]


class _Silence:
    """Keeps transformers' loading bars and notices out of the user's output, in all threads.

    What it sets is the process's: the first thread that comes sets it, the last one puts it back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._muted = contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if not self._holders:
                self._muted.enter_context(_muted())
            self._holders += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._holders -= 1
            if not self._holders:
                self._muted.close()


_silence = _Silence()


def quiet_transformers() -> contextlib.AbstractContextManager[None]:
    """Keep transformers' loading bars and notices out of the user's output."""
    return _silence


@contextlib.contextmanager
def _muted() -> Iterator[None]:
    log = transformers.utils.logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        # Some bars come straight from tqdm and heed no setting of transformers.
        with patch.object(tqdm, "__init__", functools.partialmethod(tqdm.__init__, disable=True)):
            yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()
