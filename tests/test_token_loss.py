import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, kl_div

from skclsgen import token_loss
from skclsgen.logit_shape import LogitShape
from skclsgen.token_loss import frozen_head_kl, frozen_head_nll


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("bias", [False, True])
def test_loss_and_gradient_are_those_of_autograd(scale, softcap, bias, monkeypatch):
    monkeypatch.setattr(token_loss, "CHUNK", 50 * 4)  # several chunks
    torch.manual_seed(0)
    head = nn.Linear(8, 50, bias=bias, dtype=torch.float64).requires_grad_(False)
    states = torch.randn(11, 8, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(50, (11,))
    weights = torch.rand(11, dtype=torch.float64)

    logits = head(states) * scale
    if softcap is not None:
        logits = torch.tanh(logits / softcap) * softcap
    expected = cross_entropy(logits, targets, reduction="none")
    (gradient,) = torch.autograd.grad((expected * weights).sum(), states)

    nll = frozen_head_nll(states, head, targets, LogitShape(scale, softcap))
    (found,) = torch.autograd.grad((nll * weights).sum(), states)
    torch.testing.assert_close(nll, expected)
    torch.testing.assert_close(found, gradient)


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("bias", [False, True])
def test_divergence_and_its_gradient_are_those_of_autograd(scale, softcap, bias, monkeypatch):
    monkeypatch.setattr(token_loss, "CHUNK", 50 * 4)  # several chunks
    torch.manual_seed(0)
    head = nn.Linear(8, 50, bias=bias, dtype=torch.float64).requires_grad_(False)
    states = torch.randn(11, 8, dtype=torch.float64, requires_grad=True)
    wanted = torch.randn(11, 8, dtype=torch.float64)
    weights = torch.rand(11, dtype=torch.float64)

    def log_proba(hidden):
        logits = head(hidden) * scale
        if softcap is not None:
            logits = torch.tanh(logits / softcap) * softcap
        return logits.log_softmax(dim=1)

    expected = kl_div(log_proba(states), log_proba(wanted), reduction="none", log_target=True)
    expected = expected.sum(dim=1)
    (gradient,) = torch.autograd.grad((expected * weights).sum(), states)

    kl = frozen_head_kl(states, wanted, head, LogitShape(scale, softcap))
    (found,) = torch.autograd.grad((kl * weights).sum(), states)
    torch.testing.assert_close(kl, expected)
    torch.testing.assert_close(found, gradient)
    torch.testing.assert_close(
        frozen_head_kl(wanted, wanted, head, LogitShape(scale, softcap)), torch.zeros_like(kl)
    )


def test_no_gradient_is_computed_without_need():
    head = nn.Linear(8, 50)
    nll = frozen_head_nll(torch.randn(3, 8), head, torch.tensor([1, 2, 3]))
    assert not nll.requires_grad
    assert nll.shape == (3,)


def test_low_precision_loss_is_float32():
    head = nn.Linear(8, 50, dtype=torch.bfloat16)
    nll = frozen_head_nll(torch.randn(3, 8, dtype=torch.bfloat16), head, torch.tensor([1, 2, 3]))
    assert nll.dtype == torch.float32
