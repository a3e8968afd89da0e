import pytest
import torch
import transformers
from conftest import SIZES, save_model

from skclsgen.attention import can_pack
from skclsgen.backbone import load_base_model
from skclsgen.exceptions import UnsupportedModelError
from skclsgen.packed_model import PackedModel

PREFIX = [1, 30, 31]
ROWS = [([40, 41, 42, 43], [7, 8]), (list(range(60, 90)), []), ([50], [])]


@pytest.fixture
def base(tiny):
    return load_base_model(tiny, dtype="float32")


@pytest.mark.parametrize("packs", [True, False])
def test_rows_together_are_what_the_base_model_makes_of_each(base, packs, monkeypatch):
    """Behind the prefix, whether they are run end to end or one by one."""
    monkeypatch.setattr(base, "packs", packs)
    model = PackedModel(base, PREFIX)
    rows = model.pack(ROWS)
    with torch.no_grad():
        states, caches = model.hidden_states(rows)
        alone = [
            base.lm.get_decoder()(torch.tensor([[*PREFIX, *prompt, *more]])).last_hidden_state[0]
            for prompt, more in ROWS
        ]
    expected = torch.cat([own[len(PREFIX) :] for own in alone])
    torch.testing.assert_close(states, expected, atol=1e-5, rtol=1e-4)
    assert len(caches) == (1 if packs else len(ROWS))


def test_the_prefix_is_run_once(base, monkeypatch):
    """Each run starts from its keys and values, and leaves them as they are."""
    model = PackedModel(base, PREFIX)
    seen = []
    decoder = type(model.decoder)
    forward = decoder.forward
    monkeypatch.setattr(
        decoder, "forward", lambda *a, **k: seen.append(k["input_ids"].shape) or forward(*a, **k)
    )
    before = [layer.keys.clone() for layer in model.prefix_cache().layers]
    with torch.no_grad():
        first, _ = model.hidden_states(model.pack(ROWS))
        second, _ = model.hidden_states(model.pack(ROWS))
    assert torch.equal(first, second)
    assert all(
        torch.equal(one, other.keys)
        for one, other in zip(before, model.prefix_cache().layers, strict=True)
    )
    tokens = model.pack(ROWS).filled().ids().numel()
    assert seen == [(1, tokens), (1, tokens)]


#: Families that keep no keys and values, or whose positions count the places of a cache.
UNSUPPORTED = {
    "mamba": (transformers.MambaConfig, {"state_size": 4}),
    "rwkv": (transformers.RwkvConfig, {"attention_hidden_size": 32}),
    "lfm2": (transformers.Lfm2Config, {"layer_types": ["conv", "full_attention", "conv"]}),
    "bloom": (transformers.BloomConfig, {"n_layer": 3, "n_head": 4}),
    "falcon-alibi": (transformers.FalconConfig, {"alibi": True}),
}


@pytest.mark.parametrize("family", sorted(UNSUPPORTED))
def test_models_that_cannot_go_on_from_kept_keys_are_refused(family, tmp_path):
    config, changes = UNSUPPORTED[family]
    sizes = {name: size for name, size in SIZES.items() if name != "head_dim"}
    folder = save_model(tmp_path, config(**{**sizes, **changes}))
    base = load_base_model(folder, attn_implementation="eager")
    with pytest.raises(UnsupportedModelError, match=r"keys and values .* attention in every layer"):
        PackedModel(base, PREFIX)
    assert not can_pack(base.lm)


def test_want_of_memory_is_not_blamed_on_the_model(base, monkeypatch):
    monkeypatch.setattr(
        type(base.lm.get_decoder()), "forward", lambda *args, **more: torch.empty(10**15)
    )
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        PackedModel(base, PREFIX)
