import torch

from skclsgen.trunk_cache import TrunkCache


def test_holds_no_more_than_its_capacity_and_drops_what_was_unused_longest():
    cache = TrunkCache(capacity=100)
    row = torch.zeros(10, dtype=torch.float32)  # 40 bytes
    cache.put("a", row)
    cache.put("b", row)
    assert cache.get("a") is row
    cache.put("c", row)
    assert cache.get("b") is None
    assert cache.get("a") is row
    assert cache.get("c") is row
    assert cache.nbytes == 80
    assert len(cache) == 2


def test_too_large_an_entry_is_not_stored():
    cache = TrunkCache(capacity=10)
    cache.put("a", torch.zeros(10))
    assert len(cache) == 0
    assert cache.nbytes == 0


def test_storing_again_counts_once_and_clear_empties():
    cache = TrunkCache()
    cache.put("a", torch.zeros(10))
    cache.put("a", torch.zeros(5))
    assert cache.nbytes == 20
    cache.clear()
    assert cache.nbytes == 0
    assert cache.get("a") is None
