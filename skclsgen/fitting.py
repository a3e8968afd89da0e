"""From an estimator's parameters and checked rows to a trained network."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np
import torch

from .backbone import BaseLease
from .example import make_examples
from .fitted import FittedNetwork, LiveNetwork
from .holdout import hold_out
from .inputs import TrainingRows
from .lora import LoraSettings
from .network_settings import BaseModelSettings, TaskSettings
from .out_of_memory import is_out_of_memory
from .parameters import model_location
from .prompt import default_instruction
from .randomness import draw_seed, seeded
from .rationales import RationaleReport, choose_rationales
from .training import History, TrainingSettings, train

if TYPE_CHECKING:
    from .classifier import CLSGenClassifier

__all__ = ["learn", "new_network"]


def new_network(
    params: CLSGenClassifier, label_words: Sequence[str], lease: BaseLease
) -> FittedNetwork:
    """Return an untrained network as the estimator's parameters describe it.

    Parameters
    ----------
    params : CLSGenClassifier
        Read for its parameters only.
    label_words : sequence of str
        Words of each class.
    lease : BaseLease
        Keeps the base model for the estimator's family of clones.
    """
    base = BaseModelSettings(
        model=model_location(params.model),
        revision=params.revision,
        device=str(params.device),
        dtype=str(params.dtype).removeprefix("torch."),
        attn_implementation=params.attn_implementation,
        quantization=params.quantization,
    )
    task = TaskSettings(
        # Templates trim what they are given, and then it would not be found in them.
        instruction=(params.instruction or default_instruction(label_words)).strip(),
        label_words=tuple(label_words),
        max_length=None if params.max_length is None else int(params.max_length),
        max_new_tokens=int(params.max_new_tokens),
    )
    # Searches pass NumPy numbers, which JSON does not know.
    layers = params.lora_layers
    if not isinstance(layers, str):
        layers = int(layers) if isinstance(layers, Integral) else float(layers)
    alpha = 2 * int(params.lora_r) if params.lora_alpha is None else params.lora_alpha
    lora = LoraSettings(layers, int(params.lora_r), float(alpha), float(params.lora_dropout))
    network = FittedNetwork(base, task, lora, lease)
    network.remember_in(params.memory)
    return network


# Whatever mode the caller is in: a fit needs gradients, and tensors that may take part in them.
@torch.inference_mode(False)
@torch.enable_grad()
def learn(
    params: CLSGenClassifier,
    network: FittedNetwork,
    rows: TrainingRows,
    *,
    classification_weight: float = 1.0,
) -> tuple[History, RationaleReport]:
    """Train a network and keep its state.

    If anything goes wrong, the network falls back to the state it had before.

    Parameters
    ----------
    params : CLSGenClassifier
        Read for its parameters only.
    network : FittedNetwork
        Trained in place.
    rows : TrainingRows
        What to learn from.
    classification_weight : float, default=1.0
        Weight of the classification loss. With 0 the language-modelling head learns alone, and
        from the labels of rows without an explanation too.
    """
    seed = draw_seed(params.random_state)
    try:
        with seeded(seed):
            live = network.live(params.verbose)
        task = network.task
        training, held_out = rows, rows.take([])
        if params.early_stopping:
            parts = hold_out(rows.labels, params.validation_fraction, seed)
            training, held_out = map(rows.take, parts)
        reasons, report = _reasons(params, network, live, training)
        if not classification_weight:
            reasons = [reason or "" for reason in reasons]
        examples = make_examples(live.encoder, training, reasons, task.max_new_tokens)
        # Early stopping looks at the classification loss alone.
        no_reasons = [None] * len(held_out)
        validation = make_examples(live.encoder, held_out, no_reasons, task.max_new_tokens)
        settings = TrainingSettings(
            epochs=int(params.epochs),  # NumPy's small integers would overflow
            learning_rate=params.learning_rate,
            weight_decay=params.weight_decay,
            batch_size=int(params.batch_size),
            explanation_weight=params.explanation_weight,
            n_iter_no_change=int(params.n_iter_no_change),
            seed=seed,
            verbose=params.verbose,
            classification_weight=classification_weight,
            language_weight=params.language_weight,
            anchor=report.source == "explain",
        )
        # Only dropout draws from here on; without it, other threads may draw meanwhile.
        with seeded(seed) if params.lora_dropout else nullcontext():
            history = train(live.net, examples, validation, settings)
        network.keep_state(live)
    except BaseException as error:
        network.release()
        if is_out_of_memory(error):
            error.add_note(
                "the fit needs more memory than is free; lower batch_size or max_length, choose a "
                "smaller model or quantization='4bit', or let go of other models with "
                "skclsgen.release_memory()."
            )
        raise
    return history, report


def _reasons(
    params: CLSGenClassifier, network: FittedNetwork, live: LiveNetwork, rows: TrainingRows
) -> tuple[list[str | None], RationaleReport]:
    """Return an explanation or None for every row, and where they came from."""
    words = network.task.label_words
    if not (params.epochs and params.explanation_weight):
        # What would count nothing is neither written nor used.
        return [None] * len(rows), _without_reasons(rows.labels, len(words))
    return choose_rationales(
        live.base,
        live.encoder,
        rows,
        words,
        source=params.rationales,
        max_new_tokens=network.task.max_new_tokens,
        memory=live.net.memory,
        verbose=params.verbose,
    )


def _without_reasons(labels: np.ndarray, n_classes: int) -> RationaleReport:
    """Report that no row has an explanation to learn from, since none would count."""
    counts = np.bincount(labels, minlength=n_classes).tolist()
    return RationaleReport(
        "none", [{"rows": rows, "kept": 0, "dropped": {"not used": rows}} for rows in counts]
    )
