"""A linear probe: logistic regression on what the frozen base model makes of the prompt."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import numpy as np
import torch
from scipy.special import log_softmax
from sklearn import config_context
from sklearn.preprocessing import StandardScaler

from ..backbone import DEFAULT_MODEL
from ..inputs import check_groups
from ..packing import PackedRows, batches_by_length
from ..parameters import Bound, check_number
from ..randomness import draw_seed
from ..text_estimator import unchanged_on_error
from .prompted import PromptedClassifier, Question
from .regression import regression_on

__all__ = ["LinearProbe"]


class LinearProbe(PromptedClassifier):
    """Logistic regression on the base model's hidden states [1]_.

    The prompt is that of :class:`~skclsgen.CLSGenClassifier`; nothing in the model is trained.
    Layer, pooling and penalty are chosen together, by the log-loss of held-out rows; where a class
    has too few rows to hold any out, they are the last layer and the first pooling.

    Parameters
    ----------
    model : str or path, default="HuggingFaceTB/SmolLM2-135M-Instruct"
        Base model, as for :class:`~skclsgen.CLSGenClassifier`.
    layers : tuple of float, default=(0.25, 0.5, 0.75, 1.0)
        Depths to choose from, as shares of the layers; 1 is after the final norm.
    pooling : tuple of {"last", "mean"}, default=("last", "mean")
        What of a prompt's states to choose from: the one at the decision token, where two texts are
        told apart, or the mean over all tokens after the shared instruction, where a long text's
        words show.
    label_names, max_length, device, dtype, verbose
        As for :class:`~skclsgen.CLSGenClassifier`.
    random_state : int, RandomState instance or None, default=None
        Fixes the folds.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    layer_ : float
        The depth that was chosen.
    pooling_ : {"last", "mean"}
        The pooling that was chosen.

    References
    ----------
    .. [1] Alain, Bengio, "Understanding intermediate layers using linear classifier probes", 2016,
       https://arxiv.org/abs/1610.01644

    Examples
    --------
    >>> from skclsgen.baselines import LinearProbe
    >>> clf = LinearProbe().fit(["Smoke is rising!", "Any news?"], ["urgent", "routine"])
    >>> clf.predict_proba(["The charger is on fire!"]).shape
    (1, 2)
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        layers: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0),
        pooling: tuple[str, ...] = ("last", "mean"),
        label_names: Mapping[Any, str] | None = None,
        max_length: int | None = None,
        device: str = "auto",
        dtype: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            model,
            label_names=label_names,
            max_length=max_length,
            device=device,
            dtype=dtype,
            verbose=verbose,
        )
        self.layers = layers
        self.pooling = pooling
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Any = None) -> LinearProbe:
        """Read the texts, choose layer, pooling and penalty, and fit with them.

        Parameters
        ----------
        X : list, tuple, array or Series of str, or DataFrame, of length n_samples
            Texts or records.
        y : array-like of shape (n_samples,)
            Labels of any type, at least two.
        groups : array-like of shape (n_samples,), default=None
            Sources of the rows, each held out as a whole when the choice is made.

        Returns
        -------
        LinearProbe
            Fitted.

        Raises
        ------
        ValueError
            If an argument or parameter cannot be used; see :mod:`skclsgen.exceptions`.
        """
        with unchanged_on_error(self):
            self._fit_probe(*self._begin_fit(X, y), groups)
        return self

    def _fit_probe(self, texts: list[str], labels: np.ndarray, groups: Any) -> None:
        seed = draw_seed(self.random_state)
        check_groups(groups, len(texts))  # before anything is read
        features = self._features(texts, self.layers, self.pooling)
        with config_context(enable_metadata_routing=False):  # this pipeline is nobody's but ours
            fitted = {
                choice: regression_on(StandardScaler(), random_state=seed).fit(
                    own, labels, regression__groups=groups
                )
                for choice, own in features.items()
            }
        scores = {choice: own["regression"].held_out_likelihood_ for choice, own in fitted.items()}
        best = self.layers[-1], self.pooling[0]
        if np.isfinite(list(scores.values())).all():
            best = max(scores, key=scores.__getitem__)
        (self.layer_, self.pooling_), self._regression = best, fitted[best]

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if not self.pooling or not set(self.pooling) <= set(POOLING):
            raise ValueError(f"pooling={self.pooling!r} must hold 'last', 'mean' or both.")
        if not hasattr(self.layers, "__len__") or not len(self.layers):
            raise ValueError(
                f"layers={self.layers!r} must hold at least one depth, such as (0.5, 1.0)."
            )
        for layer in self.layers:
            check_number("layers", layer, Bound(0, high=1))

    def _scores(self, texts: list[str]) -> np.ndarray:
        (chosen,) = self._features(texts, (self.layer_,), (self.pooling_,)).values()
        return log_softmax(self._regression.predict_log_proba(chosen), axis=1)

    def _features(
        self, texts: list[str], layers: tuple[float, ...], poolings: tuple[str, ...]
    ) -> dict[tuple[float, str], np.ndarray]:
        """Pooled states by layer and pooling, each of shape (texts, width), float32."""
        question = self._question()
        prompts = question.encoder.encode(texts)
        found: dict[tuple[float, str], list[np.ndarray]] = {
            choice: [] for choice in product(layers, poolings)
        }
        order: list[int] = []
        with self._bar(len(prompts), "reading") as bar:
            for batch in batches_by_length([len(prompt) for prompt in prompts]):
                rows = question.model.pack([(prompts[row], ()) for row in batch])
                states = dict(zip(layers, _states(question, rows, layers), strict=True))
                for (layer, pooling), own in found.items():
                    own.append(POOLING[pooling](states[layer], rows).float().cpu().numpy())
                order += batch
                bar.update(len(batch))
        back = np.argsort(order)
        return {choice: np.concatenate(own)[back] for choice, own in found.items()}


def _last(states: torch.Tensor, rows: PackedRows) -> torch.Tensor:
    """States where the prompts end, shape (rows, width)."""
    return states[rows.decisions()]


def _mean(states: torch.Tensor, rows: PackedRows) -> torch.Tensor:
    """Means over the tokens of each row, shape (rows, width), float32."""
    return torch.stack([own.float().mean(dim=0) for own in states.split(rows.lengths)])


#: Ways from the states of packed prompts to one vector a row.
POOLING: dict[str, Callable[[torch.Tensor, PackedRows], torch.Tensor]] = {
    "last": _last,
    "mean": _mean,
}


@torch.no_grad()
def _states(question: Question, rows: PackedRows, layers: tuple[float, ...]) -> list[torch.Tensor]:
    """Return the states of several layers, each of shape (tokens, width)."""
    met: list[tuple[torch.Tensor, ...]] = []

    def all_layers(_: slice, **inputs: Any) -> torch.Tensor:
        out = question.model.decoder(**inputs, output_hidden_states=True)
        met.append(out.hidden_states)
        states: torch.Tensor = out.last_hidden_state
        return states

    question.model.run(rows, all_layers)
    depth = len(met[0]) - 1
    # Rows that cannot be packed come one by one, each with filler after it or none.
    parts = [rows.lengths] if question.base.packs else [[length] for length in rows.lengths]
    return [
        torch.cat(
            [
                states[round(layer * depth)][0, : sum(part)]
                for states, part in zip(met, parts, strict=True)
            ]
        )
        for layer in layers
    ]
