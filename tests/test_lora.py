import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import Linear
from torch import nn

from skclsgen.exceptions import UnsupportedModelError
from skclsgen.lora import FusedLora, LoraSettings, add_adapters, n_adapted_layers


@pytest.mark.parametrize(
    ("layers", "total", "expected"),
    [("all", 30, 30), (2 / 3, 30, 20), (0.5, 3, 2), (0.01, 30, 1), (1.0, 7, 7), (99, 30, 30)],
)
def test_n_adapted_layers(layers, total, expected):
    assert n_adapted_layers(layers, total) == expected


@pytest.mark.parametrize("bias", [True, False])
def test_fused_layer_computes_what_pefts_does(bias):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5, bias=bias)).double().requires_grad_(False)
    config = LoraConfig(r=3, lora_alpha=7, target_modules=["0"])
    (plain,) = inject_adapter_in_model(config, model).double()
    nn.init.normal_(plain.lora_B["default"].weight)
    x = torch.randn(2, 4, 6, dtype=torch.float64, requires_grad=True)
    found = []
    for layer in (plain, FusedLora(plain)):
        out = layer(x)
        wanted = [x, plain.lora_A["default"].weight, plain.lora_B["default"].weight]
        found.append([out, *torch.autograd.grad(out.square().sum(), wanted)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_layers_with_dropout_stay_pefts():
    for dropout, kind in ((0.0, FusedLora), (0.1, Linear)):
        model = nn.Sequential(nn.Sequential(nn.Linear(4, 4)))
        add_adapters(model, [model[0]], LoraSettings(1, 2, 4.0, dropout))
        assert type(model[0][0]) is kind


def test_a_model_with_nothing_to_adapt_is_refused():
    model = nn.Sequential(nn.ReLU())
    with pytest.raises(UnsupportedModelError, match="no linear layers to adapt"):
        add_adapters(model, [model[0]], LoraSettings(1, 2, 4.0, 0.0))
