import pytest
import torch
import transformers
from conftest import FAMILIES, SIZES, build_model, save_model

from skclsgen.backbone import load_base_model
from skclsgen.exceptions import UnsupportedModelError
from skclsgen.logit_shape import LogitShape

IDS = torch.tensor([[5, 60, 7, 200, 31]])


def own_logits(lm):
    """A model's own, and what our shape makes of its vocabulary head's."""
    with torch.no_grad():
        states = lm.get_decoder()(IDS).last_hidden_state[0]
        return lm(IDS).logits[0], LogitShape.of(lm).apply(lm.get_output_embeddings()(states))[0]


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_logits_are_the_models_own(family, tmp_path):
    base = load_base_model(build_model(tmp_path, family), dtype="float32")
    torch.testing.assert_close(*own_logits(base.lm))


def test_what_one_family_divides_by_another_multiplies_by(tmp_path):
    for kind in (transformers.GraniteConfig, transformers.HyperCLOVAXConfig):
        folder = save_model(tmp_path / kind.model_type, kind(**SIZES, logits_scaling=4.0))
        torch.testing.assert_close(*own_logits(load_base_model(folder, dtype="float32").lm))


def test_a_shape_that_is_not_known_is_refused(tiny):
    lm = transformers.AutoModelForCausalLM.from_pretrained(tiny)
    shape = LogitShape.of(lm)
    shape.check("tiny", lm)
    lm.get_output_embeddings().register_forward_hook(lambda *found: found[-1] + 1)
    shape.check("tiny", lm)  # part of the head
    forward = lm.forward

    def other(*args, **kwargs):
        out = forward(*args, **kwargs)
        out.logits = 3 * out.logits
        return out

    lm.forward = other
    with pytest.raises(UnsupportedModelError, match="model='tiny' does something to its logits"):
        shape.check("tiny", lm)


def test_a_soft_cap_and_its_slope():
    logits = torch.tensor([[0.5, -4.0]], dtype=torch.float64, requires_grad=True)
    shaped, slope = LogitShape(2.0, 3.0).apply(logits)
    torch.testing.assert_close(shaped, 3 * torch.tanh(2 * logits / 3))
    (gradient,) = torch.autograd.grad(shaped.sum(), logits)
    torch.testing.assert_close(gradient, 2 * slope)
