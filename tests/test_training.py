import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from skclsgen import training
from skclsgen.backbone import load_base_model
from skclsgen.dual_head import DualHead
from skclsgen.example import Example
from skclsgen.exceptions import TrainingDivergedError
from skclsgen.lora import LoraSettings
from skclsgen.optimizer import MasterAdamW
from skclsgen.randomness import seeded
from skclsgen.training import (
    TrainingSettings,
    micro_batches,
    shuffled_batches,
    train,
)

EXAMPLES = [
    Example(list(range(30, 36 + i % 7)), [20, 21, 2] if i % 3 else [], i % 2) for i in range(40)
]
SETTINGS = TrainingSettings(
    epochs=2,
    learning_rate=1e-2,
    weight_decay=0.0,
    batch_size=8,
    explanation_weight=0.5,
    n_iter_no_change=2,
    seed=0,
    verbose=0,
)


def make(tiny, dtype="float32"):
    with seeded(0):
        base = load_base_model(tiny, dtype=dtype)
        return DualHead(base, [1, 30], [[10], [11]], LoraSettings(2, 4, 8.0, 0.0))


def test_batches_hold_every_row_once_and_differ_between_epochs():
    rng = np.random.default_rng(0)
    one, two = (list(shuffled_batches(EXAMPLES, 8, rng)) for _ in range(2))
    assert len(one) == 5
    assert sorted(id(e) for batch in one for e in batch) == sorted(map(id, EXAMPLES))
    assert [[id(e) for e in b] for b in one] != [[id(e) for e in b] for b in two]


def test_batches_hold_rows_of_similar_length():
    examples = [Example([5] * n, [], 0) for n in np.random.default_rng(0).integers(5, 500, 256)]
    batches = list(shuffled_batches(examples, 16, np.random.default_rng(0)))
    padded = sum(len(b) * max(len(e) for e in b) for b in batches)
    assert padded < 1.15 * sum(len(e) for e in examples)


def test_long_batches_are_run_in_parts_with_the_same_result(tiny, monkeypatch):
    def run(tokens):
        monkeypatch.setattr(training, "MICRO_BATCH_TOKENS", tokens)
        net = make(tiny, "float64")
        history = train(net, EXAMPLES, [], SETTINGS)
        return net.trained_state(), history

    (whole, history), (parts, same) = run(10_000), run(1)
    assert len(list(micro_batches(EXAMPLES[:8]))) == 8
    np.testing.assert_allclose(history.loss, same.loss)
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor, atol=1e-6, rtol=1e-5)


def test_losses_fall_and_are_told_apart(tiny):
    history = train(make(tiny), EXAMPLES, [], SETTINGS)
    assert history.loss[1] < history.loss[0]
    for i in range(2):
        joint = history.classification_loss[i] + 0.5 * history.explanation_loss[i]
        assert history.loss[i] == pytest.approx(joint, rel=1e-5)


def test_the_learning_rate_rises_over_a_tenth_and_falls_to_nothing(tiny, monkeypatch):
    rates, step = [], MasterAdamW.step

    def take_note(self):
        rates.append(self.adamw.param_groups[0]["lr"])
        step(self)

    monkeypatch.setattr(MasterAdamW, "step", take_note)
    train(make(tiny), EXAMPLES, [], replace(SETTINGS, epochs=8))
    assert len(rates) == 40
    assert max(rates) == rates[4] == SETTINGS.learning_rate
    assert rates[:5] == sorted(rates[:5])
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[22] == pytest.approx(SETTINGS.learning_rate / 2)
    assert rates[-1] < 0.01 * SETTINGS.learning_rate


def test_the_language_weighs_what_is_asked(monkeypatch):
    leaf, nothing = torch.zeros((), requires_grad=True), torch.zeros(8)
    monkeypatch.setattr(training, "batch_losses", lambda *_: (nothing, nothing, 1.0 * leaf))
    optimizer = SimpleNamespace(step=lambda: None)
    settings = replace(SETTINGS, language_weight=3.0)
    training._train_step(None, EXAMPLES[:8], None, optimizer, settings)
    assert leaf.grad == 3.0


def test_empty_validation_runs_every_epoch(tiny):
    history = train(make(tiny), EXAMPLES, [], SETTINGS)
    assert history.validation_loss == []
    assert len(history.loss) == 2


def test_a_validation_loss_that_says_nothing_is_an_error(tiny, monkeypatch):
    monkeypatch.setattr(training, "mean_loss", lambda *given: float("nan"))
    with pytest.raises(TrainingDivergedError, match="validation loss became nan in epoch 1"):
        train(make(tiny), EXAMPLES[8:], EXAMPLES[:8], SETTINGS)


def test_seeding_does_not_start_cuda(monkeypatch):
    """Forked processes may compute on the CPU, but not start CUDA."""

    def refuse(*args):
        raise RuntimeError("Cannot re-initialize CUDA in forked subprocess")

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_rng_state", refuse)
    with seeded(0):
        assert torch.rand(()) == torch.rand((), generator=torch.Generator().manual_seed(0))


def test_an_accelerator_that_has_not_started_keeps_the_callers_seed(monkeypatch):
    """torch.manual_seed would queue another for when it starts."""

    def refuse(seed):
        raise AssertionError("the caller's seed was replaced")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", refuse)
    with seeded(0):
        torch.rand(())


def test_threads_draw_from_their_own_seeds():
    def draw(seed):
        with seeded(seed):
            time.sleep(0.02)
            return torch.rand(3).tolist()

    before = torch.get_rng_state()
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(draw, range(4))) == list(map(draw, range(4)))
    assert torch.equal(torch.get_rng_state(), before)


def test_an_update_that_overflows_is_not_kept(tiny):
    """A single step: no later loss would show what it made of the weights."""
    settings = replace(SETTINGS, epochs=1, batch_size=len(EXAMPLES), learning_rate=float("inf"))
    with pytest.raises(TrainingDivergedError, match="size of the weights became nan in epoch 1"):
        train(make(tiny), EXAMPLES, [], settings)
