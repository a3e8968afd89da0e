"""Base models whose weights bitsandbytes has quantised, on the CPU."""

import conftest
import numpy as np
import pytest
import torch
import transformers
from conftest import build_model

from skclsgen import CLSGenClassifier, release_memory
from skclsgen.backbone import load_base_model
from skclsgen.module_tree import share_weights

each = pytest.mark.parametrize("bits", ["8bit", "4bit"])
#: Loss of precision in 8 bits is announced at every layer.
pytestmark = pytest.mark.filterwarnings("ignore:MatMul8bitLt")


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Folder of a tiny model whose rows fill whole blocks of 64 weights."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("hidden_size", "intermediate_size"):
            patch.setitem(conftest.SIZES, name, 128)
        patch.setitem(conftest.SIZES, "head_dim", 32)
        return build_model(tmp_path_factory.mktemp("wide"))


@each
def test_the_base_stays_what_transformers_loads(wide, bits):
    """Copies of its layers are run first, and 8-bit scales move at the first pass."""
    config = transformers.BitsAndBytesConfig(
        load_in_8bit=bits == "8bit", load_in_4bit=bits == "4bit"
    )
    own = transformers.AutoModelForCausalLM.from_pretrained(
        wide, dtype=torch.float32, quantization_config=config
    )
    base = load_base_model(wide, dtype="float32", quantization=bits)
    ids = torch.arange(3, 23)[None]
    with torch.no_grad():
        expected, found = own(ids).logits, base.lm(ids).logits
    torch.testing.assert_close(found, expected, atol=0.02 if bits == "4bit" else 0.0, rtol=0.0)


@each
def test_probabilities_are_near_those_of_full_precision(wide, data, bits, caplog):
    texts, labels, test = data
    full = CLSGenClassifier(wide, epochs=0, dtype="float32").fit(texts, labels)
    few_bits = CLSGenClassifier(wide, epochs=0, dtype="float32", quantization=bits)
    off = few_bits.fit(texts, labels).predict_proba(test) - full.predict_proba(test)
    assert 0 < np.abs(off).max() < 0.03
    assert not caplog.records  # 8-bit layers would speak at every pass


@each
@pytest.mark.filterwarnings("error::UserWarning:torch.autograd")
def test_every_adapter_learns_and_is_saved(wide, data, tmp_path, bits):
    """Also those in the lowest layer, whose gradients come through all the others."""
    texts, labels, test = data
    clf = CLSGenClassifier(
        wide, epochs=1, lora_layers="all", rationales=None, quantization=bits, random_state=0
    ).fit(texts, labels)
    state = clf._network.state
    ups = [tensor for name, tensor in state.items() if "lora_B" in name]
    assert len(ups) == 3 * 7
    assert all(tensor.abs().max() > 0 for tensor in ups)
    proba = clf.predict_proba(test)
    clf.save(tmp_path / "saved")
    release_memory()
    again = CLSGenClassifier.load(tmp_path / "saved")
    np.testing.assert_array_equal(again.predict_proba(test), proba)
    assert again.explain(test[:2], max_new_tokens=4)[0].label in labels


def test_copies_of_the_layers_share_the_scales_of_4_bit_weights(wide):
    base = load_base_model(wide, dtype="float32", quantization="4bit")
    own = {id(m.quant_state) for m in base.lm.modules() if hasattr(m, "quant_state")}
    copied = {
        id(m.quant_state) for m in share_weights(base.lm).modules() if hasattr(m, "quant_state")
    }
    assert len(own) == 3 * 7
    assert copied == own
