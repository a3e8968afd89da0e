"""What the estimator's parameters may be, checked before any expensive work."""

from __future__ import annotations

import numbers
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.utils import compute_sample_weight

from .backbone import check_optional_dependencies
from .devices import resolve_device, resolve_dtype
from .rationales import SELF_WRITTEN
from .text_inputs import check_texts

if TYPE_CHECKING:
    from .classifier import CLSGenClassifier

__all__ = [
    "BOUNDS",
    "Bound",
    "check_class_weights",
    "check_flag",
    "check_memory",
    "check_model",
    "check_number",
    "check_parameters",
    "model_location",
]


@dataclass(frozen=True)
class Bound:
    """What a numeric parameter may be.

    Attributes
    ----------
    low : float
        Smallest value.
    open : bool
        True if ``low`` itself is not allowed.
    high : float
        Largest value.
    whole : bool
        True if it must be an integer.
    none : bool
        True if ``None`` is allowed.
    """

    low: float
    open: bool = False
    high: float = float("inf")
    whole: bool = False
    none: bool = False

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        text = f"{kind} {'>' if self.open else '>='} {self.low:g}"
        if self.high != float("inf"):
            text += f" and <= {self.high:g}"
        return text + (" or None" if self.none else "")


BOUNDS = {
    "lora_r": Bound(1, whole=True),
    "lora_alpha": Bound(0, open=True, none=True),
    "lora_dropout": Bound(0, high=0.99),
    "explanation_weight": Bound(0),
    "language_weight": Bound(0),
    "epochs": Bound(0, whole=True),
    "learning_rate": Bound(0, open=True),
    "weight_decay": Bound(0),
    "batch_size": Bound(1, whole=True),
    "max_length": Bound(1, whole=True, none=True),
    "max_new_tokens": Bound(1, whole=True),
    "validation_fraction": Bound(0, open=True, high=0.99),
    "n_iter_no_change": Bound(1, whole=True),
    "verbose": Bound(0, whole=True),
}


def check_parameters(params: CLSGenClassifier) -> None:
    """Raise unless every parameter can be used.

    Raises
    ------
    ValueError
        That names the parameter, what was found and what it may be.
    OptionalDependencyError
        If an option needs a package that is not installed.
    """
    check_model(params.model)
    for name, bound in BOUNDS.items():
        check_number(name, getattr(params, name), bound)
    check_lora_layers(params.lora_layers)
    for name in ("early_stopping", "warm_start"):
        check_flag(name, getattr(params, name))
    check_rationales(params.rationales)
    check_memory(params.memory)
    if params.instruction is not None:
        check_texts([params.instruction], "instruction")
    check_optional_dependencies(params.attn_implementation, params.quantization)
    dtype = resolve_dtype(params.dtype, resolve_device(params.device))
    if params.epochs and dtype is torch.float16:
        raise ValueError(
            f"dtype={params.dtype!r} has too small a range to train in; use 'auto', 'bfloat16' "
            "or 'float32' (or epochs=0)."
        )


def check_number(name: str, value: Any, bound: Bound) -> None:
    """Raise ``ValueError`` unless ``value`` is a number within the bound."""
    if value is None and bound.none:
        return
    kind = numbers.Integral if bound.whole else numbers.Real
    # verbose may be a bool, as in scikit-learn.
    flag = isinstance(value, (bool, np.bool_)) and name != "verbose"
    right_type = isinstance(value, kind) and not flag and value != float("inf")
    if right_type and bound.low <= value <= bound.high and not (bound.open and value == bound.low):
        return
    raise ValueError(f"{name}={value!r} must be {bound}.")


def check_flag(name: str, value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` is a boolean, 0 or 1; words such as "no" are true."""
    if not isinstance(value, (bool, np.bool_, numbers.Integral)) or value not in (0, 1):
        raise ValueError(f"{name}={value!r} must be True or False.")


def check_rationales(value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` says where explanations come from."""
    if value is None or callable(value) or (isinstance(value, str) and value in SELF_WRITTEN):
        return
    found = f"={value!r}" if isinstance(value, str) else f" is a {type(value).__name__!r}, but"
    raise ValueError(
        f"rationales{found} must be 'self', 'explain', a callable or None; explanations that are "
        "there already go to fit(explanations=...)."
    )


def check_model(value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` may name a base model."""
    if not isinstance(value, (str, os.PathLike)):
        raise ValueError(  # a loaded model would fill screens if it were shown
            f"model is {type(value).__name__!r}; pass a Hub id, or the path of a GGUF file or of "
            "the folder that save_pretrained wrote."
        )


def model_location(model: str | os.PathLike[str]) -> str:
    """Return a path on this machine as an absolute one, and Hub ids as they are.

    So a fitted classifier finds its base model from any working directory.
    """
    name = os.fspath(model)
    path = Path(name).expanduser()
    return str(path.absolute()) if name and path.exists() else name


def check_memory(value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` is None or the path of a folder, there or not yet."""
    if value is None:
        return
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise ValueError(f"memory={value!r} must be the path of a folder, or None.")
    if Path(value).expanduser().is_file():
        raise ValueError(f"memory={str(value)!r} is a file; give a folder.")


def check_lora_layers(value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` is "all", a fraction in (0, 1] or a count >= 1."""
    if isinstance(value, str) and value == "all":
        return
    bound = Bound(1, whole=True)
    if isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral):
        bound = Bound(0, open=True, high=1)
    try:
        check_number("lora_layers", value, bound)
    except ValueError:
        raise ValueError(
            f"lora_layers={value!r} must be 'all', a fraction > 0 and <= 1, or a number of "
            "layers >= 1."
        ) from None


def check_class_weights(class_weight: Any, classes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Weight of every row's class, shape (n_rows,), float64.

    Parameters
    ----------
    class_weight : dict, "balanced" or None
        As scikit-learn has it, but that keys are labels whatever they look like: its own look-up
        takes the label ``"1"`` for 1.
    classes : ndarray of shape (n_classes,)
        The labels.
    labels : ndarray of shape (n_rows,)
        Number of every row's label.

    Raises
    ------
    ValueError
        If a class has no weight of 0 or more, or all weights are 0.
    """
    by_number = class_weight
    if isinstance(class_weight, Mapping):
        names = classes.tolist()
        absent = [name for name in names if name not in class_weight]
        if absent and len(class_weight) > len(names) - len(absent):
            raise ValueError(
                f"class_weight={class_weight!r} must give every class a number >= 0; it has none "
                f"for {absent}, and keys that are no labels."
            )
        by_number = {number: class_weight.get(name, 1) for number, name in enumerate(names)}
    weights = compute_sample_weight(by_number, labels)
    if not (np.isfinite(weights).all() and weights.min() >= 0 and weights.any()):
        raise ValueError(
            f"class_weight={class_weight!r} must give every class a number >= 0, and one of them "
            "more than 0."
        )
    return weights
