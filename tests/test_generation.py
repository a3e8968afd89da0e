import pytest
import torch
from conftest import build_model

from skclsgen.backbone import load_base_model
from skclsgen.dual_head import DualHead
from skclsgen.generation import batches_to_decode, decode, prefill, prefill_base
from skclsgen.lora import LoraSettings
from skclsgen.packed_model import PackedModel
from skclsgen.packing import BATCH_TOKENS

PREFIX = [1, 30, 31]
PROMPTS = [[40, 41, 42, 43], list(range(60, 90)), [50]]


@pytest.fixture(scope="module")
def base(tiny):
    return load_base_model(tiny, dtype="float32")


def greedy(base, ids, new, stop=2):
    ids = torch.tensor([ids])
    out = base.lm.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=new,
        do_sample=False,
        pad_token_id=2,
        eos_token_id=stop,
    )
    return out[0, ids.shape[1] :].tolist()


def test_base_model_continues_as_generate_does(base):
    model = PackedModel(base, PREFIX)
    replies = decode(model.lm, prefill_base(model, PROMPTS), [[20]] * 3, 8, frozenset({2}))
    assert replies == [greedy(base, [*PREFIX, *prompt, 20], 8) for prompt in PROMPTS]


def test_rows_end_at_stop_tokens_one_by_one(base):
    """Each row's third token is made a stop token; the others go on undisturbed."""
    model = PackedModel(base, PREFIX)
    free = [greedy(base, [*PREFIX, *prompt, 20], 8) for prompt in PROMPTS]
    stop = free[0][2]
    finished = []
    start = prefill_base(model, PROMPTS)
    replies = decode(model.lm, start, [[20]] * 3, 8, frozenset({stop}), finished.append)
    expected = [row[: row.index(stop) + 1] if stop in row else row for row in free]
    assert replies == expected
    assert len(replies[0]) <= 3
    assert sum(finished) == 3


def test_no_reply_is_empty(base):
    """Even where the model would end at once, and only there is its choice overruled."""
    model = PackedModel(base, PREFIX)
    free = [greedy(base, [*PREFIX, *prompt, 20], 3) for prompt in PROMPTS]
    token = free[0][0]
    stop = frozenset({token})
    replies = decode(model.lm, prefill_base(model, PROMPTS), [[20]] * 3, 3, stop)
    assert all(reply[0] != token for reply in replies)
    others = [number for number, row in enumerate(free) if row[0] != token]
    assert others
    for number in others:
        row = free[number]
        expected = row[: row.index(token) + 1] if token in row else row
        assert replies[number] == expected


@pytest.mark.parametrize("limit", [0, -3])
def test_a_limit_that_is_used_up_ends_all_the_same(base, limit):
    model = PackedModel(base, PREFIX)
    replies = decode(model.lm, prefill_base(model, PROMPTS), [[20]] * 3, limit, frozenset({2}))
    assert [len(reply) for reply in replies] == [1, 1, 1]


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_every_row_has_room_of_its_own(tmp_path, family):
    """One that has filled the context stays with many that go on; GPT-2 has no places beyond."""
    base = load_base_model(build_model(tmp_path, family), dtype="float32")
    model = PackedModel(base, PREFIX)
    long = [*range(100, 300), *range(100, 400)]
    prompts = [long, *PROMPTS * 3]
    limits = [base.context_length - len(PREFIX) - len(long) - 1, *range(30, 39)]
    assert limits[0] < min(limits[1:])
    start = prefill_base(model, prompts)
    replies = decode(model.lm, start, [[20]] * 10, limits, frozenset({2}))
    assert replies == [
        greedy(base, [*PREFIX, *prompt, 20], limit)
        for prompt, limit in zip(prompts, limits, strict=True)
    ]
    assert [*map(len, replies)] == limits


def test_prefill_keeps_every_layer_right_aligned(base):
    net = DualHead(base, PREFIX, [[10], [11]], LoraSettings(1, 4, 8.0, 0.0)).eval()
    logits, start = prefill(net, PROMPTS)
    assert logits.shape == (3, 2)
    assert start.lengths.tolist() == [7, 33, 4]
    assert len(start.cache.layers) == 3
    width = start.cache.get_seq_length()
    assert width == 33
    for row, prompt in enumerate(PROMPTS):
        ids = torch.tensor([[*PREFIX, *prompt]])
        with torch.no_grad():
            alone = base.lm(ids, use_cache=True).cache
        for found, expected in zip(start.cache.layers, alone.layers, strict=True):
            place = slice(width - ids.shape[1], width)
            for own, other in ((found.keys, expected.keys), (found.values, expected.values)):
                torch.testing.assert_close(own[row, :, place], other[0], atol=1e-5, rtol=1e-4)
                assert not own[row, :, : place.start].any()
                assert not own[row, :, width:].any()


def test_keys_and_values_of_a_batch_are_bounded_with_their_prefix_and_copies():
    prompts = [[1]] * 300
    assert max(map(len, batches_to_decode(prompts, 63))) == 128
    assert max(map(len, batches_to_decode(prompts, 1000))) == BATCH_TOKENS // 1001
    assert max(map(len, batches_to_decode(prompts, 63, copies=10))) == 128 // 10
    assert max(map(len, batches_to_decode(prompts, 1000, copies=4))) == BATCH_TOKENS // 4004
    assert sorted(row for own in batches_to_decode(prompts, 10**6) for row in own) == [*range(300)]
