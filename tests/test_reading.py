import pytest
import torch
from conftest import build_model

from skclsgen.backbone import load_base_model
from skclsgen.dual_head import DualHead
from skclsgen.lora import LoraSettings
from skclsgen.packing import batches_by_length
from skclsgen.reading import trunk_states

PREFIX = [1, 30, 31, 32]
ROWS = [(list(range(40, 40 + n)), list(range(3, 3 + m))) for n, m in [(9, 4), (30, 0), (2, 7)]]


def test_batches_hold_every_row_once_within_bounds():
    lengths = [5, 100, 7, 64, 64, 1, 300]
    batches = batches_by_length(lengths, rows=3, tokens=200)
    assert sorted(row for batch in batches for row in batch) == list(range(7))
    assert batches[0] == [6]
    for batch in batches:
        assert len(batch) <= 3
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= 200


@pytest.fixture(params=["bfloat16", "float32", "float64"])
def net(request, tmp_path):
    base = load_base_model(build_model(tmp_path, "llama"), dtype=request.param)
    return DualHead(base, PREFIX, [[10], [11]], LoraSettings(1, 4, 8.0, 0.0)).eval()


def test_activations_depend_on_neither_neighbours_nor_what_was_read_before(net):
    alone = [trunk_states(net, [row], store=False)[0] for row in ROWS]
    for states, together in zip(alone, trunk_states(net, ROWS, store=False), strict=True):
        assert torch.equal(states, together)
    prompts = [(prompt, []) for prompt, _ in ROWS]
    for states, prompt in zip(alone, trunk_states(net, prompts, store=False), strict=True):
        assert torch.equal(states[: len(prompt)], prompt)
    assert len(net.base.trunk_cache) == 0


def test_rows_of_several_blocks_are_none_of_their_neighbours_business(net):
    """Rows whose blocks share groups, and a continuation that reaches other sizes of block."""
    ids = list(range(40, 60)) * 20
    rows = [*ROWS, (ids[:300], ids[:60]), (ids[1:301], ids[:59]), (ids[2:290], [])]
    alone = [trunk_states(net, [row], store=False)[0] for row in rows]
    for states, together in zip(alone, trunk_states(net, rows, store=False), strict=True):
        assert torch.equal(states, together)
    prompts = [(prompt, []) for prompt, _ in rows]
    for states, prompt in zip(alone, trunk_states(net, prompts, store=False), strict=True):
        assert torch.equal(states[: len(prompt)], prompt)


def test_each_row_is_read_once_and_reported(net):
    finished = []
    first = trunk_states(net, [*ROWS, ROWS[0]], progress=finished.append)
    assert sum(finished) == len(ROWS)
    assert torch.equal(first[0], first[3])
    cache = net.base.trunk_cache
    assert (len(cache), cache.hits, cache.misses) == (3, 0, 3)
    again = trunk_states(net, [(prompt, []) for prompt, _ in ROWS])
    assert cache.hits == 3
    for states, prompt in zip(first, again, strict=False):
        assert torch.equal(states[: len(prompt)], prompt)
