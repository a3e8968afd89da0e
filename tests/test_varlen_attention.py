"""Packed rows through torch's variable-length kernel, which only GPUs have.

Without one, what the kernel is given is judged through a stand-in that follows its documentation.
"""

import pytest
import torch

from skclsgen import attention, varlen_attention
from skclsgen.packing import PackedRows
from skclsgen.row_attention import row_by_row
from skclsgen.varlen_attention import make_layout, varlen_works

kernels = pytest.importorskip("torch.nn.attention.varlen", reason="needs torch 2.10 or later")
CPU = torch.device("cpu")


def as_documented(
    query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale, window_size, enable_gqa
):
    """Each sequence's queries are its last ones; a window counts keys to the left."""
    assert max_q == cu_seq_q.diff().max()
    assert max_k == cu_seq_k.diff().max()
    assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
    left, right = window_size
    parts = []
    for n in range(len(cu_seq_q) - 1):
        queries = query[cu_seq_q[n] : cu_seq_q[n + 1]]
        keys, values = (
            t[cu_seq_k[n] : cu_seq_k[n + 1]].repeat_interleave(query.shape[1] // key.shape[1], 1)
            for t in (key, value)
        )
        place = torch.arange(len(queries))[:, None] + len(keys) - len(queries)
        ahead = torch.arange(len(keys)) - place
        hidden = (ahead > right) | ((ahead < -left) if left >= 0 else torch.zeros(1).bool())
        scores = torch.einsum("qhw,khw->hqk", queries, keys) * scale
        weights = scores.masked_fill(hidden, -torch.inf).softmax(-1)
        parts.append(torch.einsum("hqk,khw->qhw", weights, values))
    return torch.cat(parts)


def without_shared_heads(
    query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale, window_size
):
    """As in torch 2.11: every query head has keys of its own."""
    assert query.shape[1] == key.shape[1] == value.shape[1]
    sizes = {"scale": scale, "window_size": window_size, "enable_gqa": False}
    return as_documented(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, **sizes)


def top_left(query, key, value, cu_seq_q, cu_seq_k, *rest, **options):
    """What a kernel computes that takes the queries for the first ones."""
    shift = cu_seq_k.diff() - cu_seq_q.diff()
    kept = torch.cat(
        [
            torch.arange(int(start), int(stop - gap))
            for start, stop, gap in zip(cu_seq_k[:-1], cu_seq_k[1:], shift, strict=True)
        ]
    )
    return as_documented(
        query, key[kept], value[kept], cu_seq_q, cu_seq_q, rest[0], rest[0], **options
    )


@pytest.fixture
def stand_in(monkeypatch):
    def use(kernel):
        monkeypatch.setattr(kernels, "varlen_attn", kernel)
        varlen_works.cache_clear()

    yield use
    varlen_works.cache_clear()


def inputs(tokens, device=CPU, dtype=torch.float32):
    torch.manual_seed(0)
    shapes = [(1, 4, tokens, 16), (1, 2, 6 + tokens, 16), (1, 2, 6 + tokens, 16)]
    return [torch.randn(shape).to(device, dtype) for shape in shapes]


@pytest.mark.parametrize("kernel", [as_documented, without_shared_heads])
@pytest.mark.parametrize("window", [None, 9])
def test_the_kernel_is_given_each_row_behind_the_prefix(stand_in, window, kernel):
    stand_in(kernel)
    rows = PackedRows([(range(5), range(3)), (range(20), []), (range(1), range(12))], 6, CPU)
    query, key, value = inputs(41)
    found = varlen_attention.varlen_attention(
        query[0], key[0], value[0], 0.3, window, make_layout(rows)
    )
    torch.testing.assert_close(found, row_by_row(query, key, value, 0.3, window, None, rows))


@pytest.mark.parametrize("windowed", [False, True])
def test_a_kernel_is_used_only_if_it_agrees_with_the_definition(stand_in, windowed):
    stand_in(as_documented)
    assert varlen_works(CPU, torch.float32, 4, 2, 16, windowed)
    stand_in(top_left)
    assert not varlen_works(CPU, torch.float32, 4, 2, 16, windowed)


def test_a_cpu_has_no_such_kernel():
    assert not varlen_works(CPU, torch.bfloat16, 4, 2, 16, False)


def test_torch_without_the_kernel_or_its_options(stand_in):
    def older(*arguments, **options):
        raise TypeError("varlen_attn() got an unexpected keyword argument 'enable_gqa'")

    stand_in(older)
    assert not varlen_works(CPU, torch.float32, 4, 2, 16, False)


@pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_capability() < (8, 0),
    reason="needs a CUDA device of the Ampere generation or later",
)
@pytest.mark.parametrize("window", [None, 9])
def test_packed_rows_on_a_gpu(window, monkeypatch):
    calls = []

    def counted(*arguments):
        calls.append(1)
        return varlen_attention.varlen_attention(*arguments)

    monkeypatch.setattr(attention, "varlen_attention", counted)
    device = torch.device("cuda")
    rows = PackedRows([(range(5), range(3)), (range(20), []), (range(1), range(12))], 6, device)
    query, key, value = inputs(41, device, torch.bfloat16)
    assert varlen_works(device, torch.bfloat16, 4, 2, 16, window is not None)
    with attention.packed(rows):
        found, _ = attention.attend(
            torch.nn.Identity(), query, key, value, None, 0.3, sliding_window=window
        )
    assert len(calls) == 1
    expected = row_by_row(query, key, value, 0.3, window, None, rows)
    torch.testing.assert_close(found[0], expected, atol=2e-2, rtol=2e-2)
