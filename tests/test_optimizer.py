from itertools import chain

import pytest
import torch
from test_training import make

from skclsgen.optimizer import UP_RATE, MasterAdamW


def step(optimizer, gradient):
    """Take a step with the same gradient everywhere."""
    for parameter in chain.from_iterable(optimizer.parts):
        parameter.grad = torch.full_like(parameter, gradient)
    optimizer.step()


def test_small_updates_add_up_in_low_precision(tiny):
    """Steps far below bfloat16's spacing must move the parameters in the end."""
    net = make(tiny, "bfloat16")
    parameter = next(iter(net.adapter_parameters().values()))
    assert parameter.dtype == torch.bfloat16
    parameter.data.fill_(1.0)
    optimizer = MasterAdamW(net, learning_rate=1e-4, weight_decay=0.0)
    for _ in range(100):
        parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    assert float(parameter.detach().float().mean()) == pytest.approx(
        0.99, abs=0.004
    )  # spacing is 0.0039
    assert parameter.grad is None


def test_gradients_are_clipped(tiny):
    net = make(tiny)
    optimizer = MasterAdamW(net, 1e-2, 0.0)
    seen = []
    optimizer.adamw.register_step_pre_hook(
        lambda *_: seen.append(
            torch.stack([m.grad.norm() for m in optimizer.masters if m.grad is not None]).norm()
        )
    )
    step(optimizer, 100.0)
    assert float(seen[0]) == pytest.approx(1.0, rel=1e-3)


def test_weight_decay_spares_the_head(tiny):
    net = make(tiny)
    before = net.trained_state()
    optimizer = MasterAdamW(net, 1e-2, weight_decay=1.0)
    step(optimizer, 0.0)
    after = net.trained_state()
    assert torch.equal(before["head.weight"], after["head.weight"])
    moved = [n for n in before if "lora_A" in n]
    assert all(torch.allclose(after[n], before[n] * 0.99) for n in moved)


def test_up_projections_learn_faster(tiny):
    net = make(tiny)
    before = net.trained_state()
    optimizer = MasterAdamW(net, 1e-3, weight_decay=0.0)
    step(optimizer, 1.0)
    after = net.trained_state()
    for name, tensor in after.items():
        rate = 1e-3 * (UP_RATE if "lora_B" in name else 1)
        torch.testing.assert_close(before[name] - tensor, torch.full_like(tensor, rate))


def test_a_parameter_without_gradient_stays(tiny):
    """Such as an adapter of an expert that no token of a batch was sent to."""
    net = make(tiny)
    before = net.trained_state()
    optimizer = MasterAdamW(net, 1e-3, weight_decay=0.0)
    net.head.weight.grad = torch.ones_like(net.head.weight)
    optimizer.step()
    changed = {n for n, t in net.trained_state().items() if not torch.equal(t, before[n])}
    assert changed == {"head.weight"}
