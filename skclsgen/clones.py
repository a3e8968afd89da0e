"""Clones that keep the base model loaded for each other."""

from __future__ import annotations

import copy
from typing import Any, Self

from sklearn.base import BaseEstimator

from .backbone import BaseLease

__all__ = ["FamilyOfClones"]


class FamilyOfClones(BaseEstimator):
    """An estimator whose clones share its hold on the base model.

    Cross-validation fits and drops one clone after the other, and would load the model once a fold.
    Functions among the parameters are shared, not copied.
    """

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("_lease", None)
        return state

    def __sklearn_clone__(self) -> Self:
        # Functions may hold models or connections, which deep copies would double or break.
        functions = {k: v for k, v in self.get_params(deep=False).items() if callable(v)}
        bare = copy.copy(self).set_params(**dict.fromkeys(functions))
        twin = super(FamilyOfClones, bare).__sklearn_clone__().set_params(**functions)
        twin._lease = self._family_lease()
        return twin

    def _family_lease(self) -> BaseLease:
        if not hasattr(self, "_lease"):
            self._lease = BaseLease()
        return self._lease
