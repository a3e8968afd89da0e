import torch
from transformers import DynamicCache

from skclsgen.module_tree import keys_and_values
from skclsgen.roomy_cache import ROOM, roomy_cache


def states(rows, tokens, seed):
    torch.manual_seed(seed)
    return torch.randn(rows, 2, tokens, 4), torch.randn(rows, 2, tokens, 4)


def test_it_holds_what_a_dynamic_cache_holds():
    """Also after it has grown, and after rows have left; behind it are zeros."""
    plain = DynamicCache()
    for layer in range(2):
        plain.update(*states(3, 5, layer), layer)
    roomy = roomy_cache(keys_and_values(plain))
    for step, tokens in enumerate((3, 1, ROOM, 1)):
        covered, _ = roomy.get_mask_sizes(tokens, 0)
        for layer in range(2):
            new = states(roomy.layers[0].keys.shape[0], tokens, 10 + step)
            found, expected = roomy.update(*new, layer), plain.update(*new, layer)
            held = plain.get_seq_length()
            for buffer, tensor in zip(found, expected, strict=True):
                assert torch.equal(buffer[:, :, :held], tensor)
                assert not buffer[:, :, held:].any()
                assert buffer.shape[2] == covered
        assert roomy.get_seq_length() == plain.get_seq_length()
        if step == 1:
            for cache in (roomy, plain):
                cache.batch_select_indices(torch.tensor([0, 2]))


def test_most_steps_copy_nothing():
    roomy = roomy_cache([states(3, 5, 0)])
    places = [roomy.update(*states(3, 1, step), 0)[0].data_ptr() for step in range(2 * ROOM)]
    assert len(set(places)) == 2
