"""What classifiers that train a network of their own have in common: how they are pickled."""

from __future__ import annotations

import copy
from typing import Any

from ..text_estimator import TextClassifier

__all__ = ["NetworkClassifier"]


class NetworkClassifier(TextClassifier):
    """Holds a trained module as ``_network``; pickles open on machines without its device."""

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "_network" in state:
            # A copy: this one's stays where it is.
            state["_network"] = copy.deepcopy(state["_network"]).cpu()
        return state
