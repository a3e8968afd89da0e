import torch

from skclsgen.trunk_cache import TrunkCache


def key(name):
    return (1, (0,), (ord(name),) * 10)


def test_holds_no_more_than_its_capacity_and_drops_what_was_unused_longest():
    cache = TrunkCache(capacity=100)
    row = torch.arange(10, dtype=torch.float32)  # 40 bytes
    cache.put(key("a"), (), row)
    cache.put(key("b"), (), row)
    assert torch.equal(cache.get(key("a"), ()), row)
    cache.put(key("c"), (), row)
    assert cache.get(key("b"), ()) is None
    assert torch.equal(cache.get(key("a"), ()), row)
    assert torch.equal(cache.get(key("c"), ()), row)
    assert cache.nbytes == 80
    assert len(cache) == 2
    assert (cache.hits, cache.misses) == (3, 1)


def test_a_continuation_serves_its_prompt_and_no_other_continuation():
    cache = TrunkCache()
    states = torch.arange(12.0)
    cache.put(key("a"), (7, 8), states)
    assert torch.equal(cache.get(key("a"), ()), states[:10])
    assert torch.equal(cache.get(key("a"), (7, 8)), states)
    assert cache.get(key("a"), (7, 9)) is None
    cache.put(key("a"), (7, 9), states + 1)
    assert torch.equal(cache.get(key("a"), (7, 8)), states)


def test_a_prompt_is_forgotten_with_its_last_continuation():
    cache = TrunkCache(capacity=48)
    cache.put(key("a"), (7, 8), torch.zeros(12))
    cache.put(key("b"), (), torch.zeros(12))
    assert cache.get(key("a"), ()) is None
    assert cache.nbytes == 48


def test_too_large_an_entry_is_not_stored():
    cache = TrunkCache(capacity=10)
    cache.put(key("a"), (), torch.zeros(10))
    assert len(cache) == 0
    assert cache.nbytes == 0


def test_storing_again_counts_once_and_clear_empties():
    cache = TrunkCache()
    cache.put(key("a"), (), torch.zeros(10))
    cache.put(key("a"), (), torch.zeros(5))
    assert cache.nbytes == 20
    cache.clear()
    assert cache.nbytes == 0
    assert cache.get(key("a"), ()) is None
