"""Training ends when nothing is gained, and its best epoch is known."""

import torch

from skclsgen.early_stopping import EarlyStopping


def test_early_stopping_counts_epochs_without_improvement():
    epochs = iter(range(6))
    stopping = EarlyStopping(2, lambda: {"weight": torch.tensor(next(epochs))})
    assert stopping.best_state is None
    assert [stopping.should_stop(x) for x in (1.0, 0.8, 0.9, 0.7, 0.69995, 0.71)] == [
        False, False, False, False, False, True,
    ]  # fmt: skip
    assert stopping.best == 0.7
    assert stopping.best_state == {"weight": 2}  # asked for at each of three improvements


def test_a_loss_that_is_no_number_is_no_improvement():
    stopping = EarlyStopping(1, dict)
    assert stopping.should_stop(float("nan"))
    assert stopping.best_state is None
